"""Scores on real stacks of a tripod: three frames are merged, all frames together are the truth where nothing moved.

The truth is the mean of what is well exposed, after a response curve that is estimated from all frames. It is none of
the ground: the frames that are merged are part of it (hence a second score, after a blur), and the response is an
estimate (hence a monotone curve per channel is fitted before comparing). docs/quality.md says what it can show.

Robertson, Borman and Stevenson, "Estimation-theoretic approach to dynamic range enhancement using multiple exposures",
Journal of Electronic Imaging 2003, for the response; nothing here is shared with :mod:`afunet_core.camera`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kornia
import numpy as np
import torch
from torch import Tensor

from afunet_core.baselines.noise_optimal import noise_optimal_merge
from afunet_core.bracket.bracket import Bracket
from afunet_core.bracket.folders import list_bracket_folder
from afunet_core.errors import BracketError
from afunet_core.evaluation.evaluator import Progress, baseline_methods, merge_method, results_of
from afunet_core.evaluation.scores import Evaluation, Row
from afunet_core.merging.frame_selection import BRIGHT, DARK
from afunet_core.metrics import Metric, psnr
from afunet_core.ops.box_filter import window_mean
from afunet_core.radiometry import mu_law

LEVELS = 256  # values that a frame can take: cameras' files have eight bits
# Of response and radiance in turn; afterwards the curve changes by less than a thousandth (measured on ten stacks).
ROUNDS = 30
WELL_EXPOSED = (0.03, 0.97)  # stored values of which the truth is made, fading in and out over a tenth
# Stored values that may contradict the truth: below, one step of eight bits alone is a tenth of the light.
MAY_CONTRADICT = (0.1, 0.94)
LEAST = 0.04  # encoded value that some frame must reach in every channel: cameras crush what is darker
STRAYS = 0.12  # relative difference over 5×5 pixels from which something moved: leaves, water, people
OUTER_STOPS = 2.0  # a photographer's bracket: two stops either side of the reference
OTHER_STOPS = (1.0, 2.0, 3.0)  # spacings of the other brackets that a stack holds,
STOPS_OFF = 0.4  # by which their frames may miss them,
LEAST_SHOWN = 0.15  # and share of well exposed pixels from which a photographer would take a frame as reference
# Standard deviation, in pixels, of the blur of the second score: noise that truth and result share flatters nobody.
BLUR = 3.0
SAMPLED = 1 << 17  # pixels from which a response is estimated
CURVE_KNOTS = 256  # quantiles through which the best monotone curve goes

COLUMNS = ("PSNR-μ at rest", "PSNR-μ at rest, blurred")
_AFTER_CURVE = "PSNR-μ over the pixels at rest, after the best monotone curve per channel"
DEFINITIONS = {
    COLUMNS[0]: Metric(psnr, _AFTER_CURVE, "dB", 1.0),
    COLUMNS[1]: Metric(psnr, f"{_AFTER_CURVE} and a blur of σ = 3", "dB", 1.0),
}


@dataclass(frozen=True)
class RealStack:
    """A stack of a scene, with what is known of it."""

    name: str  # of its folder
    bracket: Bracket  # the three frames that methods are given, as `Bracket` makes them
    plain: Bracket  # the same with the encoding believed: no response is looked for
    truth: Tensor  # 1×3×H×W radiance in the unit of the bracket
    at_rest: Tensor  # 1×1×H×W, True where no frame strays

    def to_bracket(self) -> Bracket:
        """Return the frames as :func:`~afunet_core.merge` takes them."""
        return self.bracket

    def to_stack(self) -> Bracket:
        """Return the frames as the baselines take them."""
        return self.plain


def read_stacks(folder: str | Path) -> list[Path]:
    """The folders of stacks in a folder, or the folder itself where it holds frames."""
    folder = Path(folder)
    inside = sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    found = [entry for entry in inside if len(list_bracket_folder(entry)) >= 3]
    if not found and folder.is_dir() and len(list_bracket_folder(folder)) >= 3:
        found = [folder]
    if not found:
        advice = "Each stack has a folder of its own, with exposures in its EXIF or in an exposure.txt."
        raise BracketError("real", "a folder of stacks of at least 3 frames", str(folder), advice)
    return found


def read_stack_brackets(folder: str | Path, others: bool = False) -> Iterator[RealStack]:
    """Read a stack, make its truth, and yield it with the bracket that a photographer takes.

    With ``others`` also with brackets of 1, 2 and 3 EV around dark, good and bright references: rules tuned on one
    bracket of a stack are tested by the others.
    """
    folder = Path(folder)
    note = folder / "encoding.txt"  # beside frames that are not gamma-encoded: holds the word ``linear`` or ``srgb``
    encoding = note.read_text(encoding="utf-8").strip() if note.is_file() else "auto"
    paths = {path.name: path for path in list_bracket_folder(folder)}
    stack = Bracket.from_folder(folder, encoding=encoding, response=None, override=True)
    truth, at_rest = _truth(stack)
    chosen = {"": _photographers_bracket(stack)}
    if others:
        chosen |= {name: three for name, three in _other_brackets(stack).items() if three != chosen[""]}
    for name, three in chosen.items():
        files = [paths[stack.names[i]] for i in three]
        ev = [float(stack.ev[i]) for i in three]
        bracket, plain = (
            Bracket.from_files(files, ev=ev, encoding=encoding, response=response, override=True)
            for response in ("auto", None)
        )
        yield RealStack(folder.name + name, bracket, plain, truth * float(stack.times[three[0]]), at_rest)


def stack_methods(models: Sequence[str] = ("default",), **options: str) -> dict[str, Callable[[Any], Tensor]]:
    """Methods for a table of real stacks: the classics, OpenCV's if it is installed, merge() with each model.

    ``options`` are those of :func:`~afunet_core.merging.pipeline.merge`, such as ``device``.
    """
    classics = baseline_methods()
    return {
        "reference only": classics["reference only"],
        "weighted merge, encoding believed": lambda stack: noise_optimal_merge(stack.to_stack()),
        "weighted merge": merge_method(method="weighted", **options),
        **{name: method for name, method in classics.items() if name.startswith("OpenCV")},
        **{f"merge(), {model}": merge_method(model=model, **options) for model in models},
    }


def evaluate_stacks(
    methods: Mapping[str, Callable[[Any], Tensor]], stacks: Iterable[RealStack], on_progress: Progress | None = None
) -> Evaluation:
    """Run every method on the three frames of every stack and score the results where nothing moved."""
    table = Evaluation(COLUMNS, more_metrics=DEFINITIONS)
    for name, stack, result, seconds in results_of(methods, stacks, on_progress):
        table.rows.append(Row(name, stack.name, "at rest", score(result, stack), seconds))
    return table


def score(result: Tensor, stack: RealStack) -> dict[str, float]:
    """Both scores of a result, 1×3×H×W radiance in the unit of the stack's bracket."""
    truth = mu_law(stack.truth.double().clamp(0, 1))
    image = mu_law(result.double().clamp(0, 1))
    mask = stack.at_rest
    image = torch.stack([_best_curve(image[:, c], truth[:, c], mask[:, 0]) for c in range(3)], 1)
    blurred = (_blur_within(image, mask), _blur_within(truth, mask))
    return {COLUMNS[0]: float(psnr(image, truth, mask=mask)), COLUMNS[1]: float(psnr(*blurred, mask=mask))}


