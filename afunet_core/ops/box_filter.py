"""Means and extremes over square windows, at every pixel: a few additions of shifted copies.

The sum over eleven values is that over eight, over two and over one, and that over eight the sum of two over four. So
a window of any size costs a handful of vectorised operations along each axis, where pooling layers, made for strides,
visit every value of every window one by one: a fifth of the time for means, a twentieth for extremes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.errors import ArgumentError
from afunet_core.ops.strips import row_strips

__all__ = ["block_mean", "reduction", "window_max", "window_mean", "window_min"]

STRIP_PIXELS = 1 << 18
"""Of large images this many are averaged to blocks at a time: the sums between need little memory."""


def block_mean(values: Tensor, side: int) -> Tensor:
    """Average square blocks; rows and columns that fill no whole block are left out.

    Args:
        values: …×H×W.
        side: width of the blocks.

    Returns:
        …×⌊H/side⌋×⌊W/side⌋, like ``avg_pool2d(values, side)`` up to rounding; an eighth of the time for powers
        of two.

    Example:
        >>> block_mean(torch.arange(10.0).reshape(1, 1, 2, 5), 2)
        tensor([[[[3., 5.]]]])
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
    """Choose the power of two by which an image is reduced to at most so many pixels.

    Example:
        >>> reduction(1000, 1500, 0.45e6)
        2
    """
    factor = 1
    while height * width / factor**2 > pixels:
        factor *= 2
    return factor


# kornia's box_blur counts what lies beyond the border as 0, and takes 0.9 to 4.6 times as long.
def window_mean(values: Tensor, side: int) -> Tensor:
    """Average the window around each pixel, as far as it lies inside the image.

    Args:
        values: B×C×H×W.
        side: width of the window, odd.

    Returns:
        B×C×H×W: what ``avg_pool2d(values, side, 1, side // 2, count_include_pad=False)`` returns, up to rounding.

    Raises:
        ArgumentError: for a window that has no middle.

    Example:
        >>> window_mean(torch.tensor([[[[0.0, 3.0, 6.0]]]]), 3)
        tensor([[[[1.5000, 3.0000, 4.5000]]]])
    """
    _check_side(side)
    reach = side // 2
    sums = _sums(_sums(F.pad(values, (reach,) * 4), side, -2), side, -1)
    down, across = (_seen(size, side).to(values) for size in values.shape[-2:])
    return sums * (down[:, None] * across).reciprocal()


# kornia's morphology.dilation takes 4 to 6 times as long.
def window_max(values: Tensor, side: int) -> Tensor:
    """Take the largest value in the window around each pixel, as far as it lies inside the image.

    Args:
        values: B×C×H×W.
        side: width of the window, odd.

    Returns:
        B×C×H×W.

    Raises:
        ArgumentError: for a window that has no middle.

    Example:
        >>> window_max(torch.tensor([[[[5.0, 3.0, 6.0, 4.0]]]]), 3)
        tensor([[[[5., 6., 6., 6.]]]])
    """
    _check_side(side)
    wide = F.pad(values, (side // 2,) * 4, mode="replicate")  # repeated values change no extreme
    for axis in (-2, -1):
        wide = _largest(wide, side, axis)
    return wide


def window_min(values: Tensor, side: int) -> Tensor:
    """Take the smallest value in the window around each pixel; see :func:`window_max`.

    Example:
        >>> window_min(torch.tensor([[[[5.0, 3.0, 6.0, 4.0]]]]), 3)
        tensor([[[[3., 3., 3., 4.]]]])
    """
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
