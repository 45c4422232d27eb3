r"""Tone curve: the response of a camera as gamma 2.2 and a few smooth departures from it, and its fit to frames.

.. math:: \log L(z) = \gamma \log z + \sum_k a_k q_k(z),

where the :math:`q_k` are the functions :math:`z^k \log z`, made orthonormal. (Ng, Chang and Tsai, "Using Geometry
Invariants for Camera Response Function Estimation", CVPR 2007, write :math:`z = L^{P(L)}` with a polynomial P; here the
inverse is written so, which is linear in its unknowns.) The three channels share one curve, because cameras apply one
after their colour correction, and grey then stays grey.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from afunet_core.camera.frame_pairs import FramePairs
from afunet_core.camera.levels import SHOULDER
from afunet_core.camera.response import interpolate
from afunet_core.ops.strips import in_strips
from afunet_core.radiometry import GAMMA, Scalar, encode

TERMS = 5
"""Functions :math:`z^k \\log z` of a curve. Five describe 400 curves drawn from Grossberg and Nayar's model with a
median error of 0.03 stops, four with 0.04, three with 0.06."""

GRID = 4 * 255 + 1  # values at which a curve is tabulated: every value of eight bits is among them
PRIOR = 0.4  # standard deviation of the first coefficient, in natural logarithms of light; each next one has half of it
# Residuals, in natural logarithms, from which a sample is taken for something that moved, round by round.
OUTLIER = (0.5, 0.25, 0.12, 0.12, 0.12)
STEP_ERROR = 0.05  # standard deviation of an exposure step, in natural logarithms: what shutters and rounded EXIF leave
USUAL_SLOPE = 1.75  # median of those slopes over the stacks looked at, which lie between 1.5 and 2


def basis(values: Tensor) -> Tensor:
    """The orthonormal functions at some values: … → …×TERMS."""
    powers = torch.arange(TERMS, dtype=torch.float64)
    return (values.log()[..., None] * values[..., None] ** powers) @ _ORTHONORMAL


_VALUES = torch.linspace(0.04, 0.98, 120, dtype=torch.float64)
_UPPER = torch.linalg.qr(_VALUES.log()[:, None] * _VALUES[:, None] ** torch.arange(TERMS, dtype=torch.float64)).R
_ORTHONORMAL = torch.linalg.inv(_UPPER) * math.sqrt(len(_VALUES)) * _UPPER.diagonal().sign()


@dataclass(frozen=True)
class ToneCurve:
    """A response curve with few parameters, the same for all channels.

    Example:
        >>> round(float(ToneCurve(torch.zeros(5)).light(torch.tensor(0.5))), 4)
        0.2176
    """

    departures: Tensor  # coefficients of the orthonormal functions, beyond gamma 2.2

    def log_light(self, values: Tensor) -> Tensor:
        """Natural logarithm of light; 0 at saturation."""
        values = values.double().clamp(1e-4, 1.0)
        return GAMMA * values.log() + basis(values) @ self.departures.double()

    def light(self, values: Tensor) -> Tensor:
        """Light, 1 at saturation."""
        light = self.log_light(values).exp()
        return torch.where(values > 0, light, 0.0)

    def table(self) -> Tensor:
        """Light at evenly spaced stored values from 0 to 1, rising strictly, 1×GRID."""
        grid = torch.linspace(0, 1, GRID, dtype=torch.float64)
        light = self.light(grid).cummax(0).values + 1e-7 * grid
        return ((light - light[0]) / (light[-1] - light[0]))[None]

    def slope(self) -> float:
        """Of log light over log value in the mid-tones."""
        low, high = (torch.tensor(0.3), torch.tensor(0.7))
        return float((self.log_light(high) - self.log_light(low)) / math.log(0.7 / 0.3))


@torch.no_grad()
def linearized(
    frames: Sequence[Tensor], curve: ToneCurve, times: Sequence[float], gamma: Scalar
) -> tuple[tuple[Tensor, ...], list[float]]:
    """Frames without their tone curve, encoded with gamma, and the exposure times that go with them.

    A tone curve flattens towards white, so that the last values say little: in all but the shortest frame what is above
    :data:`~afunet_core.camera.levels.SHOULDER` counts as saturated. They are scaled so that this is 1.0, and their
    times with them: their radiance stays what it was.
    """
    light = curve.table()[0]
    shoulder = float(curve.light(torch.tensor(SHOULDER)))
    tables = [encode(part, "gamma", gamma) for part in (light, (light / shoulder).clamp(max=1.0))]
    result, seconds = [], list(times)
    for index, frame in enumerate(frames):
        table = tables[min(index, 1)].to(frame)
        is_grey = frame.stride(1) == 0  # one channel, shown as three
        values = in_strips(partial(interpolate, table=table), frame[:, :1] if is_grey else frame)
        result.append(values.expand_as(frame))
        if index:
            seconds[index] /= shoulder
    return tuple(result), seconds


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
    # log L = γ log z + q(z)·a is multiplied as a whole; (best - 1) γ log z is the first function's.
    departures = curve.departures * best
    departures[0] += GAMMA * (best - 1) / float(_ORTHONORMAL[0, 0])
    return ToneCurve(departures), best * found - stated
