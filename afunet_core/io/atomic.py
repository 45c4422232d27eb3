"""All-or-nothing writing: a file appears complete or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from collections.abc import Callable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Run ``write`` on a temporary file in the same folder, which then takes the place of ``path`` in one step.

    The temporary file keeps the suffix, since encoders choose the format by it, and has the permissions of any new
    file of the user. It is flushed to the disk before it is renamed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
    try:
        # Reserves the name and tells early if the folder refuses; stays open as the sign that somebody writes here.
        with temporary.open("xb") as claim:
            _lock(claim.fileno())
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_partial_files(path: str | Path) -> None:
    """Remove what a killed process left of writing ``path``; files that another process is writing stay."""
    path = Path(path)
    pattern = f".{glob.escape(path.stem[:40])}-{'?' * 8}{glob.escape(path.suffix)}"
    for partial in list(path.parent.glob(pattern)):
        with contextlib.suppress(OSError), partial.open("rb+") as file:
            if _lock(file.fileno()):
                partial.unlink()


def _lock(descriptor: int) -> bool:
    """Claim an open file until it is closed; ``False`` if another process has."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # or a file system without locks
        return not isinstance(error, BlockingIOError)
    return True
