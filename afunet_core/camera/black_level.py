"""Black level: the value stored without light, as a number, a dark frame, or estimated from a linear bracket."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afunet_core.bracket.pixels import PixelFormat, to_encoded_frames
from afunet_core.camera.saturation import BRIGHT
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.ops.robust import median_deviation

__all__ = ["estimate_black_level", "resolve_black_level"]

_SAMPLES = 2**20  # pixels looked at, about
# The dimmest quarter of what is recorded: the intercept is surest where there is little light to extrapolate over.
_DIM_SHARE = 0.25


def resolve_black_level(
    black_level: Any,
    frames: Sequence[Any],
    times: Sequence[float],
    names: Sequence[str],
    encoding: str,
    bit_depth: int | None,
) -> float | Tensor:
    """Read the black level, however the caller states it, as a number or a tensor 1×C×H×W.

    Args:
        black_level: a number, a dark frame (array, tensor or path), or ``"auto"``.
        frames: as given to :class:`~afunet_core.bracket.bracket.Bracket`.
        times: relative light of every frame.
        names, encoding, bit_depth: as for the bracket.

    Raises:
        ArgumentError: a number that is negative or not finite, or ``"auto"`` for frames that are not linear.
        ShapeError: a dark frame whose size differs from the frames'.
    """
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
    first = frames[0]
    return _dark_frame(black_level, tuple(first.shape[-2:] if isinstance(first, Tensor) else np.shape(first)[:2]))


def _dark_frame(dark: Any, size: tuple[int, ...]) -> Tensor:
    """1×C×H×W float32 from any layout a frame may have."""
    if isinstance(dark, Tensor):
        pixels = dark.detach().float()
        pixels = pixels.reshape((1,) * (4 - pixels.ndim) + tuple(pixels.shape)) if pixels.ndim < 4 else pixels
    else:
        array = np.asarray(dark)
        if array.ndim not in (2, 3) or array.dtype.kind not in "uif":
            advice = "Give a number, a dark frame like the frames, the path of one, or 'auto'."
            raise ArgumentError("black_level", "a number or a dark frame", repr(dark)[:60], advice)
        layers = array[..., None] if array.ndim == 2 else array[..., :3]
        pixels = torch.from_numpy(np.ascontiguousarray(layers.transpose(2, 0, 1), dtype=np.float32))[None]
    if not bool(torch.isfinite(pixels).all()):
        raise ArgumentError("black_level", "a dark frame of finite values", "NaN or infinite values")
    if tuple(pixels.shape[-2:]) != size:
        raise ShapeError("black_level", f"a dark frame of the frames' size {size}", tuple(pixels.shape[-2:]))
    return pixels


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
        found.append(_centre((ratio * a[dim] - b[dim]) / (ratio - 1)))
    if not found:
        return 0.0
    weights = [1 / spread**2 for _, spread in found]
    return sum(w * centre for w, (centre, _) in zip(weights, found, strict=True)) / sum(weights)


def _centre(values: Tensor) -> tuple[float, float]:
    """Mean of the values within three standard deviations of the median, and its standard error."""
    middle = values.median()
    deviation = float(median_deviation(values - middle)) or float((values - middle).abs().mean())
    kept = values[(values - middle).abs() <= 3.0 * deviation]
    return float(kept.mean()), deviation / math.sqrt(len(kept)) + 1e-7
