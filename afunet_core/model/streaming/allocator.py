"""Freed memory stays with the process while a run lasts.

Every product makes a new tensor of about a megabyte and frees it a moment later. The GNU C library hands such memory
back to the system and asks for it again, and each time the system clears every page: up to a sixth of the time.
See ``docs/decisions/0004-freed-memory.md``.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from types import TracebackType

__all__ = ["freed_memory_kept"]

# From malloc.h. While a run lasts nothing is given back; blocks from 32 MiB on still come from the system directly.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_BYTES = 32 << 20
"""The most that mallopt takes for certain, and where the library's own adaptation ends as well."""
KEEP_BYTES = 2**31 - 1
USUAL_BYTES = 2 * MMAP_BYTES
"""What the library keeps once it has seen a block of 32 MiB freed: the state a run leaves behind."""


class _FreedMemoryKept:
    """A context that any number of runs, in whatever threads, may be inside of."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.library = _glibc()

    def __enter__(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1 and self.library is not None:
                self.library.mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
                self.library.mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0 and self.library is not None:
                self.library.mallopt(M_TRIM_THRESHOLD, USUAL_BYTES)
                self.library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The GNU C library of this process; None on other systems, which have other allocators."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
        if not hasattr(library, "gnu_get_libc_version"):
            return None
        library.mallopt.argtypes, library.mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
        library.malloc_trim.argtypes, library.malloc_trim.restype = [ctypes.c_size_t], ctypes.c_int
    except (OSError, AttributeError):
        return None
    return library


_kept = _FreedMemoryKept()


def freed_memory_kept() -> _FreedMemoryKept:
    """A ``with`` inside which freed memory stays with the process; at its end what is free goes back to the system.

    Only the GNU C library is told anything; elsewhere this does nothing.

    Example:
        >>> with freed_memory_kept():
        ...     total = sum(range(10))
    """
    return _kept
