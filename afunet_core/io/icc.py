"""ICC profiles: matrix and curves read here, tables applied by LittleCMS.

References: ICC.1:2022, "Image technology colour management: architecture, profile format, and data structure".
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

Curve = Callable[[np.ndarray], np.ndarray]

# sRGB to XYZ under D50, as in the profile of the ICC (sRGB2014).
SRGB_D50 = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


@dataclass(frozen=True)
class IccProfile:
    """A profile of the kind that cameras and editors use."""

    name: str  # its description
    curves: tuple[Curve, ...]  # from stored values to light, both in [0, 1]: of red, green and blue, or of grey
    to_xyz: np.ndarray | None  # linear RGB to XYZ under D50, 3×3; ``None`` for grey


def parse_profile(data: bytes) -> IccProfile | None:
    """Read a profile of matrix and curves, or of grey; ``None`` for tables (printers, scanners) and damaged ones."""
    from PIL import ImageCms

    try:
        tags = _tags(data)
        name = ""
        with contextlib.suppress(Exception):  # a name that cannot be read is none
            name = ImageCms.getProfileDescription(io.BytesIO(data)).strip(" \0\r\n")
        if data[16:20] == b"GRAY":
            return IccProfile(name, (_curve(tags[b"kTRC"]),), None)
        if data[16:20] != b"RGB " or data[20:24] != b"XYZ ":
            return None
        curves = tuple(_curve(tags[tag]) for tag in (b"rTRC", b"gTRC", b"bTRC"))
        columns = [struct.unpack(">3i", tags[tag][8:20]) for tag in (b"rXYZ", b"gXYZ", b"bXYZ")]
    except (KeyError, struct.error, ValueError, IndexError):
        return None
    matrix = np.array(columns).T / 65536.0
    return IccProfile(name, curves, matrix) if abs(np.linalg.det(matrix)) > 1e-4 else None


def _tags(data: bytes) -> dict[bytes, bytes]:
    if data[36:40] != b"acsp":
        raise ValueError("not a profile")
    (count,) = struct.unpack(">I", data[128:132])
    found = {}
    for index in range(min(count, 200)):
        signature, start, size = struct.unpack(">4sII", data[132 + 12 * index : 144 + 12 * index])
        found[signature] = data[start : start + size]
    return found


def _curve(tag: bytes) -> Curve:
    if tag[:4] == b"para":
        return _parametric(tag)
    if tag[:4] != b"curv":
        raise ValueError("no curve")
    (count,) = struct.unpack(">I", tag[8:12])
    if count < 2:
        exponent = struct.unpack(">H", tag[12:14])[0] / 256.0 if count else 1.0
        return lambda values: values**exponent
    table = np.frombuffer(tag, ">u2", count, 12).astype(np.float64) / 65535.0
    places = np.linspace(0.0, 1.0, count)
    return lambda values: np.interp(values, places, table)


def _parametric(tag: bytes) -> Curve:
    """ICC.1:2022, table 68."""
    kind = struct.unpack(">H", tag[8:10])[0]
    count = (1, 3, 4, 5, 7)[kind]
    g, *rest = (value / 65536.0 for value in struct.unpack(f">{count}i", tag[12 : 12 + 4 * count]))
    missing = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0][len(rest) :]
    a, b, c, d, e, f = rest + missing
    if kind in (1, 2):
        offset = c if kind == 2 else 0.0
        return lambda v: np.where(a * v + b >= 0, np.maximum(a * v + b, 0.0) ** g, 0.0) + offset
    if kind == 0:
        return lambda v: v**g
    return lambda v: np.where(v >= d, np.maximum(a * v + b, 0.0) ** g + e, c * v + f)


@lru_cache
def srgb_profile() -> bytes:
    """Make a profile of sRGB, for pictures that a screen shows: that of LittleCMS, the same at any time."""
    from PIL import ImageCms

    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    return bytes(made)


@lru_cache
def linear_srgb_profile() -> bytes:
    """Make a profile of the working space: the primaries of sRGB, light as it is."""
    own = srgb_profile()
    start = own.index(b"para") + 12  # g, a, b, c and d of its only curve
    as_it_is = own[:start] + struct.pack(">5i", 65536, 65536, 0, 65536, 0) + own[start + 20 :]
    return as_it_is.replace("sRGB built-in".encode("utf-16-be"), "Linear sRGB  ".encode("utf-16-be"))


# --- tables (scanners, printers, sRGB of version 4), by LittleCMS: with Pillow, 16 bits with imagecodecs -------------


def convert_by_profile(pixels: np.ndarray, profile: bytes, name: str) -> np.ndarray | None:
    """Convert RGB pixels, 8 or 16 bits, to sRGB; ``None``, with a warning, where the profile cannot be used."""
    try:
        if pixels.ndim < 3 or pixels.dtype not in (np.uint8, np.uint16) or profile[16:20] != b"RGB ":
            raise ValueError("no colours of 8 or 16 bits")
        colours = np.ascontiguousarray(pixels[..., :3])
        if colours.dtype == np.uint8:
            from PIL import Image

            found = _by_pillow(Image.fromarray(colours), profile)
        else:
            import imagecodecs

            spaces: dict[str, Any] = {"colorspace": "rgb", "outcolorspace": "rgb"}
            found = np.asarray(imagecodecs.cms_transform(colours, profile, srgb_profile(), **spaces))
    except Exception:  # LittleCMS refuses profiles in many ways, imagecodecs may be missing
        message = f"{name}: its ICC profile cannot be used; its colours are taken for sRGB. Export it with a profile "
        warnings.warn(message + "of matrix and curves, such as sRGB or Adobe RGB.", UserWarning, stacklevel=4)
        return None
    return np.concatenate([found, pixels[..., 3:]], axis=2)


def _by_pillow(picture: Any, profile: bytes) -> np.ndarray:
    from PIL import ImageCms

    own, srgb = (ImageCms.ImageCmsProfile(io.BytesIO(data)) for data in (profile, srgb_profile()))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return np.asarray(ImageCms.profileToProfile(picture, own, srgb, renderingIntent=intent, outputMode="RGB"))


def read_by_profile(path: Path, profile: bytes | None, page: int) -> np.ndarray | None:
    """Read a page in CMYK, by its profile, or in CIELAB, as sRGB of 8 bits; ``None`` where that cannot be done."""
    from PIL import Image, ImageCms

    try:
        with Image.open(path) as picture:
            picture.seek(page)
            if picture.mode == "LAB":
                profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
            elif picture.mode == "CMYK":
                profile = profile or picture.info.get("icc_profile")
            else:
                return None
            return _by_pillow(picture, profile) if profile else None
    except Exception:  # whatever is wrong is told by whoever reads the pixels
        return None