def robertson_response(values: Tensor, times: Tensor) -> Tensor:
    """The light of each of 256 stored values, 1 at the largest, from N×M integers: frames of pixels of one channel."""
    codes = torch.arange(LEVELS, dtype=torch.float64)
    curve = codes / (LEVELS - 1)  # the authors start from a straight line as well
    weight = torch.exp(-4 * (codes / (LEVELS - 1) * 2 - 1).square())
    weight = ((weight - weight[0]) / (1 - weight[0])).clamp(min=0)
    weights, times = weight[values], times.double()[:, None]
    counted = (weights > 0).sum(0) >= 2
    values, weights = values[:, counted], weights[:, counted]
    flat = values.flatten()
    number = torch.bincount(flat, minlength=LEVELS)
    for _ in range(ROUNDS):
        radiance = (weights * times * curve[values]).sum(0) / (weights * times.square()).sum(0).clamp(min=1e-12)
        means = torch.bincount(flat, (times * radiance).flatten(), LEVELS) / number.clamp(min=1)
        known = ((number > 0) & (weight > 0)).nonzero()[:, 0].numpy()
        curve = torch.from_numpy(np.interp(codes.numpy(), known, means[known].numpy())).cummax(0).values
        curve[0] = 0.0
        curve = curve / curve[LEVELS // 2]
    # The last values have no weight: the slope before them goes on.
    last = LEVELS - 8
    slope = (curve[last] - curve[last - 16]) / 16
    curve[last:] = curve[last] + slope * (codes[last:] - last)
    return curve / curve[-1]


def _truth(stack: Bracket) -> tuple[Tensor, Tensor]:
    """Radiance 1×3×H×W, 1 at saturation of the shortest frame, and where it holds."""
    times = stack.times.double()
    truth = []
    off, counted = torch.zeros(2, len(stack), 1, *stack.shape, dtype=torch.float64)
    shown = torch.ones(stack.shape, dtype=torch.bool)
    for channel in range(3):
        frames = torch.stack([frame[0, channel].double() for frame in stack.frames])
        codes = (frames * (LEVELS - 1)).round().long()
        if stack.encoding == "linear":
            curve = torch.linspace(0, 1, LEVELS, dtype=torch.float64)
        else:
            step = max(1, codes[0].numel() // SAMPLED)
            curve = robertson_response(codes.flatten(1)[:, ::step], times)
        light = curve[codes] / times[:, None, None]
        trust = ((frames - WELL_EXPOSED[0]) / 0.1).clamp(0, 1) * ((WELL_EXPOSED[1] - frames) / 0.1).clamp(0, 1)
        # Where nothing is well exposed, the shortest frame knows most of highlights, the longest of shadows.
        trust[0] += 1e-6 * (frames[0] >= 0.5)
        trust[-1] += 1e-6 * (frames[-1] < 0.5)
        weight = trust * times[:, None, None] + 1e-12
        mean = (weight * light).sum(0) / weight.sum(0)
        truth.append(mean)
        good = ((frames > MAY_CONTRADICT[0]) & (frames < MAY_CONTRADICT[1])).double()
        # Channels count together: cameras mix them before they draw the curve, so that one alone may be off.
        least = -1.0 if stack.encoding == "linear" else LEAST  # a sensor's black is black
        shown &= ((frames > least) & (frames < MAY_CONTRADICT[1])).any(0)
        off += (good * (light - mean) / mean.clamp(min=1e-9))[:, None]
        counted += good[:, None]
    strays = window_mean(off, 5).abs() / window_mean(counted, 5).clamp(min=0.2)
    return torch.stack(truth)[None].float(), (strays.amax(0, keepdim=True) < STRAYS) & shown


def _photographers_bracket(stack: Bracket) -> tuple[int, int, int]:
    """The frame that shows most well exposed among those with others two stops either side, and these."""
    stops, shares = stack.ev.tolist(), _shares(stack)
    found = []
    for middle, share in enumerate(shares):
        shorter = [i for i, value in enumerate(stops) if value <= stops[middle] - 1]
        longer = [i for i, value in enumerate(stops) if value >= stops[middle] + 1]
        if shorter and longer:
            under = min(shorter, key=[abs(value - stops[middle] + OUTER_STOPS) for value in stops].__getitem__)
            over = min(longer, key=[abs(value - stops[middle] - OUTER_STOPS) for value in stops].__getitem__)
            found.append((-share, (under, middle, over)))
    if not found:
        raise BracketError("frames", "one with others a stop and more either side", ", ".join(stack.names))
    return min(found)[1]


def _other_brackets(stack: Bracket) -> dict[str, tuple[int, int, int]]:
    """Brackets of several spacings around the darkest, the best and the brightest usable reference."""
    stops, shares = stack.ev, _shares(stack)
    found: dict[str, tuple[int, int, int]] = {}
    for spacing in OTHER_STOPS:
        usable = []
        for middle, share in enumerate(shares):
            off = [(stops - stops[middle] - change).abs() for change in (-spacing, spacing)]
            if share >= LEAST_SHOWN and all(float(side.min()) < STOPS_OFF for side in off):
                usable.append((share, (int(off[0].argmin()), middle, int(off[1].argmin()))))
        if usable:
            for name, three in (("dark", usable[0]), ("good", max(usable)), ("bright", usable[-1])):
                if three[1] not in found.values():
                    found[f", {spacing:g} EV, {name}"] = three[1]
    return found


def _shares(stack: Bracket) -> list[float]:
    """The share of well exposed pixels of every frame."""
    return [float(((frame > DARK) & (frame < BRIGHT)).all(1).float().mean()) for frame in stack.frames]


def _best_curve(image: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """The monotone function of an image that is nearest to the truth, applied to it."""
    values, aims = image[mask].numpy(), truth[mask].numpy()
    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, min(CURVE_KNOTS, max(1, len(order) // 8)))
    at = np.array([values[part].mean() for part in parts])
    level = _isotonic(np.array([aims[part].mean() for part in parts]), np.array([len(part) for part in parts], float))
    at, first = np.unique(at, return_index=True)
    return torch.from_numpy(np.interp(image.numpy(), at, level[first]))


def _isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rising sequence nearest to another in weighted squares, by pooling adjacent violators."""
    blocks: list[list[float]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            last, before = blocks.pop(), blocks.pop()
            total = last[1] + before[1]
            blocks.append([(last[0] * last[1] + before[0] * before[1]) / total, total, last[2] + before[2]])
    return np.repeat([block[0] for block in blocks], [int(block[2]) for block in blocks])


def _blur_within(image: Tensor, mask: Tensor) -> Tensor:
    """The Gaussian mean of the pixels that count."""

    def blur(values: Tensor) -> Tensor:
        return kornia.filters.gaussian_blur2d(values, 2 * int(3 * BLUR) + 1, (BLUR, BLUR), "constant")

    weight = mask.to(image)
    return blur(image * weight) / blur(weight).clamp(min=1e-9)
