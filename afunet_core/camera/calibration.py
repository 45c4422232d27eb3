r"""Radiometric calibration from the bracket itself: response curve and exposure steps.

Two frames that show the same point at exposures :math:`t_i` and :math:`t_j` store values :math:`z_i` and :math:`z_j`
with :math:`\log L(z_i) - \log L(z_j) = \log t_i - \log t_j`, where :math:`L` turns stored values into light. The curve
that makes all frames agree is found by weighted least squares, robust to what moved:

.. math:: \log L(z) = \gamma \log z + \sum_k a_k q_k(z),

where the :math:`q_k` are the functions :math:`z^k \log z`, made orthonormal. (Ng, Chang and Tsai, "Using Geometry
Invariants for Camera Response Function Estimation", CVPR 2007, write :math:`z = L^{P(L)}` with a polynomial P; here the
inverse is written so, which is linear in its unknowns.) Measured camera curves (Grossberg and Nayar, "Modeling the
Space of Camera Response Functions", PAMI 2004) depart from gamma 2.2 with :math:`a_k` that are nearly uncorrelated, of
standard deviations 0.32, 0.20, 0.10, 0.07 and 0.04: the prior is that 0.4 is halved from each to the next.

With known exposure times the curve is determined but for what the brightest and darkest values hide; the three channels
share one curve, because cameras apply one after their colour correction, and grey then stays grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, pairwise
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.ops.strips import in_strips
from afunet_core.radiometry import GAMMA, Scalar, encode, linearize

LogLight: TypeAlias = Callable[[Tensor], Tensor]

__all__ = ["Calibration", "ToneCurve", "calibrate", "linearized"]

TERMS = 5
"""Functions :math:`z^k \\log z` of a curve. Five describe 400 curves drawn from Grossberg and Nayar's model with a
median error of 0.03 stops, four with 0.04, three with 0.06."""

PRIOR = 0.4
"""Standard deviation of the first coefficient, in natural logarithms of light; each next one has half of it."""

RECORDED = (0.04, 0.94)
"""Stored values that tell about the curve, above the noise, below the clip."""

SIDE = 512
"""Frames are looked at at this size: noise averages out, and a hand's tremor becomes small."""

LEAST_TONES = 6
"""Tones that frames must share before anything is said of their curve."""

SMALLEST = 24
"""Shorter side, in pixels, from which a picture shows enough."""

BINS = 32
PER_BIN = 120
"""Samples of each pair of frames and channel are taken evenly over brightness: the sky must not outvote the shadows."""

CODE_ERROR = 0.006
"""Standard deviation of a stored value, averaged over 3×3 pixels, that noise and compression leave."""

MODEL_ERROR = 0.03
"""Natural logarithms of light by which frames disagree under the best curve: colour mixing, vignetting, flicker."""

OUTLIER = (0.5, 0.25, 0.12, 0.12, 0.12)
"""Residuals, in natural logarithms, from which a sample is taken for something that moved, round by round."""

SUSPECT = 0.12
"""Stops by which frames must disagree, at most tones, before a curve is looked for. Exact gamma and sRGB frames that
are taken for gamma 2.2 stay below 0.1."""

SUSPECT_BY_RANKS = 0.3
"""The same for brightnesses of equal rank, where what moves in and out of the picture and what clips counts as well."""

EXPLAINED_BY_RANKS = 0.15
"""Share of that which may remain."""

EXPLAINED = 0.6
"""Share of that disagreement which may remain with the curve that is found."""

AS_WELL = 1.5
"""Frames that sRGB explains within this factor of the curve found are what they look like: nothing is undone."""

PLAUSIBLE = (1.35, 3.6)
"""Slopes of log light over log value in the mid-tones that cameras have; others mean that exposures are wrong."""

STEP_ERROR = 0.05
"""Standard deviation of an exposure step, in natural logarithms: what shutters and rounded EXIF leave."""

SHOULDER = 0.96
"""Stored value from which a longer frame counts as saturated (measured on ten stacks: .93, .96, .98)."""

