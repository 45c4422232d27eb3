"""HEIC and AVIF, also of HDR in PQ, with Pillow, pillow-heif (the extra ``heif``) and imagecodecs (``hdr``)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import DependencyError, ImageFileError
from afunet_core.io.colour import PQ, PQ_WHITE, REC2020, primaries_to_srgb
from afunet_core.io.decode import ADVICE
from afunet_core.io.metadata import to_xmp
from afunet_core.io.photograph import named_exif

_LARGEST_HEADER = 2**16
_ORIENTATION = 0x0112
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # the UUID of boxes with XMP: ISO 16684-1, part 3
_BITS = 10
_REC2020, _PQ, _HLG = 9, 16, 18  # code points of ITU-T H.273: primaries and matrix, transfers


def read_heif(path: Path, with_pixels: bool = True) -> tuple[np.ndarray, dict[str, Any], bytes | None]:
    """Read pixels (8 or 16 bits), attributes as OpenImageIO names them, and the ICC profile."""
    try:
        pixels, exif, profile = (_read_avif if path.suffix.lower() == ".avif" else _read_heic)(path, with_pixels)
        attributes = named_exif(exif, exif.get_ifd(0x8769), exif.get_ifd(0x8825))
        attributes["Orientation"] = exif.get(_ORIENTATION, 1)
    except (DependencyError, ImageFileError, MemoryError):
        raise
    except Exception as error:  # codecs raise anything
        raise ImageFileError(f"{path}: cannot be read: {' '.join(str(error).split())}. {ADVICE}") from error
    codes = _code_points(path)
    if codes is not None and (not profile or codes[1] in (_PQ, _HLG)):
        attributes["CICP"] = codes
    return pixels, attributes, profile


def _read_avif(path: Path, with_pixels: bool) -> tuple[np.ndarray, Any, bytes | None]:
    from PIL import Image, features

    if not features.check("avif"):
        raise DependencyError("AVIF files need Pillow 11.3 or newer: pip install --upgrade pillow.")
    with Image.open(path) as picture:
        deep = _deep_avif(path) if with_pixels else np.empty(0)
        return np.array(picture) if deep is None else deep, picture.getexif(), picture.info.get("icc_profile")


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


def encode_pq_avif(image: np.ndarray, quality: int = 95, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Encode linear sRGB, 1.0 diffuse white (203 cd/m²), as an AVIF in PQ and Rec. 2020, limited to 10,000 cd/m²."""
    try:
        import imagecodecs
    except ImportError as error:
        raise DependencyError("HDR AVIF needs imagecodecs: pip install 'napari-afunet[hdr]'.") from error
    light = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[..., :3]
    matrix = primaries_to_srgb(REC2020)
    assert matrix is not None
    light = np.maximum(light @ np.linalg.inv(matrix).T, 0.0)
    codes = np.rint(encode_pq(light * PQ_WHITE) * (2**_BITS - 1)).astype(np.uint16)
    points: dict[str, Any] = {"primaries": _REC2020, "transfer": _PQ, "matrix": _REC2020}
    options = {"level": quality, "bitspersample": _BITS, "pixelformat": "yuv444", **points}
    encoded = bytes(imagecodecs.avif_encode(np.ascontiguousarray(codes), **options))
    content = _XMP_BOX + to_xmp(metadata or {})
    return encoded + (len(content) + 8).to_bytes(4, "big") + b"uuid" + content


def encode_pq(candela: np.ndarray) -> np.ndarray:
    """The PQ code, 0 to 1, of a luminance in cd/m² (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = PQ
    power = np.clip(candela / 10000.0, 0.0, 1.0) ** m1
    return np.where(power > 0, ((c1 + c2 * power) / (1 + c3 * power)) ** m2, 0.0)
