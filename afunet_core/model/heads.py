"""From features to radiance: the paper's direct head and the anchored head (``docs/decisions/0001-anchored-head.md``).

The anchored head takes each frame as an observation of the radiance, with a precision (photons, none where clipped)
times a learned trust, and the decoded image as a prior with a precision of its own. The minimiser of
Σ_k w_k |x − x_k|² + w_p |x − p|² is their weighted mean: where nothing moved, the classical noise-optimal merge.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from afunet_core.model.config import AFUNetConfig
from afunet_core.model.layers import Conv3x3
from afunet_core.ops.smoothstep import smoothstep

__all__ = [
    "AnchoredHead",
    "DirectHead",
    "anchored_merge",
    "anchored_weights",
    "estimate_times",
    "frame_log_precision",
]

# Largest log-trust. Unlimited, the first source that proves useful takes everything, and the others never learn.
TRUST_LIMIT = 6.0
FADE_START, FADE_END = 0.90, 0.985  # encoded values between which a frame's precision fades out as it clips


class DirectHead(nn.Module):
    """``sigmoid(conv(features))`` (Eq. 16): radiance inside (0, 1)."""

    def __init__(self, config: AFUNetConfig) -> None:
        super().__init__()
        self.fold = config.downscale
        self.conv = Conv3x3(config.branch_dim, 3 * self.fold**2)

    def forward(self, features: Tensor, frames: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """``features`` ``B×H×W×C``; the frames are not looked at. ``B×3×H·fold×W·fold``, as result and prior."""
        radiance = torch.sigmoid(pixel_shuffle(self.conv(features).permute(0, 3, 1, 2), self.fold))
        return radiance, radiance


class AnchoredHead(nn.Module):
    """Decodes a prior image and four log-precisions, and returns the precision-weighted mean with the frames."""

    initial_trust = (-1.0, 0.0, -1.0, 0.0)

    def __init__(self, config: AFUNetConfig) -> None:
        super().__init__()
        self.fold = config.downscale
        self.conv = Conv3x3(config.branch_dim, 7 * self.fold**2)
        with torch.no_grad():
            self.conv.weight.mul_(0.1)
            bias = self.conv.bias
            assert bias is not None
            bias.copy_(torch.tensor((0.0, 0.0, 0.0, *self.initial_trust)).repeat_interleave(self.fold**2))

    def decode(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Prior ``B×3×H×W`` in (0, 1) and log-trust ``B×4×H×W`` of under, reference, over and prior."""
        maps = pixel_shuffle(self.conv(features).permute(0, 3, 1, 2), self.fold)
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        return torch.sigmoid(maps[:, :3]), maps[:, 3:]

    def forward(self, features: Tensor, frames: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """``features`` ``B×H×W×C``, ``frames`` the padded input ``B×18×H×W``, ``times`` ``B×3`` → result and prior."""
        prior, trust = self.decode(features)
        return anchored_merge(frames.to(prior.dtype), times.to(prior.dtype), prior, trust), prior


def estimate_times(frames: Tensor) -> Tensor:
    """Estimate relative exposure times, ``B×3``, from the network input: each frame holds both ``L^2.2 / t`` and ``L``.

    They are 1 where a frame is black everywhere.

    Example:
        >>> x = torch.full((1, 18, 4, 4), 0.5)
        >>> x[:, 6:9] = 0.5**2.2 / 4
        >>> round(float(estimate_times(x)[0, 1]), 4)
        4.0
    """
    wide = torch.promote_types(frames.dtype, torch.float32)
    stacked = frames.to(wide).reshape(frames.shape[0], 3, 6, *frames.shape[2:])
    radiance = stacked[:, :, :3].mean((2, 3, 4))
    linear = stacked[:, :, 3:].clamp(0, 1).pow(2.2).mean((2, 3, 4))
    floor = 1e-8
    return (linear + floor) / (radiance + floor)


def frame_log_precision(encoded: Tensor, times: Tensor) -> Tensor:
    """Compute the log-precision of each observation: photons gathered (∝ exposure time), fading out as a frame clips.

    The shortest frame (index 0) keeps its precision in the highlights: nothing else has seen them.

    Args:
        encoded: ``B×3×3×H×W`` frames (frame, colour) in [0, 1].
        times: ``B×3``.
    """
    fade = smoothstep(encoded, FADE_END, FADE_START)
    # Compared on the device: writing a number into one element would copy it from the host, and break CUDA graphs.
    shortest = (torch.arange(3, device=encoded.device) == 0).to(encoded)
    fade = torch.maximum(fade, shortest.reshape(1, 3, 1, 1, 1))
    return (fade + 1e-6).log() + times.clamp_min(1e-6).log().reshape(-1, 3, 1, 1, 1)


def anchored_merge(frames: Tensor, times: Tensor, prior: Tensor, trust: Tensor) -> Tensor:
    """Precision-weighted mean of three observations and a prior.

    Args:
        frames: ``B×18×H×W`` network input.
        times: ``B×3`` relative exposure times.
        prior: ``B×3×H×W`` decoded radiance.
        trust: ``B×4×H×W`` learned log-trust of under, reference, over and prior; bent to stay within ±6.

    Returns:
        ``B×3×H×W`` radiance.
    """
    radiance = frames.reshape(frames.shape[0], 3, 6, *frames.shape[2:])[:, :, :3]
    weights = anchored_weights(frames, times, trust)
    return (weights[:, :3] * radiance).sum(1) + weights[:, 3] * prior


def anchored_weights(frames: Tensor, times: Tensor, trust: Tensor) -> Tensor:
    """Compute the shares of under, reference, over, prior in :func:`anchored_merge`, ``B×4×3×H×W``; they sum to 1."""
    encoded = frames.reshape(frames.shape[0], 3, 6, *frames.shape[2:])[:, :, 3:]
    trust = TRUST_LIMIT * trust / (TRUST_LIMIT + trust.abs())
    log_precision = frame_log_precision(encoded, times) + trust[:, :3, None]
    log_precision = torch.cat([log_precision, trust[:, 3:, None].expand(-1, 1, 3, -1, -1)], dim=1)
    return log_precision.softmax(dim=1)
