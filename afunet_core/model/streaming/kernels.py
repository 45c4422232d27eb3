"""The network's layers prepared for piecewise execution: affine maps folded, heads arranged, fused CPU products.

Every kernel works on contiguous ``…×C`` rows of one piece and computes exactly what its module computes, up to the
order of floating-point sums.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from afunet_core.model.alignment import SpatialAlignment
from afunet_core.model.attention import ChannelCrossAttention
from afunet_core.model.fusion import ChannelFusion, DataConsistency, SwinBlock
from afunet_core.model.streaming.folded_layers import Linear, Norm, Numerics, PreparedMLP, side_by_side
from afunet_core.model.streaming.window_attention import WindowKernel, in_windows, window_room

__all__ = ["AlignmentKernel", "ChannelFusionKernel", "ConsistencyKernel", "SwinKernel"]


class SwinKernel(WindowKernel):
    """A Swin block on one piece, in place."""

    def __init__(self, block: SwinBlock, numerics: Numerics) -> None:
        qkv = block.attention.qkv
        query, key, value = zip(qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True)
        super().__init__([block.attention], query, key, value, numerics)
        self.shift = block.shift
        self.norms = [Norm(norm, numerics.feature) for norm in (block.norm1, block.norm2)]
        self.first = Linear(block.mlp.fc1.weight, block.mlp.fc1.bias, numerics.product, gelu=True)
        self.second = Linear(block.mlp.fc2.weight, block.mlp.fc2.bias, numerics.product)

    def __call__(self, piece: Tensor, height: int, width: int) -> None:
        """Transform ``rows×columns×C`` in windows of ``height×width``, in place."""
        feature = self.numerics.feature
        room = window_room("windows", piece.shape, (height, width), feature, piece.device, self.numerics)
        grid, x = in_windows(piece, height, width), room.flat
        room.tiles.copy_(grid)
        x += self.attend(self.norms[0](x), height, width)
        x += self.second(self.first(self.norms[1](x)))
        grid.copy_(room.tiles)


class AlignmentKernel(WindowKernel):
    """The part of spatial alignment that stays inside windows, on one piece, both sides at once.

    The sides share the estimate that they are aligned to; together they need half the operations. A product of twice
    the size, half of it zeros, takes no longer than two of these small ones.
    """

    def __init__(self, under: SpatialAlignment, over: SpatialAlignment, numerics: Numerics) -> None:
        sides = (under, over)
        attentions = [side.attention for side in sides]
        # All attention sees is [α₁, α₃, d₁, d₃]: queries are made of α, keys and values of α + d.
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
            numerics,
        )
        dtype = numerics.product
        first, second = [side.degrade.fc1 for side in sides], [side.degrade.fc2 for side in sides]
        bias = torch.cat([layer.bias for layer in first])
        self.first = Linear(torch.cat([layer.weight for layer in first]), bias, dtype, gelu=True)
        self.second = Linear(*side_by_side(second), dtype)

    def __call__(self, under: Tensor, estimate: Tensor, over: Tensor, degraded: Tensor, aligned: Tensor) -> None:
        """``rows×columns×C`` α₁, x, α₃ → written into ``degraded`` (d₁, d₃) and ``aligned`` (r₁, r₃), ``2C`` each."""
        size, dtype, device = self.window, self.numerics.product, estimate.device
        rows, columns, dim = estimate.shape
        room = partial(window_room, window=(size, size), dtype=dtype, device=device, n=self.numerics)
        x = room("estimate", (rows, columns, dim))
        x.tiles.copy_(in_windows(estimate, size, size))
        d = self.second(self.first(x.flat))
        seen = room("seen", (rows, columns, 4 * dim))
        for place, part in enumerate((under, over)):
            seen.tiles[..., place * dim : (place + 1) * dim].copy_(in_windows(part, size, size))
        seen.flat[:, 2 * dim :] = d
        r = self.attend(seen.flat, size, size)
        r += d
        for target, result in ((degraded, d), (aligned, r)):
            tiles = result.view(rows // size, columns // size, size, size, 2 * dim).transpose(1, 2)
            in_windows(target, size, size).copy_(tiles)


class ChannelFusionKernel:
    """Channel fusion on rows of pixels: sums for the whole image first, then a map per pixel."""

    def __init__(self, fusion: ChannelFusion, numerics: Numerics) -> None:
        self.attention: ChannelCrossAttention = fusion.attention
        dtype = numerics.product
        self.query = Linear(self.attention.query.weight, None, dtype)
        self.key = Linear(self.attention.key.weight, None, dtype)
        self.dtype = dtype
        self.wide = torch.promote_types(dtype, torch.float32)
        self.sums: list[Tensor] | None = None
        self.mix: Linear | None = None

    def statistics(self, side: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over ``pixels×C`` of one piece: the Gram matrix ``C×C`` and both squared norms ``C``."""
        query, key = self.query(side).to(self.wide), self.key(estimate + side).to(self.wide)
        return query.T @ key, query.square().sum(0), key.square().sum(0)

    def finish(self, gram: Tensor, query_square: Tensor, key_square: Tensor) -> None:
        """Turn the sums over all pixels into the map of this image."""
        heads = self.attention.heads
        size = gram.shape[0] // heads
        blocks = torch.stack([gram[h * size : (h + 1) * size, h * size : (h + 1) * size] for h in range(heads)])
        query_square, key_square = (
            square.reshape(1, heads, size).to(self.wide) for square in (query_square, key_square)
        )
        matrix = self.attention.mixing((blocks[None].to(self.wide), query_square, key_square))[0]
        self.mix = Linear(matrix, None, self.dtype)

    def __call__(self, side: Tensor, estimate: Tensor) -> Tensor:
        """``pixels×C`` → ``x + attention`` before the depthwise refinement."""
        assert self.mix is not None
        return self.mix(estimate + side) + estimate


class ConsistencyKernel:
    """Data consistency on ``pixels×C``."""

    def __init__(self, consistency: DataConsistency, dtype: torch.dtype) -> None:
        self.transpose = PreparedMLP(consistency.transpose, dtype)
        self.inverse = PreparedMLP(consistency.inverse, dtype)
        self.beta_under, self.beta_over = consistency.beta_under.item(), consistency.beta_over.item()

    def __call__(self, observed: Tensor, under: Tensor, over: Tensor) -> Tensor:
        joint = self.transpose(observed)
        joint.add_(under, alpha=self.beta_under).add_(over, alpha=self.beta_over)
        return self.inverse(joint)
