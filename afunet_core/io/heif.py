"""HEIC and AVIF: the pictures of phones, with Pillow, pillow-heif (the extra ``heif``) and imagecodecs (``hdr``)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import DependencyError, ImageFileError
from afunet_core.io.photograph import named_exif

_ADVICE = "Open it in an image viewer; if it is damaged, export or copy it again."
_LARGEST_HEADER = 2**16
_ORIENTATION = 0x0112


def read_heif(path: Path, with_pixels: bool = True) -> tuple[np.ndarray, dict[str, Any], bytes | None]:
    """Read pixels (8 or 16 bits), attributes as OpenImageIO names them, and the ICC profile."""
    try:
        pixels, exif, profile = (_read_avif if path.suffix.lower() == ".avif" else _read_heic)(path, with_pixels)
        attributes = named_exif(exif, exif.get_ifd(0x8769), exif.get_ifd(0x8825))
        attributes["Orientation"] = exif.get(_ORIENTATION, 1)
    except (DependencyError, ImageFileError, MemoryError):
        raise
    except Exception as error:  # codecs raise anything
        raise ImageFileError(f"{path}: cannot be read: {' '.join(str(error).split())}. {_ADVICE}") from error
    codes = _code_points(path)
    if codes is not None and (not profile or codes[1] in (16, 18)):
        attributes["CICP"] = codes
    return pixels, attributes, profile


def _read_avif(path: Path, with_pixels: bool) -> tuple[np.ndarray, Any, bytes | None]:
    from PIL import Image, features

    if not features.check("avif"):
        raise DependencyError("AVIF files need Pillow 11.3 or newer: pip install --upgrade pillow.")
    with Image.open(path) as picture:
        pixels = np.empty(0)
        if with_pixels:
            deep = _deep_avif(path)
            pixels = np.array(picture) if deep is None else deep
        return pixels, picture.getexif(), picture.info.get("icc_profile")


def _deep_avif(path: Path) -> np.ndarray | None:
    """The pixels of a file with 10 or 12 bits, as 16 bits; Pillow knows 8 alone."""
    try:
        import imagecodecs
    except ImportError:
        return None
    data = path.read_bytes()
    pixels = imagecodecs.avif_decode(data)
    if pixels.dtype != np.uint16:
        return None
    header = data[:_LARGEST_HEADER]
    place = header.find(b"av1C")
    high, twelve = (header[place + 6] >> 6 & 1, header[place + 6] >> 5 & 1) if place > 0 else (1, 0)
    top = 4095 if twelve else 1023 if high else 255
    return np.rint(pixels.astype(np.float32) * (65535 / top)).astype(np.uint16)


def _read_heic(path: Path, with_pixels: bool) -> tuple[np.ndarray, Any, bytes | None]:
    from PIL import Image

    try:
        import pillow_heif
    except ImportError as error:
        raise DependencyError("HEIC files need pillow-heif: pip install 'napari-afunet[heif]'.") from error
    file = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)  # decoded when the pixels are asked for
    pillow_heif.set_orientation(file.info)  # libheif turns the pixels
    exif = Image.Exif()
    exif.load(file.info["exif"])
    return (np.asarray(file) if with_pixels else np.empty(0)), exif, file.info.get("icc_profile")


def _code_points(path: Path) -> tuple[int, int, int, int] | None:
    """Primaries, transfer, matrix and range of the colour box, ``nclx`` (ISO/IEC 23008-12)."""
    with path.open("rb") as file:
        header = file.read(_LARGEST_HEADER)
    place = header.find(b"colrnclx")
    if place < 0 or len(header) < place + 15:
        return None
    primaries, transfer, matrix, full = struct.unpack(">HHHB", header[place + 8 : place + 15])
    return primaries, transfer, matrix, full >> 7
