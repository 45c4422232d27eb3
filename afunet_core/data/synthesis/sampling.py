"""Random numbers from ranges, pixel positions, views of a picture, fields without detail.

Positions are …×H×W×2, (x, y) in pixels.
"""

from __future__ import annotations

import kornia
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.data.synthesis.config import Range
from afunet_core.ops.warp import sample


def uniform(rng: np.random.Generator, interval: Range) -> float:
    """One value, uniform in the interval."""
    return float(rng.uniform(interval[0], interval[1]))


def uniform_array(rng: np.random.Generator, interval: Range, *shape: int) -> np.ndarray:
    """An array of values, uniform in the interval."""
    return rng.uniform(interval[0], interval[1], shape)


def log_uniform(rng: np.random.Generator, interval: Range) -> float:
    """One value, uniform in its logarithm; plainly uniform where the interval starts at zero."""
    low, high = interval
    if low <= 0:
        return uniform(rng, interval)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def tensor(values: np.ndarray) -> Tensor:
    """A float32 tensor of a NumPy array."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def pixel_grid(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """H×W×2 positions (x, y) of the pixel centres, in pixels."""
    return kornia.geometry.create_meshgrid(height, width, False, torch.device(device), torch.float32)[0]


def warp(pictures: Tensor, positions: Tensor) -> Tensor:
    """Sample B×C×H×W pictures at B×K×h×w×2 positions of K views: B×K×C×h×w, exact at whole positions."""
    views, tall = positions.shape[1:3]
    one_below_the_other = positions.flatten(1, 2)
    return sample(pictures, one_below_the_other).unflatten(2, (views, tall)).transpose(1, 2)


def draw_coarse_field(rng: np.random.Generator, channels: int, cells: int, size: tuple[int, int]) -> Tensor:
    """channels×h×w normal values from which `smooth_field` makes fields of `size`, `cells` across the shorter side."""
    height, width = size
    shape = (max(2, round(cells * height / min(size))), max(2, round(cells * width / min(size))))
    return tensor(rng.normal(size=(1, channels, *shape)))[0]


def smooth_field(coarse: Tensor, size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """Make C×H×W smooth random values, about normal, of a draw of `draw_coarse_field`."""
    # Bicubic while small, bilinear to the full size: as smooth as one bicubic step, at a fifth of its cost.
    middle = (min(size[0], 6 * coarse.shape[-2]), min(size[1], 6 * coarse.shape[-1]))
    fine = F.interpolate(coarse[None].to(device), middle, mode="bicubic", align_corners=False)
    return F.interpolate(fine, size, mode="bilinear", align_corners=False)[0]
