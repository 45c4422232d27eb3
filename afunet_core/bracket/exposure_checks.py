"""Checks that the pictures bear out the exposures stated: a wrong order looks plausible until it is merged."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from afunet_core.camera.saturation import BLACK, SATURATED
from afunet_core.errors import ExposureError
from afunet_core.radiometry import GAMMA, Scalar, linearize

_DARK = 0.04
_BRIGHT = 0.96  # encoded values that are compared; wider than elsewhere, see `saturation`
_SAMPLES = 2**18  # pixels looked at, about
_ENOUGH = 64  # fewer pixels that are well exposed in both frames than this, and their means are compared instead
_DARKER = -0.25  # stops by which the longer of two exposures may look darker: noise, motion, a cloud
_SLACK = 1.0  # stops by which brightness may miss the exposure,
# and further stops per stop of exposure: the tone curves of cameras are steeper or flatter than a pure gamma.
_PROPORTIONAL = 0.5
_CLOSE = 0.2  # stops, and share of a step, within which brightness is taken for that of an encoding
_DOUBT = 0.6  # stops by which a step must be off to be told at all,

_FLATTEST = 0.62
_STEEPEST = 1.45  # and the steps, as multiples of the stated ones, that cameras' tone curves make of a gamma of 2.2
_SEEN = 0.1  # share of a frame that must show something for a black one to contradict it
_NEARLY_ALL = 0.999  # share of black or saturated values that makes a frame empty


@torch.no_grad()
def empty_frames(frames: Sequence[Tensor], names: Sequence[str]) -> list[str]:
    """Describe frames that are black or saturated (almost) everywhere: they add nothing, and are seldom meant."""
    sentences = []
    for frame, name in zip(frames, names, strict=True):
        sample = _sample(frame)
        black, saturated = (float(mask.float().mean()) for mask in (sample < BLACK, sample > SATURATED))
        if max(black, saturated) > _NEARLY_ALL:
            how = "black" if black > saturated else "saturated"
            sentences.append(f"{name!r} is {how} everywhere: it adds nothing to the result.")
    return sentences


@torch.no_grad()
def estimate_exposures(frames: Sequence[Tensor], names: Sequence[str], encoding: str, gamma: Scalar) -> list[float]:
    """Estimate EV in thirds of a stop, 0 for the middle frame, from brightness alone.

    Neighbours by brightness are compared by the median ratio of linear light over the pixels well exposed in both. The
    tone curve of a camera makes that a third of a stop wrong, rarely more.
    """
    samples = [_sample(frame) for frame in frames]
    order = sorted(range(len(samples)), key=lambda index: float(samples[index].mean()))
    ev = {order[0]: 0.0}
    for short, long in pairwise(order):
        stops = _stops_between(samples[short], samples[long], encoding, gamma)
        if stops is None:
            expected = f"{names[short]!r} and {names[long]!r} to share well exposed pixels"
            raise ExposureError("exposures", expected, "too few", "Type the exposures.")
        ev[long] = ev[short] + max(stops, 0.0)
    middle = ev[order[len(order) // 2]]
    return [round(3 * (ev[index] - middle)) / 3 for index in range(len(samples))]


@torch.no_grad()
def check_brightness(
    frames: Sequence[Tensor],
    times: Sequence[float],
    names: Sequence[str],
    encoding: str,
    gamma: Scalar,
    warn: bool = True,
) -> None:
    """Refuse frames, sorted by exposure, whose brightness contradicts it; ``warn`` of doubtful steps, too.

    Each frame is compared with the next: by the median ratio of linear light over the pixels that are well exposed in
    both, or where there are too few of those, by the means. The limits are loose on purpose: they catch swapped frames
    and wrong units, not imperfect response curves.
    """
    samples = [_sample(frame) for frame in frames]
    promised = [math.log2(longer / shorter) for shorter, longer in pairwise(times)]
    found, doubtful = _steps(samples, encoding, gamma), list[str]()
    for (short, long), (name, longer), stops, shown in zip(
        pairwise(samples), pairwise(names), promised, found, strict=True
    ):
        is_blank = shown is None and _is_black_though_seen(short, long, stops, encoding, gamma)
        if shown is None:
            contradicts = is_blank or _is_darker_on_average(short, long, encoding, gamma)
        else:
            contradicts = shown < _DARKER or abs(shown - stops) > _SLACK + _PROPORTIONAL * stops
        if contradicts:
            advice = "Check that the exposures are in the order of the frames; override=True merges them all the same."
            for other in {"gamma", "linear"} - {encoding}:
                if _agree_closely(promised, _steps(samples, other, GAMMA)):
                    advice = f"With encoding={other!r} they would agree: is that what the frames are? {advice}"
            expected = f"{longer!r} to be about {2**stops:.3g}× as bright as {name!r}"
            actual = "a darker one" if shown is None else f"one that is {2**shown:.3g}× as bright"
            if is_blank:
                actual, advice = "one that shows what the shorter one should, which is black", f"Leave it out. {advice}"
            raise ExposureError("exposures", expected, actual, advice)
        if shown is None or stops < _CLOSE or abs(shown - stops) <= _DOUBT:
            continue
        if not _FLATTEST < shown / stops < _STEEPEST:  # no common tone curve makes this of the stated exposures
            doubtful.append(f"{name!r} to {longer!r} {shown:+.2g} EV instead of {stops:+.2g}")
    if warn and doubtful:
        message = (
            f"The brightness of the frames contradicts their exposures: {'; '.join(doubtful)}. Check the exposures; if "
            "they are right, the frames are not encoded as stated."
        )
        warnings.warn(message, UserWarning, stacklevel=4)


def _steps(samples: Sequence[Tensor], encoding: str, gamma: Scalar) -> list[float | None]:
    return [_stops_between(short, long, encoding, gamma) for short, long in pairwise(samples)]


def _agree_closely(promised: Sequence[float], found: Sequence[float | None]) -> bool:
    """True if every measurable step of brightness is that of the exposures."""
    known = [(stops, shown) for stops, shown in zip(promised, found, strict=True) if shown is not None]
    return bool(known) and all(stops > _CLOSE and abs(shown - stops) < _CLOSE * (1 + stops) for stops, shown in known)


def _sample(frame: Tensor) -> Tensor:
    """Every n-th pixel in both directions: enough for a median."""
    step = max(1, math.isqrt(frame.shape[-1] * frame.shape[-2] * frame.shape[0] // _SAMPLES))
    return frame[..., ::step, ::step].float()


def _stops_between(short: Tensor, long: Tensor, encoding: str, gamma: Scalar) -> float | None:
    """Median of log2(long / short) over the pixels well exposed in both, or ``None`` if there are too few of them."""
    good = (short > _DARK) & (short < _BRIGHT) & (long > _DARK) & (long < _BRIGHT)
    if int(good.sum()) < _ENOUGH:
        return None
    ratio = linearize(long[good], encoding, gamma) / linearize(short[good], encoding, gamma)
    return float(ratio.log2().median())


def _is_black_though_seen(short: Tensor, long: Tensor, stops: float, encoding: str, gamma: Scalar) -> bool:
    """True if a frame is black all over, though by the longer one a tenth of it must be well above black."""
    if float((short < _DARK / 2).float().mean()) < _NEARLY_ALL:
        return False
    light = linearize(torch.where(long < _BRIGHT, long, 0.0), encoding, gamma) / 2.0**stops
    return float((light > linearize(short.new_tensor(2 * _DARK), encoding, gamma)).float().mean()) > _SEEN


def _is_darker_on_average(short: Tensor, long: Tensor, encoding: str, gamma: Scalar) -> bool:
    expected, shown = (float(linearize(frame, encoding, gamma).mean()) for frame in (short, long))
    return shown < 0.8 * expected - 0.01
