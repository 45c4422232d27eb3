"""Encoding and colours of stored numbers, by the file's own word.

The working space is linear light of the sRGB primaries (Rec. 709, white D65). A frame is merged in the primaries it
was stored with, so that a saturated channel stays one; the result is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from afunet_core.io.icc import SRGB_D50, parse_profile

# x and y of red, green, blue and white: the working space.
SRGB_CHROMATICITIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)

_P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290)
REC2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
_ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.3290)
_KNOWN = {
    "Display P3": _P3,
    "Rec. 2020": REC2020,
    "Adobe RGB (1998)": _ADOBE,
    "ProPhoto RGB": (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001, 0.3457, 0.3585),
    "ACES 2065-1": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "ACEScg": (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767),
}
# ITU-T H.273, table 2; those of 1, 5 to 7 are within what a screen shows alike.
_CICP_PRIMARIES = {9: REC2020, 11: (*_P3[:6], 0.314, 0.351), 12: _P3}

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SAME = 0.01  # largest difference of two matrices that mean the same colours; profiles are rounded to 16 bits and older

Decoder = Callable[[np.ndarray], np.ndarray]

PQ_WHITE = 203.0  # cd/m² of diffuse white in PQ and HLG pictures: ITU-R BT.2408
PQ = (0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875)  # m1, m2, c1, c2 and c3 of SMPTE ST 2084


@dataclass(frozen=True)
class ColourEncoding:
    """Relation of a file's numbers to light and to colours."""

    encoding: str | None  # ``"gamma"``, ``"srgb"`` or ``"linear"`` where one of these says it, else ``None``
    source: str = ""  # the words for messages: where this is stated
    decode: Decoder | None = None  # from stored values in [0, 1] to light, where ``encoding`` cannot say it
    # linear RGB of the file to linear sRGB, 3×3; ``None`` where they are the same or not stated
    to_srgb: np.ndarray | None = None
    space: str = "sRGB"  # the name of the file's colours
    camera: Mapping[str, Any] | None = None  # of a raw file, the colours of its camera as a DNG states them

    def as_dict(self) -> dict[str, Any] | None:
        """Name and matrix of colours other than sRGB, for the metadata of brackets and layers; else ``None``."""
        if self.to_srgb is None:
            return None
        found = {"space": self.space, "source": self.source, "to_srgb": self.to_srgb.tolist()}
        return found if self.camera is None else {**found, "camera": dict(self.camera)}


def colour_from_attributes(attributes: Mapping[str, Any], profile: bytes | None) -> ColourEncoding | None:
    """Find what a file states: its ICC profile, code points (CICP), chunks or EXIF; ``None`` where it is silent."""
    if attributes.get("CICP"):
        primaries, transfer = (int(code) for code in attributes["CICP"][:2])
        matrix = primaries_to_srgb(_CICP_PRIMARIES.get(primaries, SRGB_CHROMATICITIES))
        return _stated(
            _CICP_TRANSFERS.get(transfer, _decode_bt709), matrix, f"its code points ({primaries}, {transfer})"
        )
    found = parse_profile(profile) if profile else None
    if found is not None:
        matrix = None if found.to_xyz is None else np.linalg.inv(SRGB_D50) @ found.to_xyz
        source = f"its ICC profile ({found.name or 'without a name'})"
        return _stated(_of_channels(found.curves), matrix, source, found.name)
    if "png:srgb" in attributes:
        return ColourEncoding("srgb", "its sRGB chunk")
    if "png:gamma" in attributes:
        gamma = attributes["png:gamma"]
        return _stated(lambda v: v ** (1.0 / gamma), None, f"its gAMA chunk ({gamma:.4g})")
    if "chromaticities" in attributes:
        values = tuple(float(value) for value in attributes["chromaticities"])
        return _stated(_as_it_is, primaries_to_srgb(values) if len(values) == 8 else None, "its chromaticities")
    if attributes.get("Exif:ColorSpace") == 1:
        return ColourEncoding("srgb", "EXIF ColorSpace")
    interoperability = str(attributes.get("Exif:InteroperabilityIndex", ""))
    if interoperability.startswith("R03") or attributes.get("Exif:ColorSpace") == 2:
        return ColourEncoding("gamma", "EXIF", None, primaries_to_srgb(_ADOBE), "Adobe RGB (1998)")
    return None


