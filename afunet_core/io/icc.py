"""ICC profiles: matrix and curves read, small ones made, tables applied by LittleCMS.

References: ICC.1:2022, "Image technology colour management: architecture, profile format, and data structure".
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

Curve = Callable[[np.ndarray], np.ndarray]

D50 = (0.9642, 1.0, 0.8249)  # white of the profile connection space
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
    try:
        tags = _tags(data)
        name = _description(tags.get(b"desc", b""))
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


def _description(tag: bytes) -> str:
    if tag[:4] == b"desc":
        (length,) = struct.unpack(">I", tag[8:12])
        return tag[12 : 12 + length].split(b"\0")[0].decode("ascii", "replace")
    if tag[:4] == b"mluc":
        length, start = struct.unpack(">II", tag[20:28])
        return tag[start : start + length].decode("utf-16-be", "replace").rstrip("\0")
    return ""


def _curve(tag: bytes) -> Curve:
    if tag[:4] == b"para":
        return _parametric(tag)
    if tag[:4] != b"curv":
        raise ValueError("no curve")
    (count,) = struct.unpack(">I", tag[8:12])
    if count == 0:
        return lambda values: values
    if count == 1:
        exponent = struct.unpack(">H", tag[12:14])[0] / 256.0
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
def linear_srgb_profile() -> bytes:
    """Make a profile of the working space: sRGB primaries, light as it is."""
    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    return _profile("Linear sRGB", SRGB_D50, curve)


@lru_cache
def srgb_profile() -> bytes:
    """Make a profile of sRGB, for pictures that a screen shows."""
    parameters = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1
    curve = b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + struct.pack(">5i", *(round(p * 65536) for p in parameters))
    return _profile("sRGB", SRGB_D50, curve)


def _profile(name: str, matrix: np.ndarray, curve: bytes) -> bytes:
    """A display profile of version 4 from a matrix and one curve."""
    colours = zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T.tolist(), strict=True)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": _xyz(D50),
        **{tag: _xyz(column) for tag, column in colours},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    start = 132 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = bytearray(128)
    header[8:24] = b"\x04\x40\x00\x00mntrRGB XYZ "
    header[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    header[36:40] = b"acsp"
    header[68:80] = _xyz(D50)[8:]
    header[0:4] = struct.pack(">I", len(header) + len(table) + len(body))
    return bytes(header) + table + body


def _xyz(values: tuple[float, ...] | list[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded


# --- tables (scanners, printers, sRGB of version 4), by LittleCMS: with Pillow, 16 bits with imagecodecs -------------


def convert_by_profile(pixels: np.ndarray, profile: bytes, name: str) -> np.ndarray | None:
    """Convert RGB pixels, 8 or 16 bits, to sRGB; ``None``, with a warning, where the profile cannot be used."""
    found: np.ndarray | None = None
    is_rgb = pixels.ndim == 3 and pixels.shape[2] >= 3 and profile[16:20] == b"RGB "
    if is_rgb and pixels.dtype in (np.uint8, np.uint16):
        found = _converted(np.ascontiguousarray(pixels[..., :3]), profile)
    if found is None:
        message = f"{name}: its ICC profile cannot be used; its colours are taken for sRGB. Export it with a profile "
        warnings.warn(message + "of matrix and curves, such as sRGB or Adobe RGB.", UserWarning, stacklevel=4)
        return None
    return np.concatenate([found, pixels[..., 3:]], axis=2)


def _converted(pixels: np.ndarray, profile: bytes) -> np.ndarray | None:
    try:
        if pixels.dtype == np.uint8:
            from PIL import Image

            return _by_pillow(Image.fromarray(pixels), profile)
        import imagecodecs

        return np.asarray(
            imagecodecs.cms_transform(pixels, profile, srgb_profile(), colorspace="rgb", outcolorspace="rgb")
        )
    except Exception:  # LittleCMS refuses profiles in many ways, imagecodecs may be missing
        return None


def _by_pillow(picture: Image, profile: bytes) -> np.ndarray:
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
