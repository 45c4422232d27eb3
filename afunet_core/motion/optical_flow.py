"""Optical flow: dense motion between two pictures, by matching windows from coarse to fine.

At every level of a pyramid each pixel tries the motion of the level above, those of its neighbours (so that what one
window found spreads, as in PatchMatch: Barnes et al., SIGGRAPH 2009) and none at all, then the shifts around the best,
and keeps what matches best in brightness and slopes over a window. Motion between whole pixels comes from how the
cost rises around the best; what matched badly is smoothed away. No variational solver, no learned weights: a few
hundred tensor operations whatever the size, on any device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.errors import ShapeError
from afunet_core.ops.box_filter import block_mean, window_mean
from afunet_core.ops.slope import central_differences
from afunet_core.ops.warp import sample

# Side of the windows that are matched, in pixels of each level. Smaller ones lose what is clipped, without texture.
WINDOW = 11
COARSEST = 16  # the shorter side of the coarsest level is at least this, and less than twice it
FINEST = 1  # the finest level that is matched: half of the picture
FIRST_RADIUS = 4  # pixels searched around no motion at the coarsest level,
RADIUS = 1  # and around the best known motion at finer ones
NEIGHBOUR = 4  # distance of the neighbours whose motion is tried, pixels of the level
# Costs are mean differences of values in [0, 1].
LENGTH_COST = 0.003  # cost of a pixel of search
GOOD_MATCH = 0.03  # cost at which a match counts 1/e of a perfect one
SLOPE_NOISE = 0.002  # a rise of the cost over one pixel smaller than this says nothing


@torch.no_grad()
def optical_flow(reference: Tensor, moving: Tensor) -> Tensor:
    """Estimate the motion from one picture to another.

    Args:
        reference: B×1×H×W brightness in [0, 1], evenly spaced for the eye (after a gamma, say), both pictures brought
            to one exposure and clipped alike.
        moving: the same of the other picture.

    Returns:
        B×2×H×W in pixels, along x and y: what ``reference`` shows at ``p``, ``moving`` shows at ``p + flow(p)``.
        Without gradient: matching chooses.

    Raises:
        ShapeError: unless both are B×1×H×W of one shape.

    Example:
        >>> picture = F.avg_pool2d(torch.rand(1, 1, 66, 66, generator=torch.Generator().manual_seed(0)), 3, 1)
        >>> flow = optical_flow(picture, picture.roll(2, dims=-1))
        >>> flow[0, :, 20:-20, 20:-20].mean((1, 2)).round().tolist()
        [2.0, 0.0]
    """
    if reference.ndim != 4 or reference.shape[1] != 1:
        raise ShapeError("reference", "B×1×H×W", tuple(reference.shape), "Give the brightness alone.")
    if moving.shape != reference.shape:
        raise ShapeError("moving", f"the shape of the reference, {tuple(reference.shape)}", tuple(moving.shape))
    levels = [(reference, moving)]
    while min(levels[-1][0].shape[-2:]) >= 2 * COARSEST:
        levels.append((block_mean(levels[-1][0], 2), block_mean(levels[-1][1], 2)))
    flow: Tensor | None = None
    for level in range(len(levels) - 1, min(FINEST, len(levels) - 1) - 1, -1):
        # Brightness and its slopes, B×3×H×W: slopes tell more where the exposures are not exact.
        here, there = (torch.cat((picture, *central_differences(picture)), 1) for picture in levels[level])
        if flow is None:
            flow = here.new_zeros(here.shape[0], 2, *here.shape[-2:])
            flow = _search(here, there, flow, FIRST_RADIUS)
        else:
            flow = _best_known(here, there, _resized(flow, here.shape[-2:]))
            flow = _search(here, there, flow, RADIUS)
    assert flow is not None
    return _resized(flow, reference.shape[-2:])


@torch.no_grad()
def flow_inconsistency(forward: Tensor, backward: Tensor) -> Tensor:
    """Measure by how many pixels motion there and back misses its start, B×1×H×W: near 0 where both are true.

    Example:
        >>> flow = torch.ones(1, 2, 8, 8)
        >>> float(flow_inconsistency(flow, -flow).max())
        0.0
    """
    missed = forward + _sample_at(backward, forward)
    return torch.hypot(missed[:, :1], missed[:, 1:])


# kornia's remap takes 1.2 times as long.
def _sample_at(picture: Tensor, flow: Tensor) -> Tensor:
    """``picture(p + flow(p))`` between pixels, its border repeated."""
    height, width = picture.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return sample(picture, torch.stack((x, y), dim=-1), "bilinear")


def _best_known(here: Tensor, there: Tensor, flow: Tensor) -> Tensor:
    """Of the motion at a pixel, those at four neighbours, and none: the one that matches best."""
    step, (height, width) = NEIGHBOUR, flow.shape[-2:]
    wide = F.pad(flow, (step,) * 4, mode="replicate")
    shifts = ((step, 2 * step), (step, 0), (2 * step, step), (0, step))
    neighbours = [wide[..., top : top + height, left : left + width] for top, left in shifts]
    pictures = [*(_sample_at(there, motion) for motion in (flow, *neighbours)), there]
    costs = window_mean(torch.cat([_difference(here, picture) for picture in pictures], dim=1), WINDOW)
    costs[:, 1:] += LENGTH_COST
    best = costs.min(1, keepdim=True).indices  # argmin would do the same four times as slowly
    candidates = torch.stack([flow, *neighbours, torch.zeros_like(flow)], dim=1)
    return candidates.gather(1, best[:, :, None].expand(-1, -1, 2, -1, -1))[:, 0]


def _search(here: Tensor, there: Tensor, flow: Tensor, radius: int) -> Tensor:
    """The best whole shift within ``radius`` of each pixel's motion, refined between pixels, then smoothed."""
    height, width = here.shape[-2:]
    side = 2 * radius + 1
    moved = F.pad(_sample_at(there, flow), (radius,) * 4, mode="replicate")
    costs = [
        _difference(here, moved[..., top : top + height, left : left + width])
        for top in range(side)
        for left in range(side)
    ]
    cost = window_mean(torch.cat(costs, dim=1), WINDOW)
    offsets = torch.arange(side, device=cost.device) - radius
    length = (offsets[:, None].square() + offsets.square()).float().sqrt().flatten()
    best = (cost + LENGTH_COST * length.to(cost)[:, None, None]).min(1, keepdim=True).indices
    least = cost.gather(1, best)
    row, column = best // side, best % side
    x = column - radius + _between(cost, best, column, 1, side, least)
    y = row - radius + _between(cost, best, row, side, side, least)
    flow, weight = flow + torch.cat((x, y), dim=1), torch.exp(-least / GOOD_MATCH) + 1e-4  # good matches count most
    return window_mean(flow * weight, 5) / window_mean(weight, 5)


def _between(cost: Tensor, best: Tensor, place: Tensor, stride: int, side: int, least: Tensor) -> Tensor:
    """Position of the best match between pixels along an axis, from the costs of its two neighbours.

    Costs of absolute differences rise like a V: two lines of the steeper slope through the three costs meet there.
    Where they hardly rise at all, as on what is clipped, noise would decide: there the whole shift stays.
    """
    inside = (place > 0) & (place < side - 1)
    before = cost.gather(1, torch.where(inside, best - stride, best))
    after = cost.gather(1, torch.where(inside, best + stride, best))
    slope = torch.maximum(before, after) - least
    return ((before - after) / (2 * (slope + SLOPE_NOISE))).clamp(-0.5, 0.5)


def _difference(one: Tensor, other: Tensor) -> Tensor:
    """Mean over the channels of how far two pictures differ, B×1×H×W."""
    return (one - other).abs_().mean(1, keepdim=True)


def _resized(flow: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """The same motion on another grid, in pixels of that grid."""
    if tuple(flow.shape[-2:]) == tuple(size):
        return flow
    scale = flow.new_tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]])
    return F.interpolate(flow, size=tuple(size), mode="bilinear", align_corners=False) * scale[:, None, None]
