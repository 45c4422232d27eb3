"""File types by their suffixes, in lower case."""

from __future__ import annotations

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


def check_suffix(path: Path, kinds: Collection[str] = WRITABLE) -> None:
    """Refuse to write a file whose name does not choose one of the formats."""
    if path.suffix.lower() not in kinds:
        found = f"files of type {path.suffix} are not written" if path.suffix else "a suffix must choose the format"
        raise ImageFileError(f"{path}: {found}. Use one of {', '.join(sorted(kinds))}.")
