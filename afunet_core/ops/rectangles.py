"""Rectangles that cover what is marked in a mask, for work that is done on whole rectangles only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rectangle", "covering_rectangles"]

WORTHWHILE = 0.85
"""Share of the area at most that may be left for a rectangle to be cut in two: each costs something of its own."""


class Rectangle(NamedTuple):
    """A part of an image."""

    top: int
    left: int
    height: int
    width: int

    @property
    def area(self) -> int:
        """Pixels."""
        return self.height * self.width


def covering_rectangles(mask: NDArray[np.bool_], block: int, margin: int) -> list[Rectangle]:
    """Cover the marked pixels, and some around them, by rectangles of little area.

    The rectangle around everything is cut in two where that saves most, and each part again. Parts may overlap.

    Args:
        mask: H×W.
        block: rectangles begin at multiples of so many pixels, and end there or at the border.
        margin: blocks around what is marked.

    Returns:
        The rectangles; none for an empty mask.

    Example:
        >>> mask = np.zeros((64, 96), bool)
        >>> mask[3, 5] = mask[60, 90] = True
        >>> covering_rectangles(mask, 8, 1)
        [Rectangle(top=0, left=0, height=16, width=16), Rectangle(top=48, left=80, height=16, width=16)]
    """
    height, width = mask.shape
    rows, columns = -(-height // block), -(-width // block)
    padded = np.zeros((rows * block, columns * block), bool)
    padded[:height, :width] = mask
    marked = padded.reshape(rows, block, columns, block).any((1, 3))
    found = []
    for top, bottom, left, right in _cut(marked, margin):
        first, last = top * block, min(bottom * block, height)
        start, stop = left * block, min(right * block, width)
        found.append(Rectangle(first, start, last - first, stop - start))
    return found


def _cut(marked: NDArray[np.bool_], margin: int) -> list[tuple[int, int, int, int]]:
    """Cut a grid of blocks; rectangles as first and past the last row, first and past the last column."""
    whole = _around(marked, (0, 0), margin, marked.shape)
    if whole is None:
        return []
    pending, done = [(marked, (0, 0), whole)], []
    while pending:
        part, (top, left), box = pending.pop()
        best, cheapest = None, WORTHWHILE * _area(box)
        for axis in (0, 1):
            for place in range(1, part.shape[axis]):
                pieces = np.split(part, [place], axis)
                starts = (top, left), (top + place * (axis == 0), left + place * (axis == 1))
                boxes = [_around(x, start, margin, marked.shape) for x, start in zip(pieces, starts, strict=True)]
                kept = [each for each in zip(pieces, starts, boxes, strict=True) if each[2] is not None]
                cost = sum(_area(each[2]) for each in kept)
                if len(kept) == 2 and cost < cheapest:
                    best, cheapest = kept, cost
        if best is None:
            done.append(box)
        else:
            pending += reversed(best)
    return done


def _around(
    part: NDArray[np.bool_], start: tuple[int, int], margin: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int] | None:
    """What is marked in a part of a grid, with the margin, as far as the grid reaches."""
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    if not len(rows):
        return None
    top, bottom = start[0] + int(rows[0]) - margin, start[0] + int(rows[-1]) + 1 + margin
    left, right = start[1] + int(columns[0]) - margin, start[1] + int(columns[-1]) + 1 + margin
    return max(top, 0), min(bottom, shape[0]), max(left, 0), min(right, shape[1])


def _area(box: tuple[int, int, int, int] | None) -> int:
    assert box is not None
    return (box[1] - box[0]) * (box[3] - box[2])
