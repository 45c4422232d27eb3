"""Regions of a result that are taken from single frames: deghosting by hand, after the merge or with it.

Where something moved, a merge shows one moment. A region says that somewhere another frame's moment is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afunet_core.errors import ArgumentError
from afunet_core.merging.alignment import AlignedBracket
from afunet_core.merging.estimate import Estimate
from afunet_core.ops.box_filter import window_mean
from afunet_core.radiometry import to_radiance

# Frame, counted from 0, shortest exposure first; and the corners of a polygon, (row, column) in pixels.
Region = tuple[int, Sequence[Sequence[float]]]
_FEATHER = 9  # pixels over which a region goes over into its surroundings; odd
_SATURATED = 0.97  # encoded value from which on a frame only says “at least as bright”


def check_regions(regions: Any, count: int) -> None:
    """Refuse a region of an unknown frame, or of fewer than three corners."""
    expected = "(frame, ((row, column), …)) with three or more corners"
    for region in regions:
        try:
            frame, corners = region
            good = np.shape(corners)[1:] == (2,) and len(corners) >= 3 and bool(np.isfinite(corners).all())
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ArgumentError("regions", expected, repr(region))
        if not 0 <= int(frame) < count:
            advice = "Frames are counted from 0, shortest exposure first."
            raise ArgumentError("regions", f"frames 0 to {count - 1}", frame, advice)


@torch.no_grad()
def take_regions(estimate: Estimate, aligned: AlignedBracket, regions: Sequence[Region]) -> Estimate:
    """Replace regions of an estimate by what single frames recorded there; later ones lie above earlier ones.

    Where the frame is saturated, the estimate stays if it is brighter.
    """
    bracket = aligned.bracket
    check_regions(regions, len(bracket))
    image = estimate.image
    top, left = (0, 0) if aligned.area is None else aligned.area[:2]
    for frame, corners in regions:
        mask, rows, columns = _feathered_mask(corners, (top, left), tuple(image.shape[-2:]))
        if mask is None:
            continue
        encoded = bracket.frames[int(frame)][..., rows, columns].to(image)
        light = to_radiance(encoded, float(bracket.times[int(frame)]), bracket.encoding, bracket.gamma)
        before = image[..., rows, columns]
        taken = torch.where(encoded > _SATURATED, torch.maximum(light, before), light)
        mask = mask.to(image)
        image = image.clone()
        image[..., rows, columns] = before + mask * (taken - before)
    return replace(estimate, image=image)


def _feathered_mask(
    corners: Sequence[Sequence[float]], origin: tuple[int, int], shape: tuple[int, ...]
) -> tuple[Tensor | None, slice, slice]:
    """Return the polygon with soft edges, 1×1×h×w in [0, 1], and the window of the image that it lies in."""
    from PIL import Image, ImageDraw

    points = np.asarray(corners, float) - origin
    low = np.maximum(np.floor(points.min(0)).astype(int) - _FEATHER, 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + _FEATHER + 1, shape)
    rows, columns = slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))
    if (high <= low).any():
        return None, rows, columns
    height, width = (high - low).tolist()
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).polygon([(x - low[1], y - low[0]) for y, x in points.tolist()], fill=1)
    hard = torch.from_numpy(np.array(picture, np.float32))[None, None]
    return window_mean(hard, _FEATHER), rows, columns
