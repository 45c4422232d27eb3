"""Every layout of the field, on tiny data sets that the tests write themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from afunet_core.data.datasets import BracketDataset, find_scenes, read_scene, write_bracket_folder
from afunet_core.data.synthesis.brackets import SynthesisConfig, Synthesizer
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.errors import ArgumentError, BracketError, ImageFileError, ShapeError
from afunet_core.io import write_image

SIZE = (12, 20)


def frame(number: int, scene: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """16-bit pixels that tell frame, scene and place apart."""
    y, x = np.mgrid[: size[0], : size[1]]
    grey = 10_000 * number + 1000 * scene + 20 * y + x
    return np.stack([grey, grey + 300, grey + 600], axis=-1).astype(np.uint16)


def radiance(scene: int = 0) -> np.ndarray:
    return (frame(0, scene) / 65535).astype(np.float32) + 0.125


def write_scene(folder: Path, frames: list[str], exposures: str, truth: str, evs: str, scene: int = 0) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(frames, 1):
        write_image(folder / name, frame(number, scene))
    (folder / exposures).write_text(evs)
    write_image(folder / truth, radiance(scene))


# Scenes; frames, exposures and truth of each; EV.
LAYOUTS = {
    "kalantari": (
        ["Training/001", "Training/002", "Training/010"],
        "262A0{}.tif",
        "exposure.txt",
        "HDRImg.hdr",
        (-2, 0, 2),
    ),
    "tel": (["Training/0001_1", "Training/0001_2"], "input_{}.tif", "exposure.txt", "HDRImg.hdr", (0, 3, 6)),
    "hu": (["001", "002"], "input_{}_aligned.tif", "input_exp.txt", "ref_hdr_aligned_linear.hdr", (0, 2, 4)),
    "challenge123": (["001", "002"], "ldr_img_{}.tif", "exposure.txt", "hdr_img.hdr", (-3, 0, 3)),
}


def write_data_set(root: Path, layout: str) -> Path:
    names, pattern, exposures, truth, evs = LAYOUTS[layout]
    frames, text = [pattern.format(number) for number in (1, 2, 3)], "\n".join(f"{ev:.2f}" for ev in evs)
    for scene, name in enumerate(names):
        if layout != "challenge123":
            write_scene(root / name, frames, exposures, truth, text, scene)
            continue
        for k in (1, 2, 3):  # every folder holds a still bracket; only its k-th frame is used
            write_scene(root / f"{name}_{k}", frames, exposures, truth, text, scene)
            for j in {1, 2, 3} - {k}:
                write_image(root / f"{name}_{k}" / f"ldr_img_{j}.tif", np.zeros((*SIZE, 3), np.uint16))
    if layout == "hu":
        write_image(root / "001" / "ref_2_aligned.tif", frame(6))  # stored beside the inputs; not one of them
    return root


@pytest.fixture
def kalantari(tmp_path: Path) -> Path:
    return write_data_set(tmp_path, "kalantari")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("named", [True, False])
def test_layout(layout: str, named: bool, tmp_path: Path) -> None:
    names, *_, evs = LAYOUTS[layout]
    dataset = BracketDataset(write_data_set(tmp_path, layout), layout if named else "auto")
    assert [scene.name for scene in dataset.scenes] == names
    assert len(dataset) == len(names)
    for scene, sample in enumerate(dataset):
        assert sample["name"] == names[scene]
        assert sample["times"].tolist() == [2.0 ** (ev - evs[0]) for ev in evs]
        assert sample["frames"].shape == (3, 3, *SIZE)
        assert sample["frames"].dtype == torch.float32
        for number in (1, 2, 3):
            expected = frame(number, scene).transpose(2, 0, 1) / 65535
            np.testing.assert_allclose(sample["frames"][number - 1], expected, atol=1e-6)
        np.testing.assert_allclose(sample["truth"], radiance(scene).transpose(2, 0, 1), rtol=0.01)


def test_one_scene_folder_is_a_data_set(kalantari: Path) -> None:
    (sample,) = BracketDataset(kalantari / "Training" / "002")
    assert sample["name"] == "002"


def test_frames_come_shortest_first_whatever_their_names(tmp_path: Path) -> None:
    write_scene(tmp_path / "s", ["a.tif", "b.tif", "c.tif"], "exposure.txt", "HDRImg.hdr", "2\n-1\n0\n")
    sample = BracketDataset(tmp_path)[0]
    assert sample["times"].tolist() == [1.0, 2.0, 8.0]
    blue_corner = [round(float(value) * 65535) // 10_000 for value in sample["frames"][:, 0, 0, 0]]
    assert blue_corner == [2, 3, 1]


def test_grey_and_eight_bit_frames(tmp_path: Path) -> None:
    write_scene(tmp_path / "s", ["1.tif", "2.tif", "3.tif"], "exposure.txt", "HDRImg.hdr", "0\n2\n4\n")
    for name in ("1.tif", "2.tif", "3.tif"):
        write_image(tmp_path / "s" / name, np.full(SIZE, 51, np.uint8))
    frames = BracketDataset(tmp_path)[0]["frames"]
    torch.testing.assert_close(frames, torch.full((3, 3, *SIZE), 0.2))


def test_crop_takes_the_same_window_of_everything_by_torchs_seed(kalantari: Path) -> None:
    dataset, corners = BracketDataset(kalantari, crop=(8, 6)), []
    for seed in (0, 0, 1, 2, 3):
        torch.manual_seed(seed)
        sample = dataset[0]
        assert sample["frames"].shape == (3, 3, 8, 6)
        expected = (sample["frames"][0] * 65535 - 10_000) / 65535 + 0.125
        torch.testing.assert_close(sample["truth"], expected, rtol=0.01, atol=0)
        corners.append(float(sample["frames"][0, 0, 0, 0]))
    assert corners[0] == corners[1]
    assert len(set(corners)) > 1


def test_augmentation_keeps_frames_and_truth_together(kalantari: Path) -> None:
    torch.manual_seed(1)
    dataset = BracketDataset(kalantari / "Training" / "001", augment=True)
    seen = set()
    for sample in (dataset[0] for _ in range(24)):
        expected = (sample["frames"][1] * 65535 - 20_000) / 65535 + 0.125
        torch.testing.assert_close(sample["truth"], expected, rtol=0.01, atol=0)
        corner = sample["frames"][0, 0, :2, :2] * 65535
        seen.add((sample["truth"].shape[-1], *corner.round().flatten().tolist()))
    assert len(seen) == 8


def test_data_loader_stacks_samples(kalantari: Path) -> None:
    batch = next(iter(DataLoader(BracketDataset(kalantari, crop=8), batch_size=3)))
    assert batch["frames"].shape == (3, 3, 3, 8, 8)
    assert batch["times"].shape == (3, 3)
    assert batch["name"] == ["Training/001", "Training/002", "Training/010"]


def test_synthetic_brackets_can_be_read_back(tmp_path: Path) -> None:
    maker = Synthesizer(SceneBank.procedural(seed=1), SynthesisConfig())
    batch = maker.sample(2, 24, torch.Generator().manual_seed(0))
    for index in range(2):
        write_bracket_folder(batch[index], tmp_path / f"{index}")
    for index, sample in enumerate(BracketDataset(tmp_path, "kalantari")):
        torch.testing.assert_close(sample["frames"], batch.frames[index], rtol=0, atol=1e-5)
        torch.testing.assert_close(sample["times"], batch.times[index], rtol=1e-5, atol=0)
        torch.testing.assert_close(sample["truth"], batch.truth[index], rtol=0.01, atol=0.01)


class TestFaults:
    @pytest.mark.parametrize("missing", ["exposure.txt", "HDRImg.hdr", "262A01.tif"])
    def test_a_scene_that_lacks_a_file_is_named(self, kalantari: Path, missing: str) -> None:
        (kalantari / "Training" / "002" / missing).unlink()
        wanted = "three frames" if missing.endswith(".tif") else missing
        for layout in ("kalantari", "auto"):
            with pytest.raises(ImageFileError, match=rf"002: lacks {wanted}"):
                BracketDataset(kalantari, layout)

    def test_challenge_frame_missing(self, tmp_path: Path) -> None:
        challenge123 = write_data_set(tmp_path, "challenge123")
        (challenge123 / "002_3" / "ldr_img_3.tif").unlink()
        with pytest.raises(ImageFileError, match=r"002: lacks three frames NNN_k/ldr_img_k\.tif \(there are 2\)"):
            BracketDataset(challenge123, "challenge123")
        with pytest.raises(BracketError, match="layout hu"):
            BracketDataset(challenge123, "hu")

    @pytest.mark.parametrize(
        ("folder", "options", "error", "message"),
        [
            ("empty", {}, BracketError, "none below"),
            ("nowhere", {}, ImageFileError, "no such folder"),
            ("", {"layout": "sen"}, ArgumentError, "layout"),
            ("", {"crop": 0}, ArgumentError, "crop"),
            ("", {"crop": 16}, ShapeError, "at most 12×20"),
        ],
    )
    def test_what_cannot_be_is_named(
        self, kalantari: Path, folder: str, options: dict, error: type, message: str
    ) -> None:
        (kalantari / "empty").mkdir()
        with pytest.raises(error, match=message):
            BracketDataset(kalantari / folder, **options)[0]

    def test_damaged_scenes(self, kalantari: Path) -> None:
        first, second, third = find_scenes(kalantari)
        first.exposures.write_text("0\n2\n")
        with pytest.raises(BracketError, match="3 EV values"):
            read_scene(first)
        second.frames[1].write_bytes(b"no picture")
        with pytest.raises(ImageFileError, match=second.frames[1].name):
            read_scene(second)
        write_image(third.frames[2], frame(3, size=(5, 5)))
        with pytest.raises(ShapeError, match=third.frames[2].name):
            read_scene(third)
        with pytest.raises(IndexError):
            BracketDataset(kalantari)[3]
