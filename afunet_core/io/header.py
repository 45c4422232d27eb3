"""Header fields of a picture, with those that OpenImageIO leaves out: PNG's chunks, DCF, the lines of Radiance."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.io.metadata import from_attributes, from_hdr_header, from_xmp

# Bytes in which the chunks before a PNG's pixels, a JPEG's segments and a Radiance header are sought.
LARGEST_HEADER = 2**20
# EXIF ColorSpace of everything but sRGB; cameras then say Adobe RGB by the interoperability index (DCF 2.0).
_UNCALIBRATED = 65535
_TAIL = 2**18  # bytes at the end of a file in which an AVIF of ours tells how it was made


def header_attributes(spec: Any, path: Path) -> tuple[dict[str, Any], bytes | None]:
    attributes, profile = {}, None
    for attribute in spec.extra_attribs:
        if attribute.name == "ICCProfile":
            profile = np.asarray(attribute.value).tobytes()
        elif not isinstance(attribute.value, np.ndarray) and not attribute.name.startswith("ICCProfile:"):
            attributes[attribute.name] = attribute.value
    if path.suffix.lower() == ".png":
        attributes |= _png_chunks(path)
    if attributes.get("Exif:ColorSpace") == _UNCALIBRATED and profile is None:
        attributes["Exif:InteroperabilityIndex"] = _interoperability(path)
    return attributes, profile


def _interoperability(path: Path) -> str:
    """The interoperability index, which OpenImageIO does not read."""
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


def radiance_scale(path: Path) -> np.ndarray:
    """The factors of red, green and blue that a Radiance file's EXPOSURE and COLORCORR state (Graphics Gems II)."""
    scale = np.ones(3)
    with path.open("rb") as file:
        header = file.read(LARGEST_HEADER).partition(b"\n\n")[0]
    for line in header.split(b"\n"):
        name, _, value = line.partition(b"=")
        if name.strip().upper() in (b"EXPOSURE", b"COLORCORR"):
            with contextlib.suppress(ValueError):
                numbers = np.array([float(word) for word in value.split()])
                if len(numbers) in (1, 3) and (numbers > 0).all() and np.isfinite(numbers).all():
                    scale = scale / numbers
    return scale if np.isfinite(scale).all() else np.ones(3)


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


def unusual_colours(attributes: dict[str, Any]) -> str | None:
    """The colour model of a picture, where it is neither RGB nor grey."""
    space = str(attributes.get("tiff:ColorSpace") or attributes.get("jpeg:ColorSpace") or "")
    return space if space in ("CMYK", "YCCK", "CIELAB", "ICCLAB", "ITULAB", "LOGL", "LOGLUV") else None


def warn_of_colours(path: Path, attributes: dict[str, Any]) -> None:
    """Tell of colours that could not be converted by a profile."""
    space = unusual_colours(attributes)
    if space is not None:
        message = f"{path.name} holds {space} colours, which were converted to RGB without a profile: light and colours"
        warnings.warn(f"{message} are approximate. Export it as RGB.", UserWarning, stacklevel=5)


def ends_of(path: Path) -> tuple[bytes, bytes]:
    """The beginning and the end of a file, where provenance stands."""
    with path.open("rb") as file:
        header = file.read(LARGEST_HEADER)
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL))
        return header, file.read()


def own_metadata(path: Path, attributes: dict[str, Any]) -> dict[str, Any]:
    """Read the dictionary given to :func:`~afunet_core.io.write_image`, by the attributes or elsewhere in the file."""
    suffix = path.suffix.lower()
    if suffix in (".hdr", ".pic"):
        return from_hdr_header(ends_of(path)[0])
    if suffix in (".jpg", ".jpeg", ".jfif", ".jpe", ".avif"):
        header, tail = ends_of(path)
        return from_xmp(tail if suffix == ".avif" else header) or from_attributes(attributes)
    own = from_xmp(xmp_packet(path)) if suffix in (".tif", ".tiff", ".dng") else {}
    return own or from_attributes(attributes)
