"""White level: the stored value at which a camera saturates, where it lies below the top of its numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from afunet_core.errors import ArgumentError
from afunet_core.ops.plateau import NEAR, find_plateau
from afunet_core.radiometry import GAMMA, Scalar, linearize

__all__ = ["SHOULDER", "check_white_level", "find_white_level", "up_to_white"]

_SAMPLES = 2**20  # pixels looked at, about
_ENOUGH = 25  # pixels that must pile up: single ones are the brightest of a picture
# How much brighter than the pile, by the next shorter frame, the light must be for the pile to be a limit;
_BEYOND = 1.15
_MOSTLY = 0.5  # and of how much of it: things move, noise


def check_white_level(value: object) -> float | str | None:
    """Return a stated white level.

    Raises:
        ArgumentError: it is neither a number above 0 nor ``"auto"``.
    """
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


SHOULDER = 0.96
"""Stored value from which a longer frame counts as saturated where the camera drew a tone curve, which bends there
long before the clip (measured on ten stacks: .93, .96, .98)."""


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


def up_to_white(frames: Sequence[Tensor], share: float) -> tuple[Tensor, ...]:
    """Scale frames so that a white level, as a share of the scale, becomes 1."""
    return tuple(frames) if share == 1.0 else tuple((frame / share).clamp(max=1.0) for frame in frames)
