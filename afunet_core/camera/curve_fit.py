"""Fit of a tone curve to pairs of frames, and of the steps of exposure beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from afunet_core.camera.frame_pairs import FramePairs
from afunet_core.camera.tone_curve import TERMS, ToneCurve, basis, with_slope
from afunet_core.radiometry import GAMMA

PRIOR = 0.4  # standard deviation of the first coefficient, in natural logarithms of light; each next one has half of it
# Residuals, in natural logarithms, from which a sample is taken for something that moved, round by round.
OUTLIER = (0.5, 0.25, 0.12, 0.12, 0.12)
STEP_ERROR = 0.05  # standard deviation of an exposure step, in natural logarithms: what shutters and rounded EXIF leave
USUAL_SLOPE = 1.75  # median of those slopes over the stacks looked at, which lie between 1.5 and 2


def fit_curve(pairs: FramePairs, start: FramePairs | None, refine: bool) -> tuple[ToneCurve, Tensor]:
    """The curve under which the pairs agree, found from equal ranks first, and corrections of the steps."""
    curve = ToneCurve(torch.zeros(TERMS, dtype=torch.float64))
    steps = torch.zeros(pairs.spans.shape[1], dtype=torch.float64)
    if start is not None:
        for scale in (1.0, 0.5):
            curve, steps = _solve(start, curve, steps, scale, refine)
    for scale in OUTLIER:
        curve, steps = _solve(pairs, curve, steps, scale, refine)
    return curve, steps


def _solve(pairs: FramePairs, curve: ToneCurve, steps: Tensor, scale: float, refine: bool) -> tuple[ToneCurve, Tensor]:
    """One round of weighted least squares around a curve."""
    residual = pairs.residual(curve.log_light, steps)
    limit = scale + 2 * pairs.deviation
    weight = 1 / (1 + (residual / limit).square()).square() / pairs.deviation.square()
    # Neighbouring pairs err alike: however many there are, they count as some hundreds.
    weight = weight / max(1.0, len(weight) / 400)
    first, second = pairs.first.clamp(1e-4, 1.0), pairs.second.clamp(1e-4, 1.0)
    matrix = torch.cat((basis(second) - basis(first), -pairs.spans), 1)
    target = pairs.ratio - GAMMA * (second / first).log()
    prior = (PRIOR * 0.5 ** torch.arange(TERMS, dtype=torch.float64)) ** -2
    # Nearly all steps are right; one that is not may be far off.
    believed = STEP_ERROR**-2 / (1 + (steps / (2 * STEP_ERROR)).square()) if refine else torch.full_like(steps, 1e9)
    normal = matrix.T @ (weight[:, None] * matrix) + torch.cat((prior, believed)).diag()
    # A common factor of all steps bends the curve and explains nothing: their sum is kept.
    normal[TERMS:, TERMS:] += 1e6
    found = torch.linalg.solve(normal, matrix.T @ (weight * target))
    return ToneCurve(found[:TERMS]), found[TERMS:] if refine else steps


def most_likely_unit(curve: ToneCurve, steps: Tensor, log_times: Sequence[float]) -> tuple[ToneCurve, Tensor]:
    """The same agreement with the most likely unit of stops: most steps are right, and curves are near gamma 2.2.

    All logarithms of light and time may be multiplied by one factor: the frames agree as before.
    """
    stated = torch.tensor(log_times, dtype=torch.float64).diff()
    found = stated + steps
    sure = found > 0.05
    best, least = 1.0, math.inf
    for factor in [1.0, *(stated[sure] / found[sure]).tolist()]:
        off = (factor * found - stated).abs() / (4 * STEP_ERROR)
        unlikely = float(off.clamp(max=1.0).sum()) + abs(math.log(factor * max(curve.slope(), 0.1) / USUAL_SLOPE))
        if 0.4 < factor < 2.5 and unlikely < least:
            best, least = factor, unlikely
    return with_slope(curve, best), best * found - stated
