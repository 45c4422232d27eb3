"""The merge of a scene at rest: the classical merge, which can hardly be beaten there, denoised.

The classical merge is the best estimate that looks at one pixel alone, and noise is all that it leaves. Whoever looks
around, a filter or a network, removes noise; smoothing what is not noise does harm. How large the noise is can be told
from the bracket. So the filter moves the classical merge about as far as noise moves values, and no further.
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

LIGHTS = (0.3, 0.6)  # encoded values of the reference between which shadows end and lights begin
# Standard deviations by which the denoised picture may differ in a neighbourhood, in shadows and lights.
TOLERANCE = (1.0, 0.8)
OF_ONE_PIXEL = 1.5  # how much further a single pixel may differ than its neighbourhood
NEIGHBOURHOODS = (3, 9)  # widths of the windows in which it must keep within the tolerance, in pixels
# Relative noise of the classic up to which there is nothing to gain, and from which the denoised has its whole say.
NOTICEABLE = (0.0075, 0.025)

_STRIP_PIXELS = 1 << 18


def merge_static(
    aligned: AlignedBracket, frames: FrameSelection, noise: CameraNoise, network: Network, options: MergeOptions
) -> Estimate:
    """Merge a scene at rest: the classical merge, denoised by a guided filter within the noise.

    The network runs only if its stages are wanted: it does not denoise better. Counts stay those of the pixel itself.
    """
    three = frames.for_network(aligned.bracket)
    unit = float(aligned.bracket.times[frames.three[0]])
    ran = network.estimate(three) if options.stages else None
    image = None if options.units == "counts" else denoise_classic(three, noise.model)
    image = weighted_merge(three) if image is None else image
    image = image if unit == 1.0 else image / unit
    if ran is None:
        return Estimate(image, "cpu", "float32", three=three, unit=unit, at_rest=True)
    return replace(ran, image=image, unit=unit, at_rest=True)


def denoise_classic(bracket: ExposureStack, noise: NoiseModel | None) -> Tensor | None:
    """Return the classical merge of a scene at rest, denoised by a guided filter as far as it is within the noise.

    ``None`` where the noise is not known: then the classic should stand alone.
    """
    if noise is None:
        return None

    def rows(*frames: Tensor) -> Tensor:
        classic, variance = merge_with_variance(frames, bracket.times, bracket.encoding, bracket.gamma, noise)
        # As a network sees it: encoded with gamma 2.2 whatever it came with.
        light = linearize(frames[bracket.reference], bracket.encoding, bracket.gamma)
        return within_noise(denoise_guided(classic, variance), classic, variance, encode(light.clamp(0, 1)))

    halo = max(NEIGHBOURHOODS) // 2 + 2 * (WINDOW // 2)
    return in_haloed_strips(rows, halo, *bracket.frames, pixels=_STRIP_PIXELS)


def within_noise(denoised: Tensor, classic: Tensor, variance: Tensor, reference: Tensor) -> Tensor:
    r"""Move the classical merge towards a denoised picture where that is what removing noise would do.

    An estimate that is right differs from the classic by that one's noise: by the variance :math:`\sigma^2`, on average
    over a neighbourhood. Where the mean square :math:`d^2` of the difference is larger, it errs by the rest, and
    the best mixture of the two has the share :math:`\sigma^2 / d^2` of it (James and Stein, "Estimation with
    Quadratic Loss", 1961; Efron and Morris, "Limiting the Risk of Bayes and Empirical Bayes Estimators", JASA 1972, on
    bounding the single value, too). We take the square of that share, which is on the safe side. In the lights, it
    gets the local mean of the classic before: there, what is wrong is seldom noise.
    """
    lights = smoothstep(reference, *LIGHTS)
    difference = denoised - classic
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
