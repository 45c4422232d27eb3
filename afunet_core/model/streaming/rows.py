"""The first and last layers while streaming: rows of frames in, rows of radiance out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.model.heads import AnchoredHead, anchored_merge, estimate_times
from afunet_core.model.streaming.folded_layers import convolution, normalised

if TYPE_CHECKING:
    from afunet_core.model.afunet import AFUNet


class FrameSource:
    """Network input, ``B×18×H×W``, a few rows at a time: here a tensor, with its exposure times ``B×3`` if known."""

    def __init__(self, frames: Tensor, times: Tensor | None = None) -> None:
        self.frames, self.known_times = frames, times
        self.shape: tuple[int, ...] = tuple(frames.shape)
        self.device = frames.device

    def rows(self, index: int, start: int, stop: int) -> Tensor:
        """Return rows ``start`` to ``stop`` of one sample, ``18×rows×W``."""
        return self.frames[index, :, start:stop]

    def times(self, index: int) -> Tensor:
        """Return the sample's relative exposure times, ``(3,)``."""
        return estimate_times(self.frames[index, None])[0] if self.known_times is None else self.known_times[index]


class FrameRows:
    """The padded network input of one image, a few rows at a time, and the first and last layers of the network."""

    def __init__(
        self, model: AFUNet, source: FrameSource, index: int, shape: tuple[int, int], dtype: torch.dtype
    ) -> None:
        self.model, self.source, self.index, self.dtype = model, source, index, dtype
        self.device, self.fold = next(model.parameters()).device, model.config.downscale
        self.height, self.width = shape
        embed = model.embed
        self.convolutions = [convolution(layer, dtype) for layer in (embed.under, embed.reference, embed.over)]
        self.skip = convolution(model.skip, dtype)
        self.head = convolution(model.head.conv, dtype)
        self.times: Tensor | None = None
        if isinstance(model.head, AnchoredHead):
            self.times = source.times(index)[None].to(self.device, dtype)

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows of the padded input, ``1×18×rows×W``, on the device."""
        height, width = self.source.shape[2:]
        inside = self.source.rows(self.index, min(start, height), min(stop, height))
        if stop > height:
            beyond = _padding(height, self.height * self.fold)[max(start, height) - height : stop - height]
            first = min(beyond)
            mirrored = self.source.rows(self.index, first, max(beyond) + 1)
            inside = torch.cat([inside, mirrored[:, [row - first for row in beyond]]], dim=1)
        if self.width * self.fold > width:
            inside = torch.cat([inside, inside[:, :, _padding(width, self.width * self.fold)]], dim=2)
        return inside[None].to(self.device, self.dtype)

    def embedding(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Normalised α₁, y₂, α₃ of feature rows ``start`` to ``stop``, and y₂ before the norm, for the skip."""
        first, last = max(start - 1, 0), min(stop + 1, self.height)
        images = self.model.embed.frame_inputs(self.rows(first * self.fold, last * self.fold))
        parts = [
            layer(self._pad(image[0], first == start, last == stop))
            for layer, image in zip(self.convolutions, images, strict=True)
        ]
        return *normalised(self.model.embed.norm, torch.cat(parts, dim=-1)).chunk(3, dim=-1), parts[1]

    def decoded(self, start: int, stop: int, estimate: Tensor, skipped: Tensor, maps: bool) -> Tensor:
        """Compute rows of the image from x, one row more on either side, and y₂ before the norm, two more.

        ``3×rows×W``; with ``maps`` the prior and the log-trusts of the anchored head instead, ``7×rows×W``.
        """
        first, last = max(start - 1, 0), min(stop + 1, self.height)
        wide, narrow = (max(start - 2, 0) == first, min(stop + 2, self.height) == last), (first == start, last == stop)
        features = self.skip(self._pad(skipped, *wide)) + estimate
        found = self.head(self._pad(features, *narrow))
        found = F.pixel_shuffle(found.permute(2, 0, 1)[None], self.fold)
        image, trust = torch.sigmoid(found[:, :3]), found[:, 3:]
        if maps:
            image = torch.cat([image, trust], dim=1)
        elif self.times is not None:
            image = anchored_merge(self.rows(start * self.fold, stop * self.fold), self.times, image, trust)
        return image[0]

    @staticmethod
    def _pad(rows: Tensor, top: bool, bottom: bool) -> Tensor:
        """Add a reflected column at both sides, and a reflected row where the rows end at a border of the image."""
        height, width, channels = rows.shape
        out = rows.new_empty(height + top + bottom, width + 2, channels)
        inner = out[int(top) : int(top) + height]
        inner[:, 1:-1] = rows
        inner[:, 0], inner[:, -1] = inner[:, 2], inner[:, -3]
        if top:
            out[0] = out[2]
        if bottom:
            out[-1] = out[-3]
        return out


def _padding(size: int, padded: int) -> list[int]:
    """List the rows (or columns) that :func:`pad_to_multiple` puts beyond ``size``."""
    if padded - size < size:
        return [2 * (size - 1) - index for index in range(size, padded)]
    return [size - 1] * (padded - size)
