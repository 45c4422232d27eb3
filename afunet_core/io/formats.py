"""File types by their suffixes, in lower case."""

from __future__ import annotations

__all__ = ["DISPLAY", "HEIF_SUFFIXES", "RADIANCE", "RAW_SUFFIXES", "READABLE", "WRITABLE"]

RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw"}
    | {".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".srf", ".sr2", ".srw", ".x3f"}
)
"""Read as the raw file of a camera."""

HEIF_SUFFIXES = frozenset({".avif", ".heic", ".heif", ".hif"})
"""Read as HEIF: what phones take."""

READABLE = (
    frozenset({".bmp", ".exr", ".hdr", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".pfm", ".pgm", ".pic"})
    | frozenset({".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"})
    | HEIF_SUFFIXES
    | RAW_SUFFIXES
)
"""Read as pictures."""

RADIANCE = frozenset({".exr", ".hdr"})
"""Hold radiance: beside ordinary pictures they are results or ground truth."""

DISPLAY = frozenset({".avif", ".jpeg", ".jpg", ".png"})
"""Written for a screen."""

WRITABLE = DISPLAY | frozenset({".dng", ".exr", ".hdr", ".tif", ".tiff"})
"""Written."""
