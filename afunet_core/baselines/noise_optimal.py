r"""Noise-optimal merge: the mean of the radiances with weights of one over their variance.

With the noise of :mod:`afunet_core.camera.noise` it is the best linear unbiased estimate of any number of frames
(Granados et al., "Optimal HDR Reconstruction with Linear Digital Cameras", CVPR 2010).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from afunet_core.baselines.weighted import merge_weights
from afunet_core.bracket.stack import ExposureStack, mean_radiance
from afunet_core.camera.noise import NoiseModel, estimate_noise
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import in_strips
from afunet_core.radiometry import linearize

__all__ = ["noise_optimal_merge"]

# Ratios of light, by two frames, from which they begin to contradict and surely do: curves are off by half a stop.
CONTRADICTS = (0.5, 0.25)
CODE_ERROR = 0.02  # light, as a share of saturation of the longer frame, that noise in a shorter one may feign


def noise_optimal_merge(bracket: ExposureStack, noise: NoiseModel | None = None) -> Tensor:
    """Merge any number of frames with weights of one over their variance.

    The variance follows from an estimate of the radiance (the mean weighted by exposure time), not from each noisy
    value itself, which would favour values that noise made small. Where something moved and a longer frame clips, the
    reference decides: single channels of several frames would make colours that none recorded.

    Args:
        bracket: the frames; linear ones may be slightly negative where there is no light.
        noise: of the camera; estimated from the bracket where ``None``.

    Returns:
        B×3×H×W linear radiance, 1.0 at saturation of the shortest frame.

    Example:
        >>> import torch
        >>> frames, times = tuple(torch.full((1, 3, 4, 4), v) for v in (0.1, 0.4)), torch.tensor([1.0, 4.0])
        >>> stack = ExposureStack(frames, times, encoding="linear")
        >>> noise_optimal_merge(stack, NoiseModel(1e-4, 1e-3)).unique()
        tensor([0.1000])
    """
    # A noise of photons alone makes weights of exposure times.
    noise = noise or estimate_noise(bracket) or NoiseModel(gain=1.0, read_noise=1e-6)

    def merge_rows(*rows: Tensor) -> Tensor:
        return merge_with_variance(bracket.with_frames(rows), noise, still=False)[0]

    return in_strips(merge_rows, *bracket.frames)


def merge_with_variance(bracket: ExposureStack, noise: NoiseModel, still: bool = True) -> tuple[Tensor, Tensor]:
    """Merge like :func:`noise_optimal_merge` and tell the variance of the result; ``still`` if nothing moved."""
    frames, seconds = bracket.frames, [float(time) for time in bracket.times]
    shares = [w / t for w, t in zip(merge_weights(frames, seconds), seconds, strict=True)]
    linear = [linearize(frame, bracket.encoding, bracket.gamma) for frame in frames]
    if not still:
        moved, shown = where_moved(shares, linear, seconds), bracket.reference
        shares = [torch.lerp(share, moved.new_full((), i == shown), moved) for i, share in enumerate(shares)]
    rough = mean_radiance(linear, shares, seconds)
    # t² / (g·X·t + r²), with one t left out because it cancels against L / t in the numerator.
    # Without read noise black would have none at all: the floor stands for the last bit of 16.
    precisions = [time / noise.variance(rough * time).clamp(min=1e-10) for time in seconds]
    weighted = (share * precision for share, precision in zip(shares, precisions, strict=True))
    radiance = mean_radiance(linear, weighted, seconds)
    parts = list(zip(shares, precisions, seconds, strict=True))
    total = sum((share * precision * time for share, precision, time in parts), start=rough.new_zeros(()))
    return radiance, sum((w * w * p * t for w, p, t in parts), start=rough.new_zeros(())) / total**2


def where_moved(
    shares: Sequence[Tensor], linear: Sequence[Tensor], times: Sequence[float], darkest: float = 0.0
) -> Tensor:
    """Tell where a frame that clips contradicts the shorter ones, B×1×H×W in [0, 1].

    Each channel alone is best where frames agree: a short frame knows the clipped channel, the long one the others.
    Where something moved that makes colours of two things, which no frame recorded. Below ``darkest``, a share of
    saturation, a value only says "at most this".
    """
    joint = [share.amin(1, keepdim=True).expand_as(share) for share in shares]
    shorter = mean_radiance(linear, joint, times)
    moved = torch.zeros_like(shorter[:, :1])
    longest = torch.stack([share * time for share, time in zip(joint, times, strict=True)]).amax(0)
    at_most = darkest / longest.clamp(min=times[0])
    for share, together, value, time in zip(shares, joint, linear, times, strict=True):
        if bool((together < 1).any()):
            expected = shorter * time + CODE_ERROR
            darker = smoothstep((expected + at_most * time) / (value + CODE_ERROR), *CONTRADICTS)
            brighter = share * smoothstep((value + CODE_ERROR) / expected, *CONTRADICTS)
            at_clip = ((1 - share) * darker).amax(1, keepdim=True)
            # A camera that mixes colours bends one channel; what moved differs in most.
            most = torch.maximum(darker, brighter).median(1, keepdim=True).values
            moved = torch.maximum(moved, at_clip * most)
    return moved
