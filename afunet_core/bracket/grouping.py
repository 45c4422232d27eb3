"""Brackets among the pictures of a camera folder, found by time and exposure.

A camera takes a bracket in one burst: the same camera, the same aperture, moments apart, each exposure unlike the
others of the set. A pause begins the next set, and so does an exposure that comes back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from afunet_core.bracket.folders import find_exposure_file, list_bracket_folder
from afunet_core.errors import ArgumentError, BracketError, ImageFileError
from afunet_core.io.exposure import Exposure, exposure_from_attributes
from afunet_core.io.formats import RAW_SUFFIXES, natural_key
from afunet_core.io.header import read_header
from afunet_core.io.raw import read_raw_exposure, read_raw_moment

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
    taken: datetime
    exposure: Exposure
    camera: tuple[Any, ...] = ()  # maker, model and type of the file: frames of a bracket have all in common


class Grouping(NamedTuple):
    """Brackets, each in the order in which it was taken, and the pictures that belong to none."""

    brackets: list[list[Path]]
    single: list[Path]


def group_folder(folder: str | Path, pause: float = PAUSE) -> Grouping:
    """Find the brackets among the pictures of a folder by their metadata; damaged pictures count as single.

    ``pause`` is the longest one between frames of a bracket, in seconds.
    """
    paths = list_bracket_folder(folder)
    brackets = group_shots(filter(None, map(read_shot, paths)), pause)
    taken = {path for bracket in brackets for path in bracket}
    return Grouping(brackets, [path for path in paths if path not in taken])


def group_shots(shots: Iterable[Shot], pause: float = PAUSE) -> list[list[Path]]:
    """Find the brackets among shots."""
    if not (math.isfinite(pause) and pause >= 0):
        raise ArgumentError("pause", "seconds, 0 or more", pause)
    bursts: list[list[Shot]] = []
    for shot in sorted(shots, key=lambda shot: (shot.camera, shot.taken, natural_key(shot.path))):
        if bursts and _follows(shot, bursts[-1][-1], pause):
            bursts[-1].append(shot)
        else:
            bursts.append([shot])
    brackets = [[shot.path for shot in found] for burst in bursts for found in _sets(burst) if len(found) > 1]
    return sorted(brackets, key=lambda bracket: natural_key(bracket[0]))


def refuse_several_brackets(folder: str | Path, paths: Sequence[Path]) -> None:
    """Refuse a camera's folder with several brackets in it, which would become one picture of several scenes.

    A folder with an exposure list is taken at its word.
    """
    if find_exposure_file(folder) is not None:
        return
    brackets = group_shots(filter(None, map(read_shot, paths)))
    if len(brackets) > 1:
        names = ", ".join(bracket[0].name for bracket in brackets[:4])
        raise BracketError(
            "folder",
            "the frames of one bracket",
            f"{len(brackets)} brackets taken one after the other in {folder} (they begin with {names})",
            "group_folder() tells them apart; override=True merges all as one.",
        )


def read_shot(path: str | Path) -> Shot | None:
    """Read what grouping needs to know of a file; ``None`` where it does not say time and exposure, or is damaged."""
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        if suffix in RAW_SUFFIXES:
            taken, exposure, camera = read_raw_moment(path), read_raw_exposure(path), ("", "", suffix)
        else:
            attributes = read_header(path).attributes
            taken, exposure = _moment(attributes), exposure_from_attributes(attributes)
            camera = (str(attributes.get("Make", "")), str(attributes.get("Model", "")), suffix)
    except ImageFileError:
        return None
    return None if taken is None or exposure is None else Shot(path, taken, exposure, camera)


def _follows(shot: Shot, last: Shot, pause: float) -> bool:
    """Tell a shot of the same camera and aperture without a pause before it."""
    # Cameras note the time at which the exposure began, some at which it ended.
    lasting = max(shot.exposure.seconds, last.exposure.seconds)
    dark_frame = last.exposure.seconds if last.exposure.seconds >= _NOISE_REDUCTION_FROM else 0.0
    at_once = shot.taken - last.taken <= timedelta(seconds=pause + lasting + dark_frame)
    # Within a bracket the aperture stays; a photographer who turns it has begun anew.
    return at_once and shot.camera == last.camera and shot.exposure.f_number == last.exposure.f_number


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
    return abs(math.log2(shot.exposure.value / other.exposure.value)) < _SAME_EXPOSURE


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
