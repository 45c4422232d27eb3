"""Pairs of frames: stored values of the same points, and by how much a response makes them disagree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.radiometry import GAMMA

LogLight: TypeAlias = Callable[[Tensor], Tensor]  # from stored values to the natural logarithm of light
RECORDED = (0.04, 0.94)  # stored values that tell about the curve, above the noise, below the clip
SIDE = 512  # frames are looked at at this size: noise averages out, and a hand's tremor becomes small
LEAST_TONES = 6  # tones that frames must share before anything is said of their curve
SMALLEST = 24  # shorter side, in pixels, from which a picture shows enough

BINS = 32
# Samples of each pair of frames and channel are taken evenly over brightness: the sky must not outvote the shadows.
PER_BIN = 120
CODE_ERROR = 0.006  # standard deviation of a stored value, averaged over 3×3 pixels, that noise and compression leave
# Natural logarithms of light by which frames disagree under the best curve: colour mixing, vignetting, flicker.
MODEL_ERROR = 0.03
WIDEST_STOPS = 7.0  # stops between two frames that are compared: further apart they share too little


@dataclass(frozen=True)
class FramePairs:
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


def pairs_of_places(frames: Sequence[Tensor], log_times: Sequence[float]) -> FramePairs | None:
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
            code = CODE_ERROR + rough / 8
            deviation = (GAMMA * code).square() * (1 / first.square() + 1 / second.square()) + MODEL_ERROR**2
            key = (number * 3 + c) * BINS + bins
            ratios = torch.full_like(first, ratio)
            columns.append((first, second, ratios, deviation.sqrt(), key, spans.expand(len(first), -1)))
    if not columns or sum(len(column[0]) for column in columns) < 200:
        return None
    return FramePairs(*(torch.cat(parts) for parts in zip(*columns, strict=True)))


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


def pairs_of_ranks(frames: Sequence[Tensor], log_times: Sequence[float]) -> FramePairs | None:
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
    return FramePairs(*(torch.cat(parts) for parts in zip(*columns, strict=True))) if columns else None
