"""The anchored head on large pictures: weights from reduced frames, only where they are wanted, merged at full size.

Nothing of the full size is held but the frames' source and the result. Where the weights are not wanted, because
nothing moves, all frames are trusted alike: that is the weighted merge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.model.afunet import AFUNet
from afunet_core.model.heads import anchored_merge, estimate_times
from afunet_core.model.streaming.rows import FrameSource, TensorSource
from afunet_core.model.streaming.stream import stream
from afunet_core.model.streaming.tiling import row_ranges
from afunet_core.model.working_scale import REACH, HeadMaps, apply_linear_maps, fit_linear_maps, reduce_frames
from afunet_core.ops.box_filter import window_max, window_mean
from afunet_core.ops.rectangles import Rectangle, covering_rectangles

__all__ = ["stream_at_scale"]

STRIP_PIXELS = 1 << 16
"""Pixels of a strip of the frames: what is computed of them stays in the processor's cache."""
FITTED_PIXELS = 1 << 19
"""Pixels of the frames for which the enlarging is fitted at once: many beside the rows beyond them."""
BLOCK = 16
"""Rectangles in which the network is asked begin at multiples of so many reduced pixels,"""
MARGIN = 2
"""and show it so many blocks around what is wanted."""
FADE = 9
"""Width of the window over which its answer goes over into equal trust, reduced pixels; well within the margin."""
FEW = 0.8
"""Share of the picture from which the rectangles are not worth it: the network sees all."""
NO_TRUST = -1e3
"""Log-trust of a prior that says nothing: the head bends it to its limit."""


def stream_at_scale(
    model: AFUNet, frames: Tensor | FrameSource, scale: int, where: Tensor | None = None, **options: Any
) -> tuple[Tensor, float]:
    """Merge by a network that looks at reduced frames, without gradients, in pieces.

    Args:
        model: a network with an anchored head.
        frames: ``B×18×H×W`` network input, or a source that makes its rows when they are asked for.
        scale: by which the network looks at reduced frames.
        where: ``B×1×h×w``, of any size, above 0 where the network is asked; elsewhere, but for a margin, all frames are
            trusted alike. ``None`` asks it everywhere.
        **options: of :func:`~afunet_core.model.streaming.stream.stream`, for the network.

    Returns:
        ``B×3×H×W`` radiance where the frames are; and the share of the picture that the network looked at.
    """
    source = TensorSource(frames) if isinstance(frames, Tensor) else frames
    batch, _, height, width = source.shape
    coarse = _reduced(source, scale)
    image = torch.empty(batch, 3, height, width, dtype=torch.float32, device=source.device)
    looked_at = 0.0
    with torch.inference_mode():
        for index in range(batch):
            small = coarse[index : index + 1]
            known = source.times(index)
            times = estimate_times(small) if known is None else known[None].to(small)
            wanted = None if where is None else _wanted(where[index : index + 1], small.shape[-2:])
            maps, share = _maps(model, small, times, wanted, options)
            looked_at += share / batch
            for start, stop in row_ranges(height, scale * max(1, FITTED_PIXELS // (width * scale))):
                enlarge = _enlarging(small, maps, (start, stop), scale)
                for top, bottom in row_ranges(stop - start, scale * max(1, STRIP_PIXELS // (width * scale))):
                    strip = source.rows(index, start + top, start + bottom)[None].to(maps.dtype)
                    found = enlarge(strip, (top, bottom))
                    merged = anchored_merge(strip, times.to(strip), found.prior, found.trust)
                    image[index, :, start + top : start + bottom] = merged[0]
    return image, looked_at


def _reduced(source: FrameSource, scale: int) -> Tensor:
    """:func:`reduce_frames` of a source, strip by strip."""
    batch, channels, height, width = source.shape
    shape = (batch, channels, -(-height // scale), -(-width // scale))
    coarse = torch.empty(shape, device=source.device)
    with torch.inference_mode():
        for index in range(batch):
            for start, stop in row_ranges(height, scale * max(1, STRIP_PIXELS // (width * scale))):
                rows = reduce_frames(source.rows(index, start, stop)[None].float(), scale)[0]
                coarse[index, :, start // scale : start // scale + rows.shape[1]] = rows
    return coarse


def _wanted(where: Tensor, size: torch.Size) -> Tensor:
    """A mask of any size as one of the reduced picture, 1.0 where any pixel is wanted."""
    mask = (where > 0).float()
    if mask.shape[-2] >= size[0]:
        return F.adaptive_max_pool2d(mask, tuple(size))
    return F.interpolate(mask, size=tuple(size), mode="nearest")


def _maps(
    model: AFUNet, coarse: Tensor, times: Tensor, wanted: Tensor | None, options: dict[str, Any]
) -> tuple[Tensor, float]:
    """What the head decodes, ``1×7×h×w``, from the network where it is wanted; and the share that it looked at."""
    height, width = coarse.shape[-2:]
    parts = [Rectangle(0, 0, height, width)]
    if wanted is not None:
        parts = covering_rectangles(wanted[0, 0].bool().cpu().numpy(), BLOCK, MARGIN)
        if sum(part.area for part in parts) > FEW * height * width:
            parts = [Rectangle(0, 0, height, width)]
    total, done = sum(part.area for part in parts), 0
    trust = coarse.new_tensor([0.0, 0.0, 0.0, NO_TRUST]).view(1, 4, 1, 1).expand(1, 4, height, width)
    neutral = torch.cat([anchored_merge(coarse, times, coarse[:, :3], trust).clamp(0, 1), trust], dim=1)
    if not parts:
        return neutral, 0.0
    maps = neutral.clone()
    report = options.get("on_progress")
    for part in parts:
        place = (..., slice(part.top, part.top + part.height), slice(part.left, part.left + part.width))
        if report is not None:
            options = {**options, "on_progress": _shifted(report, done, part.area, total)}
        found = stream(model, coarse[place].contiguous(), times=times, maps=True, **options)
        assert isinstance(found, Tensor)
        maps[place] = found.to(maps)
        done += part.area
    if wanted is not None and len(parts) and total < height * width:
        # Dilated before it fades, so that what is wanted is the network's wholly.
        share = window_mean(window_max(wanted, FADE), FADE)
        maps = torch.lerp(neutral, maps, share)
    return maps, min(total / (height * width), 1.0)


def _shifted(report: Callable[[int, int, str], None], done: int, area: int, total: int) -> Callable[..., None]:
    """Progress of one rectangle as that of all."""
    return lambda part, whole, message: report(done + area * part // max(whole, 1), total, message)


def _enlarging(
    coarse: Tensor, maps: Tensor, rows: tuple[int, int], scale: int
) -> Callable[[Tensor, tuple[int, int]], HeadMaps]:
    """Return how the maps of some rows are enlarged: a function of a strip of the frames and its place among them."""
    start, stop = rows
    if scale == 1:
        here = maps[..., start:stop, :]
        return lambda strip, place: HeadMaps(here[:, :3, place[0] : place[1]], here[:, 3:, place[0] : place[1]])
    first, last = max(start // scale - REACH, 0), min(-(-stop // scale) + REACH, coarse.shape[-2])
    near = maps[..., first:last, :]
    found = fit_linear_maps(HeadMaps(near[:, :3], near[:, 3:]), coarse[..., first:last, :], scale)
    offset = start - first * scale
    return lambda strip, place: apply_linear_maps(found, strip, (offset + place[0], offset + place[1]))
