"""Without the long pauses that Python itself makes: garbage collections, and loading torch.

With torch and napari loaded, a full collection looks at half a million objects: a quarter of a second in which no
thread runs. While something is shown live, the objects that are there already are left out, as for processes that fork
(:func:`gc.freeze`); afterwards everything is as before, and nothing is kept that would have been freed.

An import runs in a thread of its own, yet holds all others up while the system links a library: a third of a second for
torch. Linked beforehand, by a call for which Python lets the other threads go on, it is there when the import asks.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["Hold", "link_torch", "loading"]

_lock = Lock()


class Hold:
    """From :meth:`take` to :meth:`release` of the last holder, collections look at new objects only."""

    _holders = 0

    def __init__(self) -> None:
        self._held = False

    def take(self) -> None:
        """Begin; a second time has no effect."""
        with _lock:
            if not self._held:
                self._held = True
                Hold._holders += 1
                gc.freeze()

    def renew(self) -> None:
        """What is new by now is left out too."""
        with _lock:
            if self._held:
                gc.freeze()

    def release(self, *_: object) -> None:
        """End; a second time has no effect."""
        with _lock:
            if self._held:
                self._held = False
                Hold._holders -= 1
                if Hold._holders == 0:
                    gc.unfreeze()


@contextmanager
def loading() -> Iterator[None]:
    """Import libraries without a collection in between: they make many objects, of which none is garbage."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        with _lock:
            gc.freeze()  # and thawed they are old: the next small collection need not look at them
            if Hold._holders == 0:
                gc.unfreeze()
        if collecting:
            gc.enable()


def link_torch() -> bool:
    """Link torch's libraries before it is imported, while other threads run; whether that was done.

    Where it cannot be (Windows, or a build with its libraries elsewhere), the import links them as always.
    """
    suffix = {"linux": "so", "darwin": "dylib"}.get(sys.platform)
    if suffix is None or "torch" in sys.modules:
        return False
    import ctypes
    import os
    from importlib.util import find_spec
    from pathlib import Path

    found = find_spec("torch")
    if found is None or found.origin is None:
        return False
    folder = Path(found.origin).parent / "lib"
    # Called like any C function, dlopen runs without the interpreter's lock; ctypes.CDLL and the import keep it.
    link = ctypes.CDLL(None).dlopen
    link.restype, link.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    done = False
    for name, scope in (("libtorch_global_deps", os.RTLD_GLOBAL), ("libtorch_cpu", os.RTLD_LOCAL)):  # as torch does it
        path = folder / f"{name}.{suffix}"
        done = path.exists() and link(os.fsencode(path), os.RTLD_NOW | scope) is not None
    return done
