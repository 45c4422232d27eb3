"""Exposures of frames: from EXIF and XMP, and as people write them."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_XMP_FIELDS = {
    "ExposureTime": b"ExposureTime",
    "FNumber": b"FNumber",
    "Exif:PhotographicSensitivity": b"(?:ISOSpeedRatings|PhotographicSensitivity)",
    "Exif:ShutterSpeedValue": b"ShutterSpeedValue",
}
_LARGEST_SHORT = 65535
_SENSITIVITIES = ("Exif:PhotographicSensitivity", "Exif:ISOSpeedRatings")
_WIDE_SENSITIVITIES = ("Exif:RecommendedExposureIndex", "Exif:StandardOutputSensitivity", "Exif:ISOSpeed")
_NUMBER = re.compile(
    r"(?P<number>[-+−–]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[-+]?\d{1,3})?)"
    r"(?:\s*/\s*(?:(?P<thousands>[1-9]\d{0,2}(?:[.,'’ ]\d{3})+)|(?P<below>\d+(?:[.,]\d*)?)))?"
    r"\s*(?P<unit>seconds?|secs?|s|ms|µs|μs|us|ev|stops?|\"|″)?",
    re.IGNORECASE,
)
_UNITS = {"ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6}


@dataclass(frozen=True)
class Exposure:
    """The exposure of one frame as its file states it."""

    seconds: float  # exposure time
    f_number: float | None = None  # aperture, ``None`` where the file does not say
    iso: float | None = None  # sensitivity, ``None`` where the file does not say

    @property
    def value(self) -> float:
        """Relative light recorded, ``t · (ISO / 100) / N²``; what is not known counts as ISO 100 and N = 1."""
        return self.seconds * (self.iso or 100.0) / 100.0 / (self.f_number or 1.0) ** 2


def exposure_from_attributes(attributes: Mapping[str, Any]) -> Exposure | None:
    """Find the exposure in attributes as OpenImageIO names them; ``None`` without a usable exposure time.

    Where the plain fields are missing, the APEX values (``t = 2^-Tv``, ``N = 2^(Av/2)``) are taken. A plain field and
    an APEX value that are both 0 were left empty: that is not 1 s at f/1.
    Sensitivities that the plain field cannot hold (65535 and more) are in the fields of EXIF 2.3.
    """
    apex = _power(-1.0, attributes.get("Exif:ShutterSpeedValue"), empty="ExposureTime" in attributes)
    seconds = _positive(attributes.get("ExposureTime")) or apex
    if seconds is None:
        return None
    apex = _power(0.5, attributes.get("Exif:ApertureValue"), empty="FNumber" in attributes)
    aperture = _positive(attributes.get("FNumber")) or apex
    f_number = None if aperture is None else _as_stated(aperture)
    return Exposure(_as_stated(seconds), f_number, _sensitivity(attributes))


def exposure_from_xmp(packet: bytes) -> Exposure | None:
    """Find the exposure in an XMP packet, where editors write it as fractions; ``None`` where it states none.

    Example:
        >>> exposure_from_xmp(b'<rdf:Description exif:ExposureTime="1/100" exif:FNumber="8/1"/>')
        Exposure(seconds=0.01, f_number=8.0, iso=None)
    """
    found = {
        name: re.search(rb"exif:" + field + rb"(?:=[\"']|>(?:\s|<[^>]*>)*)([\d./]{1,40})", packet)
        for name, field in _XMP_FIELDS.items()
    }
    stated = {name: match[1].decode() for name, match in found.items() if match}
    return exposure_from_attributes(stated)


def _sensitivity(attributes: Mapping[str, Any]) -> float | None:
    """ISO: the plain field is 16 bits wide and says 65535 for all that is above (EXIF 2.3, annex G)."""
    plain = next((iso for iso in (_positive(attributes.get(name)) for name in _SENSITIVITIES) if iso), None)
    if plain is not None and plain < _LARGEST_SHORT:
        return plain
    wide = [iso for iso in (_positive(attributes.get(name)) for name in _WIDE_SENSITIVITIES) if iso]
    return max(wide, default=plain) if plain is not None else next(iter(wide), None)


def _power(factor: float, apex: Any, empty: bool) -> float | None:
    """``2^(factor · apex)`` of an APEX value; 0 is no value where the plain field is ``empty``, nor are huge ones."""
    try:
        value = float(Fraction(apex) if isinstance(apex, str) else apex)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not math.isfinite(value) or abs(value) >= 40 or (empty and value == 0):
        return None
    return 2.0 ** (factor * value)


def _as_stated(number: float) -> float:
    """EXIF holds fractions, which arrive rounded to single precision: 0.0099999998 was 1/100."""
    fraction = float(Fraction(number).limit_denominator(100_000))
    return fraction if math.isclose(fraction, number, rel_tol=1e-6) else number


def _positive(value: Any) -> float | None:
    """A positive number; cameras and editors leave zeros, infinities and one-element lists in these fields."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    if isinstance(value, str):
        value = parse_exposure(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def parse_exposure(text: str) -> float | None:
    """Read a number as people write exposures: ``1/100``, ``0,01``, ``−2``, ``1/30 s``, ``400 ms``, ``+2 EV``.

    Returns:
        The number in stops or seconds, whichever it is; ``None`` where it is neither, or not finite.

    Example:
        >>> parse_exposure("1/4"), parse_exposure("400 ms"), parse_exposure("+2 EV"), parse_exposure("soon")
        (0.25, 0.4, 2.0, None)
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    thousands = re.sub(r"\D", "", found["thousands"] or "")  # 1/1,000: no camera has a thousandth of a part
    number, below = (
        float(part.replace(",", ".").replace("−", "-").replace("–", "-")) if part else 1.0
        for part in (found["number"], thousands or found["below"])
    )
    if below == 0:
        return None
    value = number / below * _UNITS.get((found["unit"] or "").lower(), 1.0)
    return value if math.isfinite(value) else None


def relative_exposures(exposures: Sequence[Exposure]) -> list[float]:
    """Light recorded by each frame, comparable among them.

    Aperture and sensitivity count only when every frame states them; when only some do, a warning says so.

    Example:
        >>> relative_exposures([Exposure(0.01, 8.0, 100), Exposure(0.04, 8.0, 100)])[1] / 0.01 * 64
        4.0
    """
    factors = {"aperture": [e.f_number for e in exposures], "ISO": [e.iso for e in exposures]}
    for what, values in factors.items():
        if None in values and any(value is not None for value in values):
            message = f"Only some frames state their {what}: it is ignored and exposure time alone counts for it."
            warnings.warn(f"{message} Give ev= or times= if it changed between the frames.", UserWarning, stacklevel=2)
    use_aperture, use_iso = (None not in values for values in factors.values())
    return [
        Exposure(e.seconds, e.f_number if use_aperture else None, e.iso if use_iso else None).value for e in exposures
    ]
