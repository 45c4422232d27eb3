"""Raw files: a DNG that the test writes, developed by LibRaw. Other makers' formats are not tested here."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

import afunet_core as af
from afunet_core.bracket.grouping import group_folder
from afunet_core.errors import ArgumentError, DependencyError, ImageFileError
from afunet_core.io import read_exposure, read_raw
from afunet_core.io.raw import _exposure, read_raw_moment
from afunet_core.merging.batch import MergeJob, run_job
from scenes import BALANCE, CFA, write_dng

pytest.importorskip("rawpy")

PLAIN = {"method": "weighted", "align": "off"}
LEVELS = (((0,), 4095), ((512,), 16383), ((250, 256, 260, 254), 4095))


def scene(height: int = 64, width: int = 96) -> np.ndarray:
    """Sensor colours of a smooth ramp, 0 to 1."""
    x = np.linspace(0.01, 0.45, width)[None, :, None]
    return np.broadcast_to(x * np.array([0.5, 1.0, 0.66]), (height, width, 3))


def interior(pixels: np.ndarray) -> np.ndarray:
    return pixels[8:-8, 8:-8].astype(float) / 65535


@pytest.mark.parametrize(
    ("pattern", "black", "white"),
    [*((each, (256,), 4095) for each in CFA), *(("RGGB", black, white) for black, white in LEVELS)],
)
def test_order_of_the_filters_and_levels(tmp_path: Path, pattern: str, black: tuple[int, ...], white: int) -> None:
    path = write_dng(tmp_path / "a.dng", scene(), pattern=pattern, black=black, white=white)
    pixels, _, camera = read_raw(path, white_balance="none")
    np.testing.assert_allclose(interior(pixels), interior(scene() * 65535), atol=6e-3)
    assert camera["white_level"] == white
    assert sorted(camera["black_level"]) == sorted(black * (4 // len(black)))


def test_range_and_orientation(tmp_path: Path) -> None:
    """LibRaw has no negative light: what noise pushed below black becomes 0, as the documentation says."""
    dark = read_raw(write_dng(tmp_path / "dark.dng", 0 * scene(), offset=-0.02), white_balance="none")[0]
    full = read_raw(write_dng(tmp_path / "full.dng", 0 * scene() + 2), white_balance="none")[0]
    assert (dark.max(), full.min()) == (0, 65535)
    stated = write_dng(tmp_path / "a.dng", 0 * scene() + 2, white=3000, black=(512,))
    assert read_raw(stated, white_level=3000, white_balance="none")[0].min() == 65535  # it counts from zero
    lying = read_raw(write_dng(tmp_path / "a.dng", scene()), white_balance="none")[0]
    upright = read_raw(write_dng(tmp_path / "b.dng", scene(), orientation=6), white_balance="none")[0]
    np.testing.assert_array_equal(upright, np.rot90(lying, -1))


def test_the_moment_groups_raw_files(tmp_path: Path) -> None:
    for index, time in enumerate(((1, 400), (1, 100), (1, 25), (1, 100))):
        write_dng(tmp_path / f"{index}.dng", scene(), seconds=time)
    assert read_raw_moment(tmp_path / "0.dng") == datetime(2026, 6, 21, 12, 0, 5)
    grouping = group_folder(tmp_path)
    assert [[path.name for path in bracket] for bracket in grouping.brackets] == [["0.dng", "1.dng", "2.dng"]]
    assert [path.name for path in grouping.single] == ["3.dng"]


def test_camera_white_balance_makes_grey_grey(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.dng", scene())
    as_shot, _, camera = read_raw(path)
    np.testing.assert_allclose(np.array(camera["white_balance"][:3]) / camera["white_balance"][1], BALANCE, rtol=1e-3)
    as_sensor = interior(read_raw(path, white_balance="none")[0]).mean((0, 1))
    stated = interior(read_raw(path, white_balance=BALANCE)[0]).mean((0, 1))
    assert as_sensor[1] / as_sensor[0] == pytest.approx(2.0, rel=0.02)
    np.testing.assert_allclose(interior(as_shot).mean((0, 1)), stated, rtol=0.02)


CANON = (0.9, -0.23, -0.1, -0.65, 1.38, 0.3, -0.22, 0.31, 0.82)
"""From XYZ to the sensor, of the kind that real cameras have."""

COLOURS = np.array([[0.5, 0.4, 0.1], [0.1, 0.5, 0.2], [0.05, 0.1, 0.4], [0.4, 0.45, 0.35]])


def patches() -> np.ndarray:
    return np.repeat(np.repeat(COLOURS.reshape(2, 2, 3), 32, 0), 40, 1) * np.linspace(0.3, 1, 80)[:, None]


def developed(path: Path) -> np.ndarray:
    """The picture that LibRaw makes with the camera's white balance, in linear sRGB."""
    import rawpy

    with rawpy.imread(str(path)) as raw:
        options = {"gamma": (1, 1), "no_auto_bright": True, "output_bps": 16, "adjust_maximum_thr": 0.0}
        return interior(raw.postprocess(use_camera_wb=True, **options))


