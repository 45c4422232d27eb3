"""Division of an image into strips of window rows, and of each strip into tiles; in feature pixels, after padding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice]

# Windows around active ones whose pixels are computed, too: those that convolutions carry into them in all stages.
MARGIN = 2


def row_ranges(size: int, step: int) -> list[tuple[int, int]]:
    """Cut ``size`` rows into ranges of ``step``, the last one shorter."""
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def column_ranges(start: int, stop: int, unit: int, most: int) -> list[tuple[int, int]]:
    """Cut columns into nearly equal ranges of whole ``unit``s, none of more than ``most`` units."""
    units = (stop - start) // unit
    count = -(-units // most)
    edges = [start + unit * (units * index // count) for index in range(count + 1)] if count else []
    return list(pairwise(edges))


@dataclass(frozen=True)
class Tiling:
    """The division of one image."""

    height: int  # the padded image
    width: int
    window: int  # side of the attention windows
    tile: int  # windows of one tile
    strip: int  # windows of one strip, approximately
    # height×width, where windows are computed that touch it; ``None`` for everywhere
    active: NDArray[np.bool_] | None = None

    @property
    def strips(self) -> list[tuple[int, int]]:
        """Ranges of rows, top to bottom."""
        return row_ranges(self.height, self.strip_rows)

    @property
    def strip_rows(self) -> int:
        """Rows of one strip."""
        return self.window * max(1, self.strip * self.window // self.width)

    def reached(self, available: int, shift: int) -> int:
        """Rows that a Swin block of this shift can finish when its input is finished down to ``available``."""
        if available == self.height:
            return available
        return max((available - shift) // self.window * self.window + shift, 0) if available >= shift else 0

    def areas(self, start: int, stop: int, shift: int) -> list[tuple[int, int, int, int, int, int]]:
        """List areas ``(top, bottom, left, right, height, width)`` between two rows, with the size of their windows.

        Windows cut by the border of the image are smaller, and form areas of their own.
        """
        return [
            (top, bottom, left, right, height, width)
            for top, bottom, height in self._spans(start, stop, self.height, shift)
            for left, right, width in self._spans(0, self.width, self.width, shift)
        ]

    def _spans(self, start: int, stop: int, size: int, shift: int) -> list[tuple[int, int, int]]:
        """Ranges between ``start`` and ``stop`` along one axis, with the size of the windows in each."""
        spans = []
        if shift and start == 0 < stop:
            spans.append((0, shift, shift))
            start = shift
        tail = self.window - shift if shift and stop == size else 0
        if stop - tail > start:
            spans.append((start, stop - tail, self.window))
        if tail:
            spans.append((size - tail, size, tail))
        return spans

    def tiles(self, top: int, left: int, rows: int, columns: int, height: int, width: int) -> list[Box]:
        """Cut ``rows×columns`` at ``top`` and ``left`` into tiles of active windows, which are ``height×width``."""
        if self.active is None:
            across = columns // width
            lefts = column_ranges(0, columns, width, self.tile)
            tops = column_ranges(0, rows, height, max(1, self.tile // across) if across else 1)
            return [(slice(*y), slice(*x)) for y in tops for x in lefts]
        area = self.active[top : top + rows, left : left + columns]
        windows = np.asarray(area.reshape(rows // height, height, columns // width, width).any((1, 3)))
        boxes = []
        for row, line in enumerate(windows):
            for first, last in _runs(line):
                for start, stop in column_ranges(first * width, last * width, width, self.tile):
                    boxes.append((slice(row * height, (row + 1) * height), slice(start, stop)))
        return boxes

    def columns(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Cut the width into ranges with about two tiles' worth of pixels in some rows, without those far from work."""
        if stop <= start:
            return []
        most = max(1, 2 * self.tile * self.window**2 // (stop - start))
        runs = [(0, self.width)]
        if self._near is not None:
            line = np.asarray(self._near[start // self.window : -(-stop // self.window)].any(0))
            runs = [(first * self.window, last * self.window) for first, last in _runs(line)]
        return [part for first, last in runs for part in column_ranges(first, last, 1, most)]

    @cached_property
    def _near(self) -> NDArray[np.bool_] | None:
        """The windows with something active in or near them."""
        if self.active is None:
            return None
        shape = self.height // self.window, self.window, self.width // self.window, self.window
        near = np.pad(self.active.reshape(shape).any((1, 3)), MARGIN)
        for axis in (0, 1):
            near = np.asarray(np.lib.stride_tricks.sliding_window_view(near, 2 * MARGIN + 1, axis).any(-1))
        return near


def _runs(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First index and one past the last of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], line.astype(np.int8), [0]))))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
