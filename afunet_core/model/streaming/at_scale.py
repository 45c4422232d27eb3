"""The anchored head on large pictures: weights from reduced frames, only where they are wanted, merged at full size.

Nothing of the full size is held but the frames' source and the result. Where the weights are not wanted, because
nothing moves, all frames are trusted alike, and a little of the reduced mean takes noise from them: the enlarging keeps
the edges that the frames have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.model.afunet import AFUNet
from afunet_core.model.heads import anchored_merge, anchored_weights
from afunet_core.model.streaming.rows import FrameSource
from afunet_core.model.streaming.stream import check_cancel, stream
from afunet_core.model.streaming.tiling import row_ranges
from afunet_core.model.working_scale import REACH, HeadMaps, apply_linear_maps, fit_linear_maps, reduce_frames
from afunet_core.ops.box_filter import window_max, window_mean
from afunet_core.utils.progress import ShouldCancel

STRIP_PIXELS = 1 << 16  # pixels of a strip of the frames: what is computed of them stays in the processor's cache
# Pixels of the frames for which the enlarging is fitted at once: many beside the rows beyond them.
FITTED_PIXELS = 1 << 19
CONTEXT = 9  # width of the window around what is wanted that the network sees as well, reduced pixels,
FADE = 9  # and of that over which its answer goes over into equal trust
# Log-trust of the reduced mean where the network is not asked; 0 of the frames. Without it noise stays that the network
# takes out, with more the reduced mean begins to count beside what frames of 1, 4 and 16 exposures recorded.
PRIOR_TRUST = 1.0


def stream_at_scale(
    model: AFUNet,
    frames: Tensor | FrameSource,
    scale: int,
    where: Tensor | None = None,
    should_cancel: ShouldCancel | None = None,
    **options: Any,
) -> tuple[Tensor, float]:
    """Merge by a network with an anchored head that looks at frames reduced by ``scale``, without gradients, in pieces.

    ``where``, B×1×h×w of any size, is above 0 where it is asked; elsewhere all frames are trusted alike.
    Returns B×3×H×W radiance where the frames are, and the share of the picture that the network looked at.
    """
    source = FrameSource(frames) if isinstance(frames, Tensor) else frames
    batch, _, height, width = source.shape
    coarse = _reduced(source, scale, should_cancel)
    options["should_cancel"] = should_cancel
    image = torch.empty(batch, 3, height, width, dtype=torch.float32, device=source.device)
    looked_at = 0.0
    with torch.inference_mode():
        for index in range(batch):
            small = coarse[index : index + 1]
            times = source.times(index)[None].to(small)
            wanted = None if where is None else _wanted(where[index : index + 1], small.shape[-2:])
            maps, share = _maps(model, small, times, wanted, options)
            looked_at += share / batch
            for start, stop in row_ranges(height, scale * max(1, FITTED_PIXELS // (width * scale))):
                enlarge = _enlarging(small, maps, (start, stop), scale)
                for top, bottom in row_ranges(stop - start, scale * max(1, STRIP_PIXELS // (width * scale))):
                    check_cancel(should_cancel)
                    strip = source.rows(index, start + top, start + bottom)[None].to(maps.dtype)
                    found = enlarge(strip, (top, bottom))
                    merged = anchored_merge(strip, times.to(strip), found.prior, found.trust)
                    image[index, :, start + top : start + bottom] = merged[0]
    return image, looked_at


def _reduced(source: FrameSource, scale: int, should_cancel: ShouldCancel | None) -> Tensor:
    """:func:`reduce_frames` of a source, strip by strip."""
    batch, channels, height, width = source.shape
    shape = (batch, channels, -(-height // scale), -(-width // scale))
    coarse = torch.empty(shape, dtype=torch.float32, device=source.device)
    with torch.inference_mode():
        for index in range(batch):
            for start, stop in row_ranges(height, scale * max(1, STRIP_PIXELS // (width * scale))):
                check_cancel(should_cancel)
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
    """Maps that the head decodes, ``1×7×h×w``, from the network where it is wanted; and the share that it looked at."""
    asked = wanted is None or bool(wanted.any())
    seen = None if wanted is None else window_max(wanted, CONTEXT)
    if asked:
        options = options if seen is None else {**options, "where": seen[0, 0]}
        maps = cast(Tensor, stream(model, coarse, times=times, maps=True, **options)).to(coarse)
    else:
        maps = coarse.new_empty(1, 7, *coarse.shape[-2:])
    if wanted is None or seen is None:
        return maps, 1.0
    # Dilated before it fades, so that what is wanted is the network's wholly.
    share = window_mean(window_max(wanted, FADE), FADE)
    for start, stop in row_ranges(coarse.shape[-2], max(1, STRIP_PIXELS // coarse.shape[-1])):
        rows = slice(start, stop)
        neutral = _neutral(coarse[..., rows, :], times)
        maps[..., rows, :] = torch.lerp(neutral, maps[..., rows, :], share[..., rows, :]) if asked else neutral
    return maps, float(seen.mean()) if asked else 0.0


def _neutral(frames: Tensor, times: Tensor) -> Tensor:
    """Maps of some rows where the network is not asked: the mean of the frames, and equal trust."""
    trust = frames.new_tensor([0.0, 0.0, 0.0, PRIOR_TRUST]).view(1, 4, 1, 1).expand(1, 4, *frames.shape[-2:])
    shares = anchored_weights(frames, times, trust)[:, :3]
    radiance = frames.unflatten(1, (3, 6))[:, :, :3]
    return torch.cat([((shares * radiance).sum(1) / shares.sum(1)).clamp(0, 1), trust], 1)


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
