r"""Radiometric calibration from the bracket itself: response curve and exposure steps.

Two frames that show the same point at exposures :math:`t_i` and :math:`t_j` store values :math:`z_i` and :math:`z_j`
with :math:`\log L(z_i) - \log L(z_j) = \log t_i - \log t_j`, where :math:`L` turns stored values into light. The curve
(:mod:`~afunet_core.camera.tone_curve`) that makes all frames agree is found by weighted least squares, robust to what
moved. Measured camera curves (Grossberg and Nayar, "Modeling the Space of Camera Response Functions", PAMI 2004) depart
from gamma 2.2 with coefficients that are nearly uncorrelated, of standard deviations 0.32, 0.20, 0.10, 0.07 and 0.04:
the prior is that 0.4 is halved from each to the next.

With known exposure times the curve is determined but for what the brightest and darkest values hide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.camera.frame_pairs import RECORDED, FramePairs, LogLight, pairs_of_places, pairs_of_ranks
from afunet_core.camera.levels import SHOULDER
from afunet_core.camera.response import ResponseCurve, load_response
from afunet_core.camera.tone_curve import ToneCurve, fit_curve, most_likely_unit
from afunet_core.errors import ArgumentError
from afunet_core.radiometry import GAMMA, Scalar, linearize

# Stops by which frames must disagree, at most tones, before a curve is looked for. Exact gamma and sRGB frames that are
# taken for gamma 2.2 stay below 0.1.
SUSPECT = 0.12
# The same for brightnesses of equal rank, where what moves in and out of the picture and what clips counts as well.
SUSPECT_BY_RANKS = 0.3
EXPLAINED_BY_RANKS = 0.15  # share of that which may remain
EXPLAINED = 0.6  # share of that disagreement which may remain with the curve that is found
# Frames that sRGB explains within this factor of the curve found are what they look like: nothing is undone.
AS_WELL = 1.5
# Slopes of log light over log value in the mid-tones that cameras have; others mean that exposures are wrong.
PLAUSIBLE = (1.35, 3.6)
POWER_DOUBT = 0.15  # share by which an exponent must miss 2.2 before it is told; steps of a stop for stops and a third
# Natural logarithms of light by which a camera's tone curve departs from a mere power, at least (measured on seventeen
# real stacks: 0.39 to 0.85; frames of an exact gamma 0.01).
BEND = 0.15
EXPOSURE_DOUBT = 0.3  # stops by which a step must be off before it is told
RIGHT_STEPS = 0.5  # share of the steps that must be as stated for the others to be corrected: else nothing is sure

MISSING = 0.4
# Share of a step that may be missing besides: tone curves flatten it, a black level does a little.
MISSING_OF_LINEAR = 0.15
_CURVE_SENTENCE = (
    "The camera drew a tone curve of its own: it was found from the frames and undone (response=None leaves it in)."
)


@dataclass(frozen=True)
class Calibration:
    """Facts about the camera that the frames tell."""

    # the response, or ``None`` where the frames do not contradict what was assumed, or nothing explains them
    curve: ToneCurve | None
    # exposure times, 1 for the shortest, as stated or, where one contradicts the pictures, as found
    times: tuple[float, ...]
    before: float = math.nan  # stops by which frames disagree at most tones; NaN where it cannot be told
    after: float = math.nan
    sentences: tuple[str, ...] = ()  # for the user

    @property
    def darkest(self) -> float:
        """Light, as a share of saturation, below which no frame bore the curve out; 0 where there is none."""
        if self.curve is None:
            return 0.0
        low, shoulder = self.curve.light(torch.tensor([RECORDED[0], SHOULDER])).tolist()
        return low / shoulder

    def as_dict(self) -> dict[str, Any]:
        """For the provenance of a result; JSON can hold it."""
        stops = (None if math.isnan(value) else round(value, 3) for value in (self.before, self.after))
        return {
            "curve_found": self.curve is not None,
            "darkest": self.darkest,
            **dict(zip(("disagreement_before_stops", "disagreement_after_stops"), stops, strict=True)),
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
    places, ranks = pairs_of_places(frames, log_times), pairs_of_ranks(frames, log_times)
    if places is None:
        return Calibration(None, stated)

    def assumed(values: Tensor) -> Tensor:
        return linearize(values.clamp(max=1.0), encoding, gamma).clamp(min=1e-12).log()

    before = places.disagreement(assumed)
    if before < SUSPECT:
        return Calibration(None, stated, before, before)
    linear = encoding == "linear"
    found = None if linear else _explain(places, ranks, assumed, log_times, names)
    # Where a hand moved the camera too far to compare places, the ranks of brightness still tell.
    if not linear and found is None and ranks is not None and ranks.disagreement(assumed) > SUSPECT_BY_RANKS:
        found = _explain(ranks, ranks, assumed, log_times, names, EXPLAINED_BY_RANKS)
    if found is not None:
        return found if found.curve is not None else Calibration(None, stated, before, before)
    # Not the camera's curve, then; where whole steps are missing, the exposures must be wrong.
    advice, missing = ("check them and the black level", MISSING_OF_LINEAR) if linear else ("check them", MISSING)
    told = _step_sentences(log_times, places.steps(assumed), names, advice, missing)
    return Calibration(None, stated, before, before, told)


@torch.no_grad()
def estimate_response(frames: Sequence[Tensor], times: Sequence[float] | Tensor) -> ResponseCurve:
    """Estimate the tone curve under which the frames of a bracket agree, whatever they are taken for.

    Args:
        frames: two or more, B×3×H×W, as stored, in [0, 1], shortest first; registered if the camera moved.
        times: exposure times in any unit, rising.

    Returns:
        One curve of 256 values for all channels, 1 at saturation. Only its shape can be known: what lies beyond the
        largest value that is recorded unsaturated is extrapolated.

    Raises:
        ArgumentError: too few pixels are recorded by two frames, or the times do not fit the frames.

    Example:
        >>> light = torch.rand(1, 3, 64, 64).repeat_interleave(4, -1).repeat_interleave(4, -2) ** 3
        >>> curve = estimate_response([(light * t).clamp(0, 1) ** (1 / 2.0) for t in (0.25, 0.5, 1.0)], (1, 2, 4))
        >>> abs(float(curve(torch.tensor(0.5))) - 0.25) < 0.01
        True
    """
    log_times = [math.log(float(time)) for time in times]
    if len(log_times) != len(frames) or len(frames) < 2:
        raise ArgumentError("times", f"one for each of two or more frames ({len(frames)})", len(log_times))
    places = pairs_of_places(frames, log_times)
    if places is None:
        advice = "Use frames closer in exposure, or give the curve of the camera."
        raise ArgumentError("frames", "pixels that two frames record unsaturated", "too few of them", advice)
    curve = fit_curve(places, pairs_of_ranks(frames, log_times), refine=False)[0]
    return ResponseCurve(curve.table()[:, ::4], source="estimated")


def curve_from(response: Any, frames: Sequence[Tensor], times: Sequence[float]) -> ResponseCurve:
    """Return a curve in whichever way the caller states it: itself, a file, or ``"estimate"``."""
    if isinstance(response, ResponseCurve):
        return response
    if response == "estimate":
        return estimate_response(frames, times)
    if isinstance(response, str | Path):
        return load_response(response)
    raise ArgumentError("response", "a ResponseCurve, a file, 'estimate' or 'auto'", repr(response))


def _explain(
    pairs: FramePairs,
    start: FramePairs | None,
    assumed: LogLight,
    log_times: Sequence[float],
    names: Sequence[str],
    share: float = EXPLAINED,
) -> Calibration | None:
    """The curve that explains the pairs, without one where they are what they look like; ``None`` if nothing does."""
    before, seconds = pairs.disagreement(assumed), [math.exp(value) for value in log_times]
    curve = fit_curve(pairs, start, refine=False)[0]
    after = pairs.disagreement(curve.log_light)
    told: tuple[str, ...] = ()
    if len(log_times) > 2:
        other, steps = most_likely_unit(*fit_curve(pairs, start, refine=True), log_times)
        refined = pairs.disagreement(other.log_light, steps)
        wrong = steps.abs() > EXPOSURE_DOUBT * math.log(2)
        if refined < EXPLAINED * after and 0 < float(wrong.double().mean()) <= 1 - RIGHT_STEPS:
            told = _step_sentences(log_times, steps, names, "they were corrected")
            seconds = (torch.tensor(log_times) + F.pad(steps.cumsum(0), (1, 0))).exp().tolist()
            curve, after = other, refined
    if after > share * before or not PLAUSIBLE[0] < curve.slope() < PLAUSIBLE[1]:
        return None
    if not told and pairs.disagreement(_srgb) < AS_WELL * after:
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