USUAL_SLOPE = 1.75
"""Median of those slopes over the stacks looked at, which lie between 1.5 and 2."""


WIDEST_STOPS = 7.0
"""Stops between two frames that are compared: further apart they share too little."""

POWER_DOUBT = 0.15
"""Share by which an exponent must miss 2.2 before it is told; steps of a stop for stops and a third."""

BEND = 0.15
"""Natural logarithms of light by which a camera's tone curve departs from a mere power, at least (measured on
seventeen real stacks: 0.39 to 0.85; frames of an exact gamma 0.01)."""

EXPOSURE_DOUBT = 0.3
"""Stops by which a step must be off before it is told."""

GRID = 4 * 255 + 1
"""Values at which a curve is tabulated: every value of eight bits is among them."""


def _basis(values: Tensor) -> Tensor:
    """The orthonormal functions at some values: … → …×TERMS."""
    powers = torch.arange(TERMS, dtype=torch.float64)
    return (values.log()[..., None] * values[..., None] ** powers) @ _ORTHONORMAL


def _orthonormal() -> Tensor:
    grid = torch.linspace(0.04, 0.98, 120, dtype=torch.float64)
    powers = torch.arange(TERMS, dtype=torch.float64)
    raw = grid.log()[:, None] * grid[:, None] ** powers
    upper = torch.linalg.qr(raw).R
    return torch.linalg.inv(upper) * math.sqrt(len(grid)) * upper.diagonal().sign()


_ORTHONORMAL = _orthonormal()


@dataclass(frozen=True)
class ToneCurve:
    """A response curve with few parameters, the same for all channels.

    Args:
        departures: coefficients of the orthonormal functions, beyond gamma 2.2.

    Example:
        >>> round(float(ToneCurve(torch.zeros(5)).light(torch.tensor(0.5))), 4)
        0.2176
    """

    departures: Tensor

    def log_light(self, values: Tensor) -> Tensor:
        """Natural logarithm of light; 0 at saturation."""
        values = values.double().clamp(1e-4, 1.0)
        return GAMMA * values.log() + _basis(values) @ self.departures.double()

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


@dataclass(frozen=True)
class Calibration:
    """Facts about the camera that the frames tell.

    Attributes:
        curve: the response, or ``None`` where the frames do not contradict what was assumed, or nothing explains them.
        times: exposure times, 1 for the shortest, as stated or, where one contradicts the pictures, as found.
        before, after: stops by which frames disagree at most tones; NaN where it cannot be told.
        sentences: for the user.
    """

    curve: ToneCurve | None
    times: tuple[float, ...]
    before: float = math.nan
    after: float = math.nan
    sentences: tuple[str, ...] = ()

    @property
    def darkest(self) -> float:
        """Light, as a share of saturation, below which no frame bore the curve out; 0 where there is none."""
        if self.curve is None:
            return 0.0
        low, shoulder = self.curve.light(torch.tensor([RECORDED[0], SHOULDER])).tolist()
        return low / shoulder

    def as_dict(self) -> dict[str, Any]:
        """For the provenance of a result; JSON can hold it."""
        known = not math.isnan(self.before)
        return {
            "curve_found": self.curve is not None,
            "darkest": self.darkest,
            "disagreement_before_stops": round(self.before, 3) if known else None,
            "disagreement_after_stops": round(self.after, 3) if known else None,
            "sentences": list(self.sentences),
            "contradictions": [sentence for sentence in self.sentences if sentence != _CURVE_SENTENCE],
        }


