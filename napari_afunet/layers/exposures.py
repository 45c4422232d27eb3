"""Exposure of a layer: from its metadata, its EXIF, or ``exposure.txt`` beside its file."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from napari.layers import Layer

from afunet_core.errors import AFUNetError
from afunet_core.io.exposure import Exposure, parse_exposure, relative_exposures
from afunet_core.io.exposure_list import read_exposure_list

_SECONDS_KEYS = ("exposure_time", "ExposureTime", "exposure_seconds", "exposure_time_s", "seconds")
_EV_KEYS = ("ev", "EV", "exposure_value")


@dataclass(frozen=True)
class LayerExposure:
    """Known exposure of one layer; ``ev`` is absolute, its zero is not important."""

    ev: float | None = None
    seconds: float | None = None
    origin: str = ""
    exif: Exposure | None = None

    @property
    def value(self) -> float | None:
        """One number to sort by: EV where known, else the logarithm of the time."""
        if self.ev is not None:
            return self.ev
        return math.log2(self.seconds) if self.seconds else None


def layer_exposure(layer: Layer) -> LayerExposure:
    """The exposure of a layer: from its metadata, else EXIF or ``exposure.txt`` of the file it came from."""
    known = _exposure_in(layer.metadata)
    if known is not None:
        return known
    path = getattr(layer.source, "path", None)
    return file_exposure(Path(str(path))) if path else LayerExposure()


def _exposure_in(metadata: Any) -> LayerExposure | None:
    if not isinstance(metadata, dict):
        return None
    ev, seconds = _first_number(metadata, _EV_KEYS), _first_number(metadata, _SECONDS_KEYS)
    if ev is None and not isinstance(metadata.get("exposure"), dict):
        seconds = seconds if seconds is not None else _number(metadata.get("exposure"))
    if seconds is not None and seconds <= 0:
        seconds = None
    if ev is not None or seconds is not None:
        return LayerExposure(ev, seconds, "layer metadata")
    for nested in ("exposure", "exif", "EXIF", "Exif"):
        found = _exposure_in(metadata.get(nested))
        if found is not None:
            return found
    return None


def _first_number(mapping: dict[str, Any], keys: Iterable[str]) -> float | None:
    return next((n for n in (_number(mapping.get(key)) for key in keys) if n is not None), None)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return parse_exposure(value)
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, int) for v in value) and value[1]:
        return value[0] / value[1]  # an EXIF rational
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def file_exposure(path: Path) -> LayerExposure:
    """Exposure of a picture file, without reading its pixels."""
    from afunet_core.bracket.folders import find_exposure_file

    try:
        listed = find_exposure_file(path.parent)
        changed = [file.stat().st_mtime_ns for file in (path, listed) if file is not None]
        return _read_file_exposure(path, listed, *changed)
    except (OSError, AFUNetError, ValueError, IndexError):
        return LayerExposure()


@lru_cache(maxsize=256)
def _read_file_exposure(path: Path, listed: Path | None, *changed: int) -> LayerExposure:
    """Read once, until a file changes: the view asks often."""
    from afunet_core.bracket.folders import list_bracket_folder
    from afunet_core.io.read import read_exposure

    if listed is not None:  # written for this bracket, so it knows better than the camera
        frames = [frame.name for frame in list_bracket_folder(path.parent)]
        return LayerExposure(ev=read_exposure_list(listed).ev[frames.index(path.name)], origin=listed.name)
    exposure = read_exposure(path)
    return LayerExposure() if exposure is None else LayerExposure(None, exposure.seconds, "EXIF", exposure)


def common_exposures(known: Sequence[LayerExposure]) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """EV or seconds of all frames, whichever all of them have; ``(None, None)`` when some exposure is unknown.

    Where aperture or sensitivity differ between the frames, seconds alone would be wrong: then it is EV.
    """
    evs, seconds = [e.ev for e in known], [e.seconds for e in known]
    exif = [e.exif for e in known if e.exif is not None]
    if len(exif) == len(known) and len({(e.f_number, e.iso) for e in exif}) > 1:
        return tuple(math.log2(value) for value in relative_exposures(exif)), None
    if None not in seconds:
        return None, tuple(float(value) for value in seconds if value is not None)
    return (tuple(float(value) for value in evs if value is not None) if None not in evs else None), None


def stack_exposures(layer: Layer, count: int) -> list[LayerExposure]:
    """Exposures of the planes of one layer: from its metadata (``ev``, ``exposure_times`` …) or an ``exposure.txt``."""
    from afunet_core.bracket.folders import find_exposure_file

    keys = [(key + plural, key in _EV_KEYS) for key in (*_EV_KEYS, *_SECONDS_KEYS, "exposure") for plural in ("", "s")]
    for key, is_ev in keys:
        values = layer.metadata.get(key)
        if isinstance(values, Iterable) and not isinstance(values, (str, dict)):
            numbers = [_number(value) for value in values]
            if len(numbers) == count and None not in numbers:
                ev, seconds = (numbers, [None] * count) if is_ev else ([None] * count, numbers)
                return [LayerExposure(e, s, "layer metadata") for e, s in zip(ev, seconds, strict=True)]
    path = layer.source.path or layer.metadata.get("path")
    try:
        listed = find_exposure_file(Path(str(path)).parent) if path else None
        found = read_exposure_list(listed).ev if listed else []
    except (OSError, AFUNetError):
        found = []
    if len(found) == count:
        return [LayerExposure(ev=ev, origin="exposure.txt") for ev in found]
    return [LayerExposure()] * count
