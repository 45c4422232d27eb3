"""Gain-map JPEG: a picture for every screen that shows the real highlights on an HDR one.

Written both as Ultra HDR 1.1 (Android) and as ISO 21496-1 have it: the picture, and behind it a second JPEG of how many
times as bright each pixel is in HDR. Both are read.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import ImageFileError, ShapeError
from afunet_core.io.atomic import write_atomically
from afunet_core.io.colour import decode_pixels, decode_srgb
from afunet_core.io.icc import srgb_profile
from afunet_core.io.metadata import to_xmp
from afunet_core.io.photograph import Photograph
from afunet_core.io.write import cannot_be_written, encode_pillow, to_finite, xmp_segment

__all__ = ["GainMap", "read_gain_map", "read_hdr_rendition", "write_gain_map_jpeg"]

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

_XMP_DEFAULTS = {"GainMapMin": 0.0, "GainMapMax": 1.0, "Gamma": 1.0, "OffsetSDR": _OFFSET, "OffsetHDR": _OFFSET}
_MPF_HEADER = b"MPF\0"


@dataclass(frozen=True)
class GainMap:
    """A gain map and how it is to be applied."""

    pixels: np.ndarray  # H×W×3 in [0, 1]; perhaps smaller than the picture
    low: tuple[float, ...]  # log2 gain of 0, for each channel, as all below
    high: tuple[float, ...]  # log2 gain of 1
    gamma: tuple[float, ...]  # of the values
    offset_sdr: tuple[float, ...]  # added to the picture
    offset_hdr: tuple[float, ...]  # added to the HDR rendition
    headroom: float  # stops above white for which the map applies in full

    def apply(self, sdr: np.ndarray) -> np.ndarray:
        """Turn a picture's linear light H×W×3, 1.0 its white, into the light of the HDR rendition."""
        gains = self._as_large_as(sdr) ** (1 / np.array(self.gamma))
        logarithms = np.array(self.low) + gains * (np.array(self.high) - np.array(self.low))
        return (sdr + np.array(self.offset_sdr)) * 2.0**logarithms - np.array(self.offset_hdr)

    def _as_large_as(self, picture: np.ndarray) -> np.ndarray:
        if self.pixels.shape[:2] == picture.shape[:2]:
            return self.pixels
        from PIL import Image

        size = picture.shape[1], picture.shape[0]
        channels = [Image.fromarray(self.pixels[..., c].astype(np.float32)) for c in range(3)]
        return np.stack([np.asarray(c.resize(size, Image.Resampling.BILINEAR)) for c in channels], axis=-1)


def write_gain_map_jpeg(
    path: str | Path,
    picture: np.ndarray,
    radiance: np.ndarray,
    metadata: Mapping[str, Any] | None = None,
    *,
    photograph: Photograph | None = None,
    quality: int = 95,
) -> None:
    """Write a display picture with the radiance behind it.

    The HDR rendition is the radiance itself, at the brightness at which its mid-tones are those of the picture.

    Args:
        path: destination, a ``.jpg``.
        picture: what other screens show, display-encoded (sRGB) H×W×3 or H×W in [0, 1].
        radiance: linear light of the same size, in any unit.
        metadata: anything JSON can hold.
        photograph: metadata of the reference frame.
        quality: of both JPEGs, 1 to 100.
    """
    if picture.shape != radiance.shape:
        raise ShapeError("radiance", f"the size of the picture, {picture.shape}", radiance.shape)
    base, light = (np.repeat(a[..., None], 3, 2) if a.ndim == 2 else a[..., :3] for a in (picture, radiance))
    codes = np.rint(np.clip(to_finite(base, 1.0), 0, 1) * 255).astype(np.uint8)
    sdr = decode_srgb(codes / 255.0)
    hdr = np.maximum(light, 0.0).astype(np.float64) * _mid_tone_gain(sdr, light)
    gain_map = _gain_map(sdr, np.minimum(hdr, 2.0**_MOST_STOPS))
    second = _encode_map(gain_map, quality)
    data = _encode_base(codes, metadata or {}, photograph, quality, second)
    try:
        write_atomically(path, lambda temporary: temporary.write_bytes(data + second))
    except OSError as error:
        raise cannot_be_written(Path(path), error) from error


