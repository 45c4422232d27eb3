"""Motion of the camera, layers of the scene and soft things in the wind between the three instants.

What is drawn is small: homographies and coarse fields. `displacement` makes of them a displacement of every pixel: the
frame shows at pixel p what the scene has at p + displacement(p).
"""

from __future__ import annotations

from dataclasses import dataclass

import kornia
import numpy as np
import torch
from torch import Tensor

from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.draws import log_uniform, tensor, uniform, uniform_array
from afunet_core.data.synthesis.sampling import draw_coarse_field, pixel_grid, smooth_field

REFERENCE = 1
OUTER = slice(0, 3, 2)
_OUTER_ONLY = np.array([1.0, 0.0, 1.0])
# Blur shorter than this, in pixels, is not seen.
_SHORTEST_BLUR = 0.3
# Perspective brings nothing nearer than to this share of its distance.
_NEAREST = 0.2


@dataclass(frozen=True)
class Parallax:
    """Near things shift more than far ones."""

    depth: Tensor  # 1×h×w, coarse
    steepness: float | None  # of the steps between layers; None where depth changes smoothly
    vectors: np.ndarray  # 3×2, shift (x, y) of what is near, in pixels


@dataclass(frozen=True)
class Sway:
    """Foliage, water, people: smooth displacements in a part of the picture, none at the reference instant."""

    field: Tensor  # 4×h×w, coarse: (x, y) before and (x, y) after the reference instant
    region: Tensor  # 1×h×w, coarse: where things sway
    bias: float  # added to the region; more makes it larger
    amplitude: float  # in pixels
    # the share of the displacement before that is undone and repeated after; None where both are independent
    swing: float | None


@dataclass(frozen=True)
class SceneMotion:
    """Motion of camera and scene (not of objects); each part None where there is none."""

    # 3×3×3, for each instant one of `centred_homographies`. In a bracket that is to be registered, the part of the
    # motion that registration will undo
    camera: np.ndarray | None = None
    parallax: Parallax | None = None  # of layers of the scene
    sway: Sway | None = None  # of soft things

    @property
    def moves(self) -> bool:
        """True if anything need be resampled."""
        return self.camera is not None or self.sway is not None


def draw_motion(
    rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int], kind: str, registered: bool
) -> SceneMotion:
    """Draw the motion of camera and scene; of a bracket to be registered, only the sub-pixel part."""
    camera: np.ndarray | None = None
    parallax: Parallax | None = None
    if kind in ("camera", "both"):
        if registered:
            camera = _registrable_motion(rng, size)
            if rng.random() < config.parallax_share:  # which no homography takes away
                heading = rng.uniform(0, 2 * np.pi)
                reach = np.array([-rng.random(), 0.0, rng.random()]) * uniform(rng, config.parallax)
                parallax = _draw_parallax(rng, size, reach[:, None] * np.array([np.cos(heading), np.sin(heading)]))
        else:
            camera, parallax = _camera_motion(rng, config, size)
    sways = kind in ("objects", "both") and rng.random() < config.flow_share
    return SceneMotion(camera, parallax, _draw_sway(rng, config, size) if sways else None)


def _camera_motion(
    rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int]
) -> tuple[np.ndarray, Parallax | None]:
    reach = log_uniform(rng, config.camera_translation)
    # Hands drift more than they tremble: the outer frames often lie on opposite sides of the reference.
    direction, tremble = rng.uniform(0, 2 * np.pi), rng.random()
    shifts = np.zeros((3, 2))
    for index, side in ((0, np.pi), (2, 0.0)):
        angle = direction + side + tremble * rng.normal()
        shifts[index] = reach * rng.uniform(0.4, 1.0) * np.array([np.cos(angle), np.sin(angle)])
    # The reference lies between pixels half of the time, so that it is not always the sharpest of the three.
    between = float(rng.random() < 0.5)
    shifts[REFERENCE] = rng.uniform(-0.5, 0.5, 2) * between
    # Small translations come with small rotations; some cameras only shift.
    turn = (0.0 if rng.random() < 0.25 else min(1.0, reach / 10 + 0.1)) * np.array([1.0, 0.02 * between, 1.0])
    camera = centred_homographies(
        size,
        shifts,
        uniform_array(rng, config.camera_angle, 3) * turn,
        uniform_array(rng, config.camera_zoom, 3) * turn,
        uniform_array(rng, config.camera_tilt, 3, 2) * turn[:, None],
    )
    if rng.random() >= config.parallax_share:
        return camera, None
    vectors = shifts / max(np.abs(shifts).max(), 1e-6) * min(uniform(rng, config.parallax), reach)
    return camera, _draw_parallax(rng, size, vectors * _OUTER_ONLY[:, None])