@torch.no_grad()
def calibrate(
    frames: Sequence[Tensor],
    times: Sequence[float] | Tensor,
    encoding: str = "gamma",
    gamma: Scalar = GAMMA,
    names: Sequence[str] | None = None,
) -> Calibration:
    """Compare the frames of a bracket with each other.

    Args:
        frames: two or more, B×3×H×W, as stored, in [0, 1], shortest first; they need not be registered.
        times: exposure times in any unit, rising.
        encoding: what the frames are taken to be; no curve is looked for if it is ``"linear"``.
        gamma: of ``encoding="gamma"``.
        names: of the frames, for messages.

    Example:
        >>> light = torch.rand(1, 3, 16, 16).repeat_interleave(8, -1).repeat_interleave(8, -2) ** 3
        >>> exact = [(light * t).clamp(0, 1) ** (1 / 2.2) for t in (0.25, 0.5, 1.0)]
        >>> calibrate(exact, (1, 2, 4)).curve is None
        True
        >>> bent = [0.4 * value + 0.6 * value * value * (3 - 2 * value) for value in exact]
        >>> found = calibrate(bent, (1, 2, 4)).curve
        >>> abs(float(found.light(torch.tensor(0.4 * 0.5 + 0.6 * 0.5))) - 0.5**2.2) < 0.02
        True
    """
    stated = tuple(float(time) / float(times[0]) for time in times)
    names = names or [f"frame {i + 1}" for i in range(len(frames))]
    log_times = [math.log(time) for time in stated]
    places, ranks = _samples(frames, log_times), _ranked_samples(frames, log_times)
    if places is None:
        return Calibration(None, stated)

    def assumed(values: Tensor) -> Tensor:
        return linearize(values.clamp(max=1.0), encoding, gamma).clamp(min=1e-12).log()

    before = places.disagreement(assumed)
    if before < SUSPECT:
        return Calibration(None, stated, before, before)
    if encoding != "linear":
        found = _explain(places, ranks, assumed, log_times, names)
        # Where a hand moved the camera too far to compare places, the ranks of brightness still tell.
        if found is None and ranks is not None and ranks.disagreement(assumed) > SUSPECT_BY_RANKS:
            found = _explain(ranks, ranks, assumed, log_times, names, EXPLAINED_BY_RANKS)
        if found is not None:
            return found if found.curve is not None else Calibration(None, stated, before, before)
    # Not the camera's curve, then; where whole steps are missing, the exposures must be wrong.
    told = _step_sentences(log_times, places.steps(assumed), names, "check them", share=0.4)
    return Calibration(None, stated, before, before, told)


def _explain(
    samples: _Samples,
    start: _Samples | None,
    assumed: LogLight,
    log_times: Sequence[float],
    names: Sequence[str],
    share: float = EXPLAINED,
) -> Calibration | None:
    """The curve that explains the samples, without one where they are what they look like; ``None`` if nothing does."""
    before, seconds = samples.disagreement(assumed), [math.exp(value) for value in log_times]
    curve = _fit(samples, start, refine=False)[0]
    after = samples.disagreement(curve.log_light)
    told: tuple[str, ...] = ()
    if len(log_times) > 2:
        other, steps = _regauged(*_fit(samples, start, refine=True), log_times)
        refined = samples.disagreement(other.log_light, steps)
        if refined < EXPLAINED * after and float(steps.abs().max()) > EXPOSURE_DOUBT * math.log(2):
            told = _step_sentences(log_times, steps, names, "they were corrected")
            seconds = (torch.tensor(log_times) + F.pad(steps.cumsum(0), (1, 0))).exp().tolist()
            curve, after = other, refined
    if after > share * before or not PLAUSIBLE[0] < curve.slope() < PLAUSIBLE[1]:
        return None
    if not told and samples.disagreement(_srgb) < AS_WELL * after:
        return Calibration(None, tuple(seconds), before, before)
    return Calibration(curve, tuple(seconds), before, after, (*(told or _doubt(curve, assumed)), _CURVE_SENTENCE))


def _doubt(curve: ToneCurve, assumed: LogLight) -> tuple[str, ...]:
    """A sentence about a curve without a bend, a mere power of what was assumed: wrong exposures look the same."""
    values = torch.linspace(0.1, 0.95, 60, dtype=torch.float64)
    expected, found = (log_light(values) - log_light(values[-1:]) for log_light in (assumed, curve.log_light))
    power = float((expected * found).sum() / expected.square().sum())
    if abs(power - 1) < POWER_DOUBT or float((found - power * expected).abs().max()) > BEND:
        return ()
    return (
        f"The exposures contradict the pictures: each step looks {1 / power:.2g} times as large as stated. Either they "
        f"are wrong, or the frames are encoded with a gamma of {GAMMA * power:.2g}, which is assumed; check them.",
    )


