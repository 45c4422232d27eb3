"""Window attention folded for streaming: joint layers, and no mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from afunet_core.model.attention import _WindowAttention
from afunet_core.model.stages import SpatialAlignment, SwinBlock
from afunet_core.model.streaming.folded_layers import Affine, FoldedLinear, FoldedMLP, normalised, side_by_side, stacked


class FoldedWindowAttention:
    """Attention inside windows of ``height×width`` pixels: the module's window, or a part of it cut by the border.

    At the border of the image the cyclic shift joins pixels that must not see each other; the module lowers their
    logits by 100. Here such a window is cut into its parts, each with its part of the position bias. Several modules
    can be computed together, each on its own channels and heads, with joint layers for query, key and value.
    """

    def __init__(
        self, attentions: Sequence[_WindowAttention], query: Affine, key: Affine, value: Affine, dtype: torch.dtype
    ) -> None:
        self.heads, self.window = sum(attention.heads for attention in attentions), attentions[0].window
        self.size = query[0].shape[0] // self.heads
        self.dtype = dtype
        scale = attentions[0].scale
        query = query[0] * scale, query[1] * scale
        self.full_bias = torch.cat([attention.bias().detach() for attention in attentions])
        self.biases: dict[tuple[int, int], Tensor] = {}
        self.parts = FoldedLinear(*stacked(query, key, value), dtype)
        self.project = FoldedLinear(*side_by_side([attention.project for attention in attentions]), dtype)

    def bias(self, height: int, width: int) -> Tensor:
        """Position bias ``heads×tokens×tokens`` of a window of this size."""
        if (height, width) not in self.biases:
            index = torch.arange(self.window**2, device=self.full_bias.device).reshape(self.window, self.window)
            kept = index[:height, :width].flatten()
            part = self.full_bias[:, kept][..., kept]
            self.biases[height, width] = part.to(self.dtype).contiguous()
        return self.biases[height, width]

    def attend(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """``(windows·tokens)×inputs`` → ``(windows·tokens)×C``, projected."""
        parts = self.parts(tokens.to(self.dtype)).view(-1, height * width, 3, self.heads, self.size)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        logits = query @ key.transpose(-1, -2)
        mixed = torch.softmax(logits.add_(self.bias(height, width)), -1) @ value
        return self.project(mixed.transpose(1, 2).reshape(-1, self.heads * self.size))


class FoldedSwinBlock(FoldedWindowAttention):
    """A Swin block on one tile, in place."""

    def __init__(self, block: SwinBlock, dtype: torch.dtype) -> None:
        qkv = block.attention.qkv
        query, key, value = zip(qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True)
        super().__init__([block.attention], query, key, value, dtype)
        self.shift = block.shift
        self.norms, self.mlp = (block.norm1, block.norm2), FoldedMLP(block.mlp, dtype)

    def __call__(self, tile: Tensor, height: int, width: int) -> None:
        """Transform ``rows×columns×C`` in windows of ``height×width``, in place."""
        windows = in_windows(tile, height, width)
        x = windows.reshape(-1, tile.shape[-1])
        x = x + self.attend(normalised(self.norms[0], x), height, width)
        x += self.mlp(normalised(self.norms[1], x))
        windows.copy_(x.view(windows.shape))


class FoldedAlignment(FoldedWindowAttention):
    """The part of spatial alignment that stays inside windows, on one tile, both sides at once.

    The sides share the estimate that they are aligned to; together they need half the operations. A product of twice
    the size, half of it zeros, takes no longer than two of these small ones.
    """

    def __init__(self, under: SpatialAlignment, over: SpatialAlignment, dtype: torch.dtype) -> None:
        sides = (under, over)
        attentions = [side.attention for side in sides]
        # The input of attention is [α₁, α₃, d₁, d₃]: queries are made of α, keys and values of α + d.
        query, query_bias = side_by_side([attention.query for attention in attentions])
        pairs = [attention.key_value.weight.chunk(2) for attention in attentions]
        key, value = (torch.block_diag(*part) for part in zip(*pairs, strict=True))
        pairs = [attention.key_value.bias.chunk(2) for attention in attentions]
        key_bias, value_bias = (torch.cat(part) for part in zip(*pairs, strict=True))
        super().__init__(
            attentions,
            (torch.cat([query, torch.zeros_like(query)], dim=1), query_bias),
            (torch.cat([key, key], dim=1), key_bias),
            (torch.cat([value, value], dim=1), value_bias),
            dtype,
        )
        first, second = [side.degrade.fc1 for side in sides], [side.degrade.fc2 for side in sides]
        bias = torch.cat([layer.bias for layer in first])
        self.first = FoldedLinear(torch.cat([layer.weight for layer in first]), bias, dtype, gelu=True)
        self.second = FoldedLinear(*side_by_side(second), dtype)

    def __call__(self, under: Tensor, estimate: Tensor, over: Tensor, degraded: Tensor, aligned: Tensor) -> None:
        """``rows×columns×C`` α₁, x, α₃ → written into ``degraded`` (d₁, d₃) and ``aligned`` (r₁, r₃), ``2C`` each."""
        under, estimate, over = (
            in_windows(part, self.window, self.window).reshape(-1, part.shape[-1]) for part in (under, estimate, over)
        )
        d = self.second(self.first(estimate))
        joined = torch.cat([part.to(d.dtype) for part in (under, over, d)], -1)
        r = self.attend(joined, self.window, self.window) + d
        for target, result in ((degraded, d), (aligned, r)):
            windows = in_windows(target, self.window, self.window)
            windows.copy_(result.view(windows.shape))


def in_windows(tile: Tensor, height: int, width: int) -> Tensor:
    """``rows×columns×C`` seen as ``down×across×height×width×C``."""
    rows, columns, dim = tile.shape
    return tile.view(rows // height, height, columns // width, width, dim).transpose(1, 2)
