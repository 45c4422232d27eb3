"""Image files in and out: EXR, Radiance, TIFF, PNG, JPEG, and what they know about their exposure.

OpenImageIO reads and writes every format but the written TIFF (tifffile): it is right where the common readers are not
(16-bit RGB PNG, EXR, Radiance). Every failure becomes an :class:`~afunet_core.errors.ImageFileError`, every file is
written beside its destination first and then renamed, so that a crash or a full disk never leaves half a picture
behind.
"""

from __future__ import annotations

from afunet_core.io.exposure import Exposure, read_exposure, read_exposure_file, relative_exposures
from afunet_core.io.folder import EXPOSURE_FILES, find_brackets, find_exposure_file, list_bracket_folder, natural_key
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
