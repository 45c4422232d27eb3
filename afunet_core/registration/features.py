"""Exposure-independent features: pictures of one scene made alike, for registration to compare.

Held to the range that both frames record, they agree wherever nothing moved: what is clipped in one is clipped at the
same value in the other. The logarithm turns a wrong exposure time into a constant, the local mean removes it, and the
local contrast removes what a camera's tone curve did.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.ops.box_filter import block_mean

CONTEXT = 2.0  # σ of the local mean and contrast, in pixels of a four times reduced level


@dataclass(frozen=True)
class Level:
    """One resolution of one frame."""

    feature: Tensor  # locally normalised log radiance, 1×1×h×w
    factor: int  # full-resolution pixels for each pixel of this level


def common_signal(radiance: Tensor, floor: float, ceiling: float) -> Tensor:
    """Compute log radiance, 1×1×H×W: about 0 at ``floor`` (mostly noise), 1 at ``ceiling`` (a frame saturates)."""
    held = radiance.nan_to_num(0.0, posinf=ceiling, neginf=0.0).clamp(0.0, ceiling)
    grey = held.mean(dim=1, keepdim=True)
    return torch.log1p(grey / floor) / torch.log1p(torch.tensor(ceiling / floor)).item()


# kornia's filter2d_separable takes 4.6 times as long.
def noise_level(signal: Tensor) -> float:
    """Estimate the standard deviation of the noise from the median response of a Laplacian blind to edges.

    Immerkær, "Fast Noise Variance Estimation", 1996, with the median in place of the mean.
    """
    if min(signal.shape[-2:]) < 3:
        return 0.0
    second = signal[..., 2:] - 2 * signal[..., 1:-1] + signal[..., :-2]
    both = second[..., 2:, :] - 2 * second[..., 1:-1, :] + second[..., :-2, :]
    return float(both.abs().median()) / (0.6745 * 6.0)


def feature_pyramid(signal: Tensor, noise: float, factor: int, smallest: int) -> list[Level]:
    """Compute features at halving resolutions, finest first, down to a longer side of at most ``smallest`` pixels.

    ``noise`` is the standard deviation in the signals compared, ``factor`` full-resolution pixels for one of
    ``signal``.
    """
    levels = [Level(_normalised(signal, noise), factor)]
    while max(signal.shape[-2:]) > smallest and min(signal.shape[-2:]) >= 16:
        signal, noise, factor = block_mean(signal, 2), noise / 2, factor * 2
        levels.append(Level(_normalised(signal, noise), factor))
    return levels


def _normalised(signal: Tensor, noise: float) -> Tensor:
    """Remove the local mean, divide by the local contrast, and smooth so that sub-pixel sampling is exact."""
    centred = signal - _lowpass(signal)
    variance = _lowpass(centred.square())
    # Contrast below a few times the noise, or below what an eye sees, must not be amplified into features.
    return _binomial(centred / (variance + (3 * noise) ** 2 + 0.01**2).sqrt())


# kornia's filter2d_separable takes 4.2 times as long.
def _binomial(x: Tensor) -> Tensor:
    """Smooth with [1 2 1] / 4 along both axes."""
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    x = (x[..., 1:] + x[..., :-1]) * 0.5
    x = (x[..., 1:] + x[..., :-1]) * 0.5
    x = (x[..., 1:, :] + x[..., :-1, :]) * 0.5
    return (x[..., 1:, :] + x[..., :-1, :]) * 0.5


# The same with kornia's gaussian_blur2d takes 1.3 to 1.8 times as long.
def _lowpass(x: Tensor) -> Tensor:
    """A wide Gaussian, computed where it is cheap: on a four times reduced picture."""
    height, width = x.shape[-2:]
    small = F.avg_pool2d(x, 4, ceil_mode=True, count_include_pad=False) if min(height, width) >= 16 else x
    radius = min(5, min(small.shape[-2:]) - 1)
    if radius >= 1:
        offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
        kernel = torch.exp(-0.5 * (offsets / CONTEXT).square())
        kernel = kernel / kernel.sum()
        small = F.pad(small, (radius, radius, radius, radius), mode="replicate")
        small = F.conv2d(F.conv2d(small, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    if small.shape[-2:] == x.shape[-2:]:
        return small
    grown = F.interpolate(small, scale_factor=4.0, mode="bilinear", align_corners=False)
    return grown[..., :height, :width]
