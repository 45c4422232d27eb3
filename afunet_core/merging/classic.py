"""The methods without a network: the noise-optimal weighted mean, and exposure fusion."""

from __future__ import annotations

import torch
from torch import Tensor

from afunet_core.baselines.mertens import exposure_fusion
from afunet_core.baselines.noise_optimal import noise_optimal_merge, where_moved
from afunet_core.baselines.weighted import weighted_merge
from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel
from afunet_core.camera.saturation import unsaturated
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.options import MergeOptions
from afunet_core.merging.recorded import Recorded, is_calibrated, recorded_mean
from afunet_core.motion.shadows import FADE, darkest_light
from afunet_core.ops.strips import in_strips
from afunet_core.radiometry import GAMMA, linearize
from afunet_core.utils.progress import ProgressReporter


def merge_classic(
    aligned: AlignedBracket, noise: CameraNoise, options: MergeOptions, reporter: ProgressReporter
) -> Estimate:
    """Merge by ``method="weighted"`` or ``"mertens"``; can be cancelled between strips of rows."""
    if options.method == "mertens":
        return Estimate.of_classic(exposure_fusion(aligned.bracket, reporter.check))
    if is_calibrated(aligned.bracket):
        return Estimate.of_classic(_calibrated(aligned.bracket, reporter), "photons")
    model = None if options.noise == "photons" else noise.model
    return Estimate.of_classic(_weighted(aligned.bracket, model, reporter), model or "photons")


def _weighted(bracket: Bracket, noise: NoiseModel | None, reporter: ProgressReporter) -> Tensor:
    """Return the mean weighted by one over the variance, or by exposure time where the noise is not known."""

    def rows(*frames: Tensor) -> Tensor:
        part = bracket.with_frames(frames)
        return weighted_merge(part) if noise is None else noise_optimal_merge(part, noise)

    return in_strips(rows, *bracket.frames, check=reporter.check)


def _calibrated(bracket: Bracket, reporter: ProgressReporter) -> Tensor:
    """Return the mean of frames whose tone curve was undone, each as far as its dark values can be believed.

    Where a clipped frame contradicts the shorter ones, the reference is shown as it is, clipped or not.
    """
    times, darkest = bracket.times.tolist(), darkest_light(bracket) * FADE**GAMMA

    def rows(*frames: Tensor) -> Tensor:
        shares = [unsaturated(frame) if i else torch.ones_like(frame) for i, frame in enumerate(frames)]
        linear = [linearize(frame, bracket.encoding, bracket.gamma) for frame in frames]
        return 1 - where_moved(shares, linear, times, darkest)

    def of_one_moment(reference: Tensor, mean: Tensor, rest: Tensor) -> Tensor:
        light = linearize(reference, bracket.encoding, bracket.gamma) / times[bracket.reference]
        return torch.lerp(light, mean, rest)

    rest = in_strips(rows, *bracket.frames, check=reporter.check)
    everywhere = Recorded(range(len(bracket)), [torch.ones_like(rest)] * len(bracket), rest)
    mean = recorded_mean(bracket, everywhere, None, reporter.check)
    return in_strips(of_one_moment, bracket.frames[bracket.reference], mean, rest, check=reporter.check)
