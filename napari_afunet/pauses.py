"""Without the long pauses of Python's garbage collector while something is shown live.

With torch and napari loaded, a full collection looks at half a million objects: a quarter of a second in which no
thread runs. During a merge the objects that are there already are left out, as for processes that fork
(:func:`gc.freeze`); afterwards everything is as before, and nothing is kept that would have been freed.
"""

from __future__ import annotations

import gc

__all__ = ["Hold"]


class Hold:
    """From :meth:`take` to :meth:`release` of the last holder, collections look at new objects only."""

    _holders = 0

    def __init__(self) -> None:
        self._held = False

    def take(self) -> None:
        """Begin; a second time has no effect."""
        if not self._held:
            self._held = True
            Hold._holders += 1
            gc.freeze()

    def release(self, *_: object) -> None:
        """End; a second time has no effect."""
        if self._held:
            self._held = False
            Hold._holders -= 1
            if Hold._holders == 0:
                gc.unfreeze()