def _srgb(values: Tensor) -> Tensor:
    return linearize(values.clamp(max=1.0), "srgb").clamp(min=1e-12).log()


_CURVE_SENTENCE = (
    "The camera drew a tone curve of its own: it was found from the frames and undone (response=None leaves it in)."
)


def _step_sentences(
    log_times: Sequence[float], off: Tensor, names: Sequence[str], advice: str, share: float = 0.0
) -> tuple[str, ...]:
    """Name the steps between two frames that are wrong, in stops; ``share`` of a step may be missing besides."""
    wrong = []
    for (first, second), (a, b), error in zip(pairwise(log_times), pairwise(names), off.tolist(), strict=True):
        stated, shown = (second - first) / math.log(2), (second - first + error) / math.log(2)
        if abs(shown - stated) > EXPOSURE_DOUBT + share * stated:
            wrong.append(f"from {a!r} to {b!r} {stated:.1f} EV are stated, the pictures show {shown:.1f}")
    return (f"The exposures contradict the pictures: {'; '.join(wrong)}; {advice}.",) if wrong else ()


def _regauged(curve: ToneCurve, steps: Tensor, log_times: Sequence[float]) -> tuple[ToneCurve, Tensor]:
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
    # log L = γ log z + q(z)·a is multiplied as a whole; (factor - 1) γ log z is the first function's.
    first = GAMMA * (best - 1) / float(_ORTHONORMAL[0, 0])
    departures = curve.departures * best
    departures[0] += first
    return replace(curve, departures=departures), best * found - stated


@dataclass(frozen=True)
class _Samples:
    """Pairs of stored values of the same points: each M, with the logarithm of the exposure ratio they should show."""

    first: Tensor
    second: Tensor
    ratio: Tensor
    deviation: Tensor
    bin: Tensor
    spans: Tensor

    def residual(self, log_light: LogLight, steps: Tensor | None = None) -> Tensor:
        """Logarithm of the ratio of light that the values show, less that of the exposures."""
        found = log_light(self.second) - log_light(self.first) - self.ratio
        return found if steps is None else found - self.spans @ steps

    def steps(self, log_light: LogLight) -> Tensor:
        """By how much each step of exposure is off, in natural logarithms; 0 where it cannot be told."""
        residual = self.residual(log_light)
        single = self.spans.sum(1) == 1
        found = []
        for column in self.spans.T:
            chosen = residual[single & (column > 0)]
            found.append(float(chosen.median()) if len(chosen) >= 50 else 0.0)
        return torch.tensor(found, dtype=torch.float64)

    def disagreement(self, log_light: LogLight, steps: Tensor | None = None) -> float:
        """Stops by which the frames disagree at most tones: the median of those of all tones, whatever moved."""
        residual = self.residual(log_light, steps)
        medians, weights = [], []
        order = self.bin.argsort(stable=True)
        counts = self.bin[order].unique_consecutive(return_counts=True)[1]
        for chosen in residual[order].split(counts.tolist()):
            if len(chosen) >= 8:
                medians.append(float(chosen.median().abs()))
                weights.append(float(len(chosen)))
        if len(medians) < LEAST_TONES:
            return 0.0
        values, order = torch.tensor(medians).sort()
        share = torch.tensor(weights)[order].cumsum(0) / sum(weights)
        return float(values[int((share < 0.5).sum())]) / math.log(2)


