"""The network's layers prepared for piecewise execution: affine maps folded, heads arranged, fused CPU products.

Every kernel works on contiguous ``…×C`` rows of one piece and computes exactly what its module computes, up to the
order of floating-point sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from afunet_core.model.alignment import SpatialAlignment
from afunet_core.model.attention import ChannelCrossAttention, _WindowAttention
from afunet_core.model.fusion import ChannelFusion, DataConsistency, SwinBlock
from afunet_core.model.operators import Linear, Norm, Numerics, PreparedMLP

__all__ = ["AlignmentKernel", "ChannelFusionKernel", "ConsistencyKernel", "SwinKernel"]

LOG2_E, LN_2 = math.log2(math.e), math.log(2)


class _WindowKernel:
    """Attention inside windows of ``height×width`` pixels, the modules' window or a part of it cut by the border.

    At the border of the image the cyclic shift joins pixels that must not see each other; the module lowers their
    logits by 100. Here such a window is cut into its parts, each with its part of the position bias: what remains of
    attention through a logit of −100 is far below the resolution of the result.

    Args:
        attentions: modules that work side by side, each on channels and heads of its own.
        numerics: how to compute.
    """

    def __init__(self, attentions: Sequence[_WindowAttention], numerics: Numerics) -> None:
        self.heads, self.window = sum(attention.heads for attention in attentions), attentions[0].window
        self.numerics = numerics
        projections = [attention.project for attention in attentions]
        self.project = Linear(*side_by_side(projections), numerics.product)
        # Logits in units of log 2, for exp2: four times as fast as exp on CPUs.
        self.query_scale = attentions[0].scale * LOG2_E
        self.full_bias = torch.cat([attention.bias().detach() for attention in attentions]) * LOG2_E
        self.biases: dict[tuple[int, int], Tensor] = {}

    def bias(self, height: int, width: int) -> Tensor:
        """Position bias ``heads×tokens×tokens`` of a window of this size."""
        if (height, width) not in self.biases:
            index = torch.arange(self.window**2, device=self.full_bias.device).reshape(self.window, self.window)
            kept = index[:height, :width].flatten()
            part = self.full_bias[:, kept][..., kept]
            self.biases[height, width] = part.to(self.numerics.product).contiguous()
        return self.biases[height, width]

    def split(self, joint: Tensor, windows: int) -> Tensor:
        """Query, key and value side by side, ``(windows·tokens)×3C`` → ``3×windows×heads×tokens×c``."""
        joint = joint.view(windows, -1, 3, self.heads, joint.shape[1] // (3 * self.heads))
        tokens, size = joint.shape[1], joint.shape[4]
        parts = self.numerics.workspace.take("parts", (3, windows, self.heads, tokens, size), joint.dtype, joint.device)
        return parts.copy_(joint.permute(2, 0, 3, 1, 4))

    def attend(self, parts: Tensor, height: int, width: int) -> Tensor:
        """Query (scaled), key and value ``3×windows×heads×tokens×c`` → ``(windows·tokens)×C``, to be projected."""
        _, windows, heads, tokens, size = parts.shape
        take = self.numerics.workspace.take
        mixed = take("mixed", (windows, heads, tokens, size), parts.dtype, parts.device)
        merged = take("merged", (windows, tokens, heads, size), self.numerics.feature, parts.device)
        logits = self.logits(parts, height, width)
        total = _exponentiate(logits)
        if total is None:  # beyond the range of the exponential: start again and subtract the largest logit first
            logits = self.logits(parts, height, width)
            torch.softmax(logits * LN_2, dim=-1, out=logits)
        torch.bmm(logits.flatten(0, 1), parts[2].flatten(0, 1), out=mixed.flatten(0, 1))
        if total is not None:
            mixed = mixed.to(merged.dtype).mul_(total.reciprocal_()[..., None])
        merged.copy_(mixed.transpose(1, 2))
        return merged.view(windows * tokens, heads * size)

    def logits(self, parts: Tensor, height: int, width: int) -> Tensor:
        """Query times key plus position bias, ``windows×heads×tokens×tokens``, in units of log 2."""
        _, windows, heads, tokens, _ = parts.shape
        query, key, _ = parts.flatten(1, 2)
        bias, workspace = self.bias(height, width), self.numerics.workspace
        logits = workspace.take("logits", (windows, heads, tokens, tokens), parts.dtype, parts.device)
        if parts.device.type == "cpu":  # the product adds in passing what is laid out ready for it
            spread = workspace.repeat((id(self), height, width), bias, windows)
            torch.baddbmm(spread.flatten(0, 1), query, key.transpose(1, 2), out=logits.flatten(0, 1))
            return logits
        torch.bmm(query, key.transpose(1, 2), out=logits.flatten(0, 1))
        logits += bias
        return logits


def _exponentiate(logits: Tensor) -> Tensor | None:
    """``2**logits`` in place and its sums over the last axis, or None if a row overflows or vanishes.

    Without the usual subtraction of the largest logit, which saves a pass. Attention is a ratio: as long as the sum
    is far from both ends of the range of float32 (bfloat16 has the same), nothing is lost.
    """
    if logits.device.type != "cpu" or logits.dtype == torch.float16:
        return None
    logits.exp2_()
    if logits.dtype == torch.bfloat16:  # a product sums in float32 too, and at once; sum() converts everything first
        total = (logits.flatten(0, -2) @ logits.new_ones(logits.shape[-1], 1)).view(logits.shape[:-1]).float()
    else:
        total = logits.sum(-1)
    low, high = total.aminmax()
    return total if low.item() > 1e-25 and high.item() < 1e35 else None


class SwinKernel(_WindowKernel):
    """A Swin block on one piece, in place."""

    def __init__(self, block: SwinBlock, numerics: Numerics) -> None:
        super().__init__([block.attention], numerics)
        self.shift = block.shift
        self.norms = [Norm(norm, numerics.feature) for norm in (block.norm1, block.norm2)]
        qkv = block.attention.qkv
        scale = torch.ones_like(qkv.bias)
        scale[: scale.numel() // 3] = self.query_scale
        self.qkv = Linear(qkv.weight * scale[:, None], qkv.bias * scale, numerics.product)
        self.first = Linear(block.mlp.fc1.weight, block.mlp.fc1.bias, numerics.product, gelu=True)
        self.second = Linear(block.mlp.fc2.weight, block.mlp.fc2.bias, numerics.product)

    def __call__(self, piece: Tensor, height: int, width: int) -> None:
        """Transform ``rows×columns×C`` in windows of ``height×width``, in place."""
        windows = to_windows(piece, height, width, self.numerics)
        x = windows.view(-1, windows.shape[-1])
        parts = self.split(self.qkv(self.norms[0](x)), windows.shape[0])
        x += self.project(self.attend(parts, height, width))
        x += self.second(self.first(self.norms[1](x)))
        from_windows(windows, piece, height, width)


def to_windows(piece: Tensor, height: int, width: int, numerics: Numerics) -> Tensor:
    """``rows×columns×C`` → a contiguous copy ``windows×tokens×C``."""
    rows, columns, dim = piece.shape
    shape = (rows * columns // (height * width), height * width, dim)
    windows = numerics.workspace.take("windows", shape, numerics.feature, piece.device)
    _tiles(windows, rows, columns, height, width).copy_(_grid(piece, height, width))
    return windows


def from_windows(windows: Tensor, piece: Tensor, height: int, width: int) -> None:
    """Write ``windows×tokens×C`` back to where :func:`to_windows` took it from."""
    rows, columns = piece.shape[:2]
    _grid(piece, height, width).copy_(_tiles(windows, rows, columns, height, width))


def _grid(piece: Tensor, height: int, width: int) -> Tensor:
    """``down×height×across×width×C``."""
    rows, columns, dim = piece.shape
    return piece.view(rows // height, height, columns // width, width, dim)


def _tiles(windows: Tensor, rows: int, columns: int, height: int, width: int) -> Tensor:
    """The windows of a piece ``rows×columns×C``, seen in the order of :func:`_grid`."""
    return windows.view(rows // height, columns // width, height, width, windows.shape[-1]).transpose(1, 2)


def side_by_side(layers: Sequence[nn.Linear]) -> tuple[Tensor, Tensor]:
    """Weight and bias of one layer that does the work of several, each on its own channels."""
    return torch.block_diag(*(layer.weight for layer in layers)), torch.cat([layer.bias for layer in layers])


class AlignmentKernel(_WindowKernel):
    """The part of spatial alignment that stays inside windows, on one piece, both sides at once.

    The sides share the estimate that they are aligned to; together they need half the operations. A product of twice
    the size, half of it zeros, takes no longer than two of these small ones.
    """

    def __init__(self, under: SpatialAlignment, over: SpatialAlignment, numerics: Numerics) -> None:
        sides = (under, over)
        attentions = [side.attention for side in sides]
        super().__init__(attentions, numerics)
        dtype = numerics.product
        first, second = [side.degrade.fc1 for side in sides], [side.degrade.fc2 for side in sides]
        bias = torch.cat([layer.bias for layer in first])
        self.first = Linear(torch.cat([layer.weight for layer in first]), bias, dtype, gelu=True)
        self.second = Linear(*side_by_side(second), dtype)
        # One product for all of [α₁, α₃, d₁, d₃]: queries see α, keys and values see α + d.
        query, query_bias = side_by_side([attention.query for attention in attentions])
        pairs = [attention.key_value.weight.chunk(2) for attention in attentions]
        key, value = (torch.block_diag(*part) for part in zip(*pairs, strict=True))
        pairs = [attention.key_value.bias.chunk(2) for attention in attentions]
        key_bias, value_bias = (torch.cat(part) for part in zip(*pairs, strict=True))
        query, query_bias = query * self.query_scale, query_bias * self.query_scale
        seen, added = torch.cat([query, key, value]), torch.cat([torch.zeros_like(query), key, value])
        bias = torch.cat([query_bias, key_bias, value_bias])
        self.qkv = Linear(torch.cat([seen, added], dim=1), bias, dtype)

    def __call__(self, under: Tensor, estimate: Tensor, over: Tensor, degraded: Tensor, aligned: Tensor) -> None:
        """``rows×columns×C`` α₁, x, α₃ → written into ``degraded`` (d₁, d₃) and ``aligned`` (r₁, r₃), ``2C`` each."""
        rows, columns, dim = estimate.shape
        size, take = self.window, self.numerics.workspace.take
        count, tokens, dtype = rows * columns // size**2, size**2, self.numerics.product
        x = take("estimate", (count, tokens, dim), dtype, estimate.device)
        seen = take("seen", (count, tokens, 4 * dim), dtype, estimate.device)
        for part, windows in ((estimate, x), (under, seen[..., :dim]), (over, seen[..., dim : 2 * dim])):
            _tiles(windows, rows, columns, size, size).copy_(_grid(part, size, size))
        d = self.second(self.first(x.view(-1, dim))).view(count, tokens, 2 * dim)
        seen[..., 2 * dim :] = d
        parts = self.split(self.qkv(seen.view(-1, 4 * dim)), count)
        r = self.project(self.attend(parts, size, size)).view(count, tokens, 2 * dim)
        r += d
        from_windows(d, degraded, size, size)
        from_windows(r, aligned, size, size)


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
