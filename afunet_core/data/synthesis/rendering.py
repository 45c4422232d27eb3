"""From plans to the radiance of three instants: scenes seen from where the camera was, crossed by objects, blurred."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import kornia
import numpy as np
import torch
from torch import Tensor

from afunet_core.data.synthesis.draws import select, tensor
from afunet_core.data.synthesis.lighting import render_background
from afunet_core.data.synthesis.motion import OUTER, REFERENCE
from afunet_core.data.synthesis.painting import find_sightings, paint
from afunet_core.data.synthesis.plan import BracketPlan
from afunet_core.data.synthesis.sampling import pixel_grid, warp
from afunet_core.ops.box_filter import window_max


def render_radiance(plans: Sequence[BracketPlan], displacement: Tensor) -> tuple[Tensor, Tensor]:
    """Render the three instants of B brackets before any noise: B×3×3×H×W, and where objects pass, B×1×H×W."""
    size = (displacement.shape[2], displacement.shape[3])
    radiance = displacement.new_empty(len(plans), 3, 3, *size)
    passed, grid = displacement.new_empty(len(plans), 1, *size), pixel_grid(*size, displacement.device)
    for plan, instants, moved, covered in zip(plans, radiance, displacement, passed, strict=True):
        canvas = render_background(plan.background, displacement.device)
        instants[:] = canvas[:, plan.margin :, plan.margin :][:, : size[0], : size[1]]
        if plan.displaced:
            views = select(plan.displaced)
            instants[views] = warp(canvas[None], (moved[views] + (grid + plan.margin))[None])[0]
        places = (find_sightings(thing, plan.ranges, plan.margin, size) for thing in plan.objects)
        covered[:] = paint(instants, moved, list(chain.from_iterable(places)))
    return shake(radiance, [plan.shake for plan in plans]), passed


def moved_mask(radiance: Tensor, passed: Tensor) -> Tensor:
    """Mask, B×1×H×W, where an object passes or radiance changes by more than 5 % of itself and 0.002 of white."""
    reference = radiance[:, REFERENCE]
    before, after = (radiance[:, OUTER] - reference[:, None]).abs().unbind(1)
    mask = (torch.maximum(before, after) / (0.05 * reference + 0.002)).amax(dim=1, keepdim=True).clamp(0, 1)
    # `kornia.morphology.dilation` finds the same at six times the cost on a CPU.
    return torch.maximum(window_max(mask, 3), passed)


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
