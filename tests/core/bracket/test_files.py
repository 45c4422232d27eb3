"""Brackets from files as people have them: lists, flags, places, pages, masks, pairs and leftovers."""

from __future__ import annotations

import contextlib
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import afunet_core as af
from afunet_core.errors import BracketError
from afunet_core.io import Exposure, parse_exposure, read_exposure, read_exposure_list
from scenes import exif_of, save_photo, write_oiio

TIMES = (1, 4, 16)
EV = (0, 2, 4)


@pytest.fixture(scope="module")
def light() -> np.ndarray:
    """Linear light in blocks over two decades, 1.0 saturates the shortest frame."""
    rng = np.random.default_rng(1)
    x = np.mgrid[:60, :90][1]
    blocks = rng.random((10, 15)).repeat(6, 0).repeat(6, 1)
    return (0.9 * 10 ** (-2.0 + 2.0 * x / 90) * (0.4 + 0.6 * blocks))[..., None] * np.array([1, 0.8, 0.6])


def shoot(light: np.ndarray, time: float) -> np.ndarray:
    return np.rint(np.clip(light * time, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


def save_bracket(folder: Path, light: np.ndarray, suffix: str = ".png") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [save_photo(folder / f"{i}{suffix}", shoot(light, t), Fraction(t, 400)) for i, t in enumerate(TIMES)]


def merged(bracket: af.Bracket) -> np.ndarray:
    return af.merge(bracket, method="weighted", align="off", noise="photons").radiance


class TestExposures:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1/400s", 1 / 400), ("2.5ms", 0.0025), ("0,0025", 0.0025), ("−2", -2.0), ("+1 EV", 1.0), ("", None),
            ("1/30 sec", 1 / 30),
            (".5", 0.5), ("250 µs", 2.5e-4), ("1e400", None), ("1e9999999", None), ("1/0", None), ("soon", None),
            ("--2", None), ("250us", 2.5e-4), ("1e-3", 1e-3),
            ("1/1,000 s", 1e-3), ("1/1.000", 1e-3), ("1/2.5", 0.4), ("1/0.125", 8.0),
        ],
    )  # fmt: skip
    def test_as_people_write_them(self, text: str, value: float | None) -> None:
        assert parse_exposure(text) == (None if value is None else pytest.approx(value))

    def test_times_without_a_unit(self, tmp_path: Path) -> None:
        """Numbers a few hundredths apart are no stops."""
        (tmp_path / "exposure.txt").write_text("0.0025\n0.01\n0.04\n")
        with pytest.warns(UserWarning, match="taken as times in seconds"):
            found = read_exposure_list(tmp_path / "exposure.txt").ev
        assert found[2] - found[0] == pytest.approx(4)

    def test_names_decide_and_not_order(self, tmp_path: Path, light: np.ndarray) -> None:
        paths = save_bracket(tmp_path, light)
        (tmp_path / "exposure.txt").write_text("2.PNG 4\n0.png 0\n1.png 2\n")
        bracket = af.Bracket.from_files(paths)
        assert (bracket.names, bracket.times.tolist()) == (("0.png", "1.png", "2.png"), [1, 4, 16])

    @pytest.mark.parametrize(
        ("fields", "seconds", "f_number", "iso"),
        [
            ({0x9201: IFDRational(664386, 100000)}, 0.01, None, None),
            ({0x829A: IFDRational(1, 100), 0x9202: IFDRational(6, 1)}, 0.01, 8.0, None),
            ({0x829A: IFDRational(1, 100), 0x8827: 65535, 0x8830: 2, 0x8832: 102400}, 0.01, None, 102400),
            ({0x829A: IFDRational(1, 100), 0x8827: 400, 0x8832: 999}, 0.01, None, 400),
        ],
    )
    def test_other_fields_of_exif(
        self, tmp_path: Path, fields: dict, seconds: float, f_number: float | None, iso: float | None
    ) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif_of(None, fields))
        found = read_exposure(tmp_path / "a.jpg")
        assert found.seconds == pytest.approx(seconds, rel=1e-4)
        assert (found.f_number, found.iso) == (f_number and pytest.approx(f_number), iso)

    def test_exposure_compensation_alone(self, tmp_path: Path, light: np.ndarray) -> None:
        for i, t in enumerate(TIMES):
            save_photo(tmp_path / f"{i}.png", shoot(light, t), None, {0x9204: IFDRational(2 * i - 2, 1)})
        with pytest.warns(UserWarning, match="exposure compensation"):
            assert af.Bracket.from_folder(tmp_path).times.tolist() == [1, 4, 16]

    def test_microscopes(self, tmp_path: Path, light: np.ndarray) -> None:
        for i, t in enumerate(TIMES):
            plane = np.rint(np.clip(light[..., 0] * t, 0, 1) * 65535).astype(np.uint16)
            notes = {"Plane": {"ExposureTime": [10.0 * t], "ExposureTimeUnit": ["ms"]}}
            tifffile.imwrite(tmp_path / f"{i}.ome.tif", plane, ome=True, metadata={"axes": "YX", **notes})
        assert read_exposure(tmp_path / "0.ome.tif") == Exposure(0.01)
        assert af.Bracket.from_folder(tmp_path, encoding="linear").times.tolist() == pytest.approx([1, 4, 16])

    def test_steps_that_the_brightness_contradicts_are_told(self, light: np.ndarray) -> None:
        frames = [shoot(light, t) for t in (1, 2, 4)]
        with pytest.warns(UserWarning, match="contradicts their exposures"):
            af.Bracket(frames, ev=(-2, 0, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            af.Bracket([shoot(light, t) for t in TIMES], ev=EV)


@pytest.mark.parametrize(("last", "turns"), [(3, 0), (3, 2), (6, 1)])
def test_a_flag_is_compared_with_the_others(tmp_path: Path, light: np.ndarray, last: int, turns: int) -> None:
    """The last frame says that it lies upside down or on its side: it does, or the camera guessed, which is told."""
    for i, (t, flag) in enumerate(zip(TIMES, (1, 1, last), strict=True)):
        stored = np.rot90(shoot(light, t), turns if flag == last else 0)
        save_photo(tmp_path / f"{i}.jpg", stored, Fraction(t, 400), orientation=flag)
    with contextlib.nullcontext() if turns else pytest.warns(UserWarning, match=r"orientation flag of 2\.jpg"):
        bracket = af.Bracket.from_folder(tmp_path)
    np.testing.assert_allclose(np.median(merged(bracket) / light), 1, rtol=0.05)


class TestMasks:
    def test_transparent_borders_do_not_darken(self, tmp_path: Path, light: np.ndarray) -> None:
        for i, (t, left) in enumerate(zip(TIMES, (0, 0, 15), strict=True)):
            alpha = np.full(light.shape[:2], 255, np.uint8)
            alpha[:, :left] = 0
            stored = shoot(light, t)
            stored[alpha == 0] = 0
            tifffile.imwrite(tmp_path / f"{i}.tif", np.dstack([stored, alpha]), photometric="rgb", extrasamples=(2,))
        result = merged(af.Bracket.from_files(sorted(tmp_path.iterdir()), ev=EV))
        np.testing.assert_allclose(np.median((result / light)[:, :15]), 1, rtol=0.05)

    def test_what_no_other_frame_recorded_is_told(self, light: np.ndarray) -> None:
        frames = []
        for t, right in zip(TIMES, (15, 0, 0), strict=True):
            alpha = np.full((*light.shape[:2], 1), 255, np.uint8)
            alpha[:, 90 - right :] = 0
            frames.append(np.concatenate([shoot(light, t), alpha], axis=2))
        with pytest.warns(UserWarning, match="is transparent in part"):
            af.Bracket(frames, ev=EV)

    @pytest.mark.parametrize("kind", ["RGB", "Y", "tif"])
    def test_windows_of_one_canvas(self, tmp_path: Path, light: np.ndarray, kind: str) -> None:
        """Three windows of one picture, each stating its place (data window, TIFF position), lie where they belong."""
        for i, (t, x, y) in enumerate(zip(TIMES, (0, 5, 10), (0, 2, 4), strict=True)):
            part = np.clip(light * t, 0, 1)[y : y + 50, x : x + 75, : len(kind)].astype(np.float32)
            if kind == "tif":
                tags = [(286, 5, 1, (x, 72), True), (287, 5, 1, (y, 72), True)]
                place: dict[str, Any] = {"metadata": None, "resolution": (72, 72), "extratags": tags}
                tifffile.imwrite(tmp_path / f"{i}.tif", part.copy(), photometric="rgb", **place)
            else:
                window = {"x": x, "y": y, "full_width": 90, "full_height": 60}
                write_oiio(tmp_path / f"{i}.exr", ("", kind, part), **window)
        result = merged(af.Bracket.from_folder(tmp_path, ev=EV))
        truth = light[:54, :85, 0] if kind == "Y" else light[:54, :85]
        assert result.shape == truth.shape
        inside = (slice(4, 50), slice(10, 75))
        np.testing.assert_allclose(result[inside], truth[inside], rtol=1e-3)


class TestPlanes:
    def test_a_stack_is_a_bracket(self, tmp_path: Path, light: np.ndarray) -> None:
        planes = np.stack([shoot(light[..., 0], t) for t in TIMES])
        tifffile.imwrite(tmp_path / "stack.tif", planes, photometric="minisblack")
        bracket = af.Bracket.from_files([tmp_path / "stack.tif"], ev=EV)
        assert bracket.names == ("stack.tif [0]", "stack.tif [1]", "stack.tif [2]")
        np.testing.assert_allclose(np.median(merged(bracket) / light[..., 0]), 1, rtol=0.05)

    def test_planes_that_are_left_out_are_told(self, tmp_path: Path, light: np.ndarray) -> None:
        for i, t in enumerate(TIMES):
            plane = shoot(light[..., 0], t)
            tifffile.imwrite(tmp_path / f"{i}.tif", np.stack([plane, plane[::-1]]), photometric="minisblack")
        files = sorted(tmp_path.iterdir())
        with pytest.warns(UserWarning, match="only the first of 2 planes"):
            first = af.Bracket.from_files(files, ev=EV)
        second = af.Bracket.from_files(files, ev=EV, plane=1)
        np.testing.assert_array_equal(second.frames[0], first.frames[0].flip(-2))


class TestWhiteLevel:
    def counts(self, light: np.ndarray, top: int) -> list[np.ndarray]:
        return [np.minimum(np.rint(light[..., 0] * t * top), top).astype(np.uint16) for t in TIMES]

    def test_stated_or_found(self, light: np.ndarray) -> None:
        """A plateau below the top is found and told; auto finds it untold."""
        frames = self.counts(light, 3700)
        sensor: dict[str, Any] = {"times": TIMES, "encoding": "linear", "bit_depth": 12}
        with pytest.warns(UserWarning, match="saturates at 3700") as told:
            brackets = [af.Bracket(frames, **sensor)]
        assert len(told) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            brackets += [af.Bracket(frames, **sensor, white_level=level) for level in ("auto", 3700)]
        for bracket in brackets:
            assert bracket.scale == pytest.approx(3700)
            np.testing.assert_allclose(np.median(merged(bracket) / light[..., 0]), 1, rtol=0.01)

    def test_eight_bits_capped_at_235(self, light: np.ndarray) -> None:
        frames = [np.rint(np.clip(light * t, 0, 1) ** (1 / 2.2) * 235).astype(np.uint8) for t in TIMES]
        with pytest.warns(UserWarning, match="saturates at 235"):
            bracket = af.Bracket(frames, times=TIMES)
        np.testing.assert_allclose(np.median(merged(bracket) / light), 1, rtol=0.02)

    def test_a_white_wall_is_no_plateau(self) -> None:
        wall = np.full((40, 40), 0.04)
        wall[:, 20:] = 0.01
        frames = [np.rint(wall * t * 255).astype(np.uint8) for t in TIMES]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            af.Bracket(frames, times=TIMES, encoding="linear")

    @pytest.mark.parametrize("wrong", [0, -5, float("nan"), "high"])
    def test_refusals(self, light: np.ndarray, wrong: object) -> None:
        with pytest.raises(af.AFUNetError, match="white_level"):
            af.Bracket(self.counts(light, 4095), times=TIMES, encoding="linear", white_level=wrong)


def test_a_camera_folder_is_not_one_bracket(tmp_path: Path, light: np.ndarray) -> None:
    for scene in range(2):
        for i, t in enumerate(TIMES):
            taken = f"2026:06:01 12:{5 * scene:02d}:0{i}"
            picture = shoot(light[::-1] if scene else light, t)
            save_photo(tmp_path / f"{scene}{i}.jpg", picture, Fraction(t, 400), {0x9003: taken})
    with pytest.raises(BracketError, match=r"2 brackets taken one after the other.*group_folder"):
        af.Bracket.from_folder(tmp_path)
