"""Brackets among the pictures of a camera folder, found by time and exposure.

A camera takes a bracket in one burst: the same camera, the same aperture, moments apart, each exposure unlike the
others of the set. A pause begins the next set, and so does an exposure that comes back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from afunet_core.bracket.folders import find_exposure_file, list_bracket_folder
from afunet_core.errors import ArgumentError, BracketError, ImageFileError
from afunet_core.io.exposure import Exposure, exposure_from_attributes
from afunet_core.io.formats import RAW_SUFFIXES
from afunet_core.io.natural_order import natural_key
from afunet_core.io.raw import read_raw_exposure, read_raw_moment
from afunet_core.io.read import read_attributes

__all__ = ["Grouping", "Shot", "group_folder", "group_shots", "read_shot", "refuse_several_brackets"]

# Seconds, beside the exposure itself, after which a shot belongs to another set. EXIF times count whole seconds.
PAUSE = 2.0
_SAME_EXPOSURE = 0.2  # stops; cameras bracket in steps of a third at least
# Seconds of exposure after which cameras take a dark frame as long, before the next shot can begin.
_NOISE_REDUCTION_FROM = 1.0
_MOST_REPEATED = 2


@dataclass(frozen=True)
class Shot:
    """One picture and what its file says."""

    path: Path  # the file
    taken: datetime | None  # when, or ``None`` where the file does not say
    exposure: Exposure | None  # or ``None``
    camera: tuple[Any, ...] = ()  # maker, model and type of the file: frames of a bracket have all in common


@dataclass(frozen=True)
class Grouping:
    """Brackets, each in the order in which it was taken, and the pictures that belong to none."""

    brackets: list[list[Path]]
    single: list[Path]


def group_folder(folder: str | Path, pause: float = PAUSE) -> Grouping:
    """Find the brackets among the pictures of a folder by their metadata; damaged pictures count as single.

    ``pause`` is the longest one between frames of a bracket, in seconds.
    """
    return group_shots([read_shot(path) for path in list_bracket_folder(folder)], pause)


def group_shots(shots: Sequence[Shot], pause: float = PAUSE) -> Grouping:
    """Find the brackets among shots.

    Example:
        >>> noon = datetime(2026, 6, 21, 12)
        >>> shots = [Shot(Path(f"{i}.jpg"), noon, Exposure(t)) for i, t in enumerate((0.01, 0.04, 0.0025, 0.01))]
        >>> grouping = group_shots(shots)
        >>> [len(bracket) for bracket in grouping.brackets], [path.name for path in grouping.single]
        ([3], ['3.jpg'])
    """
    if not (math.isfinite(pause) and pause >= 0):
        raise ArgumentError("pause", "seconds, 0 or more", pause)
    usable = [shot for shot in shots if shot.taken is not None and shot.exposure is not None]
    usable.sort(key=lambda shot: (shot.camera, shot.taken, natural_key(shot.path)))
    sets = [found for burst in _bursts(usable, pause) for found in _sets(burst)]
    brackets = [[shot.path for shot in found] for found in sets if len(found) > 1]
    taken = {path for bracket in brackets for path in bracket}
    brackets.sort(key=lambda bracket: natural_key(bracket[0]))
    return Grouping(brackets, [shot.path for shot in shots if shot.path not in taken])


def refuse_several_brackets(folder: str | Path, paths: Sequence[Path]) -> None:
    """Refuse a camera's folder with several brackets in it, which would become one picture of several scenes.

    A folder with an exposure list is taken at its word.
    """
    if find_exposure_file(folder) is not None:
        return
    found = group_shots([read_shot(path) for path in paths])
    if len(found.brackets) > 1:
        names = ", ".join(bracket[0].name for bracket in found.brackets[:4])
        raise BracketError(
            "folder",
            "the frames of one bracket",
            f"{len(found.brackets)} brackets taken one after the other in {folder} (they begin with {names})",
            "group_folder() tells them apart; override=True merges all as one.",
        )


def read_shot(path: str | Path) -> Shot:
    """Read what grouping needs to know of a file; a damaged one says nothing."""
    path = Path(path)
    try:
        if path.suffix.lower() in RAW_SUFFIXES:
            return _raw_shot(path)
        attributes = read_attributes(path)
    except ImageFileError:
        return Shot(path, None, None)
    taken = _moment(attributes)
    camera = tuple(str(attributes.get(name, "")) for name in ("Make", "Model"))
    return Shot(path, taken, exposure_from_attributes(attributes), (*camera, path.suffix.lower()))


def _raw_shot(path: Path) -> Shot:
    return Shot(path, read_raw_moment(path), read_raw_exposure(path), (path.suffix.lower(),))


def _bursts(shots: Sequence[Shot], pause: float) -> list[list[Shot]]:
    """Shots of one camera and aperture that follow each other without a pause."""
    bursts: list[list[Shot]] = []
    for shot in shots:
        if bursts and _follows(shot, bursts[-1][-1], pause):
            bursts[-1].append(shot)
        else:
            bursts.append([shot])
    return bursts


def _follows(shot: Shot, last: Shot, pause: float) -> bool:
    assert shot.taken is not None
    assert last.taken is not None
    assert shot.exposure is not None
    assert last.exposure is not None
    # Cameras note the time at which the exposure began, some at which it ended.
    lasting = max(shot.exposure.seconds, last.exposure.seconds)
    dark_frame = last.exposure.seconds if last.exposure.seconds >= _NOISE_REDUCTION_FROM else 0.0
    allowed = timedelta(seconds=pause + lasting + dark_frame)
    # Within a bracket the aperture stays; a photographer who turns it has begun anew.
    return (
        shot.camera == last.camera
        and shot.taken - last.taken <= allowed
        and shot.exposure.f_number == last.exposure.f_number
    )


def _sets(burst: Sequence[Shot]) -> list[list[Shot]]:
    """Split a burst where exposures come back.

    Two equal exposures one after the other are one set's where nothing else comes back: at the end of its dial a camera
    repeats the exposure that it cannot make longer or shorter.
    """
    levels: list[int] = []
    for shot in burst:
        known = [level for level, other in zip(levels, burst, strict=False) if _same_exposure(shot, other)]
        levels.append(known[0] if known else len(levels))
    runs = [level for index, level in enumerate(levels) if index == 0 or levels[index - 1] != level]
    once = len(runs) == len(set(runs)) and max(levels.count(level) for level in levels) <= _MOST_REPEATED
    if once and len(runs) > 1 and levels[0] != levels[min(1, len(levels) - 1)]:
        return [list(burst)]
    sets: list[list[Shot]] = []
    for shot in burst:
        if sets and not any(_same_exposure(shot, other) for other in sets[-1]):
            sets[-1].append(shot)
        else:
            sets.append([shot])
    return sets


def _same_exposure(shot: Shot, other: Shot) -> bool:
    return abs(_stops(shot) - _stops(other)) < _SAME_EXPOSURE


def _stops(shot: Shot) -> float:
    assert shot.exposure is not None
    return math.log2(shot.exposure.value)


def _moment(attributes: dict[str, Any]) -> datetime | None:
    """Find the moment of the photograph, to the fraction of a second where the camera notes it."""
    for name, fraction in (
        ("Exif:DateTimeOriginal", "Exif:SubsecTimeOriginal"),
        ("Exif:DateTimeDigitized", "Exif:SubsecTimeDigitized"),
        ("DateTime", "Exif:SubsecTime"),
    ):
        try:
            moment = datetime.strptime(str(attributes[name]).strip()[:19], "%Y:%m:%d %H:%M:%S")
        except (KeyError, ValueError):
            continue
        digits = str(attributes.get(fraction, "")).strip()
        return moment + timedelta(seconds=float(f"0.{digits}") if digits.isdigit() else 0.0)
    return None
