"""How much light a frame admitted: from its EXIF, or from the text file beside it."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, overload

from afunet_core.errors import ImageFileError


@dataclass(frozen=True)
class Exposure:
    """The exposure of one frame as its file states it.

    Args:
        seconds: exposure time.
        f_number: aperture, ``None`` where the file does not say.
        iso: sensitivity, ``None`` where the file does not say.

    Example:
        >>> Exposure(seconds=1 / 100, f_number=8.0, iso=200).value / Exposure(1 / 100, f_number=8.0, iso=100).value
        2.0
    """

    seconds: float
    f_number: float | None = None
    iso: float | None = None

    @property
    def value(self) -> float:
        """Relative light recorded, ``t · (ISO / 100) / N²``; what is not known counts as ISO 100 and N = 1."""
        return self.seconds * (self.iso or 100.0) / 100.0 / (self.f_number or 1.0) ** 2


def exposure_from_attributes(attributes: Mapping[str, Any]) -> Exposure | None:
    """The exposure in attributes as OpenImageIO names them, or ``None`` without a usable exposure time."""
    seconds = _positive(attributes.get("ExposureTime"))
    if seconds is None:
        return None
    iso = _positive(attributes.get("Exif:PhotographicSensitivity")) or _positive(attributes.get("Exif:ISOSpeedRatings"))
    return Exposure(_as_stated(seconds), _as_stated(_positive(attributes.get("FNumber"))), iso)


@overload
def _as_stated(number: float) -> float: ...
@overload
def _as_stated(number: float | None) -> float | None: ...
def _as_stated(number: float | None) -> float | None:
    """EXIF holds fractions, which arrive rounded to single precision: 0.0099999998 was 1/100."""
    if number is None:
        return None
    fraction = float(Fraction(number).limit_denominator(100_000))
    return fraction if math.isclose(fraction, number, rel_tol=1e-6) else number


def _positive(value: Any) -> float | None:
    """``value`` as a positive number; cameras and editors leave zeros, infinities and one-element lists in these
    fields."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


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
            warnings.warn(
                f"Only some frames state their {what}: it is ignored and exposure time alone counts for it. "
                "Give ev= or times= if it changed between the frames.",
                UserWarning,
                stacklevel=2,
            )
    use_aperture, use_iso = (None not in values for values in factors.values())
    return [
        Exposure(e.seconds, e.f_number if use_aperture else None, e.iso if use_iso else None).value for e in exposures
    ]


def read_exposure_file(path: str | Path) -> list[float]:
    """Exposure values (EV, stops) from a text file: one a line, in the natural order of the frames' file names.

    Commas and blanks separate too, empty lines and ``#`` comments are skipped.

    Raises:
        ImageFileError: the file is missing, not text, empty, or holds something which is not a number.
    """
    path = Path(path)
    advice = "Write one exposure value (EV) a line, in the order of the file names."
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read: {error.strerror or error}. {advice}") from error
    except UnicodeDecodeError as error:
        raise ImageFileError(f"{path}: is not a text file. {advice}") from error
    values = []
    for number, line in enumerate(text.splitlines(), start=1):
        for word in re.split(r"[,;\s]+", line.partition("#")[0].replace("\N{MINUS SIGN}", "-").strip()):
            if word:
                values.append(_exposure_value(word, f"{path}, line {number}", advice))
    if not values:
        raise ImageFileError(f"{path}: holds no exposure values. {advice}")
    return values


def _exposure_value(word: str, where: str, advice: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ImageFileError(f"{where}: {word!r} is not a number. {advice}")
    return value