def _registrable_motion(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Sub-pixel phases that change across the picture: what registration resamples away again."""
    shifts = rng.uniform(-1.0, 1.0, (3, 2)) * _OUTER_ONLY[:, None]
    angles = rng.uniform(-0.01, 0.01, 3) * _OUTER_ONLY
    return centred_homographies(size, shifts, angles, np.zeros(3), np.zeros((3, 2)))


def _draw_parallax(rng: np.random.Generator, size: tuple[int, int], vectors: np.ndarray) -> Parallax:
    depth = draw_coarse_field(rng, 1, int(rng.integers(2, 5)), size)
    return Parallax(depth, rng.uniform(3, 12) if rng.random() < 0.5 else None, vectors)


def _draw_sway(rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int]) -> Sway:
    amplitude = log_uniform(rng, config.flow)
    field = draw_coarse_field(rng, 4, int(rng.integers(2, 9)), size)
    swing = rng.uniform(0.5, 1.0) if rng.random() < 0.5 else None
    return Sway(field, draw_coarse_field(rng, 1, 3, size), rng.uniform(-0.6, 0.6), amplitude, swing)


def draw_shake(rng: np.random.Generator, config: SynthesisConfig) -> np.ndarray:
    """3×2 vectors (x, y) in pixels along which the frames are blurred; longer exposures more, 0 for too short ones."""
    vectors = np.zeros((3, 2))
    length = uniform(rng, config.blur)
    for index, share in ((2, 1.0), (1, 0.3), (0, 0.1)):
        angle = rng.uniform(0, np.pi)
        reach = length * share * rng.uniform(0.5, 1.0)
        if reach > _SHORTEST_BLUR:
            vectors[index] = reach * np.cos(angle), reach * np.sin(angle)
    return vectors


def centred_homographies(
    size: tuple[int, int], translation: np.ndarray, angle: np.ndarray, zoom: np.ndarray, tilt: np.ndarray
) -> np.ndarray:
    """Make K×3×3 homographies for (x, y, 1) in pixels about the centre: where the scene has what each pixel shows.

    From K×2 translations in pixels, K angles in radians, K magnifications minus one, and K×2 tilts: the relative change
    of scale from the centre to the edge.
    """
    centre = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    steepest = np.abs(tilt).sum(axis=1, keepdims=True)
    tilt = tilt * np.minimum(1.0, (1 - _NEAREST) / np.maximum(steepest, 1e-9))
    matrices = np.zeros((len(angle), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angle) * (1 + zoom)
    matrices[:, 1, 0] = np.sin(angle) * (1 + zoom)
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    matrices[:, :2, 2] = translation
    matrices[:, 2, :2] = tilt / np.maximum(centre, 1)
    matrices[:, 2, 2] = 1
    return matrices


def displacement(
    motion: SceneMotion, size: tuple[int, int], device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor | None]:
    """Compute displacements (x, y) in pixels, 3×H×W×2: of everything, and by the camera alone where it moves."""
    total = torch.zeros(3, *size, 2, device=device)
    camera = None if motion.camera is None else camera_displacement(motion.camera, size, device)
    if camera is not None:
        total += camera
    if motion.parallax is not None:
        depth, steepness = smooth_field(motion.parallax.depth, size, device)[..., None], motion.parallax.steepness
        depth = depth if steepness is None else torch.sigmoid(depth * steepness) * 2 - 1
        total += depth * tensor(motion.parallax.vectors).to(device)[:, None, None]
    if motion.sway is not None:
        before, after = smooth_field(motion.sway.field, size, device).chunk(2)
        after = after if motion.sway.swing is None else -before * motion.sway.swing
        region = torch.sigmoid((smooth_field(motion.sway.region, size, device) + motion.sway.bias) * 6)
        region = region * motion.sway.amplitude
        total += torch.stack([before * region, torch.zeros_like(before), after * region]).movedim(1, -1)
    return total, camera


def displacement_range(displacement: Tensor) -> np.ndarray:
    """3×2×2: for each instant and axis, the smallest and the largest displacement."""
    along_axes = displacement.flatten(1, 2).transpose(1, 2).contiguous()  # where extremes are found faster
    return torch.stack([along_axes.amin(dim=-1), along_axes.amax(dim=-1)], dim=-1).cpu().numpy()


def camera_displacement(homographies: np.ndarray, size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """Compute K×H×W×2 displacements in pixels under K×3×3 homographies of (x, y, 1) about the centre."""
    grid = pixel_grid(*size, device=device)
    points = (grid - grid[-1, -1] / 2).flatten(0, 1).expand(len(homographies), -1, -1)
    moved = kornia.geometry.transform_points(tensor(homographies).to(device), points) - points
    return moved.unflatten(1, size)
