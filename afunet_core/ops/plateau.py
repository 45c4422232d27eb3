"""Plateau: the value at which numbers pile up because they can be no larger."""

from __future__ import annotations

import numpy as np

_HIGHEST = 0.985  # share of the scale up to which a white level below its end is looked for
_LOWEST = 0.2  # share of the scale below which a pile is the picture's own: a dark wall is not the end of a sensor
_PILED = 1e-3  # share of the pixels that must have the largest value for it to be the white level
_STEEPER = 8.0  # how many times as many values must lie at the top as in equal steps beneath it
# Share of the scale that counts as one value: a step of 8 bits, and what rows and columns of a sensor differ by.
NEAR = 0.004


def find_plateau(values: np.ndarray, lowest: float = _LOWEST) -> float | None:
    """Find the largest value, where so many have it that it must be a limit; ``None`` where they do not.

    ``values`` are shares of the scale; a limit is looked for from ``lowest`` on.
    """
    top = float(values.max())
    if not lowest < top < _HIGHEST:
        return None
    near = NEAR * top
    at_top = float(np.mean(values > top - near))
    beneath = float(np.mean((values > top - 11 * near) & (values <= top - near))) / 10
    return top if at_top > _PILED and at_top > _STEEPER * beneath else None
