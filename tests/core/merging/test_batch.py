"""Jobs and batches: names, outputs, scales, stacks, and what happens to one bracket stays with it."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import afunet_core as af
from afunet_core.errors import ArgumentError, ImageFileError, MergeCancelled
from afunet_core.io import read_image, write_image
from afunet_core.io.atomic import remove_partial_files, write_atomically
from afunet_core.merging import batch
from afunet_core.merging.batch import MergeJob, attempt, folder_jobs, group_jobs, run_batch, run_job
from scenes import save_photo, write_bracket

PLAIN = {"method": "weighted", "align": "off", "noise": "photons"}


@pytest.fixture(scope="module")
def light() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.01, 0.2, (32, 36, 3)).astype(np.float32)


def write_frames(folder: Path, light: np.ndarray, ev: tuple[float, ...] = (0, 2)) -> list[str]:
    return write_bracket(folder, [light * np.float32(2.0**stops) for stops in ev], ev)


def job_of(files: list[str], output: Path, **more: object) -> MergeJob:
    return MergeJob(output.name, str(output), files=tuple(files), merge=PLAIN, **more)  # type: ignore[arg-type]


def test_a_batch_is_cancelled_between_reports_of_progress(tmp_path: Path, light: np.ndarray) -> None:
    files = write_frames(tmp_path / "a", light)
    jobs = [job_of(files, tmp_path / f"{name}.exr") for name in ("first", "second")]
    asked = iter(range(10**6))
    outcomes = run_batch(jobs, should_cancel=lambda: next(asked) > 3)
    with pytest.raises(MergeCancelled):
        next(outcomes)
    assert next(asked) == 5
    assert not list(tmp_path.glob("*.exr"))


def test_a_batch_goes_on_whatever_happens(tmp_path: Path, light: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_frames(tmp_path / "a", light)
    jobs = [job_of(files, tmp_path / f"{name}.exr") for name in ("odd", "memory", "good")]
    real = batch.run_job

    def faulty(job: MergeJob, *arguments: object) -> object:
        if job.name.startswith("odd"):
            raise KeyError("a fault of the program")
        if job.name.startswith("memory"):
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes.")
        return real(job, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "run_job", faulty)
    outcomes = list(run_batch(jobs))
    assert [outcome.status for outcome in outcomes] == ["failed", "failed", "merged"]
    assert outcomes[0].message == "KeyError: 'a fault of the program'"
    assert "memory ran out" in outcomes[1].message


class TestOutputs:
    def test_a_frame_is_never_replaced(self, tmp_path: Path, light: np.ndarray) -> None:
        files = write_frames(tmp_path / "a", light)
        before = Path(files[1]).read_bytes()
        link = tmp_path / "link.tif"
        link.symlink_to(files[1])
        for output in (Path(files[1]), link):
            with pytest.raises(ImageFileError, match="is one of the frames"):
                run_job(job_of(files, output))
        assert Path(files[1]).read_bytes() == before

    def test_one_scale_for_many_brackets(self, tmp_path: Path, light: np.ndarray) -> None:
        """Two tiles of a panorama, of which the second began at half the exposure: values fit after scaling."""
        first = write_frames(tmp_path / "a", light, (0, 2))
        second = write_frames(tmp_path / "b", light, (-1, 1))
        run_job(job_of(first, tmp_path / "a.exr"))
        run_job(job_of(second, tmp_path / "b.exr"))
        run_job(job_of(second, tmp_path / "c.exr", scale_to=str(tmp_path / "a.exr")))
        one, alone, scaled = (read_image(tmp_path / f"{name}.exr").pixels for name in "abc")
        np.testing.assert_allclose(alone, one / 2, rtol=1e-5)
        np.testing.assert_allclose(scaled, one, rtol=1e-5)
        run_job(job_of(first, tmp_path / "d.exr", scale_to=str(tmp_path / "c.exr")))  # a scaled one hands its scale on
        np.testing.assert_allclose(read_image(tmp_path / "d.exr").pixels, one, rtol=1e-5)

    def test_luminance(self, tmp_path: Path) -> None:
        """One scene at three settings of a camera: the same cd/m², and those of the saturation-based rating."""
        grey = np.linspace(0.02, 0.05, 64).reshape(8, 8)
        found = []
        for name, seconds, iso, f_number in (("a", 400, 100, 8), ("b", 1600, 400, 8), ("c", 100, 100, 16)):
            files = []
            for i in range(2):
                codes = np.rint((grey * 4**i) ** (1 / 2.2) * 255).astype(np.uint8)
                fields = {0x829D: IFDRational(f_number, 1), 0x8827: iso}
                files.append(str(save_photo(tmp_path / f"{name}{i}.png", codes, Fraction(4**i, seconds), fields)))
            job = job_of(files, tmp_path / f"{name}.exr", scale_to="cd/m2")
            found.append(run_job(job).radiance)
        np.testing.assert_allclose(found[0], 1.2 * 64 * 400 * grey, rtol=0.03)
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=1e-5)
        stated = job_of(files, tmp_path / "d.exr", scale_to="cd/m2", bracket={"ev": (0, 2)})
        with pytest.raises(ArgumentError, match="whose files state their exposures"):
            run_job(stated)

    def test_refusals(self, tmp_path: Path, light: np.ndarray) -> None:
        """Pictures that cannot be, and the scale of what is no result."""
        write_image(tmp_path / "other.exr", light)
        files = write_frames(tmp_path / "a", light)
        for name, value, wanted in (
            ("tonemapped", "t.exr", "a .png or .jpg"),
            ("tonemapped", "out.png", "another file"),
            ("scale_to", "other.exr", "a result of a merge"),
        ):
            with pytest.raises(ArgumentError, match=f"{name}: expected {wanted}"):
                run_job(job_of(files, tmp_path / "out.png", **{name: str(tmp_path / value)}))

    @pytest.mark.parametrize("named", ["files", "folder"])
    @pytest.mark.parametrize("output", ["out.png", "out.tif"])
    def test_stacks_are_merged_plane_by_plane(self, tmp_path: Path, light: np.ndarray, named: str, output: str) -> None:
        """With pictures and stages of every plane, numbered; radiance as a stack."""
        planes = np.stack([light[..., 0], light[::-1, :, 0]])
        files = write_bracket(tmp_path / "a", [planes * np.float32(time) for time in (1, 2, 4)])
        is_picture = output == "out.png"
        job = MergeJob(
            "a",
            str(tmp_path / output),
            files=tuple(files) if named == "files" else (),
            folder=str(tmp_path / "a"),
            tonemapped=str(tmp_path / "shown.jpg"),
            stages=str(tmp_path / "stages") if is_picture else None,
            bracket={"ev": (0, 1, 2), "plane": None},  # as the command line hands it over
            merge={"method": "afunet", "model": "compact", "align": "off"} if is_picture else PLAIN,
        )
        with pytest.warns(UserWarning, match="2 planes; they are merged one by one"):
            run_job(job)
        made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*g")}
        assert {"shown_0000.jpg", "shown_0001.jpg"} <= made
        if is_picture:
            expected = {"out_0000.png", "out_0001.png", "stages/plane_0001/ghost.png"}
            assert expected | {"stages/plane_0000/stage1_under.png"} <= made
        else:
            np.testing.assert_allclose(tifffile.imread(tmp_path / output), planes, rtol=1e-5)

    @pytest.mark.parametrize("name", ["out.dng", "out.jpg", "out.png", "out.hdr"])
    def test_the_photograph_is_carried_over(self, tmp_path: Path, light: np.ndarray, name: str) -> None:
        for i in range(2):
            codes = np.rint((light * 4**i) ** (1 / 2.2) * 255).astype(np.uint8)
            save_photo(tmp_path / f"{i}.png", codes, Fraction(4**i, 100), model="Camera X")
        run_job(job_of([str(tmp_path / "0.png"), str(tmp_path / "1.png")], tmp_path / name))
        if name == "out.dng":
            assert tifffile.TiffFile(tmp_path / name).pages.first.tags["Model"].value == "Camera X"
        elif name != "out.hdr":
            with Image.open(tmp_path / name) as picture:
                assert picture.getexif()[0x0110] == "Camera X"
        assert read_image(tmp_path / name).metadata["method"] == "weighted"


def test_info_is_json(light: np.ndarray) -> None:
    bracket = af.Bracket([light * 0.1, np.ones_like(light)], ev=(-3, 6), encoding="linear", override=True)
    json.dumps(af.merge(bracket, method="weighted").info, allow_nan=False)


class TestNames:
    def template(self, **more: object) -> MergeJob:
        return MergeJob("", "", **more)  # type: ignore[arg-type]

    def test_cards_with_the_same_names(self, tmp_path: Path) -> None:
        for card in "ABC":
            for i, seconds in enumerate(((1, 100), (1, 25), (1, 6))):
                folder = tmp_path / card / "100CAM"
                folder.mkdir(parents=True, exist_ok=True)
                tags = [(33434, 5, 1, seconds, True), (306, 2, 20, "2026:06:21 12:00:05", True)]
                pixels = np.full((8, 8, 3), 20 + 40 * i, np.uint8)
                tifffile.imwrite(folder / f"IMG_{i}.tif", pixels, photometric="rgb", metadata=None, extratags=tags)
        folders = [tmp_path / card / "100CAM" for card in "ABC"]
        jobs, single = group_jobs(folders, tmp_path / "out", self.template(), ".exr")
        assert [Path(job.files[0]).parts[-3] for job in jobs] == ["A", "B", "C"]
        assert len({job.output for job in jobs}) == 3
        assert single == []

    def test_folders_with_the_same_names(self, tmp_path: Path, light: np.ndarray) -> None:
        for place in ("one", "two"):
            write_frames(tmp_path / place / "scene", light)
        jobs = folder_jobs([tmp_path / "one", tmp_path / "two"], tmp_path / "out", self.template(), ".exr")
        assert [job.name for job in jobs] == ["scene", "two/scene"]

    def test_names_that_leave_no_room(self, tmp_path: Path, light: np.ndarray) -> None:
        long = tmp_path / "in" / ("ä" * 126)  # 252 bytes
        write_frames(long, light)
        (job,) = folder_jobs([tmp_path / "in"], tmp_path / "out", self.template(merge=PLAIN), ".exr")
        assert attempt(job).status == "merged"
        assert len(os.fsencode(Path(job.output).name)) < 255


def test_leftovers_of_a_killed_batch_go(tmp_path: Path, light: np.ndarray) -> None:
    job = job_of(write_frames(tmp_path / "a", light), tmp_path / "out" / "a.exr")
    (tmp_path / "out").mkdir()
    for name in (".a-0123abcd.exr", ".ab-0123abcd.exr", ".a-0123abcd.tif"):
        (tmp_path / "out" / name).write_bytes(b"half a picture")
    assert [outcome.status for outcome in run_batch([job])] == ["merged"]
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"a.exr", ".ab-0123abcd.exr", ".a-0123abcd.tif"}  # the others are not this job's


@pytest.mark.skipif(os.name != "posix", reason="locks as POSIX has them")
def test_files_of_somebody_at_work_stay(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        remove_partial_files(tmp_path / "a.txt")
        assert temporary.exists()
        temporary.write_text("whole")

    write_atomically(tmp_path / "a.txt", write)
    assert (tmp_path / "a.txt").read_text() == "whole"
