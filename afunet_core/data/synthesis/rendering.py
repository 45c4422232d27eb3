"""Radiance of three instants: a scene seen from where the camera was, crossed by objects, blurred."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import kornia
import numpy as np
import torch
from torch import Tensor

from afunet_core.data.synthesis.motion import OUTER, REFERENCE, Motion
from afunet_core.data.synthesis.objects import MovingObject
from afunet_core.data.synthesis.painting import find_sightings, paint
from afunet_core.data.synthesis.sampling import pixel_grid, tensor, warp
from afunet_core.ops.box_filter import window_max


def render_radiance(
    canvas: Tensor, motion: Motion, objects: Sequence[MovingObject], shake: np.ndarray | None
) -> tuple[Tensor, Tensor]:
    """Render the three instants before any noise, 3×3×H×W, and where objects pass, 1×H×W."""
    size, margin = (motion.total.shape[1], motion.total.shape[2]), motion.margin
    radiance = canvas[:, margin:, margin:][:, : size[0], : size[1]].repeat(3, 1, 1, 1)
    displaced = [instant for instant in range(3) if motion.ranges[instant].any()]  # not seen straight on
    if displaced:
        positions = motion.total[displaced] + (pixel_grid(*size, canvas.device) + margin)
        radiance[displaced] = warp(canvas[None], positions[None])[0]
    places = (find_sightings(thing, motion.ranges, margin, size) for thing in objects)
    passed = paint(radiance, motion.total, list(chain.from_iterable(places)))
    if shake is not None and shake.any():  # a blurred reference has a blurred truth
        shaken = [instant for instant in range(3) if shake[instant].any()]
        radiance[shaken] = blur_along(radiance[shaken], shake[shaken])
    return radiance, passed


def moved_mask(radiance: Tensor, passed: Tensor) -> Tensor:
    """Mask, 1×H×W, where an object passes or radiance changes by more than 5 % of itself and 0.002 of white."""
    reference = radiance[REFERENCE]
    before, after = (radiance[OUTER] - reference).abs()
    mask = (torch.maximum(before, after) / (0.05 * reference + 0.002)).amax(dim=0, keepdim=True).clamp(0, 1)
    # `kornia.morphology.dilation` finds the same at six times the cost on a CPU.
    return torch.maximum(window_max(mask[None], 3)[0], passed)


def blur_along(pictures: Tensor, vectors: np.ndarray) -> Tensor:
    """Average N×C×H×W pictures, each along its own of the N×2 vectors (x, y) in pixels, as a camera in motion does."""
    radius = int(np.ceil(np.abs(vectors).max() / 2)) + 1
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
