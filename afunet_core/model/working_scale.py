"""The anchored head at a coarser scale than the frames: decide on reduced frames, merge at full resolution.

The anchored head returns a weighted mean of the frames. Its weights change slowly but at edges, and its prior counts
only where no frame is trusted: both can be computed from frames reduced 2× or 4×, at a fourth or a sixteenth of the
cost and with two or four times the reach, while what the frames recorded stays sharp to the pixel.

The maps are enlarged by a fast guided filter (He, Sun and Tang, "Guided Image Filtering", TPAMI 2013; He and Sun, "Fast
Guided Filter", arXiv:1505.00996): in each neighbourhood a map is a linear function of the three frames, fitted where
the frames are coarse and applied where they are fine, so that its edges lie where the frames have theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.model.afunet import AFUNet
from afunet_core.radiometry import GAMMA

__all__ = [
    "HeadMaps",
    "LinearMaps",
    "apply_linear_maps",
    "decode_at_scale",
    "fit_linear_maps",
    "reduce_frames",
]

# Variance of the encoded frames below which a map is taken as constant; measured among 1e-4, 1e-3 and 1e-2.
REGULARIZATION = 1e-4
REACH = 3  # coarse rows around a strip that decide on it: two windows of the filter, and linear interpolation
SMALLEST_PRIOR = 1e-6  # Radiance, in whites of the short frame: keeps the gradient of the encoded prior finite


class HeadMaps(NamedTuple):
    """Maps decoded by the anchored head: the prior ``B×3×h×w`` in (0, 1), and the log-trusts ``B×4×h×w``."""

    prior: Tensor
    trust: Tensor


class LinearMaps(NamedTuple):
    """Seven maps as linear functions of three guides, at the coarse scale."""

    coefficients: Tensor  # ``B×28×h×w``: for each guide seven slopes, then seven offsets
    scale: int  # fine pixels per coarse pixel


def decode_at_scale(model: AFUNet, frames: Tensor, scale: int) -> HeadMaps:
    """Decode maps at the size of the frames by a network that looks at frames reduced by ``scale``, differentiable.

    ``anchored_merge(frames, times, *maps)`` is then the image; at scale 1 it is that of the network itself.

    Args:
        model: a network with an anchored head; any of its parameters may be trained through this.
        frames: ``B×18×H×W`` network input.
        scale: 1, 2, 4, …

    Raises:
        ArgumentError: for a network with a direct head.

    Example:
        >>> from afunet_core.model.config import COMPACT
        >>> decode_at_scale(AFUNet(COMPACT).eval(), torch.rand(1, 18, 37, 41), 2).trust.shape
        torch.Size([1, 4, 37, 41])
    """
    if scale == 1:
        return HeadMaps(*model.decode(frames))
    coarse = reduce_frames(frames, scale)
    decoded = HeadMaps(*model.decode(coarse))
    with torch.autocast(frames.device.type, enabled=False):  # differences of means need all their digits
        return apply_linear_maps(fit_linear_maps(decoded, coarse, scale), frames)


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


def fit_linear_maps(maps: HeadMaps, coarse: Tensor, scale: int) -> LinearMaps:
    """Maps as functions of the frames they were decoded from.

    Args:
        maps: of the anchored head, ``h×w``.
        coarse: ``B×18×h×w`` from :func:`reduce_frames`.
        scale: by which the frames were reduced.
    """
    guide = _guides(coarse).to(maps.trust.dtype)
    values = torch.cat([maps.prior.clamp_min(SMALLEST_PRIOR) ** (1 / GAMMA), maps.trust], dim=1)
    level = values.mean((2, 3), keepdim=True)  # taken away, since differences of products follow
    values = values - level
    mean_guide, mean_values = _mean_of_nine(guide), _mean_of_nine(values)
    products = _mean_of_nine((guide[:, :, None] * guide[:, None]).flatten(1, 2)).unflatten(1, (3, 3))
    variance = products - mean_guide[:, :, None] * mean_guide[:, None]
    together = _mean_of_nine((guide[:, :, None] * values[:, None]).flatten(1, 2)).unflatten(1, (3, -1))
    covariance = together - mean_guide[:, :, None] * mean_values[:, None]
    slopes = torch.einsum("bijhw,bjkhw->bikhw", _inverse(variance), covariance)
    offsets = mean_values + level - (slopes * mean_guide[:, :, None]).sum(1)
    return LinearMaps(_mean_of_nine(torch.cat([slopes.flatten(1, 2), offsets], dim=1)), scale)


def apply_linear_maps(found: LinearMaps, frames: Tensor, rows: tuple[int, int] | None = None) -> HeadMaps:
    """The maps at the size of the frames.

    Args:
        found: from :func:`fit_linear_maps`.
        frames: ``B×18×H×W``, or the ``rows`` of it.
        rows: first row and one past the last, where frames are merged in strips; ``None`` for all.
    """
    height, width = frames.shape[-2:]
    start, stop = rows or (0, height)
    # Rows of coarse pixels that linear interpolation of the strip reaches.
    first, last = max(start // found.scale - 1, 0), min(-(-stop // found.scale) + 1, found.coefficients.shape[-2])
    fine = F.interpolate(
        found.coefficients[..., first:last, :], scale_factor=found.scale, mode="bilinear", align_corners=False
    )[..., start - first * found.scale : stop - first * found.scale, :width]
    slopes, offsets = fine.unflatten(1, (4, 7)).split((3, 1), dim=1)
    values = (slopes * _guides(frames).to(fine.dtype)[:, :, None]).sum(1) + offsets[:, 0]
    return HeadMaps(values[:, :3].clamp(0, 1) ** GAMMA, values[:, 3:])


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