def _mid_tone_gain(sdr: np.ndarray, radiance: np.ndarray) -> float:
    """By what to multiply radiance so that its mid-tones are as bright as the picture's."""
    brightness, light = sdr.mean(-1), radiance.mean(-1)
    middle = (brightness > 0.03) & (brightness < 0.5) & (light > 0)
    if not middle.any():
        middle = light > 0
    return float(np.median(brightness[middle] / light[middle])) if middle.any() else 1.0


def _gain_map(sdr: np.ndarray, hdr: np.ndarray) -> GainMap:
    logarithms = np.log2((hdr + _OFFSET) / (sdr + _OFFSET))
    low, high = float(min(logarithms.min(), 0.0)), float(max(logarithms.max(), 0.01))
    pixels = (logarithms - low) / (high - low)
    headroom = max(float(np.log2(max(hdr.max(), 1.0))), 0.01)
    return GainMap(pixels, (low,) * 3, (high,) * 3, (1.0,) * 3, (_OFFSET,) * 3, (_OFFSET,) * 3, headroom)


def _encode_map(gain_map: GainMap, quality: int) -> bytes:
    attributes = (
        f'{_HDRGM} hdrgm:GainMapMin="{gain_map.low[0]:.6f}" hdrgm:GainMapMax="{gain_map.high[0]:.6f}" '
        f'hdrgm:Gamma="1.0" hdrgm:OffsetSDR="{_OFFSET}" hdrgm:OffsetHDR="{_OFFSET}" hdrgm:HDRCapacityMin="0" '
        f'hdrgm:HDRCapacityMax="{gain_map.headroom:.6f}" hdrgm:BaseRenditionIsHDR="False"'
    )
    extra = xmp_segment(to_xmp({}, attributes)) + _segment(0xE2, _ISO + _iso_metadata(gain_map))
    pixels = np.rint(gain_map.pixels * 255).astype(np.uint8)
    return encode_pillow(pixels, "JPEG", quality=quality, subsampling="4:4:4", extra=extra)


def _encode_base(
    codes: np.ndarray, metadata: Mapping[str, Any], photograph: Photograph | None, quality: int, second: bytes
) -> bytes:
    """The first JPEG, which tells where the second one is: by XMP, and by the index of CIPA DC-007 (MPF)."""
    items = "".join(
        f'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{name}" Item:Mime="image/jpeg"{more}/>'
        "</rdf:li>"
        for name, more in (("Primary", ""), ("GainMap", f' Item:Length="{len(second)}"'))
    )
    directory = f"<Container:Directory><rdf:Seq>{items}</rdf:Seq></Container:Directory>"
    xmp = xmp_segment(to_xmp(metadata, f"{_HDRGM} {_CONTAINER}", directory))
    extra = xmp + _segment(0xE2, _ISO + _ISO_VERSION) + _segment(0xE2, _MPF_HEADER + _mpf_index(0, 0, 0))
    exif = (photograph or Photograph({}, {}, {})).to_exif(codes.shape[:2])
    options = {"exif": exif, "icc_profile": srgb_profile(), "subsampling": "4:4:4", "quality": quality}
    data = encode_pillow(codes, "JPEG", extra=extra, **options)
    place = data.index(_MPF_HEADER) + len(_MPF_HEADER)
    index = _mpf_index(len(data), len(second), len(data) - place)
    return data[:place] + index + data[place + len(index) :]


def _mpf_index(first: int, second: int, start: int) -> bytes:
    """Two pictures: their lengths, and where the second starts, counted from this index."""
    entries = struct.pack("<IIIHHIIIHH", 0x030000, first, 0, 0, 0, 0, second, start, 0, 0)
    fields = struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, 2)
    fields += struct.pack("<HHII", 0xB002, 7, len(entries), 8 + 2 + 3 * 12 + 4)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 3) + fields + b"\0\0\0\0" + entries


def _iso_metadata(gain_map: GainMap) -> bytes:
    """ISO 21496-1, annex C: fractions of 32 bits, one channel for all, in the colour space of the picture."""
    values = (gain_map.low[0], gain_map.high[0], gain_map.gamma[0], gain_map.offset_sdr[0], gain_map.offset_hdr[0])
    headrooms = struct.pack(">IIII", 0, 1, round(gain_map.headroom * 10**6), 10**6)
    return _ISO_VERSION + b"\x40" + headrooms + b"".join(struct.pack(">iI", round(v * 10**6), 10**6) for v in values)


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


# --- reading ---------------------------------------------------------------------------------------------------------


