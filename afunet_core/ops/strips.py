"""Work on large images in strips of rows: pixelwise in the processor's cache, with neighbours in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor

__all__ = ["in_haloed_strips", "in_strips"]

HALOED_PIXELS = 1 << 20
"""Large beside the rows beyond each strip, which are computed twice, small beside a large image."""


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


def in_haloed_strips(
    function: Callable[..., Tensor], halo: int, *images: Tensor, pixels: int = HALOED_PIXELS
) -> Tensor:
    """Like :func:`in_strips`, for a function that looks at neighbours: each strip comes with some rows beyond it.

    Args:
        function: as for :func:`in_strips`, but each row of its result may depend on rows up to ``halo`` away.
        halo: rows beyond the strip, where the image has them; their result is dropped.
        *images: tensors with the rows second from the end, all of one height.
        pixels: how many pixels of one channel a strip has.

    Returns:
        What ``function(*images)`` returns.

    Example:
        >>> x = torch.rand(1, 3, 40, 8)
        >>> mean = lambda image: torch.nn.functional.avg_pool2d(image, 5, 1, 2, count_include_pad=False)
        >>> torch.allclose(in_haloed_strips(mean, 2, x, pixels=64), mean(x))
        True
    """
    height, width = images[0].shape[-2:]
    rows = max(1, pixels // max(1, width))
    if height <= rows + 2 * halo or images[0].device.type != "cpu":
        return function(*images)
    result: Tensor | None = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - halo, 0), min(bottom + halo, height)
        strip = function(*(image[..., first:last, :] for image in images))
        if result is None:
            result = strip.new_empty(*strip.shape[:-2], height, strip.shape[-1])
        result[..., top:bottom, :] = strip[..., top - first : bottom - first, :]
    assert result is not None
    return result