class TestColoursOfTheCamera:
    def test_the_matrix_takes_them_to_what_libraw_develops(self, tmp_path: Path) -> None:
        path = write_dng(tmp_path / "a.dng", patches(), matrix=CANON)
        image = af.read_image(path)
        assert image.colour is not None
        assert image.colour.to_srgb is not None
        light = interior(image.pixels) @ image.colour.to_srgb.T
        expected = developed(path)
        inside = (expected > 0.01).all(-1)
        np.testing.assert_allclose(light[inside], expected[inside], atol=2e-4)
        assert (light < -0.01).any()  # colours beyond sRGB are kept

    @pytest.mark.parametrize("half", [False, True])
    def test_a_dng_of_a_merge_develops_like_its_frames(self, tmp_path: Path, half: bool) -> None:
        files = []
        for factor, seconds in ((1, (1, 400)), (4, (1, 100))):
            files.append(write_dng(tmp_path / f"{factor}.dng", patches() * factor / 9, seconds, matrix=CANON))
        job = MergeJob("a", str(tmp_path / "out.dng"), tuple(map(str, files)), half=half, merge=PLAIN)
        run_job(job)
        expected, found = developed(files[1]), developed(tmp_path / "out.dng")
        clear = (expected > 0.05).all(-1) & (found < 0.99).all(-1)
        scale = np.median(found[clear] / expected[clear])
        np.testing.assert_allclose(found[clear] / scale, expected[clear], rtol=0.02)
        tags = tifffile.TiffFile(tmp_path / "out.dng").pages.first.tags
        assert tags[50721].value == tifffile.TiffFile(files[0]).pages.first.tags[50721].value  # its own ColorMatrix1
        neutral = np.array(tags[50728].value).reshape(3, 2)
        np.testing.assert_allclose(neutral[:, 0] / neutral[:, 1], 1 / np.array(BALANCE), rtol=1e-3)
        assert tags["Model"].value == "Camera"

    def test_one_white_balance_for_all_frames(self, tmp_path: Path) -> None:
        """A camera's automatic white balance may change within a bracket."""
        for i, balance in enumerate((BALANCE, (1.5, 1.0, 2.2))):
            write_dng(tmp_path / f"{i}.dng", scene() * 4**i / 4, (4**i, 400), balance=balance)
        merged = af.merge(af.Bracket.from_folder(tmp_path), method="weighted", align="off").radiance
        colours = merged[8:-8, 8:-8].mean((0, 1))
        np.testing.assert_allclose(colours / colours[1], [1, 1, 1], rtol=0.02)

    def test_the_flag_of_one_frame_that_differs(self, tmp_path: Path) -> None:
        light = scene() * np.linspace(0.2, 1, 64)[:, None, None]
        for i, turn in enumerate((1, 1, 3)):
            write_dng(tmp_path / f"{i}.dng", light * 2**i / 4, (2**i, 400), orientation=turn)
        with pytest.warns(UserWarning, match="orientation flag of 2"):
            bracket = af.Bracket.from_folder(tmp_path)
        brightest = bracket.frames[2][0, 1]
        assert brightest[50, 80] > brightest[10, 10]

    def test_sensitivity_counts_as_exposure(self, tmp_path: Path) -> None:
        """The merge has the scene's proportions beyond saturation."""
        light = scene() * 2
        for name, factor, seconds, iso in (("u", 1, (1, 400), 100), ("n", 4, (1, 100), 100), ("o", 16, (1, 100), 400)):
            write_dng(tmp_path / f"{name}.dng", np.clip(light * factor / 2, 0, 1), seconds, iso)
        bracket = af.Bracket.from_folder(tmp_path)
        assert bracket.encoding == "linear"
        assert bracket.times.tolist() == pytest.approx([1, 4, 16])
        ratio = interior(af.merge(bracket, method="weighted", align="off").radiance / light)[..., 1]
        np.testing.assert_allclose(ratio / np.median(ratio), 1.0, rtol=0.03)


def test_exposure_and_encoding(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.DNG", scene(), seconds=(1, 250), iso=400)
    image = af.read_image(path)
    assert image.encoding == "linear"
    assert image.exposure is not None
    assert (image.exposure.seconds, image.exposure.f_number, image.exposure.iso) == (1 / 250, 8.0, 400.0)
    assert read_exposure(path) == image.exposure
    of_libraw = SimpleNamespace(shutter_speed=1.0, aperture=1.0, iso_speed=0)  # by an empty ShutterSpeedValue
    assert _exposure(of_libraw, write_dng(path, scene(), seconds=(0, 1))) is None
    assert _exposure(of_libraw, write_dng(path, scene(), seconds=(1, 1))) is not None


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dng(tmp_path / "a.dng", scene())
    with pytest.raises(ArgumentError, match="white_balance"):
        read_raw(path, white_balance="sunny")
    with pytest.raises(ImageFileError):
        read_raw(tmp_path / "missing.cr2")
    (tmp_path / "b.nef").write_bytes(b"not a picture" * 100)
    with pytest.raises(ImageFileError, match="no raw file"):
        af.read_image(tmp_path / "b.nef")
    (tmp_path / "c.dng").write_bytes(path.read_bytes()[:900])
    with pytest.raises(ImageFileError):
        af.read_image(tmp_path / "c.dng")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(DependencyError, match=r"napari-afunet\[raw\]"):
        af.read_image(path)
