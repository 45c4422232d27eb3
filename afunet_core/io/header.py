"""Header of a picture: all that its file says beside the pixels, gathered once.

OpenImageIO reads it, but for the chunks of PNG about light, the interoperability index of DCF, and packets of XMP.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.io.colour import ColourEncoding, colour_from_attributes
from afunet_core.io.decode import check_file, main_pages, opened
from afunet_core.io.formats import HEIF_SUFFIXES
from afunet_core.io.heif import read_heif
from afunet_core.io.icc import convert_by_profile, parse_profile, srgb_profile
from afunet_core.io.radiance import radiance_primaries

# Bytes in which the chunks before a PNG's pixels and a JPEG's segments are sought.
LARGEST_HEADER = 2**20
# EXIF ColorSpace of everything but sRGB; cameras then say Adobe RGB by the interoperability index (DCF 2.0).
_UNCALIBRATED = 65535
# OpenImageIO's names of the types of integers; all others are read as floats.
_NUMPY_TYPES = {"uint": "uint32", "int": "int32", **{name: name for name in ("uint8", "uint16", "int8", "int16")}}
_UNUSUAL = frozenset({"CMYK", "YCCK", "CIELAB", "ICCLAB", "ITULAB", "LOGL", "LOGLUV"})


@dataclass(frozen=True)
class Header:
    """All that a picture's file says beside the pixels."""

    path: Path
    attributes: dict[str, Any]  # by their OpenImageIO names
    profile: bytes | None  # of the ICC
    shape: tuple[int, int] = (0, 0)  # H×W as stored
    kind: str = "uint8"  # numpy's name of the type of a number
    pages: tuple[int, ...] = (0,)  # those as large as the picture, itself first
    channels: tuple[int, ...] = (0, 1, 2)  # of the file, in the order R, G, B, A
    offset: tuple[int, int] = (0, 0)  # row and column of the first pixel in a larger canvas
    has_gain_map: bool = False  # a JPEG to which OpenImageIO applies it

    @property
    def orientation(self) -> int:
        """The EXIF flag, 1 to 8."""
        found = self.attributes.get("Orientation", 1)
        return found if found in range(2, 9) else 1

    @cached_property
    def table(self) -> bytes | None:
        """A profile of tables by which pixels are converted to sRGB; one that cannot be used is told."""
        if not self.profile or parse_profile(self.profile) is not None or self.unusual_colours:
            return None
        pixel = np.zeros((1, 1, len(self.channels)), self.kind)
        return None if convert_by_profile(pixel, self.profile, self.path.name) is None else self.profile

    @cached_property
    def colour(self) -> ColourEncoding | None:
        """Encoding and colours as the file states them, ``None`` where it is silent."""
        return colour_from_attributes(self.attributes, srgb_profile() if self.table else self.profile)

    @property
    def encoding(self) -> str | None:
        """The name of the encoding, by what is stated or else by the type of numbers; ``None`` when no name fits."""
        if self.colour is not None:
            return self.colour.encoding
        return {"float32": "linear", "uint8": "gamma", "uint16": "gamma"}.get(self.kind)

    @property
    def unusual_colours(self) -> str | None:
        """The colour model, where it is neither RGB nor grey."""
        space = str(self.attributes.get("tiff:ColorSpace") or self.attributes.get("jpeg:ColorSpace") or "")
        return space if space in _UNUSUAL else None


def read_header(path: str | Path) -> Header:
    """Read what a picture's file says, without its pixels."""
    path = Path(path)
    if path.suffix.lower() in HEIF_SUFFIXES:
        check_file(path)
        return Header(path, *read_heif(path, with_pixels=False)[1:])
    with opened(path) as source:
        pages, channels = main_pages(source, path)
        source.seek_subimage(pages[0], 0)
        spec = source.spec()
        kind = _NUMPY_TYPES.get(str(spec.format), "float32")
        kind_of_file = source.format_name()
    gain_map = kind_of_file == "jpeg" and kind == "float32"
    attributes: dict[str, Any] = {}
    profile = None
    for attribute in spec.extra_attribs:
        if attribute.name == "ICCProfile":
            profile = np.asarray(attribute.value).tobytes()
        elif not isinstance(attribute.value, np.ndarray) and not attribute.name.startswith("ICCProfile:"):
            attributes[attribute.name] = attribute.value
    if path.suffix.lower() == ".png":
        attributes |= _png_chunks(path)
    if kind_of_file == "hdr" and (primaries := radiance_primaries(path)) is not None:
        attributes["chromaticities"] = primaries
    if attributes.get("Exif:ColorSpace") == _UNCALIBRATED and profile is None:
        attributes["Exif:InteroperabilityIndex"] = _interoperability(path)
    shape, offset, kind = (spec.height, spec.width), (spec.y, spec.x), "uint8" if gain_map else kind
    return Header(path, attributes, profile, shape, kind, tuple(pages), tuple(channels), offset, gain_map)


def _interoperability(path: Path) -> str:
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(path) as picture:  # damage is told by whoever reads pixels
        return str(picture.getexif().get_ifd(0xA005).get(1, ""))
    return ""


def _png_chunks(path: Path) -> dict[str, Any]:
    """The chunks of a PNG about its encoding: OpenImageIO calls everything sRGB that does not say otherwise."""
    from PIL.PngImagePlugin import PngImageFile

    found: dict[str, Any] = {}
    with contextlib.suppress(Exception), PngImageFile(path) as picture:  # damage is told by whoever reads pixels
        if picture.info.get("gamma", 0) > 0:
            found["png:gamma"] = picture.info["gamma"]
        if "srgb" in picture.info:
            found["png:srgb"] = 1
    return found


def xmp_packet(path: Path) -> bytes:
    """The XMP packet of a file, wherever its format keeps it; empty where it has none."""
    from PIL import Image

    with contextlib.suppress(Exception):  # damage is told by whoever reads pixels
        if path.suffix.lower() in (".tif", ".tiff", ".dng"):
            import tifffile

            with tifffile.TiffFile(path) as file:
                packet = file.pages.first.tags[700].value
        else:
            with Image.open(path) as picture:
                packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
        return packet.encode() if isinstance(packet, str) else bytes(packet)
    return b""
