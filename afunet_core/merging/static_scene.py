"""The merge of a scene at rest: the classical merge, which can hardly be beaten there, denoised.

A filter that looks around a pixel removes noise; smoothing what is not noise does harm. So the filter moves the
classical merge about as far as noise moves values, and no further.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from afunet_core.baselines.noise_optimal import merge_with_variance
from afunet_core.baselines.weighted import weighted_merge
from afunet_core.bracket.stack import ExposureStack
from afunet_core.camera.noise import NoiseModel
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.frame_selection import FrameSelection
from afunet_core.merging.inference import Network
from afunet_core.merging.options import MergeOptions
from afunet_core.motion.ghosts import ghost_map
from afunet_core.ops.box_filter import window_mean
from afunet_core.ops.strips import in_haloed_strips

AT_REST = 2e-4  # mean of the ghost map up to which a scene counts as at rest: one ghost of 14×14 pixels in a megapixel
# Side of the blocks of pixels that are asked: what moves in the dark can be fainter than the noise of a pixel.
BLOCK = 2
WINDOW = 5  # side of the windows of the filter, pixels; measured among 3, 5 and 9 on synthetic brackets at rest
OF_ONE_PIXEL = 1.5  # standard deviations by which a single pixel of the denoised picture may differ
NEIGHBOURHOODS = (3, 9)  # widths of the windows in which it must keep within one, in pixels

_STRIP_PIXELS = 1 << 18


def nothing_moved(
    aligned: AlignedBracket, frames: FrameSelection, options: MergeOptions, check: Callable[[], None] = lambda: None
) -> bool:
    """Return True if neither the camera nor anything in the scene moved between the frames that are merged.

    What is too dark in the reference to be told from noise shows between longer frames, what is clipped in it between
    shorter ones. A bracket that lacks a side, or that had to be registered, does not count as at rest, nor does any
    where ``method="afunet"`` asks for the network.
    """
    bracket = aligned.bracket
    if options.method != "auto" or frames.missing or aligned.was_warped:
        return False
    if frames.joining:
        views = [bracket.with_reference(index) for index in (frames.reference, len(bracket) - 1, 0)]
    else:
        views = [frames.for_network(bracket)]
    return all(is_at_rest(view, check) for view in views)


def is_at_rest(bracket: ExposureStack, check: Callable[[], None] = lambda: None) -> bool:
    """Return True if nothing moved between frames as they were taken, in any sample, as far as they can tell."""
    block = min(BLOCK, *bracket.frames[0].shape[-2:])
    maps = (ghost_map(bracket, sample, check=check, block=block) for sample in range(len(bracket.frames[0])))
    return all(float(found.mean()) <= AT_REST for found in maps)


def merge_static(
    aligned: AlignedBracket, frames: FrameSelection, noise: CameraNoise, network: Network, options: MergeOptions
) -> Estimate:
    """Merge a scene at rest: the classical merge, denoised by a guided filter within the noise.

    The network runs only if its stages are wanted: it does not denoise better. Counts stay those of the pixel itself.
    """
    three = frames.for_network(aligned.bracket)
    unit = float(aligned.bracket.times[frames.three[0]])
    ran = network.estimate(three) if options.stages else None
    image = None if options.units == "counts" else denoise_classic(three, noise.model, network.reporter.check)
    image = weighted_merge(three) if image is None else image
    image = image if unit == 1.0 else image / unit
    if ran is None:
        return Estimate(image, "cpu", "float32", three=three, unit=unit, at_rest=True)
    return replace(ran, image=image, unit=unit, at_rest=True)


def denoise_classic(
    bracket: ExposureStack, noise: NoiseModel | None, check: Callable[[], None] = lambda: None
) -> Tensor | None:
    """Return the classical merge of a scene at rest, denoised by a guided filter as far as it is within the noise.

    ``None`` where the noise is not known: then the classic should stand alone.
    """
    if noise is None:
        return None

    def rows(*frames: Tensor) -> Tensor:
        classic, variance = merge_with_variance(bracket.with_frames(frames), noise)
        return within_noise(denoise_guided(classic, variance), classic, variance)

    halo = max(NEIGHBOURHOODS) // 2 + 2 * (WINDOW // 2)
    return in_haloed_strips(rows, halo, *bracket.frames, pixels=_STRIP_PIXELS, check=check)


def denoise_guided(radiance: Tensor, variance: Tensor) -> Tensor:
    """Let every channel be a linear function of the brightness in each small window, as noise allows.

    He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, with the variance of the noise, which is known, in place of
    a constant: what varies less than noise is averaged, edges stay. Colour that changes where brightness does not is
    lost, so the result is for use within the noise alone.
    """
    channels = radiance.shape[1]
    guide = radiance.mean(1, keepdim=True)
    expected = window_mean(variance, WINDOW) / channels
    mean, middle = window_mean(radiance, WINDOW), window_mean(guide, WINDOW)
    spread = window_mean(guide.square(), WINDOW) - middle.square()
    together = window_mean(guide * radiance, WINDOW) - middle * mean - expected
    textured = spread > expected.mean(1, keepdim=True)
    slope = (together / spread.clamp(min=1e-20)) * textured
    return window_mean(slope, WINDOW) * guide + window_mean(mean - slope * middle, WINDOW)


def within_noise(denoised: Tensor, classic: Tensor, variance: Tensor) -> Tensor:
    r"""Move the classical merge towards a denoised picture where that is what removing noise would do.

    An estimate that is right differs from the classic by that one's noise: by the variance :math:`\sigma^2`, on average
    over a neighbourhood. Where the mean square :math:`d^2` of the difference is larger, it errs by the rest, and
    the best mixture of the two has the share :math:`\sigma^2 / d^2` of it (James and Stein, "Estimation with
    Quadratic Loss", 1961; Efron and Morris, "Limiting the Risk of Bayes and Empirical Bayes Estimators", JASA 1972, on
    bounding the single value, too). We take the square of that share, which is on the safe side.
    """
    difference = denoised - classic
    squared = difference.square()
    floor = torch.finfo(squared.dtype).tiny
    share = (OF_ONE_PIXEL**2 * variance / squared.clamp(min=floor)).clamp(max=1)
    expected, found = variance.mean(1, keepdim=True), squared.mean(1, keepdim=True)
    for side in NEIGHBOURHOODS:
        there = window_mean(expected, side) / window_mean(found, side).clamp(min=floor)
        share = torch.minimum(share, there.clamp(max=1).square())
    return classic + share * difference
