"""Motion of the camera, layers of the scene and soft things in the wind between the three instants."""

from __future__ import annotations

from dataclasses import dataclass

import kornia
import numpy as np
import torch
from torch import Tensor

from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.sampling import (
    draw_coarse_field,
    log_uniform,
    pixel_grid,
    smooth_field,
    tensor,
    uniform,
    uniform_array,
)

REFERENCE = 1
OUTER = slice(0, 3, 2)
_OUTER_ONLY = np.array([1.0, 0.0, 1.0])
# Blur shorter than this, in pixels, is not seen.
_SHORTEST_BLUR = 0.3
# Bicubic interpolation reaches two pixels around a position, which may lie between pixels.
_CUBIC_REACH = 3
# Perspective brings nothing nearer than to this share of its distance.
_NEAREST = 0.2


@dataclass(frozen=True)
class Motion:
    """Displacements (x, y) in pixels at the three instants: a frame shows at p what the scene has at p + displacement.

    Of camera and scene, not of objects.
    """

    total: Tensor  # 3×H×W×2, of all that moves
    # 3×H×W×2, of the camera alone, None where it does not move. In a bracket that is to be registered, the part of the
    # motion that registration undoes
    camera: Tensor | None
    ranges: np.ndarray  # 3×2×2, for each instant and axis the smallest and the largest displacement
    margin: int  # pixels by which a canvas that holds all that is seen is larger than the frames on every side


def draw_motion(
    rng: np.random.Generator,
    config: SynthesisConfig,
    size: tuple[int, int],
    kind: str,
    registered: bool = False,
    device: torch.device | str = "cpu",
) -> Motion:
    """Draw the motion of camera and scene; of a bracket to be registered, only the sub-pixel part."""
    total, camera = torch.zeros(3, *size, 2, device=device), None
    if kind in ("camera", "both"):
        homographies, near = (_registrable_motion if registered else _camera_motion)(rng, config, size)
        camera = camera_displacement(homographies, size, device)
        total += camera
        if near is not None:
            total += _draw_parallax(rng, size, near, device)
    sways = kind in ("objects", "both") and rng.random() < config.flow_share
    if sways:
        total += _draw_sway(rng, config, size, device)
    along_axes = total.flatten(1, 2).transpose(1, 2).contiguous()  # where extremes are found faster
    ranges = torch.stack([along_axes.amin(dim=-1), along_axes.amax(dim=-1)], dim=-1).cpu().numpy()
    moves = camera is not None or sways
    return Motion(total, camera, ranges, int(np.ceil(np.abs(ranges).max())) + _CUBIC_REACH if moves else 0)


def _camera_motion(
    rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Homographies of a hand, and 3×2 shifts of what is near where depth shows."""
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
    return camera, vectors * _OUTER_ONLY[:, None]


def _registrable_motion(
    rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Sub-pixel phases that change across the picture, which registration resamples away; parallax it does not."""
    shifts = rng.uniform(-1.0, 1.0, (3, 2)) * _OUTER_ONLY[:, None]
    angles = rng.uniform(-0.01, 0.01, 3) * _OUTER_ONLY
    camera = centred_homographies(size, shifts, angles, np.zeros(3), np.zeros((3, 2)))
    if rng.random() >= config.parallax_share:
        return camera, None
    heading = rng.uniform(0, 2 * np.pi)
    reach = np.array([-rng.random(), 0.0, rng.random()]) * uniform(rng, config.parallax)
    return camera, reach[:, None] * np.array([np.cos(heading), np.sin(heading)])


def _draw_parallax(
    rng: np.random.Generator, size: tuple[int, int], near: np.ndarray, device: torch.device | str
) -> Tensor:
    """Near things shift by 3×2 vectors, others less: over smooth depth, or over layers with soft steps between."""
    depth = smooth_field(draw_coarse_field(rng, 1, int(rng.integers(2, 5)), size), size, device)[..., None]
    if rng.random() < 0.5:
        depth = torch.sigmoid(depth * rng.uniform(3, 12)) * 2 - 1
    return depth * tensor(near).to(device)[:, None, None]


def _draw_sway(
    rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int], device: torch.device | str
) -> Tensor:
    """Foliage, water, people: smooth displacements in a part of the picture, none at the reference instant."""
    amplitude = log_uniform(rng, config.flow)
    before, after = smooth_field(draw_coarse_field(rng, 4, int(rng.integers(2, 9)), size), size, device).chunk(2)
    if rng.random() < 0.5:  # what swings comes back
        after = -before * rng.uniform(0.5, 1.0)
    region = smooth_field(draw_coarse_field(rng, 1, 3, size), size, device)
    region = torch.sigmoid((region + rng.uniform(-0.6, 0.6)) * 6) * amplitude
    return torch.stack([before * region, torch.zeros_like(before), after * region]).movedim(1, -1)


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


def camera_displacement(homographies: np.ndarray, size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """Compute K×H×W×2 displacements in pixels under K×3×3 homographies of (x, y, 1) about the centre."""
    grid = pixel_grid(*size, device=device)
    points = (grid - grid[-1, -1] / 2).flatten(0, 1).expand(len(homographies), -1, -1)
    moved = kornia.geometry.transform_points(tensor(homographies).to(device), points) - points
    return moved.unflatten(1, size)
