"""Accuracy of the registration of hand-held frames: ours beside OpenCV's AlignMTB and kornia's ImageRegistrator.

    python benchmarks/registration.py [--cases 60] [--size 1000 1500] [--scenes FOLDER] [--kornia 12] [--quality 12]

Every case takes a photograph as the scene (scikit-image's own by default, or those in a folder: pictures or .hdr/.exr),
makes it a high dynamic range, and photographs it twice: once as the reference, once 1 to 4 EV away, moved by 5 to 300
pixels, turned by up to 5°, scaled by up to 3 % and seen in mild perspective, with shot and read noise, clipping and
8-bit gamma. In every second case objects of another photograph move differently. The error is the mean distance of the
four corners from where they should be; a case succeeds below half a pixel.

AlignMTB finds whole-pixel shifts only. ImageRegistrator (a homography by gradient descent over a pyramid, on frames
brought to one exposure and clipping) is slow and gets the first cases alone, halved, its error counted in pixels of the
full size. ``--quality`` merges brackets of three such frames at half the size with ``merge()`` and with the weighted
mean, with and without registration, and compares with the truth.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core import Bracket, merge
from afunet_core.ops.warp import transfer_points
from afunet_core.registration.frames import Registration, _register_pair

BUNDLED = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "retina", "camera")
FULL_WELL, READ_NOISE = 15000.0, 4.0


@dataclass(frozen=True)
class Case:
    """Two encoded frames 1×3×H×W in [0, 1], their exposure times, and the truth (moving → reference pixels)."""

    moving: Tensor
    reference: Tensor
    times: tuple[float, float]
    homography: Tensor
    label: dict[str, Any]


def load_scenes(folder: Path | None) -> list[tuple[str, Tensor]]:
    """Linear scenes 1×3×H×W with names."""
    scenes = []
    if folder is None:
        import skimage.data

        for name in BUNDLED:
            pixels = getattr(skimage.data, name)()
            scenes.append((name, _linear(np.atleast_3d(pixels)[..., :3].astype(np.float32) / 255)))
        return scenes
    from afunet_core.io import read_image

    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".png", ".hdr", ".exr", ".tif"})
    for path in paths[:: max(1, len(paths) // 200)]:
        pixels = np.atleast_3d(np.asarray(read_image(path).pixels))[..., :3]
        if pixels.dtype.kind == "u":
            scenes.append((path.stem, _linear(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max)))
            continue
        pixels = pixels.astype(np.float32)
        if pixels.shape[1] == 2 * pixels.shape[0]:  # a panorama: its poles are stretched
            pixels = pixels[pixels.shape[0] // 6 : -pixels.shape[0] // 6]
        light = np.clip(np.nan_to_num(pixels), 0, np.percentile(pixels, 99.8))
        scenes.append((path.stem, _as_tensor(light)))
    return scenes


def _as_tensor(pixels: np.ndarray) -> Tensor:
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]


def _linear(pixels: np.ndarray) -> Tensor:
    """A photograph as a scene of several stops more: its highlights are expanded again."""
    light = _as_tensor(pixels) ** 2.2
    return light / (1.12 - light)


def uniform_from(generator: torch.Generator) -> Callable[[float, float], float]:
    """A function that draws from between two limits."""
    return lambda low, high: low + (high - low) * float(torch.rand((), generator=generator))


def make_case(scenes: list[tuple[str, Tensor]], index: int, size: tuple[int, int], generator: torch.Generator) -> Case:
    """One synthetic pair."""
    uniform = uniform_from(generator)
    name, scene = scenes[index % len(scenes)]
    unit = size[1] / 1500
    shift, direction = 5.0 * 60.0 ** uniform(0, 1), uniform(0, 2 * np.pi)
    angle, scale = np.deg2rad(5.0 * uniform(-1, 1)), 1 + 0.03 * uniform(-1, 1)
    tilt = torch.tensor([uniform(-1, 1), uniform(-1, 1)], dtype=torch.float64) * 1e-5
    ev = float(int(uniform(1, 5))) * (1 if uniform(0, 1) < 0.5 else -1)
    objects = bool(index % 2)
    homography = _motion(size, shift * unit, direction, angle, scale, tilt / unit)
    other = scenes[(index + 3) % len(scenes)][1] if objects else None
    views = make_views(scene, [homography, torch.eye(3, dtype=torch.float64)], size, other, generator)
    exposure = _metered(views[1])
    times = (exposure * 2.0**ev, exposure)
    frames = [_photograph(view, t, generator) for view, t in zip(views, times, strict=True)]
    label = {"scene": name, "shift": shift, "angle": float(np.rad2deg(angle)), "scale": scale}
    return Case(frames[0], frames[1], (2.0**ev, 1.0), homography, {**label, "ev": ev, "objects": objects})


def make_bracket(
    scenes: list[tuple[str, Tensor]], index: int, size: tuple[int, int], generator: torch.Generator
) -> tuple[Bracket, Tensor, bool]:
    """Three frames, the outer two moved, 1 to 4 EV apart; the true radiance at the reference; whether things moved."""
    uniform = uniform_from(generator)

    unit = size[1] / 1500
    motions = [torch.eye(3, dtype=torch.float64)] * 3
    for outer in (0, 2):
        tilt = torch.tensor([uniform(-1, 1), uniform(-1, 1)], dtype=torch.float64) * 1e-5 / unit
        shift, direction = 5.0 * 60.0 ** uniform(0, 1) * unit, uniform(0, 2 * np.pi)
        angle, scale = np.deg2rad(5.0 * uniform(-1, 1)), 1 + 0.03 * uniform(-1, 1)
        motions[outer] = _motion(size, shift, direction, angle, scale, tilt)
    objects, step = bool(index % 2), float(1 + (index // 2) % 4)
    other = scenes[(index + 3) % len(scenes)][1] if objects else None
    views = make_views(scenes[index % len(scenes)][1], motions, size, other, generator)
    shortest = _metered(views[1]) * 2.0**-step
    times = [shortest * 2.0 ** (step * k) for k in range(3)]
    frames = [_photograph(view, t, generator) for view, t in zip(views, times, strict=True)]
    bracket = Bracket(frames, times=times, reference=1, override=True)
    return bracket, (views[1] * shortest).clamp(0, 1), objects


def _motion(size: tuple[int, int], shift: float, direction: float, angle: float, scale: float, tilt: Tensor) -> Tensor:
    """A homography about the middle of the frame, from moving to reference pixels."""
    height, width = size
    centre = torch.tensor([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]], dtype=torch.float64)
    move = torch.tensor(
        [
            [scale * np.cos(angle), -scale * np.sin(angle), shift * np.cos(direction)],
            [scale * np.sin(angle), scale * np.cos(angle), shift * np.sin(direction)],
            [0, 0, 1],
        ],
        dtype=torch.float64,
    )
    lean = torch.eye(3, dtype=torch.float64)
    lean[2, :2] = tilt
    return torch.linalg.inv(centre) @ move @ lean @ centre


def make_views(
    scene: Tensor, motions: list[Tensor], size: tuple[int, int], other: Tensor | None, generator: torch.Generator
) -> list[Tensor]:
    """Views of the camera after each motion, with objects of another scene that move on their own."""
    height, width = size
    # The scene is enlarged just as far as all frames together reach.
    corners = torch.tensor([[0.0, 0], [width, 0], [width, height], [0, height]], dtype=torch.float64)
    reached = torch.cat([transfer_points(motion, corners) for motion in motions])
    low, high = reached.amin(0) - 2, reached.amax(0) + 2
    extent = torch.tensor([scene.shape[3] - 1.0, scene.shape[2] - 1.0], dtype=torch.float64)
    zoom = float((high - low).div(extent).amax())
    offset = (extent - (high - low) / zoom) / 2
    # Reference pixel q and moving pixel p show the same point where q = homography · p.
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    grid = torch.stack((x, y), dim=-1).reshape(-1, 2)
    views = [_look(scene, (transfer_points(motion, grid) - low) / zoom + offset, size) for motion in motions]
    return views if other is None else _add_objects(views, other, generator)


def _metered(view: Tensor) -> float:
    """The exposure that a camera would choose."""
    exposure = 0.18 / float(view.mean(dim=1).clamp(min=1e-6).log().mean().exp())
    return min(exposure, 0.5 / float(view.mean()))


def _look(scene: Tensor, points: Tensor, size: tuple[int, int]) -> Tensor:
    extent = torch.tensor([scene.shape[3], scene.shape[2]], dtype=torch.float64)
    grid = ((points * 2 + 1) / extent - 1).float().view(1, *size, 2)
    low, high = float(scene.min()), float(scene.max())
    return F.grid_sample(scene, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(low, high)


def _add_objects(views: list[Tensor], source: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Ellipses of another scene, somewhere else in each view, as bright as their surroundings or brighter."""
    uniform = uniform_from(generator)

    height, width = views[0].shape[-2:]
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    views = [view.clone() for view in views]
    level = float(views[1].median() / source.median().clamp(min=1e-6))
    for _ in range(int(uniform(2, 7))):
        radius = (uniform(0.03, 0.15) * width, uniform(0.05, 0.25) * height)
        place = (uniform(0, width), uniform(0, height))
        step = (uniform(-0.08, 0.08) * width, uniform(-0.08, 0.08) * width)
        gain = level * 2 ** uniform(-1, 2)
        for view, sign in zip(views, np.linspace(-0.5, 0.5, len(views)), strict=True):
            u, v = x - place[0] - sign * step[0], y - place[1] - sign * step[1]
            alpha = ((1 - (u / radius[0]) ** 2 - (v / radius[1]) ** 2) * 12).clamp(0, 1)
            points = torch.stack((u + source.shape[3] / 2, v + source.shape[2] / 2), dim=-1).reshape(-1, 2).double()
            paint = _look(source, points, (height, width)) * gain
            view.copy_(view * (1 - alpha) + paint * alpha)
    return views


