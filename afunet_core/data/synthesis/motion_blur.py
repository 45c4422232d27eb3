"""Camera shake during an exposure: each frame is averaged along a line of its own."""

from __future__ import annotations

from collections.abc import Sequence

import kornia
import numpy as np
import torch
from torch import Tensor

from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.draws import tensor, uniform

__all__ = ["blur_along", "draw_shake", "line_kernel", "shake"]

# Blur shorter than this, in pixels, is not seen.
_SHORTEST = 0.3


def draw_shake(rng: np.random.Generator, config: SynthesisConfig) -> np.ndarray:
    """3×2 vectors (x, y) in pixels along which the frames are blurred; longer exposures more, 0 for too short ones."""
    vectors = np.zeros((3, 2))
    length = uniform(rng, config.blur)
    for index, share in ((2, 1.0), (1, 0.3), (0, 0.1)):
        angle = rng.uniform(0, np.pi)
        reach = length * share * rng.uniform(0.5, 1.0)
        if reach > _SHORTEST:
            vectors[index] = reach * np.cos(angle), reach * np.sin(angle)
    return vectors


def shake(radiance: Tensor, vectors: Sequence[np.ndarray | None]) -> Tensor:
    """Blur B×3×C×H×W frames along what `draw_shake` drew for each bracket; a blurred reference has a blurred truth."""
    lines = [line for drawn in vectors for line in (np.zeros((3, 2)) if drawn is None else drawn)]
    places = [place for place, line in enumerate(lines) if line.any()]
    if not places:
        return radiance
    frames, index = radiance.flatten(0, 1), torch.tensor(places, device=radiance.device)
    blurred = blur_along(frames[index], np.stack([lines[place] for place in places]))
    return frames.index_copy(0, index, blurred).view_as(radiance)


def blur_along(pictures: Tensor, vectors: np.ndarray) -> Tensor:
    """Average N×C×H×W pictures, each along its own of the N×2 vectors (x, y) in pixels, as a camera in motion does.

    Example:
        >>> point = torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]])
        >>> blur_along(point, np.array([[2.0, 0.0]]))
        tensor([[[[0.0000, 0.3333, 0.3333, 0.3333, 0.0000]]]])
    """
    radius = max(_radius(vector) for vector in vectors)
    kernels = tensor(np.stack([line_kernel(vector, radius) for vector in vectors])).to(pictures)
    return kornia.filters.filter2d(pictures, kernels, border_type="replicate")


def line_kernel(vector: np.ndarray, radius: int) -> np.ndarray:
    """(2·radius + 1)² weights of a line about the centre, drawn with soft ends between pixels; their sum is 1."""
    taps = max(2, int(np.ceil(np.hypot(*vector))) + 1)
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for position in np.linspace(-0.5, 0.5, taps):
        x, y = position * vector[0] + radius, position * vector[1] + radius
        left, top = int(np.floor(x)), int(np.floor(y))
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            kernel[row, column] += (1 - abs(x - column)) * (1 - abs(y - row))
    return kernel / kernel.sum()


def _radius(vector: np.ndarray) -> int:
    return int(np.ceil(np.abs(vector).max() / 2)) + 1
