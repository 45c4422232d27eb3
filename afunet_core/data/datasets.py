"""The bracket data sets of the field, read as they are stored: Kalantari, Tel, Hu and Challenge123.

| layout       | frames of a scene            | exposures (EV)  | truth (linear)                |
|--------------|------------------------------|-----------------|-------------------------------|
| kalantari    | any three `*.tif`, by name   | `exposure.txt`  | `HDRImg.hdr`                  |
| tel          | `input_1.tif` to `3`         | `exposure.txt`  | `HDRImg.hdr`                  |
| hu           | `input_1_aligned.tif` to `3` | `input_exp.txt` | `ref_hdr_aligned_linear.hdr`  |
| challenge123 | `NNN_k/ldr_img_k.tif`, k 1-3  | `NNN_2/exposure.txt` | `NNN_2/hdr_img.hdr`      |

Scenes may lie at any depth below the root (`Training/001`, `Test/Test-set/001`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from afunet_core.errors import ArgumentError, BracketError, ImageFileError, ShapeError
from afunet_core.io.exposure_list import read_exposure_list
from afunet_core.io.formats import natural_key
from afunet_core.io.read import read_image, three_channels
from afunet_core.io.write import write_image

if TYPE_CHECKING:
    from afunet_core.data.synthesis.brackets import SyntheticBatch

_FRAMES = 3
_HU_TRUTHS = ("ref_hdr_aligned_linear.hdr", "ref_hdr_aligned.hdr")


class _Layout(NamedTuple):
    """The files of a scene: frames as a pattern and in words, exposures, and the first truth that is there."""

    frame: str
    shown: str
    exposures: str
    truths: tuple[str, ...]


#: The layouts, those first that others would take for theirs.
LAYOUTS: dict[str, _Layout] = {
    "hu": _Layout(
        r"input_\d_aligned\.tiff?", "input_1_aligned.tif to input_3_aligned.tif", "input_exp.txt", _HU_TRUTHS
    ),
    "tel": _Layout(r"input_\d\.tiff?", "input_1.tif to input_3.tif", "exposure.txt", ("HDRImg.hdr",)),
    "kalantari": _Layout(r".*\.(?i:tiff?)", "*.tif", "exposure.txt", ("HDRImg.hdr",)),
    "challenge123": _Layout(r"ldr_img_\d\.tif", "NNN_k/ldr_img_k.tif", "exposure.txt", ("hdr_img.hdr",)),
}


class BracketSample(TypedDict):
    """Item of a `BracketDataset`; the default collation of a DataLoader stacks it."""

    frames: Tensor  # 3×3×H×W, frame by RGB, shortest first, encoded in [0, 1]
    times: Tensor  # 3, relative to the shortest
    truth: Tensor  # 3×H×W linear, as stored
    name: str  # the scene's folder relative to the root


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene, frames in the order of the exposure file."""

    name: str
    frames: tuple[Path, Path, Path]
    exposures: Path
    truth: Path


def find_scenes(root: Path | str, layout: str = "auto") -> list[SceneFiles]:
    """List all scenes below a folder, in natural order.

    Args:
        root: the data set, one of its splits, or a single scene.
        layout: a key of `LAYOUTS`, or "auto": the first that has a complete scene.

    Raises:
        ArgumentError: an unknown layout.
        ImageFileError: no such folder, or a scene that lacks a file (the message names it).
        BracketError: no scenes in this layout.
    """
    root = Path(root)
    if layout != "auto" and layout not in LAYOUTS:
        raise ArgumentError("layout", f"auto or one of {', '.join(LAYOUTS)}", layout)
    if not root.is_dir():
        raise ImageFileError(f"{root}: no such folder. Give the folder that holds the scenes.")
    if layout == "auto":
        layout = next((name for name in LAYOUTS if any(True for _ in _scenes(root, name, False))), "auto")
    scenes = [] if layout == "auto" else list(_scenes(root, layout, True))
    if not scenes:
        wanted = f"scenes in the layout {', '.join(LAYOUTS) if layout == 'auto' else layout}"
        advice = "Name the layout, and the first scene that lacks a file will be named."
        raise BracketError("root", wanted, f"none below {root}", advice)
    return scenes


