"""The two ends of piecewise execution: rows of frames in, rows of radiance out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.model.cutting import row_ranges
from afunet_core.model.heads import AnchoredHead, anchored_merge, times_from_means
from afunet_core.model.operators import convolution

if TYPE_CHECKING:
    from afunet_core.model.afunet import AFUNet
    from afunet_core.model.workers import Workers

__all__ = ["FrameRows"]


class FrameRows:
    """The padded network input of one image, a few rows at a time, and what the first and last layers make of it.

    Args:
        model: the network.
        frames: ``18×H×W``, on any device.
        shape: height and width of the padded features.
        dtype: of features.
        workers: share the work of looking through the frames once.
    """

    def __init__(
        self, model: AFUNet, frames: Tensor, shape: tuple[int, int], dtype: torch.dtype, workers: Workers
    ) -> None:
        self.model, self.frames, self.dtype = model, frames, dtype
        self.device, self.fold = next(model.parameters()).device, model.config.downscale
        self.height, self.width = shape
        embed = model.embed
        self.convolutions = [
            convolution(layer, dtype) for layer in (embed.under, embed.reference, embed.over, model.skip)
        ]
        self.head = convolution(model.head.conv, dtype)
        self.anchored = isinstance(model.head, AnchoredHead)
        self.times = self._times(workers) if self.anchored else None

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows of the padded input, ``1×18×rows×W``, on the device."""
        height, width = self.frames.shape[1:]
        inside = self.frames[:, start : min(stop, height)]
        if stop > height:
            beyond = _padding(height, self.height * self.fold)[max(start, height) - height : stop - height]
            inside = torch.cat([inside, self.frames[:, beyond]], dim=1)
        if self.width * self.fold > width:
            inside = torch.cat([inside, inside[:, :, _padding(width, self.width * self.fold)]], dim=2)
        return inside[None].to(self.device, self.dtype)

    def embedding(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Normalised α₁, y₂, α₃ of feature rows ``start`` to ``stop``."""
        parts = [
            layer(frame) for layer, frame in zip(self.convolutions, self._inputs(start, stop, (0, 1, 2)), strict=False)
        ]
        joined, norm = torch.cat(parts, dim=-1), self.model.embed.norm
        weight, bias = norm.weight.to(self.dtype), norm.bias.to(self.dtype)
        return F.layer_norm(joined, joined.shape[-1:], weight, bias, norm.eps).chunk(3, dim=-1)

    def radiance(self, start: int, stop: int, estimate: Tensor) -> Tensor:
        """Feature rows ``start`` to ``stop`` → ``3×rows×W`` of the padded image.

        Args:
            start, stop: the rows wanted.
            estimate: x, of those rows and one more on either side where the image has it.
        """
        first, last = max(start - 1, 0), min(stop + 1, self.height)
        maps = self.head(self._pad(estimate.to(self.dtype) + self._skip(first, last), first == start, last == stop))
        maps = F.pixel_shuffle(maps.permute(2, 0, 1)[None], self.fold)
        image = torch.sigmoid(maps[:, :3])
        if self.times is not None:
            frames = self.rows(start * self.fold, stop * self.fold)
            image = anchored_merge(frames, self.times, image, maps[:, 3:])
        return image[0]

    def _inputs(self, start: int, stop: int, which: tuple[int, ...]) -> list[Tensor]:
        """What the convolution of each frame sees to make feature rows ``start`` to ``stop``, halo included."""
        first, last = max(start - 1, 0), min(stop + 1, self.height)
        inputs = self.model.embed.frame_inputs(self.rows(first * self.fold, last * self.fold), which)
        return [self._pad(image[0], first == start, last == stop) for image in inputs]

    def _skip(self, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` of the skip connection, made again from the reference frame."""
        first, last = max(start - 1, 0), min(stop + 1, self.height)
        reference = self.convolutions[1](self._inputs(first, last, (1,))[0])
        return self.convolutions[3](self._pad(reference, first == start, last == stop))

    @staticmethod
    def _pad(rows: Tensor, top: bool, bottom: bool) -> Tensor:
        """One reflected column at both sides, and one reflected row where the rows end at a border of the image."""
        return F.pad(rows.permute(2, 0, 1)[None], (1, 1, int(top), int(bottom)), mode="reflect")[0].permute(1, 2, 0)

    def _times(self, workers: Workers) -> Tensor:
        """Exposure times ``1×3``: what :func:`estimate_times` finds, from sums over strips."""
        height, width = self.frames.shape[1:]
        strips = row_ranges(height, max(1, TIMES_PIXELS // width))
        sums = torch.zeros(len(strips), 2, 3, dtype=torch.float64)

        def add_up(index: int, start: int, stop: int) -> None:
            rows = self.frames[:, start:stop].unflatten(0, (3, 2, 3)).to(self.dtype)
            linear = rows[:, 1].clamp(0, 1).pow(2.2)
            sums[index] = torch.stack([part.sum((1, 2, 3)).double().cpu() for part in (rows[:, 0], linear)])

        workers.run(partial(add_up, index, *ends) for index, ends in enumerate(strips))
        radiance, linear = sums.sum(0) / (3 * height * width)
        return times_from_means(radiance, linear)[None].to(self.device, self.dtype)


TIMES_PIXELS = 1 << 16
"""Pixels of one strip when the exposure times are estimated."""


def _padding(size: int, padded: int) -> list[int]:
    """Where :func:`pad_to_multiple` takes the rows (or columns) beyond ``size`` from.

    Example:
        >>> _padding(5, 8), _padding(2, 8)
        ([3, 2, 1], [1, 1, 1, 1, 1, 1])
    """
    if padded - size < size:
        return [2 * (size - 1) - index for index in range(size, padded)]
    return [size - 1] * (padded - size)