def read_hdr_rendition(path: str | Path) -> np.ndarray | None:
    """Read what a gain-map JPEG shows on an HDR screen: linear sRGB light H×W×3, 1.0 at white; ``None`` of others."""
    from afunet_core.io.read import read_image

    gain_map = read_gain_map(path)
    if gain_map is None:
        return None
    image = read_image(path)
    pixels = image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[..., None], 3, axis=2)
    if image.colour is not None and image.colour.decode is not None:
        light = decode_pixels(pixels, image.colour)
    else:
        light = decode_srgb(pixels / 255.0)
    hdr = gain_map.apply(light[..., :3])
    matrix = None if image.colour is None else image.colour.to_srgb
    return (hdr if matrix is None else hdr @ matrix.T).astype(np.float32)


def read_gain_map(path: str | Path) -> GainMap | None:
    """Read the gain map of a JPEG; ``None`` where it has none."""
    from PIL import Image

    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be opened: {error.strerror or error}.") from error
    for start in _further_pictures(data):
        second = data[start:]
        facts = _facts_of(second)
        if facts is None:
            continue
        try:
            pixels = np.asarray(Image.open(io.BytesIO(second)).convert("RGB")) / 255.0
        except Exception as error:  # codecs raise anything
            raise ImageFileError(f"{path}: its gain map is damaged: {error}.") from error
        return GainMap(pixels, **facts)
    return None


def _further_pictures(data: bytes) -> list[int]:
    """Find the places where further JPEGs begin: after the end of a picture, or where the container says."""
    starts = [match.start() + 2 for match in re.finditer(rb"\xff\xd9\xff\xd8\xff", data)]
    for length in re.findall(rb'Item:Length="(\d{1,10})"', data[: 2**20]):
        start = len(data) - int(length)
        if start > 0 and data[start : start + 3] == b"\xff\xd8\xff":
            starts.append(start)
    return starts


def _facts_of(second: bytes) -> dict[str, Any] | None:
    header = second[: 2**17]
    place = header.find(_ISO)
    if place >= 0:
        found = _from_iso(header[place + len(_ISO) :])
        if found is not None:
            return found
    return _from_xmp(header)


def _from_iso(data: bytes) -> dict[str, Any] | None:
    try:
        channels = 3 if data[4] & 0x80 else 1
        if data[4] & 0x08:  # one denominator for all
            (common,) = struct.unpack(">I", data[5:9])
            numbers = struct.unpack(f">II{5 * channels}i", data[9 : 9 + 4 * (2 + 5 * channels)])
            values = [number / common for number in numbers]
        else:
            pairs = struct.iter_unpack(">iI", data[5 : 5 + 8 * (2 + 5 * channels)])
            values = [numerator / denominator for numerator, denominator in pairs]
        table = np.array(values[2:]).reshape(channels, 5)
    except (struct.error, IndexError, ZeroDivisionError, ValueError):
        return None
    columns = [tuple(column) * (3 // channels) for column in table.T.tolist()]
    return _plausible(columns, values[1])


def _from_xmp(header: bytes) -> dict[str, Any] | None:
    text = header.decode("latin-1")
    if "hdrgm:GainMapMax" not in text:
        return None

    def stated(name: str, default: float) -> tuple[float, ...]:
        found = re.search(rf'hdrgm:{name}(?:="([^"]*)"|>(.*?)</hdrgm:{name}>)', text, re.DOTALL)
        numbers = [
            float(word)
            for word in re.findall(r"-?\d+(?:\.\d+)?(?:[eE]-?\d+)?", (found[1] or found[2]) if found else "")
        ]
        numbers = numbers or [default]
        return tuple(numbers[:3]) if len(numbers) >= 3 else (numbers[0],) * 3

    columns = [stated(name, default) for name, default in _XMP_DEFAULTS.items()]
    return _plausible(columns, stated("HDRCapacityMax", columns[1][0])[0])


def _plausible(columns: list[tuple[float, ...]], headroom: float) -> dict[str, Any] | None:
    low, high, gamma, offset_sdr, offset_hdr = columns
    numbers = np.array([*low, *high, *gamma, *offset_sdr, *offset_hdr, headroom])
    if not np.isfinite(numbers).all() or min(gamma) <= 0 or np.abs(numbers).max() > 64:
        return None
    names = ("low", "high", "gamma", "offset_sdr", "offset_hdr")
    return {**dict(zip(names, columns, strict=True)), "headroom": float(headroom)}
