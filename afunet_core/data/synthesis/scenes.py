"""Sources of light for synthetic brackets: a bank of HDR scenes and photographs, packed once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.errors import ArgumentError, ImageFileError, ShapeError
from afunet_core.io.read import read_image, three_channels

# Half floats end at 65504; a scene is stored with its median at HALF_MEDIAN, so that 22 stops fit above and below it.
_HALF_MAXIMUM = 6.0e4
_HALF_MEDIAN = 0.25

#: Patterns of scene names that show the same place or come from the same shoot; a split must not separate them.
RELATED_SCENES: tuple[str, ...] = (
    r".*studio.*",
    r"venice.*|sunset",
    r"wide_street_.*",
    r"hilly_terrain_01|park|sunrise",
    r"night|moonless_golf",
    r"blue_grotto|crystal_falls|mossy_forest",
    r"kloppenheim_.*",
    r"aristea_wreck.*",
    r"forest",
    r"shanghai_.*",
)

#: Scenes (names without suffix) whose shadows are noise: good for textures, no truth for a bracket.
NOISY_SCENES: tuple[str, ...] = ("satara_night", "moonless_golf")


def scene_group(name: str) -> str:
    """Return the pattern of `RELATED_SCENES` that a scene belongs to, or its own name when it stands alone."""
    stem = Path(name).stem
    return next((pattern for pattern in RELATED_SCENES if re.fullmatch(pattern, stem)), stem)


def split_scenes(names: Iterable[str], holdout: int = 12, seed: int = 0) -> tuple[list[str], list[str]]:
    """Split scene names into training and at most ``holdout`` held-out ones, both sorted, relatives on one side."""
    ordered = sorted(set(names))
    if not 0 <= holdout < max(len(ordered), 1):
        advice = "Hold out fewer scenes: data.holdout in training, --held-out in evaluate."
        raise ArgumentError("holdout", f"0 to {len(ordered) - 1}", holdout, advice)
    groups: dict[str, list[str]] = {}
    for name in ordered:
        groups.setdefault(scene_group(name), []).append(name)
    keys = sorted(groups)
    held: list[str] = []
    for index in np.random.default_rng(seed).permutation(len(keys)):
        if len(held) + len(groups[keys[index]]) <= holdout:
            held += groups[keys[index]]
    return [name for name in ordered if name not in held], sorted(held)


@dataclass(frozen=True)
class SceneBank:
    """Linear HDR scenes (float16, median about 0.25) and photographs (uint8, display-encoded), each 3×H×W."""

    hdr: tuple[Tensor, ...]
    photos: tuple[Tensor, ...] = ()
    hdr_names: tuple[str, ...] = ()
    photo_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.hdr and not self.photos:
            raise ArgumentError("hdr, photos", "at least one scene or photograph", "none", "Check the paths.")
        for picture in (*self.hdr, *self.photos):
            if picture.ndim != 3 or picture.shape[0] != 3 or min(picture.shape[1:]) < 8:
                raise ShapeError("hdr, photos", "3×H×W, at least 8×8", tuple(picture.shape), "Use RGB pictures.")

    @classmethod
    def from_tensors(cls, hdr: Sequence[Tensor] = (), photos: Sequence[Tensor] = ()) -> SceneBank:
        """Pack 3×H×W tensors: `hdr` linear at any scale, `photos` display-encoded in [0, 1] or uint8."""
        return cls(
            tuple(pack_radiance(scene) for scene in hdr),
            tuple(_pack_photo(photo) for photo in photos),
            tuple(f"hdr_{i}" for i in range(len(hdr))),
            tuple(f"photo_{i}" for i in range(len(photos))),
        )

    @classmethod
    def open(cls, hdr: Sequence[Path | str], photos: Sequence[Path | str], seed: int) -> SceneBank:
        """Load the pictures of these folders; rendered scenes where there are none."""
        return cls.from_folders(hdr, photos) if hdr or photos else cls.procedural(seed)

    @classmethod
    def from_folders(
        cls, hdr: Sequence[Path | str] = (), photos: Sequence[Path | str] = (), *, max_side: int = 768
    ) -> SceneBank:
        """Load picture files, or every picture of a folder.

        HDR scenes are .hdr or .exr files in linear light (2:1 panoramas are cut to ±60° of elevation), photographs
        display-encoded ones, reduced to a longest side of ``max_side`` pixels.
        """
        scenes, pictures = _list_pictures(hdr, (".hdr", ".exr")), _list_pictures(photos, (".jpg", ".jpeg", ".png"))
        return cls(
            tuple(pack_radiance(_middle_of_sphere(_read(path, linear=True))) for path in scenes),
            tuple(_pack_photo(_shrink(_read(path, linear=False), max_side)) for path in pictures),
            tuple(path.name for path in scenes),
            tuple(path.name for path in pictures),
        )

    @classmethod
    def procedural(cls, seed: int = 0, count: int = 4, size: tuple[int, int] = (288, 384)) -> SceneBank:
        """Scenes made of noise, shapes and lamps: for tests and for trying things out without any data."""
        rng = np.random.default_rng(seed)
        scenes = [_procedural_scene(rng, *size) for _ in range(count)]
        photos = [(scene / (scene + scene.median())).clamp(0, 1) ** (1 / 2.2) for scene in scenes[: max(1, count // 2)]]
        return cls.from_tensors(scenes, photos)

    def subset(self, hdr_names: Iterable[str], photo_names: Iterable[str] | None = None) -> SceneBank:
        """A bank with the named scenes only (and the named photographs, all of them when None), sharing memory."""
        wanted = set(hdr_names)
        if missing := wanted - set(self.hdr_names):
            raise ArgumentError("hdr_names", f"names among {list(self.hdr_names)}", sorted(missing))
        shown = set(self.photo_names) if photo_names is None else set(photo_names)
        scenes, photos = [name in wanted for name in self.hdr_names], [name in shown for name in self.photo_names]
        pictures = tuple(compress(self.hdr, scenes)), tuple(compress(self.photos, photos))
        return SceneBank(*pictures, tuple(compress(self.hdr_names, scenes)), tuple(compress(self.photo_names, photos)))

    def without_noise(self) -> SceneBank:
        """A bank without `NOISY_SCENES`, or this one where nothing else would be left."""
        clean = [name for name in self.hdr_names if Path(name).stem not in NOISY_SCENES]
        return self.subset(clean) if clean or self.photos else self

    def split(self, holdout: int = 12, seed: int = 0) -> tuple[SceneBank, SceneBank]:
        """Training and held-out banks: scenes as in `split_scenes`, photographs in the same proportion."""
        train, held = split_scenes(self.hdr_names, holdout, seed)
        photos = sorted(self.photo_names)
        order = np.random.default_rng(seed + 1).permutation(len(photos))
        held_photos = {photos[i] for i in order[: round(len(photos) * holdout / max(len(self.hdr), 1))]}
        return self.subset(train, set(photos) - held_photos), self.subset(held, held_photos)


def pack_radiance(scene: Tensor) -> Tensor:
    """Pack linear light at any scale as float16 with the median at 0.25, without negative and non-finite values."""
    scene = torch.nan_to_num(scene.detach().float(), nan=0.0, posinf=3.0e38, neginf=0.0).clamp_min(0)
    lit = scene[scene > 0]
    scale = _HALF_MEDIAN / float(lit.median()) if lit.numel() else 1.0
    return (scene.double() * scale).clamp_max(_HALF_MAXIMUM).half().contiguous()


def _pack_photo(photo: Tensor) -> Tensor:
    if photo.dtype == torch.uint8:
        return photo.contiguous()
    return (photo.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).contiguous()


def _middle_of_sphere(panorama: Tensor) -> Tensor:
    height, width = panorama.shape[1:]
    return panorama[:, height // 6 : height - height // 6] if width == 2 * height else panorama


def _shrink(photo: Tensor, max_side: int) -> Tensor:
    scale = max_side / max(photo.shape[1:])
    if scale >= 1:
        return photo
    size = [max(8, round(side * scale)) for side in photo.shape[1:]]
    return F.interpolate(photo[None].float(), size, mode="bilinear", antialias=True)[0].round().to(torch.uint8)


def _list_pictures(entries: Sequence[Path | str], suffixes: tuple[str, ...]) -> list[Path]:
    files: list[Path] = []
    for entry in map(Path, entries):
        if entry.is_dir():
            files += sorted(path for path in entry.iterdir() if path.suffix.lower() in suffixes)
        elif entry.is_file():
            files.append(entry)
        else:
            raise ImageFileError(f"{entry}: no such file or folder. Give paths of {', '.join(suffixes)} pictures.")
    return files


def _read(path: Path, linear: bool) -> Tensor:
    pixels = read_image(path).pixels
    if linear != (pixels.dtype.kind == "f") or (not linear and pixels.dtype != np.uint8):
        expected = "linear light in floats" if linear else "8 bits a channel"
        raise ImageFileError(
            f"{path}: expected {expected}, got {pixels.dtype}. Convert it, or give it as the other kind."
        )
    return torch.from_numpy(np.ascontiguousarray(three_channels(pixels, path))).permute(2, 0, 1)


def _procedural_scene(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """Fractal texture under a light field of several stops, with edges, lamps and a patterned wall."""
    light = torch.zeros(1, 1, height, width)
    colour = torch.zeros(1, 3, height, width)
    for octave in range(2, 8):
        cells = (max(2, height * 2**octave // 512), max(2, width * 2**octave // 512))
        noise = torch.from_numpy(rng.normal(size=(1, 4, *cells)).astype(np.float32))
        noise = F.interpolate(noise, (height, width), mode="bicubic", align_corners=False)
        light += noise[:, :1] * (3.0 if octave < 3 else 1.2 / octave)
        colour += noise[:, 1:] * (0.6 / octave)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    for _ in range(10):
        cx, cy, angle = rng.random(), rng.random(), rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        inside = (u.abs() < rng.uniform(0.05, 0.25)) & (v.abs() < rng.uniform(0.05, 0.25))
        stripes = torch.sin(u * rng.uniform(40, 250)) * rng.uniform(0, 0.7)
        light[0, 0] += inside * (rng.normal() * 1.5 + stripes)
        colour[0] += inside * torch.from_numpy(rng.normal(size=(3, 1, 1)).astype(np.float32)) * 0.5
    scene = torch.exp2(light + colour)[0]
    for _ in range(3):
        distance = torch.hypot((x - rng.random()) * width / height, y - rng.random() * 0.6)
        scene += torch.sigmoid((rng.uniform(0.01, 0.04) - distance) * height) * 10 ** rng.uniform(1.5, 3.5)
    return scene
