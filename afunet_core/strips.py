"""Pixelwise work in pieces that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor

__all__ = ["in_strips"]


def in_strips(function: Callable[..., Tensor], *images: Tensor, pixels: int = 1 << 16) -> Tensor:
    """Apply a pixelwise function to strips of rows, which fit the cache, instead of to whole images.

    A chain of cheap operations on a large image spends its time waiting for memory; in strips it runs about twice as
    fast, with the same result and the same gradients. On a GPU the image stays whole.

    Args:
        function: takes as many tensors as there are images and returns one of the same height; each row of the result
            depends on the same row of the images only.
        *images: tensors with the rows second from the end, all of one height.
        pixels: how many pixels of one channel a strip has.

    Returns:
        What ``function(*images)`` returns.

    Example:
        >>> x = torch.rand(1, 3, 8, 8)
        >>> torch.equal(in_strips(torch.exp, x, pixels=16), torch.exp(x))
        True
    """
    height, width = images[0].shape[-2:]
    rows = max(1, pixels // max(1, width))
    if height <= rows or images[0].device.type != "cpu":
        return function(*images)
    strips = (function(*(image[..., top : top + rows, :] for image in images)) for top in range(0, height, rows))
    first = next(strips)
    if first.requires_grad:
        return torch.cat([first, *strips], -2)
    # Into its place at once: a list of strips and their concatenation would take the memory of two results.
    result = first.new_empty(*first.shape[:-2], height, first.shape[-1])
    top = 0
    for strip in chain((first,), strips):
        result[..., top : top + strip.shape[-2], :] = strip
        top += strip.shape[-2]
    return result