def _stated(decode: Decoder, matrix: np.ndarray | None, source: str, space: str = "") -> ColourEncoding:
    """The name of a curve where it has one; a matrix where it is not that of sRGB."""
    values = np.linspace(0.0, 1.0, 256)
    names = {"linear": values, "gamma": values**2.2, "srgb": decode_srgb(values)}
    # Half a step of 8 bits; Adobe's 2.19921875 is within it.
    encoding = next((name for name, expected in names.items() if np.abs(decode(values) - expected).max() < 0.002), None)
    curve = decode if encoding is None else None
    if matrix is None or np.abs(matrix - np.eye(3)).max() < _SAME:
        return ColourEncoding(encoding, source, curve)
    return ColourEncoding(encoding, source, curve, matrix, space or _space_of(matrix))


def _of_channels(curves: tuple[Decoder, ...]) -> Decoder:
    """One decoder of H×W or H×W×C from a curve a channel; alpha stays as it is."""

    def decode(values: np.ndarray) -> np.ndarray:
        if values.ndim < 3 or len(curves) == 1:
            return curves[min(1, len(curves) - 1)](values)
        coloured = [curve(values[..., index]) for index, curve in enumerate(curves)]
        return np.stack([*coloured, *np.moveaxis(values[..., 3:], -1, 0)], axis=-1)

    return decode


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values


def decode_srgb(values: np.ndarray) -> np.ndarray:
    """Light of stored values in [0, 1], by IEC 61966-2-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _decode_pq(values: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, in units of diffuse white."""
    m1, m2, c1, c2, c3 = PQ
    power = np.maximum(values, 0.0) ** (1 / m2)
    light = np.maximum(power - c1, 0.0) / (c2 - c3 * power)
    return 10000.0 / PQ_WHITE * light ** (1 / m1)


def _decode_hlg(values: np.ndarray) -> np.ndarray:
    """ARIB STD-B67 without the display's own gamma, so that diffuse white (0.75) is 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    return light / ((np.exp((0.75 - c) / a) + b) / 12)


def _decode_bt709(values: np.ndarray) -> np.ndarray:
    return np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))


# ITU-T H.273, table 3; all others are within what BT.709 looks like.
_CICP_TRANSFERS = {2: decode_srgb, 4: lambda v: v**2.2, 8: _as_it_is, 13: decode_srgb, 16: _decode_pq, 18: _decode_hlg}


def primaries_to_srgb(chromaticities: tuple[float, ...]) -> np.ndarray | None:
    """Linear RGB of these primaries to linear sRGB, whites adapted (Bradford); ``None`` for impossible ones."""
    try:
        with np.errstate(all="ignore"):
            (own, white), (srgb, target) = (
                _to_xyz(np.reshape(x, (4, 2))) for x in (chromaticities, SRGB_CHROMATICITIES)
            )
            gains = (_BRADFORD @ target) / (_BRADFORD @ white)
            adapt = np.linalg.inv(_BRADFORD) @ (gains[:, None] * _BRADFORD)
            matrix = np.linalg.inv(srgb) @ adapt @ own
    except np.linalg.LinAlgError:
        return None
    return matrix if np.isfinite(matrix).all() else None


def _to_xyz(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = pairs.T
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    white = columns[:, 3]
    return columns[:, :3] * np.linalg.solve(columns[:, :3], white), white


def _space_of(matrix: np.ndarray) -> str:
    for name, chromaticities in _KNOWN.items():
        known = primaries_to_srgb(chromaticities)
        if known is not None and np.abs(known - matrix).max() < _SAME:
            return name
    return "primaries of its own"


def decode_pixels(pixels: np.ndarray, colour: ColourEncoding) -> np.ndarray:
    """Light of stored pixels, float32: of a file whose curve has no name."""
    assert colour.decode is not None
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        top = np.iinfo(pixels.dtype).max
        codes = np.arange(top + 1) / top
        table = colour.decode(np.repeat(codes[:, None, None], 4, axis=2))[:, 0].astype(np.float32)
        return table[pixels, np.minimum(np.arange(pixels.shape[2]), 3) if pixels.ndim == 3 else 1]
    scale = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0
    return colour.decode(pixels.astype(np.float64) / scale).astype(np.float32)