def _photograph(radiance: Tensor, exposure: float, generator: torch.Generator) -> Tensor:
    electrons = radiance * exposure * FULL_WELL
    noise = torch.randn(radiance.shape, generator=generator)
    electrons = electrons + noise * (electrons.clamp(min=0) + READ_NOISE**2).sqrt()
    encoded = (electrons / FULL_WELL).clamp(0, 1) ** (1 / 2.2)
    return (encoded * 255).round() / 255


def corner_error(estimate: Tensor, truth: Tensor, size: tuple[int, int]) -> float:
    """Mean distance of the four corners, in pixels."""
    height, width = size
    corners = torch.tensor([[0.0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=torch.float64)
    error = (transfer_points(estimate.double(), corners) - transfer_points(truth, corners)).norm(dim=-1).mean()
    return float(error.nan_to_num(1e4))


def ours(case: Case) -> tuple[Tensor, object]:
    bracket = Bracket([case.moving, case.reference], times=case.times, reference=1, override=True)
    found = _register_pair(bracket, (0, 1), "auto", lambda: None)
    return found.homography, found


def align_mtb(case: Case) -> tuple[Tensor, object]:
    import cv2

    grey = [(f[0].mean(dim=0).numpy() * 255).astype(np.uint8) for f in (case.moving, case.reference)]
    # 8 bits reach 255 pixels; with more its coarsest level is too small to decide and it fails on small shifts too.
    x, y = cv2.createAlignMTB(8).calculateShift(grey[1], grey[0])
    return torch.tensor([[1.0, 0, x], [0, 1, y], [0, 0, 1]], dtype=torch.float64), None


def kornia_registrator(case: Case) -> tuple[Tensor, object]:
    from kornia.geometry.transform import ImageRegistrator

    top = max(case.times)
    grey = [
        (f.mean(dim=1, keepdim=True) ** 2.2 / t * top).clamp(0, 1) ** 0.4545
        for f, t in zip((case.moving, case.reference), case.times, strict=True)
    ]
    grey = [F.avg_pool2d(frame, 2) for frame in grey]
    registrator = ImageRegistrator("homography", num_iterations=200, pyramid_levels=6, tolerance=1e-6)
    found = registrator.register(grey[0], grey[1])
    assert isinstance(found, Tensor)
    normal = found.detach()[0].double()  # from the reference to the moving frame
    height, width = case.reference.shape[-2:]
    scale = torch.tensor([[2 / (width - 1), 0, -1], [0, 2 / (height - 1), -1], [0, 0, 1]], dtype=torch.float64)
    return torch.linalg.inv(torch.linalg.inv(scale) @ normal @ scale), None


def print_classes(labels: list[dict[str, Any]], errors: list[float]) -> None:
    """Success of one method by what was asked of it."""
    print("\n| class | cases | below 0.5 px | median error (px) |\n|---|---|---|---|")
    classes: dict[str, list[bool]] = {f"{ev} EV": [abs(x["ev"]) == ev for x in labels] for ev in (1, 2, 3, 4)}
    for low, high in ((5, 20), (20, 80), (80, 300)):
        classes[f"{low} to {high} px"] = [low <= x["shift"] <= high for x in labels]
    classes |= {"still scene": [not x["objects"] for x in labels], "moving objects": [x["objects"] for x in labels]}
    for name, belong in classes.items():
        chosen = [error for one, error in zip(belong, errors, strict=True) if one]
        if chosen:
            share = sum(error < 0.5 for error in chosen) / len(chosen)
            print(f"| {name} | {len(chosen)} | {share:.1%} | {statistics.median(chosen):.3f} |")


def print_quality(scenes: list[tuple[str, Tensor]], count: int, size: tuple[int, int], seed: int, model: str) -> None:
    """PSNR-μ and PSNR-l of merged brackets with and without registration."""
    from afunet_core.metrics import psnr_linear, psnr_mu

    scores: dict[tuple[str, str, bool], list[tuple[float, float]]] = {}
    for index in range(count):
        generator = torch.Generator().manual_seed(10_000 * seed + 5000 + index)
        bracket, truth, objects = make_bracket(scenes, index, size, generator)
        for method in ("auto", "weighted"):
            for align in ("off", "auto"):
                pixels = merge(bracket, method=method, align=align, model=model).radiance
                radiance = torch.from_numpy(pixels).permute(2, 0, 1)[None].clamp(0, 1)
                pair = float(psnr_mu(radiance, truth)), float(psnr_linear(radiance, truth))
                scores.setdefault((method, align, objects), []).append(pair)
    print(
        "\n| method | registered | still scene: PSNR-μ / PSNR-l | moving objects: PSNR-μ / PSNR-l |\n|---|---|---|---|"
    )
    for method in ("auto", "weighted"):
        for align in ("off", "auto"):
            cells = []
            for objects in (False, True):
                found = scores.get((method, align, objects))
                cells.append("{:.1f} / {:.1f}".format(*np.mean(found, axis=0)) if found else "")
            name = "merge()" if method == "auto" else "weighted mean"
            print(f"| {name} | {'yes' if align == 'auto' else 'no'} | {cells[0]} | {cells[1]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--size", type=int, nargs=2, default=(1000, 1500), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--scenes", type=Path, default=None, help="folder of pictures or .hdr/.exr files")
    parser.add_argument("--kornia", type=int, default=3, help="cases given to kornia's registrator, which is slow")
    parser.add_argument("--quality", type=int, default=0, help="brackets merged with and without registration")
    parser.add_argument("--model", default="default", help="for --quality")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", action="store_true", help="print every case at half a pixel or more")
    parser.add_argument("--only", type=int, nargs="*", help="these cases alone")
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    scenes = load_scenes(args.scenes)
    methods: dict[str, Callable[[Case], tuple[Tensor, object]]] = {
        "ours": ours,
        "OpenCV AlignMTB": align_mtb,
        "kornia ImageRegistrator": kornia_registrator,
    }
    errors: dict[str, list[float]] = {name: [] for name in methods}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    labels = []
    for index in args.only or range(args.cases):
        case = make_case(scenes, index, tuple(args.size), torch.Generator().manual_seed(10_000 * args.seed + index))
        labels.append(case.label)
        for name, method in methods.items():
            if name.startswith("kornia") and index >= args.kornia:
                continue
            started = time.perf_counter()
            estimate, detail = method(case)
            seconds[name].append(time.perf_counter() - started)
            errors[name].append(corner_error(estimate, case.homography, tuple(args.size)))
            if isinstance(detail, Registration) and args.failures and errors[name][-1] >= 0.5:
                stayed = corner_error(detail.estimate, case.homography, tuple(args.size))
                print(index, f"{errors[name][-1]:.3f} (estimate {stayed:.3f})", case.label, detail.as_dict())

    print("| method | cases | below 0.5 px | median error (px) | 95th percentile (px) | median time (s) |")
    print("|---|---|---|---|---|---|")
    for name in methods:
        if errors[name]:
            share = sum(error < 0.5 for error in errors[name]) / len(errors[name])
            high = float(np.percentile(errors[name], 95))
            print(
                f"| {name} | {len(errors[name])} | {share:.1%} | {statistics.median(errors[name]):.3f} | {high:.3f} "
                f"| {statistics.median(seconds[name]):.3f} |"
            )
    print_classes(labels, errors["ours"])
    if args.quality:
        half = (args.size[0] // 2, args.size[1] // 2)
        print_quality(scenes, args.quality, half, args.seed, args.model)


if __name__ == "__main__":
    main()
