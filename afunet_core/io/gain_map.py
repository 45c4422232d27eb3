"""Gain-map JPEG: a picture for every screen that shows the real highlights on an HDR one.

Written both as Ultra HDR 1.1 (Android) and as ISO 21496-1 have it: the picture, and behind it a second JPEG of how many
times as bright each pixel is in HDR.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import ShapeError
from afunet_core.io.colour import decode_srgb
from afunet_core.io.decode import opened, part_pixels
from afunet_core.io.header import read_header
from afunet_core.io.metadata import to_xmp
from afunet_core.io.photograph import Photograph
from afunet_core.io.read import turned
from afunet_core.io.write import encode_pillow, replace_file, to_finite, xmp_segment

__all__ = ["read_hdr_rendition", "write_gain_map_jpeg"]

_ISO = b"urn:iso:std:iso:ts:21496:-1\0"
_ISO_VERSION = b"\0\0\0\0"
_HDRGM = 'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
_CONTAINER = (
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
)
# Added to both pictures before they are divided, so that black is no division by zero: Ultra HDR's own value.
_OFFSET = 1 / 64
_MOST_STOPS = 6.0  # headroom in stops; no screen has more, and eight bits of gain become too coarse
_MPF_HEADER = b"MPF\0"
_JPEG: dict[str, Any] = {"quality": 95, "subsampling": "4:4:4"}


def read_hdr_rendition(path: str | Path) -> np.ndarray | None:
    """Read what a gain-map JPEG shows on an HDR screen: linear sRGB light H×W×3, 1.0 at white; ``None`` of others."""
    path = Path(path)
    header = read_header(path)
    if not header.has_gain_map:
        return None
    with opened(path) as source:  # OpenImageIO applies the map and converts to linear sRGB
        return turned(part_pixels(source, 0, path, "float")[..., :3], header.orientation)


def write_gain_map_jpeg(
    path: str | Path,
    picture: np.ndarray,
    radiance: np.ndarray,
    metadata: Mapping[str, Any] | None = None,
    *,
    photograph: Photograph | None = None,
) -> None:
    """Write a display picture with the radiance behind it.

    The HDR rendition is the radiance itself, at the brightness at which its mid-tones are those of the picture.

    Args:
        path: destination, a ``.jpg``.
        picture: what other screens show, display-encoded (sRGB) H×W×3 or H×W in [0, 1].
        radiance: linear light of the same size, in any unit.
        metadata: anything JSON can hold.
        photograph: metadata of the reference frame.
    """
    if picture.shape != radiance.shape:
        raise ShapeError("radiance", f"the size of the picture, {picture.shape}", radiance.shape)
    base, light = (np.repeat(a[..., None], 3, 2) if a.ndim == 2 else a[..., :3] for a in (picture, radiance))
    codes = np.rint(np.clip(to_finite(base, 1.0), 0, 1) * 255).astype(np.uint8)
    sdr = decode_srgb(codes / 255.0)
    hdr = np.maximum(light, 0.0).astype(np.float64) * _mid_tone_gain(sdr, light)
    second = _encode_map(sdr, np.minimum(hdr, 2.0**_MOST_STOPS))
    data = _encode_base(codes, metadata or {}, photograph or Photograph({}, {}, {}), second)
    replace_file(Path(path), lambda temporary: temporary.write_bytes(data + second))


def _mid_tone_gain(sdr: np.ndarray, radiance: np.ndarray) -> float:
    """By what to multiply radiance so that its mid-tones are as bright as the picture's."""
    brightness, light = sdr.mean(-1), radiance.mean(-1)
    middle = (brightness > 0.03) & (brightness < 0.5) & (light > 0)
    if not middle.any():
        middle = light > 0
    return float(np.median(brightness[middle] / light[middle])) if middle.any() else 1.0


def _encode_map(sdr: np.ndarray, hdr: np.ndarray) -> bytes:
    """The second JPEG: log2 of how many times as bright, from ``low`` to ``high`` stops, one range for all channels."""
    stops = np.log2((hdr + _OFFSET) / (sdr + _OFFSET))
    low, high = float(min(stops.min(), 0.0)), float(max(stops.max(), 0.01))
    headroom = max(float(np.log2(max(hdr.max(), 1.0))), 0.01)
    attributes = (
        f'{_HDRGM} hdrgm:GainMapMin="{low:.6f}" hdrgm:GainMapMax="{high:.6f}" hdrgm:Gamma="1.0" '
        f'hdrgm:OffsetSDR="{_OFFSET}" hdrgm:OffsetHDR="{_OFFSET}" hdrgm:HDRCapacityMin="0" '
        f'hdrgm:HDRCapacityMax="{headroom:.6f}" hdrgm:BaseRenditionIsHDR="False"'
    )
    # ISO 21496-1, annex C: fractions of 32 bits, one channel for all, in the colour space of the picture.
    headrooms = struct.pack(">IIII", 0, 1, round(headroom * 10**6), 10**6)
    values = b"".join(struct.pack(">iI", round(v * 10**6), 10**6) for v in (low, high, 1.0, _OFFSET, _OFFSET))
    extra = xmp_segment(to_xmp({}, attributes)) + _segment(_ISO + _ISO_VERSION + b"\x40" + headrooms + values)
    pixels = np.rint((stops - low) / (high - low) * 255).astype(np.uint8)
    return encode_pillow(pixels, "JPEG", extra=extra, **_JPEG)


def _encode_base(codes: np.ndarray, metadata: Mapping[str, Any], photograph: Photograph, second: bytes) -> bytes:
    """The first JPEG, which tells where the second one is: by XMP, and by the index of CIPA DC-007 (MPF)."""
    items = "".join(
        f'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{name}" Item:Mime="image/jpeg"{more}/>'
        "</rdf:li>"
        for name, more in (("Primary", ""), ("GainMap", f' Item:Length="{len(second)}"'))
    )
    directory = f"<Container:Directory><rdf:Seq>{items}</rdf:Seq></Container:Directory>"
    extra = xmp_segment(to_xmp(metadata, f"{_HDRGM} {_CONTAINER}", directory))
    extra += _segment(_ISO + _ISO_VERSION) + _segment(_MPF_HEADER + _mpf_index(0, 0, 0))
    exif = photograph.to_exif(codes.shape[:2])
    data = encode_pillow(codes, "JPEG", extra=extra, exif=exif, **_JPEG)
    place = data.index(_MPF_HEADER) + len(_MPF_HEADER)
    index = _mpf_index(len(data), len(second), len(data) - place)
    return data[:place] + index + data[place + len(index) :]


def _mpf_index(first: int, second: int, start: int) -> bytes:
    """Two pictures: their lengths, and where the second starts, counted from this index."""
    entries = struct.pack("<IIIHHIIIHH", 0x030000, first, 0, 0, 0, 0, second, start, 0, 0)
    fields = struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, 2)
    fields += struct.pack("<HHII", 0xB002, 7, len(entries), 8 + 2 + 3 * 12 + 4)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 3) + fields + b"\0\0\0\0" + entries


def _segment(content: bytes) -> bytes:
    """A segment APP2 of a JPEG."""
    return b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content