def _samples(frames: Sequence[Tensor], log_times: Sequence[float]) -> _Samples | None:
    """Small even patches that two frames record, taken evenly over brightness."""
    if min(frames[0].shape[-2:]) < SMALLEST:
        return None
    step = max(1, math.ceil(max(frames[0].shape[-2:]) / SIDE))
    low, high = RECORDED
    means, spreads, peaks = [], [], []
    for frame in frames:
        frame = frame.double()
        fits = step if min(frame.shape[-2:]) >= 3 * step else 1
        small, largest = F.avg_pool2d(frame, fits), F.max_pool2d(frame, fits)
        means.append(F.avg_pool2d(small, 3, 2))
        spreads.append(F.max_pool2d(small, 3, 2) + F.max_pool2d(-small, 3, 2))
        peaks.append(F.max_pool2d(largest, 3, 2))
    columns: list[tuple[Tensor, ...]] = []
    for number, (i, j) in enumerate(combinations(range(len(frames)), 2)):
        spans = torch.tensor([float(i <= k < j) for k in range(len(frames) - 1)], dtype=torch.float64)
        ratio = log_times[j] - log_times[i]
        if not 0 < ratio < WIDEST_STOPS * math.log(2) or j - i > 3:
            continue
        for c in range(means[0].shape[1]):
            a, b = means[i][:, c].flatten(), means[j][:, c].flatten()
            good = (a > low) & (b < high) & (peaks[j][:, c].flatten() < (high + 1) / 2) & (b > low)
            place = good.nonzero()[:, 0]
            if len(place) < 50:
                continue
            first, second = a[place], b[place]
            rough = torch.maximum(spreads[i][:, c].flatten()[place], spreads[j][:, c].flatten()[place])
            chosen, bins = _evenly((first + second) / 2, rough)
            first, second, rough = first[chosen], second[chosen], rough[chosen]
            code = math.sqrt(CODE_ERROR**2) + rough / 8
            deviation = (GAMMA * code).square() * (1 / first.square() + 1 / second.square()) + MODEL_ERROR**2
            key = (number * 3 + c) * BINS + bins
            ratios = torch.full_like(first, ratio)
            columns.append((first, second, ratios, deviation.sqrt(), key, spans.expand(len(first), -1)))
    if not columns or sum(len(column[0]) for column in columns) < 200:
        return None
    return _Samples(*(torch.cat(parts) for parts in zip(*columns, strict=True)))


