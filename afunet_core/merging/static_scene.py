"""The merge of a scene at rest: the classical merge, which can hardly be beaten there, denoised by the network.

The classical merge is the best estimate that looks at one pixel alone, and noise is all that it leaves. A network that
looks around removes noise; where it smooths what is not noise, it does harm. How large the noise is can be told from
the bracket. So ``merge(method="auto")`` lets the network move the classical merge about as far as noise moves values,
and no further.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from afunet_core.baselines.denoising import WINDOW, denoise_guided
from afunet_core.baselines.noise_optimal import merge_with_variance
from afunet_core.baselines.weighted import weighted_merge
from afunet_core.bracket.stack import ExposureStack
from afunet_core.camera.noise import NoiseModel
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.frame_selection import FrameSelection
from afunet_core.merging.inference import Network
from afunet_core.merging.options import MergeOptions
from afunet_core.ops.box_filter import window_mean
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import in_haloed_strips
from afunet_core.radiometry import encode, linearize

__all__ = ["denoise_classic", "merge_static", "within_noise"]

LIGHTS = (0.3, 0.6)
"""Encoded values of the reference between which shadows end and lights begin."""

TOLERANCE = (1.0, 0.8)
"""Standard deviations by which the network may differ from the classic in a neighbourhood, in shadows and lights."""

OF_ONE_PIXEL = 1.5
"""How much further a single pixel may differ than its neighbourhood."""

NEIGHBOURHOODS = (3, 9)
"""Widths of the windows in which the network must keep within the tolerance, in pixels."""

NOTICEABLE = (0.0075, 0.025)
"""Relative noise of the classic up to which there is nothing to gain, and from which the network has its whole say."""

_STRIP_PIXELS = 1 << 18


def merge_static(
    aligned: AlignedBracket, frames: FrameSelection, noise: CameraNoise, network: Network, options: MergeOptions
) -> Estimate:
    """Merge a scene at rest: the classical merge, with the network's denoising where its head agrees with the classic.

    Counts stay those of the pixel itself, and only the anchored head was made to agree with the classic at rest; else
    the network runs only if its stages are wanted. Large pictures, which it would see reduced, have no need of it: a
    guided filter takes out most of the noise, in a hundredth of the time.
    """
    three = frames.for_network(aligned.bracket)
    unit = float(aligned.bracket.times[frames.three[0]])
    denoises = options.units != "counts" and network.model.config.head == "anchored"
    reduced = network.scale > 1
    ran = network.estimate(three) if options.stages or (denoises and not reduced) else None
    image = None
    if denoises:
        image = denoise_classic(None if ran is None else ran.image, three, noise.model)
    image = weighted_merge(three) if image is None else image
    image = image if unit == 1.0 else image / unit
    if ran is None:
        return Estimate(image, "cpu", "float32", three=three, unit=unit, at_rest=True)
    return replace(ran, image=image, unit=unit, at_rest=True)


def denoise_classic(network: Tensor | None, bracket: ExposureStack, noise: NoiseModel | None) -> Tensor | None:
    """Return the classical merge of a scene at rest, with the network's denoising as far as it is within the noise.

    Args:
        network: the network's image, B×3×H×W radiance, 1.0 at saturation of the shortest frame; ``None`` for a guided
            filter in its place.
        bracket: the frames it was made from, each B×3×H×W.
        noise: of the camera, or ``None`` where it is not known.

    Returns:
        B×3×H×W radiance, or ``None`` where the noise is not known: then the classic should stand alone.

    Example:
        >>> generator, times = torch.Generator().manual_seed(0), torch.tensor([1.0, 4.0])
        >>> light, first, second = torch.rand(3, 1, 3, 200, 200, generator=generator)
        >>> light, noises = light * 0.2, (first, second)
        >>> noisy = tuple(light * t + 0.03 * (n - 0.5) for t, n in zip((1.0, 4.0), noises, strict=True))
        >>> stack = ExposureStack(noisy, times, encoding="linear", reference=1)
        >>> merged = denoise_classic(light, stack, NoiseModel(0.0, 0.01))  # a network that knows the truth
        >>> bool((merged - light).square().mean() < 0.6 * (noisy[1] / 4 - light).square().mean())
        True
    """
    if noise is None:
        return None

    def rows(*images: Tensor) -> Tensor:
        frames = images[-len(bracket.frames) :]
        classic, variance = merge_with_variance(frames, bracket.times, bracket.encoding, bracket.gamma, noise)
        # As the network sees it: encoded with gamma 2.2 whatever it came with.
        light = linearize(frames[bracket.reference], bracket.encoding, bracket.gamma)
        image = denoise_guided(classic, variance) if network is None else images[0].to(classic)
        return within_noise(image, classic, variance, encode(light.clamp(0, 1)))

    halo = max(NEIGHBOURHOODS) // 2 + (2 * (WINDOW // 2) if network is None else 0)
    images = bracket.frames if network is None else (network, *bracket.frames)
    return in_haloed_strips(rows, halo, *images, pixels=_STRIP_PIXELS)


def within_noise(network: Tensor, classic: Tensor, variance: Tensor, reference: Tensor) -> Tensor:
    r"""Move the classical merge towards the network where that is what removing noise would do.

    An estimate that is right differs from the classic by that one's noise: by the variance :math:`\sigma^2`, on average
    over a neighbourhood. Where the mean square :math:`d^2` of the difference is larger, the network errs by the rest,
    and the best mixture of the two has the share :math:`\sigma^2 / d^2` of it (James and Stein, "Estimation with
    Quadratic Loss", 1961; Efron and Morris, "Limiting the Risk of Bayes and Empirical Bayes Estimators", JASA 1972, on
    bounding the single value, too). We take the square of that share, which is on the safe side. In the lights, the
    network's image gets the local mean of the classic before: there, what is wrong is seldom noise.

    Args:
        network: B×C×H×W radiance.
        classic: the same from the classical merge.
        variance: of the noise in it.
        reference: the reference frame, B×C×H×W encoded with gamma 2.2 in [0, 1].

    Returns:
        B×C×H×W radiance. Where the classic has no noise, it is the classic.

    Example:
        >>> classic = torch.full((1, 3, 1, 1), 0.5)
        >>> variance, dark = torch.full_like(classic, 0.02**2), torch.zeros_like(classic)
        >>> half_a_deviation, twenty = (within_noise(classic + d, classic, variance, dark) for d in (0.01, 0.4))
        >>> round(float(half_a_deviation[0, 0]), 4), round(float(twenty[0, 0]), 4)
        (0.51, 0.5)
    """
    lights = smoothstep(reference, *LIGHTS)
    difference = network - classic
    squared = difference.square()
    floor = torch.finfo(squared.dtype).tiny
    tolerance = (TOLERANCE[0] + (TOLERANCE[1] - TOLERANCE[0]) * lights) ** 2
    share = (OF_ONE_PIXEL**2 * tolerance * variance / squared.clamp(min=floor)).clamp(max=1)
    expected, found = variance.mean(1, keepdim=True), squared.mean(1, keepdim=True)
    for side in NEIGHBOURHOODS:
        there = window_mean(expected, side) / window_mean(found, side).clamp(min=floor)
        share = torch.minimum(share, (tolerance * there).clamp(max=1).square())
    relative = variance.sqrt() / classic.abs().clamp(min=floor**0.5)
    share = share * smoothstep(relative.mean(1, keepdim=True), *NOTICEABLE)
    return classic + share * (difference - lights * window_mean(difference, 3))
