"""The methods without a network: the noise-optimal weighted mean, and exposure fusion."""

from __future__ import annotations

from torch import Tensor

from afunet_core.baselines.mertens import exposure_fusion
from afunet_core.baselines.noise_optimal import noise_optimal_merge
from afunet_core.baselines.weighted import weighted_merge
from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.options import MergeOptions
from afunet_core.ops.strips import in_strips
from afunet_core.utils.progress import ProgressReporter

__all__ = ["merge_classic"]


def merge_classic(
    aligned: AlignedBracket, noise: CameraNoise, options: MergeOptions, reporter: ProgressReporter
) -> Estimate:
    """Merge by ``method="weighted"`` or ``"mertens"``; can be cancelled between strips of rows."""
    if options.method == "mertens":
        return Estimate.of_classic(exposure_fusion(aligned.bracket, reporter.check))
    model = None if options.noise == "photons" else noise.model
    return Estimate.of_classic(_weighted(aligned.bracket, model, reporter), model or "photons")


def _weighted(bracket: Bracket, noise: NoiseModel | None, reporter: ProgressReporter) -> Tensor:
    """Return the mean weighted by one over the variance, or by exposure time where the noise is not known."""

    def rows(*frames: Tensor) -> Tensor:
        reporter.check()
        part = bracket.with_frames(frames)
        return weighted_merge(part) if noise is None else noise_optimal_merge(part, noise)

    return in_strips(rows, *bracket.frames)
