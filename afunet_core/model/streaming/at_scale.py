"""The anchored head on large pictures: decide on reduced frames, only where it matters, and merge at full size.

The head returns a weighted mean of the frames. Its weights change slowly but at edges, and its prior counts only where
no frame is trusted: both can be computed from frames reduced 2× or 4×, at a fourth or a sixteenth of the cost and with
two or four times the reach, while what the frames recorded stays sharp to the pixel. Nothing of the full size is held
but the frames' source and the result. Where nothing moves all frames are trusted alike, and a little of the reduced
mean takes noise from them.

The maps are enlarged by a fast guided filter (He, Sun and Tang, "Guided Image Filtering", TPAMI 2013; He and Sun, "Fast
Guided Filter", arXiv:1505.00996): in each neighbourhood a map is a linear function of the three frames, fitted where
the frames are coarse and applied where they are fine, so that its edges lie where the frames have theirs.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.model.afunet import AFUNet
from afunet_core.model.heads import anchored_merge, anchored_weights
from afunet_core.model.streaming.rows import FrameSource
from afunet_core.model.streaming.stream import check_cancel, stream
from afunet_core.model.streaming.tiling import row_ranges
from afunet_core.ops.box_filter import window_max, window_mean
from afunet_core.radiometry import GAMMA
from afunet_core.utils.progress import ShouldCancel

__all__ = ["reduce_frames", "stream_at_scale"]

STRIP_PIXELS = 1 << 16  # pixels of a strip of the frames: what is computed of them stays in the processor's cache
# Pixels of the frames for which the enlarging is fitted at once: many beside the rows beyond them.
FITTED_PIXELS = 1 << 19
CONTEXT = 9  # width of the window around what is wanted that the network sees as well, reduced pixels,
FADE = 9  # and of that over which its answer goes over into equal trust
# Log-trust of the reduced mean where the network is not asked; 0 of the frames. Without it noise stays that the network
# takes out, with more the reduced mean begins to count beside what frames of 1, 4 and 16 exposures recorded.
PRIOR_TRUST = 1.0
# Variance of the encoded frames below which a map is taken as constant; measured among 1e-4, 1e-3 and 1e-2.
REGULARIZATION = 1e-4
REACH = 3  # coarse rows around a strip that decide on it: two windows of the filter, and linear interpolation
SMALLEST_PRIOR = 1e-6  # radiance, in whites of the short frame: keeps the gradient of the encoded prior finite


def stream_at_scale(
    model: AFUNet,
    frames: Tensor | FrameSource,
    scale: int,
    where: Tensor | None = None,
    should_cancel: ShouldCancel | None = None,
    **options: Any,
) -> tuple[Tensor, float]:
    """Merge by a network with an anchored head that looks at frames reduced by ``scale``, without gradients, in pieces.

    Args:
        model: a network with an anchored head.
        frames: network input, as for :func:`~afunet_core.model.streaming.stream.stream`.
        scale: 1, 2, 4, …
        where: B×1×h×w of any size, above 0 where the network is asked; elsewhere all frames are trusted alike.
        should_cancel: asked between pieces.
        **options: of :func:`~afunet_core.model.streaming.stream.stream`.

    Returns:
        B×3×H×W radiance where the frames are, and the share of the picture that the network looked at.
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
                first, last = max(start // scale - REACH, 0), -(-stop // scale) + REACH
                found = fit_maps(maps[..., first:last, :], small[..., first:last, :]) if scale > 1 else maps
                for top, bottom in row_ranges(stop - start, scale * max(1, STRIP_PIXELS // (width * scale))):
                    check_cancel(should_cancel)
                    here = start + top, start + bottom
                    strip = source.rows(index, *here)[None].to(maps.dtype)
                    if scale > 1:
                        here = here[0] - first * scale, here[1] - first * scale
                        decoded = enlarged_maps(found, scale, strip, here)
                    else:
                        decoded = maps[..., slice(*here), :]
                    merged = anchored_merge(strip, times.to(strip), decoded[:, :3], decoded[:, 3:])
                    image[index, :, start + top : start + bottom] = merged[0]
    return image, looked_at


def reduce_frames(frames: Tensor, scale: int) -> Tensor:
    """Network input at ``1 / scale`` of the size, averaged in linear light; the border is repeated to fill blocks.

    Example:
        >>> reduce_frames(torch.rand(1, 18, 9, 8), 2).shape
        torch.Size([1, 18, 5, 4])
    """
    height, width = frames.shape[-2:]
    stack = frames.unflatten(1, (3, 2, 3))
    light = torch.stack([stack[:, :, 0], stack[:, :, 1].clamp(0, 1) ** GAMMA], dim=2).flatten(1, 3)
    light = F.avg_pool2d(F.pad(light, (0, -width % scale, 0, -height % scale), mode="replicate"), scale)
    stack = light.unflatten(1, (3, 2, 3))
    return torch.stack([stack[:, :, 0], stack[:, :, 1] ** (1 / GAMMA)], dim=2).flatten(1, 3)


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


def fit_maps(maps: Tensor, coarse: Tensor) -> Tensor:
    """Fit ``B×7×h×w`` maps to the frames they were decoded from: seven slopes for each frame, then seven offsets."""
    guide = _guides(coarse).to(maps.dtype)
    values = torch.cat([maps[:, :3].clamp_min(SMALLEST_PRIOR) ** (1 / GAMMA), maps[:, 3:]], dim=1)
    level = values.mean((2, 3), keepdim=True)  # taken away, since differences of products follow
    values = values - level
    mean_guide, mean_values = _mean_of_nine(guide), _mean_of_nine(values)
    products = _mean_of_nine((guide[:, :, None] * guide[:, None]).flatten(1, 2)).unflatten(1, (3, 3))
    variance = products - mean_guide[:, :, None] * mean_guide[:, None]
    together = _mean_of_nine((guide[:, :, None] * values[:, None]).flatten(1, 2)).unflatten(1, (3, -1))
    covariance = together - mean_guide[:, :, None] * mean_values[:, None]
    slopes = torch.einsum("bijhw,bjkhw->bikhw", _inverse(variance), covariance)
    offsets = mean_values + level - (slopes * mean_guide[:, :, None]).sum(1)
    return _mean_of_nine(torch.cat([slopes.flatten(1, 2), offsets], dim=1))


def enlarged_maps(fitted: Tensor, scale: int, frames: Tensor, rows: tuple[int, int]) -> Tensor:
    """Maps, ``B×7×H×W``, of these ``rows`` of the frames: the first and one past the last."""
    start, stop = rows
    # Rows of coarse pixels that linear interpolation of the strip reaches.
    first, last = max(start // scale - 1, 0), -(-stop // scale) + 1
    fine = F.interpolate(fitted[..., first:last, :], scale_factor=scale, mode="bilinear", align_corners=False)
    fine = fine[..., start - first * scale : stop - first * scale, : frames.shape[-1]]
    slopes, offsets = fine.unflatten(1, (4, 7)).split((3, 1), dim=1)
    values = (slopes * _guides(frames).to(fine.dtype)[:, :, None]).sum(1) + offsets[:, 0]
    return torch.cat([values[:, :3].clamp(0, 1) ** GAMMA, values[:, 3:]], dim=1)


def _guides(frames: Tensor) -> Tensor:
    """The three encoded frames as grey pictures, ``B×3×H×W``."""
    return frames.unflatten(1, (3, 2, 3))[:, :, 1].mean(2)


def _mean_of_nine(values: Tensor) -> Tensor:
    """Means over 3×3 pixels, the border repeated: the filter's window."""
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    across = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    return (across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]) / 9


def _inverse(variance: Tensor) -> Tensor:
    """The inverse of ``B×3×3×h×w`` covariances with :data:`REGULARIZATION` added, by cofactors."""
    a, b, c = variance[:, 0].unbind(1)
    _, d, e = variance[:, 1].unbind(1)
    f = variance[:, 2, 2]
    a, d, f = a + REGULARIZATION, d + REGULARIZATION, f + REGULARIZATION
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * aa + b * ab + c * ac
    rows = (aa, ab, ac, ab, bb, bc, ac, bc, cc)
    return torch.stack(rows, dim=1).unflatten(1, (3, 3)) / determinant[:, None, None]