def _evenly(level: Tensor, rough: Tensor) -> tuple[Tensor, Tensor]:
    """Of every brightness the most even patches, as many of each; and which brightness."""
    bins = (level * BINS).long().clamp(max=BINS - 1)
    order = rough.argsort(stable=True)
    order = order[bins[order].argsort(stable=True)]
    sorted_bins = bins[order]
    rank = torch.arange(len(order)) - torch.searchsorted(sorted_bins, sorted_bins)
    count = torch.bincount(sorted_bins, minlength=BINS)[sorted_bins]
    # Of the more even half, in regular steps: the most even of all may lie in one place.
    half = (count + 1) // 2
    stride = (half // PER_BIN).clamp(min=1)
    chosen = order[(rank < torch.maximum(half, torch.tensor(20))) & (rank % stride == 0)]
    return chosen, bins[chosen]


def _ranked_samples(frames: Sequence[Tensor], log_times: Sequence[float]) -> _Samples | None:
    """Values of neighbouring frames at equal ranks: the darkest tenth of a scene is so in every frame, wherever it is.

    Grossberg and Nayar, "Determining the Camera Response from Images: What Is Knowable?", PAMI 2003.
    """
    low, high = RECORDED
    ranked = []
    for frame in frames:
        step = max(1, int((frame[:, :1].numel() / 2**17) ** 0.5))
        values = frame[..., ::step, ::step].double().transpose(0, 1).flatten(1).sort(dim=1).values
        count = min(2**16 // max(len(frames), 16), values.shape[1])  # memory grows with the square of the frames
        ranks = torch.linspace(0, values.shape[1] - 1, count).round().long()
        ranked.append(values[:, ranks])
    columns: list[tuple[Tensor, ...]] = []
    for number, ((a, b), (short, long)) in enumerate(zip(pairwise(ranked), pairwise(log_times), strict=True)):
        for first, second in zip(a, b, strict=True):
            good = (first > low) & (second < high)
            first, second = first[good], second[good]
            if len(first) >= 20 and long > short:
                deviation = GAMMA * 2 * CODE_ERROR / first + MODEL_ERROR
                bins = number * BINS + ((first + second) / 2 * BINS).long().clamp(max=BINS - 1)
                spans = torch.eye(len(frames) - 1, dtype=torch.float64)[number].expand(len(first), -1)
                columns.append((first, second, torch.full_like(first, long - short), deviation, bins, spans))
    return _Samples(*(torch.cat(parts) for parts in zip(*columns, strict=True))) if columns else None


def _fit(samples: _Samples, start: _Samples | None, refine: bool) -> tuple[ToneCurve, Tensor]:
    """The curve under which the samples agree, found from equal ranks first, and corrections of the steps."""
    curve = ToneCurve(torch.zeros(TERMS, dtype=torch.float64))
    steps = torch.zeros(samples.spans.shape[1], dtype=torch.float64)
    if start is not None:
        for scale in (1.0, 0.5):
            curve, steps = _solve(start, curve, steps, scale, refine)
    for scale in OUTLIER:
        curve, steps = _solve(samples, curve, steps, scale, refine)
    return curve, steps


def _solve(samples: _Samples, curve: ToneCurve, steps: Tensor, scale: float, refine: bool) -> tuple[ToneCurve, Tensor]:
    """One round of weighted least squares around a curve."""
    residual = samples.residual(curve.log_light, steps)
    limit = scale + 2 * samples.deviation
    weight = 1 / (1 + (residual / limit).square()).square() / samples.deviation.square()
    # Neighbouring samples err alike: however many there are, they count as some hundreds.
    weight = weight / max(1.0, len(weight) / 400)
    first, second = samples.first.clamp(1e-4, 1.0), samples.second.clamp(1e-4, 1.0)
    matrix = torch.cat((_basis(second) - _basis(first), -samples.spans), 1)
    target = samples.ratio - GAMMA * (second / first).log()
    prior = (PRIOR * 0.5 ** torch.arange(TERMS, dtype=torch.float64)) ** -2
    # Nearly all steps are right; one that is not may be far off.
    believed = STEP_ERROR**-2 / (1 + (steps / (2 * STEP_ERROR)).square()) if refine else torch.full_like(steps, 1e9)
    normal = matrix.T @ (weight[:, None] * matrix) + torch.cat((prior, believed)).diag()
    # A common factor of all steps bends the curve and explains nothing: their sum is kept.
    normal[TERMS:, TERMS:] += 1e6
    found = torch.linalg.solve(normal, matrix.T @ (weight * target))
    return replace(curve, departures=found[:TERMS]), found[TERMS:] if refine else steps


@torch.no_grad()
def linearized(
    frames: Sequence[Tensor], calibration: Calibration, gamma: Scalar
) -> tuple[tuple[Tensor, ...], list[float]]:
    """Frames without their tone curve, encoded with gamma, and the exposure times that go with them.

    A tone curve flattens towards white, so that the last values say little: in all but the shortest frame what is above
    ``SHOULDER`` counts as saturated. They are scaled so that this is 1.0, and their times with them: their radiance
    stays what it was.

    Args:
        frames: as stored, in [0, 1], shortest first.
        calibration: of them, with a curve.
        gamma: for the result.
    """
    curve = calibration.curve
    assert curve is not None
    light = curve.table()[0]
    shoulder = float(curve.light(torch.tensor(SHOULDER)))
    tables = [encode(part, "gamma", gamma) for part in (light, (light / shoulder).clamp(max=1.0))]
    result, times = [], list(calibration.times)
    for index, frame in enumerate(frames):
        table = tables[min(index, 1)].to(frame)
        is_grey = frame.stride(1) == 0  # one channel, shown as three
        values = in_strips(partial(_looked_up, table=table), frame[:, :1] if is_grey else frame)
        result.append(values.expand_as(frame))
        if index:
            times[index] /= shoulder
    return tuple(result), times


def _looked_up(values: Tensor, table: Tensor) -> Tensor:
    """A table of evenly spaced values over [0, 1], linearly in between."""
    position = values.clamp(0.0, 1.0) * (len(table) - 1)
    left = position.floor().clamp(max=len(table) - 2).long()
    return torch.lerp(table[left], table[left + 1], position - left)
