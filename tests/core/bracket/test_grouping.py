"""Brackets found among a camera's pictures, whose EXIF the test writes."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL.TiffImagePlugin import IFDRational

from afunet_core.bracket.grouping import Shot, group_folder, group_shots, read_shot
from afunet_core.errors import ArgumentError, ImageFileError
from afunet_core.io.exposure import Exposure
from scenes import save_photo

NOON = datetime(2026, 6, 21, 12)


def shoot(path: Path, at: float, seconds: float | None, *, f_number: float = 8.0, model: str = "One") -> None:
    """A JPEG taken ``at`` seconds past noon."""
    moment = NOON + timedelta(seconds=at)
    fields = {0x9003: moment.strftime("%Y:%m:%d %H:%M:%S"), 0x9291: f"{moment.microsecond // 10000:02d}"}
    if seconds is not None:
        fields |= {0x829D: IFDRational(round(f_number * 10), 10), 0x8827: 100}
    level = 40 if seconds is None else int(255 * min(1.0, 5 * seconds) ** (1 / 2.2))
    time = seconds and Fraction(round(seconds * 10000), 10000)
    save_photo(path, np.full((8, 12, 3), level, np.uint8), time, fields, model=model)


def found(folder: Path) -> tuple[list[str], str]:
    """Names without suffix: brackets, then singles."""
    grouping = group_folder(folder)
    *brackets, single = ("".join(path.stem for path in group) for group in [*grouping.brackets, grouping.single])
    return brackets, single


def test_mixed_folder(tmp_path: Path) -> None:
    """Two brackets one right after the other, a single shot, a bracket of two, and a picture without exposure."""
    times = {"a": (0, 0.01), "b": (0.5, 0.0025), "c": (1, 0.04), "d": (1.5, 0.01), "e": (2, 0.0025), "f": (2.5, 0.04)}
    times |= {"g": (60, 0.01), "h": (120, 0.01), "i": (121, 0.04)}
    for name, (at, seconds) in times.items():
        shoot(tmp_path / f"{name}.jpg", at, seconds)
    shoot(tmp_path / "j.jpg", 121.5, None)
    assert found(tmp_path) == (["abc", "def", "hi"], "gj")


LIMITS = (0.004, 0.001, 0.000125, 0.000125, 0.016)


@pytest.mark.parametrize(
    ("moments", "pause", "sizes"),
    [
        (((0, 0.01), (1, 0.04), (8, 0.16)), 2, [2]),  # a pause separates
        (((0, 0.01), (1, 0.04), (8, 0.16)), 10, [3]),
        (((0, 2), (3, 8), (12, 32)), 2, [3]),  # long exposures take their time
        (((0, 8), (16, 2), (20, 30)), 2, [3]),  # dark frames double it
        ([(i * 0.5, t) for i, t in enumerate(LIMITS)], 2, [5]),  # the camera could not go shorter than 1/8000 s
        ([(i * 0.2, 0.01) for i in range(6)], 2, []),  # a burst of one exposure
    ],
)
def test_pauses_and_repeated_exposures(moments: list[tuple[float, float]], pause: float, sizes: list[int]) -> None:
    shots = [
        Shot(Path(f"{i:02d}.jpg"), NOON + timedelta(seconds=start), Exposure(seconds))
        for i, (start, seconds) in enumerate(moments)
    ]
    assert [len(bracket) for bracket in group_shots(shots, pause)] == sizes


@pytest.mark.parametrize("change", [{"f_number": 4.0}, {"model": "Two"}, {}])
def test_another_aperture_or_camera_is_another_set(tmp_path: Path, change: dict[str, float]) -> None:
    """And the order of names does not matter."""
    shoot(tmp_path / "b.jpg", 0, 0.01)
    shoot(tmp_path / "a.jpg", 1, 0.04, **change)  # type: ignore[arg-type]
    assert found(tmp_path) == (([], "ab") if change else (["ba"], ""))


def test_what_a_shot_says(tmp_path: Path) -> None:
    """Damaged pictures stand alone."""
    shoot(tmp_path / "a.jpg", 0.25, 0.01)
    shot = read_shot(tmp_path / "a.jpg")
    assert (shot.taken, shot.exposure) == (NOON + timedelta(seconds=0.25), Exposure(0.01, 8.0, 100.0))
    (tmp_path / "b.jpg").write_bytes(b"nothing")
    assert found(tmp_path) == ([], "ab")
    with pytest.raises(ImageFileError):
        group_folder(tmp_path / "missing")
    with pytest.raises(ArgumentError, match="pause"):
        group_folder(tmp_path, pause=-1)
