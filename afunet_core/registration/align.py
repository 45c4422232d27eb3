"""Alignment after registration: frames warped onto the reference, and the area that all of them show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from afunet_core.camera.saturation import BRIGHT
from afunet_core.ops.strips import row_strips
from afunet_core.ops.warp import STRIP_PIXELS, valid_area, warp_homography, warp_rows
from afunet_core.radiometry import encode, expose, linearize, to_radiance

if TYPE_CHECKING:
    from afunet_core.registration.decision import Registration


def common_area(registrations: Sequence[Registration], height: int, width: int) -> tuple[int, int, int, int]:
    """Find the largest rectangle that all frames cover: top, left, height, width (0 if they share nothing)."""
    covered = torch.ones(1, 1, height, width, dtype=torch.bool)
    for entry in registrations:
        if entry.decision == "warped":
            covered &= valid_area(entry.homography, height, width)
    return largest_rectangle(covered[0, 0])


def covered_areas(registrations: Sequence[Registration], frames: int, height: int, width: int) -> dict[int, Tensor]:
    """Mask, B×1×H×W, where each frame that was warped in some bracket has content of its own; by the frame's index.

    ``registrations`` are those of the ``frames`` frames of the first bracket, then of the next.
    """
    areas = {}
    for index in range(frames):
        entries = registrations[index::frames]
        if any(entry.decision == "warped" for entry in entries):
            areas[index] = torch.cat([valid_area(entry.homography, height, width) for entry in entries])
    return areas


def covered_share(homography: Tensor, height: int, width: int) -> float:
    """Measure the share of the output that :func:`valid_area` covers, in [0, 1]; of large images from some rows."""
    every = max(1, height * width // STRIP_PIXELS)
    return float(valid_area(homography, height, width, every).float().mean())


def largest_rectangle(mask: Tensor) -> tuple[int, int, int, int]:
    """Find the largest upright rectangle (top, left, height, width) in a convex boolean mask H×W; zeros if it is empty.

    Of every pair of rows the columns between which both are covered bound a rectangle; the area of a convex mask
    between two rows is bounded by those rows.
    """
    height, width = mask.shape
    rows = torch.linspace(0, height - 1, min(height, 1024)).long()  # of more rows not every pair is looked at
    mask = mask[rows]
    filled = mask.any(dim=1)
    left = mask.int().argmax(dim=1)
    right = width - mask.flip(1).int().argmax(dim=1)
    # Empty rows: a left edge beyond the right one leaves no width.
    left, right = torch.where(filled, left, width), torch.where(filled, right, 0)
    wide = (torch.minimum(right[:, None], right) - torch.maximum(left[:, None], left)).clamp(min=0)
    tall = (rows - rows[:, None] + 1).clamp(min=0)
    best = int((wide * tall).argmax())
    top, bottom = divmod(best, len(rows))
    if int(wide[top, bottom]) == 0:
        return 0, 0, 0, 0
    edge, tallest = int(max(left[top], left[bottom])), int(tall[top, bottom])
    return int(rows[top]), edge, tallest, int(wide[top, bottom])


def align_frame(
    frame: Tensor,
    homography: Tensor,
    reference: Tensor,
    time: float,
    reference_time: float,
    encoding: str = "gamma",
    gamma: float | Tensor = 2.2,
    check: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """Warp one encoded frame, B×C×H×W, in linear light by a 3×3 homography to the reference.

    Outside its own area, of which the mask B×1×H×W is returned too, it shows what :func:`unseen_content` says.
    """

    def unseen(own: Tensor, shown: Tensor) -> Tensor:
        told = expose(to_radiance(shown, reference_time, encoding, gamma), time, encoding, gamma)
        return unseen_content(own, told, shown)

    differentiable = torch.is_grad_enabled() and any(x.requires_grad for x in (frame, homography, reference))
    if differentiable or frame.device.type != "cpu" or torch.as_tensor(gamma).ndim:
        warped, valid = warp_homography(linearize(frame, encoding, gamma), homography.to(frame.device))
        own = encode(warped, encoding, gamma)
        return torch.where(valid, own, unseen(own, reference)), valid
    # In strips: a large frame warped whole takes ten times its own memory.
    height, width = frame.shape[-2:]
    aligned, covered = torch.empty_like(frame), frame.new_empty(len(frame), 1, height, width, dtype=torch.bool)
    linear = partial(linearize, encoding=encoding, gamma=gamma)
    for rows in row_strips(height, width, STRIP_PIXELS, multiple=2):
        check()
        warped, valid = warp_rows(frame, homography, rows.start, rows.stop, linear)
        own = encode(warped, encoding, gamma)
        beyond = valid[0].logical_not().flatten().nonzero()[:, 0]
        if len(beyond):  # mostly little: the powers of what stands in are computed there alone
            flat, shown = own.flatten(2), reference[..., rows, :].flatten(2)
            flat[..., beyond] = unseen(flat[..., beyond], shown[..., beyond])
        aligned[..., rows, :] = own
        covered[..., rows, :] = valid
    return aligned, covered


def unseen_content(own: Tensor, told: Tensor, reference: Tensor) -> Tensor:
    """Fill in where a frame shows nothing from the reference, which where it is clipped says only "at least".

    ``told`` is the reference at the frame's exposure; where it is clipped, the repeated border ``own`` may be brighter.
    """
    clipped = ((reference - BRIGHT) / (1 - BRIGHT)).clamp(0, 1)
    return told + clipped * (own - told).clamp_min(0)
