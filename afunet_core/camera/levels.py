"""Levels: the values that a camera stores without light and at saturation, stated or found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afunet_core.bracket.pixels import PixelFormat, read_stored, to_encoded_frames
from afunet_core.camera.saturation import BRIGHT
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.ops.plateau import NEAR, find_plateau
from afunet_core.ops.robust import median_deviation
from afunet_core.radiometry import GAMMA, Scalar, linearize

_SAMPLES = 2**20  # pixels looked at, about
# The dimmest quarter of what is recorded: the intercept is surest where there is little light to extrapolate over.
_DIM_SHARE = 0.25
_ENOUGH = 25  # pixels that must pile up at the white level: single ones are the brightest of a picture
# How much brighter than the pile, by the next shorter frame, the light must be for the pile to be a limit;
_BEYOND = 1.15
_MOSTLY = 0.5  # and of how much of it: things move, noise
SHOULDER = 0.96
"""Stored value from which a longer frame counts as saturated where the camera drew a tone curve, which bends there
long before the clip (measured on ten stacks: .93, .96, .98)."""


def resolve_black_level(
    black_level: Any,
    frames: Sequence[Any],
    times: Sequence[float],
    names: Sequence[str],
    encoding: str,
    bit_depth: int | None,
) -> float | Tensor:
    """Read the black level, however the caller of ``Bracket`` states it, as a number or a tensor 1×C×H×W."""
    if isinstance(black_level, int | float):
        if not (math.isfinite(black_level) and black_level >= 0):
            raise ArgumentError("black_level", "a finite number, 0 or more", black_level)
        return float(black_level)
    if isinstance(black_level, str) and black_level == "auto":
        if encoding != "linear":
            advice = "Intensity is proportional to exposure time in linear frames only; give a number."
            raise ArgumentError("black_level", "'auto' with encoding='linear'", repr(encoding), advice)
        scaled, _, white = to_encoded_frames(frames, names, PixelFormat(encoding, bit_depth))
        return max(0.0, white * estimate_black_level(scaled, times))
    if isinstance(black_level, str | Path):
        from afunet_core.io.read import read_image

        black_level = read_image(black_level).pixels
    dark = read_stored(black_level, "black_level").pixels.float()
    size = read_stored(frames[0], names[0]).pixels.shape[-2:]
    if not bool(torch.isfinite(dark).all()):
        raise ArgumentError("black_level", "a dark frame of finite values", "NaN or infinite values")
    if dark.shape[-2:] != size:
        raise ShapeError("black_level", f"a dark frame of the frames' size {tuple(size)}", tuple(dark.shape[-2:]))
    return dark


@torch.no_grad()
def estimate_black_level(frames: Sequence[Tensor], times: Sequence[float]) -> float:
    """Estimate the black level: the intercept of intensity over exposure time, in the units of the frames.

    Two frames that record a pixel without saturation give a line, and it meets time 0 at the black level. The mean,
    without outliers, is taken over the dimmest recorded pixels of every pair of neighbouring exposures, and over the
    pairs by how well each determines it: things that move, and bright pixels whose noise the extrapolation magnifies,
    have no say.

    Args:
        frames: linear frames of one shape, 1.0 at saturation, black level included.
        times: their exposure times in any unit.

    Returns:
        The black level; 0 where no two frames record the same pixels.

    Example:
        >>> light = torch.linspace(0.001, 0.5, 1000).reshape(1, 1, 1, -1)
        >>> round(estimate_black_level([0.02 + light / 8, 0.02 + light / 2], [1.0, 4.0]), 6)
        0.02
    """
    order = sorted(range(len(frames)), key=times.__getitem__)
    step = max(1, math.isqrt(frames[0].numel() // _SAMPLES))
    found: list[tuple[float, float]] = []
    for short, long in pairwise(order):
        if times[long] <= 1.01 * times[short]:
            continue
        a, b = (frames[i][..., ::step, ::step].flatten().double() for i in (short, long))
        recorded = b < BRIGHT
        if int(recorded.sum()) < 16:
            continue
        a, b = a[recorded], b[recorded]
        ratio = times[long] / times[short]
        # Chosen by a sum whose noise is independent of the intercept's, lest the choice favour low or high ones.
        brightness = a + ratio * b
        dim = brightness <= brightness.kthvalue(math.ceil(_DIM_SHARE * len(a))).values
        values = (ratio * a[dim] - b[dim]) / (ratio - 1)
        middle = values.median()
        deviation = float(median_deviation(values - middle)) or float((values - middle).abs().mean())
        kept = values[(values - middle).abs() <= 3.0 * deviation]
        found.append((float(kept.mean()), deviation / math.sqrt(len(kept)) + 1e-7))
    if not found:
        return 0.0
    weights = [1 / spread**2 for _, spread in found]
    return sum(w * centre for w, (centre, _) in zip(weights, found, strict=True)) / sum(weights)


def check_white_level(value: object) -> float | str | None:
    """Return a stated white level, a number above 0 or ``"auto"``."""
    if value is None or value == "auto":
        return value
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < float("inf"):
        advice = "It is the stored value of saturation, such as 3700 for a camera of 12 bits that clips there."
        raise ArgumentError("white_level", "a number above 0, or 'auto'", repr(value), advice)
    return number


@torch.no_grad()
def find_white_level(frames: Sequence[Tensor], times: Sequence[float], encoding: str, gamma: Scalar = GAMMA) -> float:
    """Find the stored value, as a share of the scale, at which the longest frame piles up; 1 where it does not.

    A pile is the limit of a camera only where the next shorter frame saw more light than it shows: a white wall piles
    up as well. The lowest of the channels counts: where one is saturated, the colour is not known.

    Args:
        frames: B×C×H×W in [0, 1], shortest first.
        times: their exposures.
        encoding, gamma: of the values.

    Example:
        >>> light = torch.rand(1, 3, 64, 64)
        >>> round(find_white_level([(light * t).clamp(max=0.92) for t in (0.5, 2.0)], (0.5, 2.0), "linear"), 3)
        0.92
    """
    longest, shorter = frames[-1].detach(), frames[-2].detach()
    step = max(1, int((longest[0, 0].numel() / _SAMPLES) ** 0.5))
    levels = []
    for channel in range(longest.shape[1]):
        long, short = (frame[:, channel, ::step, ::step].flatten().cpu().float() for frame in (longest, shorter))
        top = find_plateau(long.numpy())
        if top is None:
            continue
        piled = long > top * (1 - NEAR)
        if int(piled.sum()) < _ENOUGH:
            continue
        expected = linearize(short[piled], encoding, gamma) * (times[-1] / times[-2])
        limit = float(linearize(torch.tensor(top), encoding, gamma))
        if float((expected > _BEYOND * limit).float().mean()) > _MOSTLY:
            levels.append(top)
    return min(levels, default=1.0)
