"""Brackets found among a camera's pictures, whose EXIF the test writes."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL.TiffImagePlugin import IFDRational

from afunet_core.bracket.grouping import group_folder, read_shot
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


def found(folder: Path, **options: float) -> tuple[list[str], str]:
    """Names without suffix: brackets, then singles."""
    grouping = group_folder(folder, **options)
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


def test_a_pause_separates(tmp_path: Path) -> None:
    for name, at, seconds in (("a", 0, 0.01), ("b", 1, 0.04), ("c", 8, 0.16)):
        shoot(tmp_path / f"{name}.jpg", at, seconds)
    assert found(tmp_path) == (["ab"], "c")
    assert found(tmp_path, pause=10) == (["abc"], "")


def test_long_exposures_take_their_time(tmp_path: Path) -> None:
    for name, at, seconds in (("a", 0, 2.0), ("b", 3, 8.0), ("c", 12, 32.0)):
        shoot(tmp_path / f"{name}.jpg", at, seconds)
    assert found(tmp_path) == (["abc"], "")


@pytest.mark.parametrize("change", [{"f_number": 4.0}, {"model": "Two"}])
def test_another_aperture_or_camera_is_another_set(tmp_path: Path, change: dict[str, float]) -> None:
    shoot(tmp_path / "a.jpg", 0, 0.01)
    shoot(tmp_path / "b.jpg", 1, 0.04, **change)  # type: ignore[arg-type]
    assert found(tmp_path)[0] == []


def test_order_of_names_does_not_matter(tmp_path: Path) -> None:
    for name, at, seconds in (("c", 0, 0.01), ("a", 0.3, 0.0025), ("b", 0.6, 0.04)):
        shoot(tmp_path / f"{name}.jpg", at, seconds)
    assert found(tmp_path) == (["cab"], "")


def test_what_a_shot_says(tmp_path: Path) -> None:
    shoot(tmp_path / "a.jpg", 0.25, 0.01)
    shot = read_shot(tmp_path / "a.jpg")
    assert shot.taken == NOON + timedelta(seconds=0.25)
    assert shot.exposure == Exposure(0.01, 8.0, 100.0)


def test_damaged_pictures_stand_alone(tmp_path: Path) -> None:
    shoot(tmp_path / "a.jpg", 0, 0.01)
    (tmp_path / "b.jpg").write_bytes(b"nothing")
    assert found(tmp_path) == ([], "ab")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError):
        group_folder(tmp_path / "missing")
    with pytest.raises(ArgumentError, match="pause"):
        group_folder(tmp_path, pause=-1)
