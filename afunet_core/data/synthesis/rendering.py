"""From plans to the radiance of three instants: scenes seen from where the camera was, crossed by objects, blurred."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from afunet_core.data.synthesis.draws import per_sample, select
from afunet_core.data.synthesis.lighting import render_backgrounds
from afunet_core.data.synthesis.motion import OUTER, REFERENCE
from afunet_core.data.synthesis.motion_blur import shake
from afunet_core.data.synthesis.painting import find_sightings, paint
from afunet_core.data.synthesis.plan import BracketPlan
from afunet_core.data.synthesis.sampling import pixel_grid, warp
from afunet_core.ops.box_filter import window_max

__all__ = ["moved_mask", "render_radiance"]


def render_radiance(plans: Sequence[BracketPlan], displacement: Tensor) -> tuple[Tensor, Tensor]:
    """Render the three instants of B brackets, before any noise, under B×3×H×W×2 displacements of camera and scene.

    Returns:
        B×3×3×H×W radiance (instant, RGB), and B×1×H×W in [0, 1]: where objects pass.
    """
    size = (displacement.shape[2], displacement.shape[3])
    radiance = displacement.new_empty(len(plans), 3, 3, *size)
    for instants in sorted({plan.displaced for plan in plans}):
        chosen = {place: plan for place, plan in enumerate(plans) if plan.displaced == instants}
        index = select(list(chosen), displacement.device)
        canvases = render_backgrounds([plan.background for plan in chosen.values()], displacement.device)
        if instants:
            views = index, select(instants)
            margin = per_sample((plan.margin for plan in chosen.values()), displacement)
            positions = displacement[views] + (pixel_grid(*size, displacement.device) + margin)
            radiance[views] = warp(canvases, positions)
        if len(instants) < 3:
            straight = select([instant for instant in range(3) if instant not in instants])
            for canvas, (place, plan) in zip(canvases, chosen.items(), strict=True):
                rows, columns = (slice(plan.margin, plan.margin + side) for side in size)
                radiance[place, straight] = canvas[:, rows, columns]
    objects, ranges, margins = zip(*((plan.objects, plan.ranges, plan.margin) for plan in plans), strict=True)
    passed = paint(radiance, displacement, find_sightings(objects, ranges, margins, size))
    return shake(radiance, [plan.shake for plan in plans]), passed


def moved_mask(radiance: Tensor, passed: Tensor) -> Tensor:
    """Mask, B×1×H×W, where an object passes or radiance changes by more than 5 % of itself and 0.002 of white."""
    reference = radiance[:, REFERENCE]
    before, after = (radiance[:, OUTER] - reference[:, None]).abs().unbind(1)
    mask = (torch.maximum(before, after) / (0.05 * reference + 0.002)).amax(dim=1, keepdim=True).clamp(0, 1)
    # `kornia.morphology.dilation` finds the same at six times the cost on a CPU.
    return torch.maximum(window_max(mask, 3), passed)