def _scenes(root: Path, name: str, strict: bool) -> Iterator[SceneFiles]:
    """Yield the scenes of a layout; ``strict`` refuses incomplete ones, which are passed over otherwise."""
    layout = LAYOUTS[name]
    inside = (path for path in root.rglob("*") if path.is_dir())
    nested = sorted(inside, key=lambda path: [natural_key(part) for part in path.relative_to(root).parts])
    for folder in (root, *nested):
        scene = folder
        if name != "challenge123":
            found = (entry for entry in folder.iterdir() if re.fullmatch(layout.frame, entry.name) and entry.is_file())
            frames = sorted(found, key=natural_key)
        elif re.fullmatch(r"\d+_2", folder.name):  # frame k of scene NNN is in NNN_k, the rest beside the second
            scene = folder.with_name(folder.name.removesuffix("_2"))
            parts = (folder.with_name(f"{scene.name}_{k}") / f"ldr_img_{k}.tif" for k in (1, 2, 3))
            frames = [part for part in parts if part.is_file()]
        else:
            continue
        exposures = folder / layout.exposures
        truth = next((folder / truth for truth in layout.truths if (folder / truth).is_file()), None)
        if len(frames) == _FRAMES and truth and exposures.is_file():
            told = scene.relative_to(root).as_posix() if scene != root else root.resolve().name
            yield SceneFiles(told, (frames[0], frames[1], frames[2]), exposures, truth)
        elif strict and (frames or truth or exposures.is_file()):
            missing = [
                *([] if exposures.is_file() else [exposures.name]),
                *([] if truth else [" or ".join(layout.truths)]),
                *([] if len(frames) == _FRAMES else [f"three frames {layout.shown} (there are {len(frames)})"]),
            ]
            raise ImageFileError(f"{scene}: lacks {'; '.join(missing)}. Complete the scene or remove its folder.")


def read_scene(scene: SceneFiles) -> BracketSample:
    """Read a scene: frames sorted shortest first, integers divided by their largest value."""
    evs = read_exposure_list(scene.exposures).ev
    if len(evs) != _FRAMES:
        raise BracketError("exposures", f"{_FRAMES} EV values in {scene.exposures}", len(evs), "One for each frame.")
    pictures, truth = [_read(path).clamp(0, 1) for path in scene.frames], _read(scene.truth)
    for path, picture in zip(scene.frames, pictures, strict=True):
        if picture.shape != truth.shape:
            raise ShapeError(str(path), f"{tuple(truth.shape)} as {scene.truth.name}", tuple(picture.shape))
    order = sorted(range(_FRAMES), key=lambda index: evs[index])
    times = torch.tensor([2.0 ** (evs[index] - min(evs)) for index in order])
    return {
        "frames": torch.stack([pictures[index] for index in order]),
        "times": times,
        "truth": truth,
        "name": scene.name,
    }


def _read(path: Path) -> Tensor:
    """A picture as 3×H×W floats; integers are divided by their largest value."""
    pixels = read_image(path).pixels
    scale = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "ui" else 1.0
    pixels = three_channels(pixels.astype(np.float32) / np.float32(scale), path)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


class BracketDataset(Dataset[BracketSample]):
    """A data set of real or synthesised brackets on disk.

    Args:
        root: folder of scenes.
        layout: "kalantari", "tel", "hu", "challenge123", or "auto".
        crop: side (or height and width) of a random window; None for whole pictures.
        augment: turn by quarters and mirror at random.

    Windows and turns are drawn from torch's global generator, so that `torch.manual_seed` and the seeds of DataLoader
    workers make them repeatable.
    """

    def __init__(
        self, root: Path | str, layout: str = "auto", crop: int | tuple[int, int] | None = None, augment: bool = False
    ) -> None:
        self.crop = (crop, crop) if isinstance(crop, int) else crop
        if self.crop is not None and min(self.crop) < 1:
            raise ArgumentError("crop", "at least 1 pixel", crop)
        self.scenes = find_scenes(root, layout)
        self.augment = augment

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> BracketSample:
        sample = read_scene(self.scenes[index])
        pictures = [sample["frames"], sample["truth"]]
        if self.crop is not None:
            (height, width), (tall, wide) = sample["truth"].shape[-2:], self.crop
            if tall > height or wide > width:
                expected = f"at most {height}×{width}, the size of {sample['name']}"
                raise ShapeError("crop", expected, self.crop, "Use a smaller crop (patch, in a configuration).")
            top, left = int(torch.randint(height - tall + 1, ())), int(torch.randint(width - wide + 1, ()))
            pictures = [picture[..., top : top + tall, left : left + wide] for picture in pictures]
        if self.augment:
            turns, mirrored = int(torch.randint(4, ())), bool(torch.randint(2, ()))
            pictures = [torch.rot90(picture, turns, (-2, -1)) for picture in pictures]
            pictures = [picture.flip(-1) for picture in pictures] if mirrored else pictures
        frames, truth = (picture.contiguous() for picture in pictures)
        return {**sample, "frames": frames, "truth": truth}


def write_bracket_folder(batch: SyntheticBatch, folder: Path | str) -> Path:
    """Write the only bracket of a batch in Kalantari's layout: three TIFFs, ``exposure.txt`` and ``HDRImg.hdr``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(batch.frames[0], 1):
        pixels = (frame.clamp(0, 1) * 65535).round().permute(1, 2, 0).cpu().numpy()
        write_image(folder / f"{number}.tif", pixels.astype(np.uint16))
    evs = torch.log2(batch.times[0].double()).tolist()
    (folder / "exposure.txt").write_text("".join(f"{ev:.6f}\n" for ev in evs), encoding="utf-8")
    write_image(folder / "HDRImg.hdr", batch.truth[0])
    return folder
