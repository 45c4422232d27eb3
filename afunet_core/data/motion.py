"""How the camera, layers of the scene and soft things in the wind move between the three instants.

Motion is a displacement field for each instant, 3×H×W×2 in pixels as (x, y): the frame shows at pixel p what the scene
has at p + displacement(p).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.data.config import SynthesisConfig
from afunet_core.data.draws import log_uniform, tensor, uniform, uniform_array

__all__ = [
    "REFERENCE",
    "SceneMotion",
    "blur_along",
    "draw_motion",
    "homography_flow",
    "pixel_grid",
    "smooth_field",
    "warp",
]

REFERENCE = 1
_OUTER_ONLY = np.array([1.0, 0.0, 1.0])


class SceneMotion(NamedTuple):
    """Displacements 3×H×W×2 of the three instants; None where nothing moves and nothing need be resampled.

    In a bracket that is to be registered, `camera` is the part of `total` that registration will undo.
    """

    total: Tensor | None
    camera: Tensor | None


def draw_motion(
    rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int], kind: str, registered: bool
) -> SceneMotion:
    """Motion of camera and scene (not of objects) for a bracket of some kind.

    A bracket that is to be registered afterwards gets only the sub-pixel part of a camera's motion, since registration
    would take the rest away again.
    """
    camera: Tensor | None = None
    total: Tensor | None = None
    if kind in ("camera", "both"):
        grid = pixel_grid(*size)
        camera = _registrable_flow(rng, grid) if registered else _camera_flow(rng, config, grid)
        total = camera
        if registered and rng.random() < config.parallax_share:  # which no homography takes away
            heading = rng.uniform(0, 2 * np.pi)
            reach = np.array([-rng.random(), 0.0, rng.random()]) * uniform(rng, config.parallax)
            total = camera + _parallax(rng, size, reach[:, None] * np.array([np.cos(heading), np.sin(heading)]))
    if kind in ("objects", "both") and rng.random() < config.flow_share:
        local = _local_flow(rng, config, size)
        total = local if total is None else total + local
    return SceneMotion(total, camera)


def _camera_flow(rng: np.random.Generator, config: SynthesisConfig, grid: Tensor) -> Tensor:
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
    flow = homography_flow(
        grid,
        tensor(shifts),
        tensor(uniform_array(rng, config.camera_angle, 3) * turn),
        tensor(uniform_array(rng, config.camera_zoom, 3) * turn),
        tensor(uniform_array(rng, config.camera_tilt, 3, 2) * turn[:, None]),
    )
    if rng.random() < config.parallax_share:
        vectors = shifts / max(np.abs(shifts).max(), 1e-6) * min(uniform(rng, config.parallax), reach)
        flow = flow + _parallax(rng, (grid.shape[0], grid.shape[1]), vectors * _OUTER_ONLY[:, None])
    return flow


def _parallax(rng: np.random.Generator, size: tuple[int, int], vectors: np.ndarray) -> Tensor:
    """Near things shift more than far ones: `vectors` times a smooth depth, or times layers with soft steps between."""
    depth = smooth_field(rng, 1, int(rng.integers(2, 5)), size)[0]
    if rng.random() < 0.5:
        depth = torch.sigmoid(depth * rng.uniform(3, 12)) * 2 - 1
    return depth[None, :, :, None] * tensor(vectors)[:, None, None]


def _registrable_flow(rng: np.random.Generator, grid: Tensor) -> Tensor:
    """Sub-pixel phases that change across the picture: what registration resamples away again."""
    shifts = rng.uniform(-1.0, 1.0, (3, 2)) * _OUTER_ONLY[:, None]
    angles = rng.uniform(-0.01, 0.01, 3) * _OUTER_ONLY
    return homography_flow(grid, tensor(shifts), tensor(angles), torch.zeros(3), torch.zeros(3, 2))


def _local_flow(rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int]) -> Tensor:
    """Foliage, water, people: smooth displacements in a part of the picture, none at the reference instant."""
    amplitude = log_uniform(rng, config.flow)
    field = smooth_field(rng, 4, int(rng.integers(2, 9)), size).reshape(2, 2, *size).permute(0, 2, 3, 1)
    before, after = field[0], field[1]
    if rng.random() < 0.5:  # a swing: the same displacement, forth and back
        after = -before * rng.uniform(0.5, 1.0)
    region = torch.sigmoid((smooth_field(rng, 1, 3, size)[0] + rng.uniform(-0.6, 0.6)) * 6)
    return torch.stack([before, torch.zeros_like(before), after]) * (amplitude * region)[None, ..., None]


def pixel_grid(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """H×W×2 positions (x, y) of the pixel centres, in pixels.

    Example:
        >>> pixel_grid(2, 2)[1, 0]
        tensor([0., 1.])
    """
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).to(device=device, dtype=torch.float32)


def warp(picture: Tensor, positions: Tensor) -> Tensor:
    """Sample a picture at pixel positions by bicubic interpolation without overshoot; the border is repeated.

    Bicubic interpolation rings beside highlights a hundred times brighter than their surroundings, which no lens does.
    So the result is held between the smallest and the largest of the four pixels around each position.

    Args:
        picture: C×H×W, seen by all instants, or N×C×H×W, one for each.
        positions: N×h×w×2 as (x, y) in pixels.

    Returns:
        N×C×h×w; exact at whole positions.
    """
    picture = picture[None] if picture.ndim == 3 else picture
    height, width = picture.shape[-2:]
    scale = positions.new_tensor([2.0 / width, 2.0 / height])
    grid = (positions + 0.5) * scale - 1
    # The 2×2 neighbourhood of position x starts at floor(x), which is the pixel nearest to x − ½.
    corner = grid - 0.5 * scale
    bounds = torch.cat([_of_four(torch.minimum, picture), _of_four(torch.maximum, picture)], dim=1)
    count, channels = len(positions), picture.shape[1]

    def sample(source: Tensor, at: Tensor, mode: str) -> Tensor:
        return F.grid_sample(source.expand(count, -1, -1, -1), at, mode, "border", align_corners=False)

    low, high = sample(bounds, corner, "nearest").split(channels, dim=1)
    return torch.minimum(torch.maximum(sample(picture, grid, "bicubic"), low), high)


def _of_four(pick: Callable[[Tensor, Tensor], Tensor], picture: Tensor) -> Tensor:
    """The smallest or largest of each pixel and its neighbours to the right and below."""
    padded = F.pad(picture, (0, 1, 0, 1), mode="replicate")
    rows = pick(padded[..., :-1, :], padded[..., 1:, :])
    return pick(rows[..., :-1], rows[..., 1:])


def homography_flow(grid: Tensor, translation: Tensor, angle: Tensor, zoom: Tensor, tilt: Tensor) -> Tensor:
    """Displacement of every pixel under K homographies about the centre of the picture.

    Args:
        grid: H×W×2 pixel positions.
        translation: K×2, in pixels.
        angle: K, in radians.
        zoom: K, relative magnification minus one.
        tilt: K×2, perspective: relative change of scale from the centre to the edge.

    Returns:
        K×H×W×2 displacements in pixels.

    Example:
        >>> zero = torch.zeros(1)
        >>> homography_flow(pixel_grid(2, 2), torch.tensor([[3.0, 0.0]]), zero, zero, torch.zeros(1, 2))[0, 0]
        tensor([[3., 0.],
                [3., 0.]])
    """
    height, width = grid.shape[:2]
    centre = grid.new_tensor([(width - 1) / 2, (height - 1) / 2])
    centred = grid - centre
    x, y = centred[..., 0], centred[..., 1]
    cos, sin = (torch.cos(angle) * (1 + zoom))[:, None, None], (torch.sin(angle) * (1 + zoom))[:, None, None]
    shift_x, shift_y = translation[:, :1, None], translation[:, 1:, None]
    lean = tilt / centre.clamp_min(1)
    depth = (1 + lean[:, :1, None] * x + lean[:, 1:, None] * y).clamp_min(0.2)
    turned_x, turned_y = (cos * x - sin * y + shift_x) / depth, (sin * x + cos * y + shift_y) / depth
    return torch.stack([turned_x - x, turned_y - y], dim=-1)


def smooth_field(rng: np.random.Generator, channels: int, cells: int, size: tuple[int, int]) -> Tensor:
    """channels×H×W of smooth random values, about normal, with `cells` bumps across the shorter side."""
    height, width = size
    shape = (max(2, round(cells * height / min(size))), max(2, round(cells * width / min(size))))
    coarse = tensor(rng.normal(size=(1, channels, *shape)))
    # Bicubic while small, bilinear to the full size: as smooth as one bicubic step, at a fifth of its cost.
    middle = (min(height, 6 * shape[0]), min(width, 6 * shape[1]))
    fine = F.interpolate(coarse, middle, mode="bicubic", align_corners=False)
    return F.interpolate(fine, size, mode="bilinear", align_corners=False)[0]


def blur_along(picture: Tensor, vector: tuple[float, float]) -> Tensor:
    """Average an N×C×H×W picture along `vector` = (x, y) pixels, centred, as a camera in motion does."""
    taps = max(2, int(np.ceil(np.hypot(*vector))) + 1)
    radius = int(np.ceil(max(abs(vector[0]), abs(vector[1])) / 2)) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for position in np.linspace(-0.5, 0.5, taps):
        x, y = position * vector[0] + radius, position * vector[1] + radius
        left, top = int(np.floor(x)), int(np.floor(y))
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            kernel[row, column] += (1 - abs(x - column)) * (1 - abs(y - row))
    weights = tensor(kernel / kernel.sum()).to(picture)
    channels = picture.shape[1]
    padded = F.pad(picture, (radius,) * 4, mode="replicate")
    return F.conv2d(padded, weights.expand(channels, 1, -1, -1), groups=channels)
