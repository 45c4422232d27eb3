"""Means and extremes over square windows, at every pixel: a few additions of shifted copies.

The sum over eleven values is that over eight, two and one, each the sum of two halves: a fifth of the time of pooling
layers, made for strides, for means, a twentieth for extremes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.errors import ArgumentError
from afunet_core.ops.strips import row_strips

# Of large images this many are averaged to blocks at a time: the sums between need little memory.
STRIP_PIXELS = 1 << 18


def block_mean(values: Tensor, side: int) -> Tensor:
    """Average square blocks of …×H×W; rows and columns that fill no whole block are left out.

    The same as ``avg_pool2d(values, side)`` up to rounding; an eighth of the time for powers of two.
    """
    if side == 1:
        return values
    if side & (side - 1):
        return F.avg_pool2d(values, side)
    height, width = (size // side for size in values.shape[-2:])
    result = values.new_empty(*values.shape[:-2], height, width)
    for cut in row_strips(height * side, values.shape[-1], STRIP_PIXELS, multiple=side):
        rows = values[..., cut, : width * side]
        for axis in (-2, -1):  # rows first: they add at full speed, and leave half of the rest
            for _ in range(side.bit_length() - 1):
                rows = rows.unflatten(axis, (-1, 2))
                rows = rows.select(axis, 0) + rows.select(axis, 1)
        result[..., cut.start // side : cut.stop // side, :] = rows / side**2
    return result


def reduction(height: int, width: int, pixels: float) -> int:
    """Choose the power of two by which an image is reduced to at most so many pixels."""
    factor = 1
    while height * width / factor**2 > pixels:
        factor *= 2
    return factor


# kornia's box_blur counts what lies beyond the border as 0, and takes 0.9 to 4.6 times as long.
def window_mean(values: Tensor, side: int) -> Tensor:
    """Average the odd window around each pixel of B×C×H×W, as far as it lies inside the image."""
    _check_side(side)
    reach = side // 2
    sums = _sums(_sums(F.pad(values, (reach,) * 4), side, -2), side, -1)
    down, across = (_seen(size, side).to(values) for size in values.shape[-2:])
    return sums * (down[:, None] * across).reciprocal()


# kornia's morphology.dilation takes 4 to 6 times as long.
def window_max(values: Tensor, side: int) -> Tensor:
    """Take the largest value in the odd window around each pixel of B×C×H×W, as far as it lies inside the image."""
    _check_side(side)
    wide = F.pad(values, (side // 2,) * 4, mode="replicate")  # repeated values change no extreme
    for axis in (-2, -1):
        wide = _largest(wide, side, axis)
    return wide


def window_min(values: Tensor, side: int) -> Tensor:
    """Take the smallest value in the window around each pixel; see :func:`window_max`."""
    return -window_max(-values, side)


def _check_side(side: int) -> None:
    if side < 1 or side % 2 == 0:
        raise ArgumentError("side", "an odd number of pixels", side)


def _sums(values: Tensor, side: int, axis: int) -> Tensor:
    """Sums over ``side`` successive values along an axis, one for each place where so many follow."""
    length = values.shape[axis] - side + 1
    total, start, power = None, 0, values  # power: sums over `count` values, count doubling
    count = 1
    while True:
        if side & count:  # this power of two is part of the side
            part = power.narrow(axis, start, length)
            total = part if total is None else total + part
            start += count
        if 2 * count > side:
            assert total is not None
            return total
        kept = power.shape[axis] - count
        power = power.narrow(axis, 0, kept) + power.narrow(axis, count, kept)
        count *= 2


def _largest(values: Tensor, side: int, axis: int) -> Tensor:
    """The largest of ``side`` successive values along an axis. Windows may overlap: what is seen twice counts once."""
    count = 1
    while 2 * count <= side:
        kept = values.shape[axis] - count
        values = torch.maximum(values.narrow(axis, 0, kept), values.narrow(axis, count, kept))
        count *= 2
    if count == side:
        return values
    kept = values.shape[axis] - (side - count)
    return torch.maximum(values.narrow(axis, 0, kept), values.narrow(axis, side - count, kept))


def _seen(size: int, side: int) -> Tensor:
    """For each place on a line of so many values the number of the window's values inside the line."""
    place = torch.arange(size)
    return (place + side // 2).clamp(max=size - 1) - (place - side // 2).clamp(min=0) + 1
