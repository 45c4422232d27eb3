r"""Camera noise: the photon and read noise of a linear sensor, estimated from a bracket.

A linear sensor stores a value :math:`L` in [0, 1] whose variance is :math:`gL + r^2`: photon noise, with one over the
number of electrons of full well as *gain*, and *read noise* (Foi et al., "Practical Poissonian-Gaussian noise modeling
and fitting for single-image raw-data", TIP 2008). Its radiance :math:`X = L / t` has the variance

.. math:: \sigma^2(X) = g X / t + r^2 / t^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack, mean_radiance
from afunet_core.camera.saturation import unsaturated
from afunet_core.errors import ArgumentError
from afunet_core.ops.robust import median_deviation
from afunet_core.radiometry import linearize

_RECORDED = 0.88  # encoded value up to which noise is measured; lower than `BRIGHT`, see `saturation`
_SAMPLES = 2**17  # pixels looked at of three frames, about; of more frames fewer, for every pair tells
_BINS = 20  # classes of brightness, each with its own spread
_ENOUGH = 200  # pixels that a class needs at least
_MOST_NOISE = 1e6  # far beyond any sensor; squares of larger numbers overflow
# Frames; of more, pairs at distances 1, 2, 4, 8… tell as much, and the time does not grow with the square.
_ALL_PAIRS_UP_TO = 9


@dataclass(frozen=True)
class NoiseModel:
    """Noise of a linear sensor whose saturation is 1: variance ``gain · L + read_noise²``.

    Raises:
        ArgumentError: for a negative or absurd number, or when both are 0.

    Example:
        >>> NoiseModel.from_counts(gain=0.5, read_noise=2.0, scale=4000.0)
        NoiseModel(gain=0.000125, read_noise=0.0005)
    """

    gain: float  # one over the electrons of full well; 3e-5 (a large sensor at base sensitivity) to 3e-3
    read_noise: float  # standard deviation without light

    def __post_init__(self) -> None:
        for name in ("gain", "read_noise"):
            value = getattr(self, name)
            if not 0 <= value <= _MOST_NOISE:
                raise ArgumentError(name, f"a number from 0 to {_MOST_NOISE:g}, as a share of saturation", value)
        if self.gain == 0 and self.read_noise == 0:
            raise ArgumentError("gain, read_noise", "at least one above 0", "0, 0", "No camera is free of noise.")

    @classmethod
    def from_counts(cls, gain: float, read_noise: float, scale: float) -> NoiseModel:
        """The model in the units of a data sheet.

        Args:
            gain: counts an electron.
            read_noise: in counts.
            scale: counts between black and saturation (``bracket.scale``).
        """
        return cls(gain / scale, read_noise / scale)

    def variance(self, linear: Tensor) -> Tensor:
        """Variance of linear light, 1.0 at saturation."""
        return self.gain * linear.clamp(min=0.0) + self.read_noise**2


ORDINARY_CAMERA = NoiseModel(gain=2e-4, read_noise=2e-3)
"""Photon noise of 5000 electrons of full well, read noise of a five-hundredth of saturation."""


@torch.no_grad()
def estimate_noise(bracket: ExposureStack) -> NoiseModel | None:
    """Estimate gain and read noise from how much the frames of the bracket differ where both record the scene.

    For every pair of frames the differences of radiance are collected by brightness. Their spread in a class, measured
    with three-sigma clipping around the median, is noise: motion and edges are outliers, wrong exposure times move the
    median. Two non-negative numbers, gain and squared read noise, are then fitted to the spreads of all pairs.

    Args:
        bracket: two or more frames.

    Returns:
        The noise model, or ``None`` where the frames share too few recorded pixels to tell.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> light = torch.rand(1, 3, 200, 200, generator=rng) * 0.2
        >>> noise = [torch.randn(light.shape, generator=rng) for _ in range(2)]
        >>> noisy = tuple(light * t + (1e-3 * light * t + 1e-4).sqrt() * n for t, n in zip((1, 4), noise))
        >>> model = estimate_noise(ExposureStack(noisy, torch.tensor([1.0, 4.0]), encoding="linear"))
        >>> 0.9 < model.gain / 1e-3 < 1.1, 0.9 < model.read_noise / 1e-2 < 1.1
        (True, True)
    """
    step = max(1, math.isqrt(bracket.frames[0][:, :1].numel() // (3 * _SAMPLES // len(bracket.frames))))
    is_grey = all(frame.stride(1) == 0 for frame in bracket.frames)  # one channel, shown as three
    encoded = [frame[:, : 1 if is_grey else None, ::step, ::step].float() for frame in bracket.frames]
    times = [float(t) for t in bracket.times]
    values = [frame.flatten() for frame in encoded]
    linear = [linearize(frame, bracket.encoding, bracket.gamma) for frame in values]
    shares = [
        unsaturated(f) if time > min(times) else torch.ones_like(f) for f, time in zip(values, times, strict=True)
    ]
    level, order = mean_radiance(linear, shares, times).sort()  # once for all pairs: it would be most of their time
    values, linear = ([part[order] for part in parts] for parts in (values, linear))
    rows: list[tuple[float, float, float, float]] = []
    pairs = list(combinations(range(len(times)), 2))
    if len(times) > _ALL_PAIRS_UP_TO:
        pairs = [(i, j) for i, j in pairs if (j - i).bit_count() == 1]
    for i, j in pairs:
        recorded = (values[i] < _RECORDED) & (values[j] < _RECORDED)
        if bracket.encoding != "linear":  # clipped at black, noise is cut in half; sensors with an offset keep it
            recorded &= (values[i] > 1e-3) & (values[j] > 1e-3)
        difference = (linear[i] / times[i] - linear[j] / times[j])[recorded]
        rows += _spreads(difference, level[recorded], times[i], times[j])
    return _fit(rows)


def _spreads(difference: Tensor, level: Tensor, first: float, second: float) -> list[tuple[float, float, float, float]]:
    """For each brightness class of a pair, sorted by level: factors of gain and squared read noise, variance, count."""
    if len(difference) < _ENOUGH * 4:
        return []
    rows, classes = [], min(_BINS, len(level) // _ENOUGH)
    for levels, differences in zip(level.tensor_split(classes), difference.tensor_split(classes), strict=True):
        mean = max(float(levels.mean()), 0.0)
        variance, count = _clipped_variance(differences)
        if variance > 0:
            read = 1 / first**2 + 1 / second**2
            rows.append((mean * (1 / first + 1 / second), read, variance, float(count)))
    return rows


def _clipped_variance(values: Tensor) -> tuple[float, int]:
    """Variance around the median of what lies within three standard deviations, and of how many values."""
    values = values.double() - values.double().median()
    deviation = float(median_deviation(values)) or float(values.abs().mean())
    count = 0
    for _ in range(4):
        kept = values[values.abs() <= 3.0 * deviation]
        count = len(kept)
        if count < 16:
            return 0.0, 0
        deviation = math.sqrt(float(kept.square().mean()) / 0.9733)  # a normal variable keeps this much of its variance
    return deviation**2, count


def _fit(rows: Sequence[tuple[float, float, float, float]]) -> NoiseModel | None:
    """Weighted least squares of variance = gain · a + read² · b, both at least 0, without classes that stand out."""
    if len(rows) < 4:
        return None
    a, b, found, count = torch.tensor(rows, dtype=torch.float64).unbind(1)
    weight = count / found**2  # the inverse variance of a variance, up to a factor
    gain, read = 0.0, 0.0
    for _ in range(6):
        gain, read = _two_unknowns(a, b, found, weight)
        predicted = (gain * a + read * b).clamp(min=1e-300)
        typical = found < 3.0 * predicted  # texture that moved raises the variance and never lowers it
        if int(typical.sum()) < 3:
            break
        weight = torch.where(typical, count / predicted**2, 0.0)
    if gain <= 0 and read <= 0:
        return None
    return NoiseModel(gain, math.sqrt(read))


def _two_unknowns(a: Tensor, b: Tensor, y: Tensor, w: Tensor) -> tuple[float, float]:
    """Non-negative least squares in two unknowns."""
    aa, ab, bb = float((w * a * a).sum()), float((w * a * b).sum()), float((w * b * b).sum())
    ay, by = float((w * a * y).sum()), float((w * b * y).sum())
    determinant = aa * bb - ab * ab
    if determinant > 1e-9 * aa * bb:
        first, second = (bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant
        if first >= 0 and second >= 0:
            return first, second
    only_first, only_second = (ay / aa if aa > 0 else 0.0), (by / bb if bb > 0 else 0.0)
    cost_first = float((w * (y - only_first * a) ** 2).sum())
    cost_second = float((w * (y - only_second * b) ** 2).sum())
    return (only_first, 0.0) if cost_first <= cost_second else (0.0, only_second)
