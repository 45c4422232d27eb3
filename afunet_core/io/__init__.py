"""Image files in and out: EXR, Radiance, TIFF, PNG, JPEG, and what they know about their exposure.

OpenImageIO reads and writes every format but the written TIFF (tifffile): it is right where the common readers are not
(16-bit RGB PNG, EXR, Radiance). Every failure becomes an :class:`~afunet_core.errors.ImageFileError`, every file is
written beside its destination first and then renamed, so that a crash or a full disk never leaves half a picture
behind.

The names are loaded on first use. A package that loads its parts while it is loaded itself can make two threads wait
for each other: Python locks a part before its package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afunet_core.io.exposure import Exposure, read_exposure, read_exposure_file, relative_exposures
    from afunet_core.io.folder import (
        EXPOSURE_FILES,
        find_brackets,
        find_exposure_file,
        list_bracket_folder,
        natural_key,
    )
    from afunet_core.io.parts import ImagePart, read_parts
    from afunet_core.io.raw import RAW_SUFFIXES, read_raw
    from afunet_core.io.read import READABLE, ImageFile, read_image
    from afunet_core.io.stack import write_stack
    from afunet_core.io.write import WRITABLE, write_image

__all__ = [
    "EXPOSURE_FILES",
    "RAW_SUFFIXES",
    "READABLE",
    "WRITABLE",
    "Exposure",
    "ImageFile",
    "ImagePart",
    "find_brackets",
    "find_exposure_file",
    "list_bracket_folder",
    "natural_key",
    "read_exposure",
    "read_exposure_file",
    "read_image",
    "read_parts",
    "read_raw",
    "relative_exposures",
    "write_image",
    "write_stack",
]

_PARTS = {
    "exposure": ("Exposure", "read_exposure", "read_exposure_file", "relative_exposures"),
    "folder": ("EXPOSURE_FILES", "find_brackets", "find_exposure_file", "list_bracket_folder", "natural_key"),
    "parts": ("ImagePart", "read_parts"),
    "raw": ("RAW_SUFFIXES", "read_raw"),
    "read": ("READABLE", "ImageFile", "read_image"),
    "stack": ("write_stack",),
    "write": ("WRITABLE", "write_image"),
}


def __getattr__(name: str) -> Any:
    for part, names in _PARTS.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{part}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
