"""Names of files: types by their suffixes, in lower case, and the order in which people count."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from afunet_core.errors import ImageFileError

# Read as the raw file of a camera.
RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw"}
    | {".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".srf", ".sr2", ".srw", ".x3f"}
)

HEIF_SUFFIXES = frozenset({".avif", ".heic", ".heif", ".hif"})  # read as HEIF: what phones take

# Read as pictures.
READABLE = (
    frozenset({".bmp", ".exr", ".hdr", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".pfm", ".pgm", ".pic"})
    | frozenset({".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"})
    | HEIF_SUFFIXES
    | RAW_SUFFIXES
)

RADIANCE = frozenset({".exr", ".hdr"})  # hold radiance: beside ordinary pictures they are results or ground truth
DISPLAY = frozenset({".avif", ".jpeg", ".jpg", ".png"})  # written for a screen
WRITABLE = DISPLAY | frozenset({".dng", ".exr", ".hdr", ".tif", ".tiff"})  # written


def natural_key(path: str | Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key that counts as people do; names that differ only by case or zeros come in one order everywhere.

    Example:
        >>> sorted(["10.tif", "9.tif", "a2.tif", "a10.tif"], key=natural_key)
        ['9.tif', '10.tif', 'a2.tif', 'a10.tif']
    """
    name = Path(path).name
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part), name


def check_suffix(path: Path, kinds: Collection[str] = WRITABLE) -> None:
    """Refuse to write a file whose name does not choose one of the formats."""
    if path.suffix.lower() not in kinds:
        found = f"files of type {path.suffix} are not written" if path.suffix else "a suffix must choose the format"
        raise ImageFileError(f"{path}: {found}. Use one of {', '.join(sorted(kinds))}.")
