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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from afunet_core.errors import ArgumentError, BracketError, ImageFileError, ShapeError
from afunet_core.io.exposure_list import read_exposure_file
from afunet_core.io.natural_order import natural_key
from afunet_core.io.read import read_image

__all__ = ["LAYOUTS", "BracketDataset", "BracketSample", "SceneFiles", "find_scenes", "read_scene"]

_FRAMES = 3


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
        layout = next((name for name in LAYOUTS if any(True for _ in LAYOUTS[name](root, False))), "auto")
    scenes = [] if layout == "auto" else list(LAYOUTS[layout](root, True))
    if not scenes:
        wanted = f"scenes in the layout {', '.join(LAYOUTS) if layout == 'auto' else layout}"
        advice = "Name the layout, and the first scene that lacks a file will be named."
        raise BracketError("root", wanted, f"none below {root}", advice)
    return scenes


def _single_folder_layout(
    is_frame: Callable[[str], bool], frames: str, exposures: str, truths: tuple[str, ...]
) -> Callable[[Path, bool], Iterator[SceneFiles]]:
    """Make the function (root, strict) → scenes of a layout of one folder each; ``strict`` refuses incomplete ones."""

    def scenes(root: Path, strict: bool) -> Iterator[SceneFiles]:
        for folder in _folders(root):
            names = sorted((entry.name for entry in folder.iterdir() if entry.is_file()), key=natural_key)
            pictures = [name for name in names if is_frame(name)]
            truth = next((name for name in truths if name in names), None)
            listed = exposures in names
            if len(pictures) == _FRAMES and truth and listed:
                first, second, third = (folder / name for name in pictures)
                yield SceneFiles(_name(folder, root), (first, second, third), folder / exposures, folder / truth)
            elif strict and (pictures or truth or listed):
                missing = [
                    *([] if listed else [exposures]),
                    *([] if truth else [" or ".join(truths)]),
                    *([] if len(pictures) == _FRAMES else [f"three frames {frames} (there are {len(pictures)})"]),
                ]
                raise ImageFileError(f"{folder}: lacks {'; '.join(missing)}. Complete the scene or remove its folder.")

    return scenes


def _challenge_scenes(root: Path, strict: bool) -> Iterator[SceneFiles]:
    """List the scenes of Challenge123: frame k of scene NNN is in NNN_k, the rest beside the second frame."""
    middles = [folder for folder in _folders(root) if re.fullmatch(r"\d+_2", folder.name)]
    for folder in middles:
        number = folder.name.removesuffix("_2")
        first, second, third = (folder.with_name(f"{number}_{k}") / f"ldr_img_{k}.tif" for k in (1, 2, 3))
        scene = SceneFiles(
            _name(folder.with_name(number), root),
            (first, second, third),
            folder / "exposure.txt",
            folder / "hdr_img.hdr",
        )
        missing = [path for path in (*scene.frames, scene.exposures, scene.truth) if not path.is_file()]
        if not missing:
            yield scene
        elif strict:
            raise ImageFileError(f"{missing[0]}: missing. Complete scene {number} or remove its folders.")


#: For each layout, a function (root, strict) → scenes.
LAYOUTS: dict[str, Callable[[Path, bool], Iterator[SceneFiles]]] = {
    "hu": _single_folder_layout(
        lambda name: re.fullmatch(r"input_\d_aligned\.tiff?", name) is not None,
        "input_1_aligned.tif to input_3_aligned.tif",
        "input_exp.txt",
        ("ref_hdr_aligned_linear.hdr", "ref_hdr_aligned.hdr"),
    ),
    "tel": _single_folder_layout(
        lambda name: re.fullmatch(r"input_\d\.tiff?", name) is not None,
        "input_1.tif to input_3.tif",
        "exposure.txt",
        ("HDRImg.hdr",),
    ),
    "kalantari": _single_folder_layout(
        lambda name: Path(name).suffix.lower() in (".tif", ".tiff"), "*.tif", "exposure.txt", ("HDRImg.hdr",)
    ),
    "challenge123": _challenge_scenes,
}


def _folders(root: Path) -> list[Path]:
    inside = (path for path in root.rglob("*") if path.is_dir())
    return [root, *sorted(inside, key=lambda path: [natural_key(part) for part in path.relative_to(root).parts])]


def _name(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix() if folder != root else root.resolve().name


def read_scene(scene: SceneFiles) -> BracketSample:
    """Read a scene: frames sorted shortest first, integers divided by their largest value.

    Raises:
        ImageFileError: a file cannot be read.
        BracketError: the exposure file does not name three exposures.
        ShapeError: frames and truth differ in size.
    """
    evs = read_exposure_file(scene.exposures)
    if len(evs) != _FRAMES:
        raise BracketError("exposures", f"{_FRAMES} EV values in {scene.exposures}", len(evs), "One for each frame.")
    pictures = [_encoded(path) for path in scene.frames]
    truth = _chw(read_image(scene.truth).pixels.astype(np.float32), scene.truth)
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


def _encoded(path: Path) -> Tensor:
    pixels = read_image(path).pixels
    scale = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "ui" else 1.0
    return _chw(pixels.astype(np.float32) / np.float32(scale), path).clamp(0, 1)


def _chw(pixels: np.ndarray, path: Path) -> Tensor:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[-1] in (1, 2):
        pixels = np.repeat(pixels[..., :1], 3, axis=-1)
    if pixels.ndim != 3 or pixels.shape[-1] not in (3, 4):
        raise ShapeError(str(path), "H×W, H×W×3 or H×W×4 pixels", pixels.shape)
    return torch.from_numpy(np.ascontiguousarray(pixels[..., :3])).permute(2, 0, 1).contiguous()


class BracketDataset(Dataset[BracketSample]):
    """A data set of real or synthesised brackets on disk.

    Args:
        root: folder of scenes.
        layout: "kalantari", "tel", "hu", "challenge123", or "auto".
        crop: side (or height and width) of a random window; None for whole pictures.
        augment: turn by quarters and mirror at random.

    Windows and turns are drawn from torch's global generator, so that `torch.manual_seed` and the seeds of DataLoader
    workers make them repeatable.

    Raises:
        As `find_scenes`; ArgumentError for a crop below 1. Reading may raise as `read_scene`, and ShapeError
        where a picture is smaller than the crop.
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
        frames, truth = sample["frames"], sample["truth"]
        if self.crop is not None:
            window = _random_window(truth, self.crop, sample["name"])
            frames, truth = frames[window], truth[window]
        if self.augment:
            turns, mirrored = int(torch.randint(4, ())), bool(torch.randint(2, ()))
            frames, truth = (_turned(picture, turns, mirrored) for picture in (frames, truth))
        return {**sample, "frames": frames.contiguous(), "truth": truth.contiguous()}


def _random_window(truth: Tensor, crop: tuple[int, int], name: str) -> tuple[EllipsisType, slice, slice]:
    height, width = truth.shape[-2:]
    if crop[0] > height or crop[1] > width:
        raise ShapeError(
            "crop",
            f"at most {height}×{width}, the size of {name}",
            crop,
            "Use a smaller crop (patch, in a configuration).",
        )
    top, left = int(torch.randint(height - crop[0] + 1, ())), int(torch.randint(width - crop[1] + 1, ()))
    return ..., slice(top, top + crop[0]), slice(left, left + crop[1])


def _turned(picture: Tensor, turns: int, mirrored: bool) -> Tensor:
    picture = torch.rot90(picture, turns, (-2, -1))
    return picture.flip(-1) if mirrored else picture
