"""Window attention folded for streaming: no mask, few operations, buffers laid out once in every shape that is needed.

A tile takes two milliseconds in some twenty operations; viewing one buffer in another shape costs a noticeable part
of that in Python, and other threads wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from afunet_core.model.attention import _WindowAttention
from afunet_core.model.stages import SpatialAlignment, SwinBlock
from afunet_core.model.streaming.folded_layers import Affine, FoldedLinear, FoldedNorm, Numerics, side_by_side, stacked

LOG2_E = math.log2(math.e)
LN_2 = math.log(2)

SMALLEST_SUM = 1e-25  # sums of exponentials between these two lose nothing in float32 (bfloat16 has the same range)
LARGEST_SUM = 1e35


class FoldedWindowAttention:
    """Attention inside windows of ``height×width`` pixels: the module's window, or a part of it cut by the border.

    At the border of the image the cyclic shift joins pixels that must not see each other; the module lowers their
    logits by 100. Here such a window is cut into its parts, each with its part of the position bias. Several modules
    can be computed together, each on its own channels and heads, with joint layers for query, key and value.
    """

    def __init__(
        self, attentions: Sequence[_WindowAttention], query: Affine, key: Affine, value: Affine, numerics: Numerics
    ) -> None:
        self.heads, self.window = sum(attention.heads for attention in attentions), attentions[0].window
        self.size = query[0].shape[0] // self.heads
        self.numerics = numerics
        # Logits in units of log 2, for exp2: four times as fast as exp on CPUs.
        scale = attentions[0].scale * LOG2_E
        query = query[0] * scale, query[1] * scale
        self.full_bias = torch.cat([attention.bias().detach() for attention in attentions]) * LOG2_E
        self.biases: dict[tuple[int, int], Tensor] = {}
        self.parts = FoldedLinear(*stacked(query, key, value), numerics.product)
        self.project = FoldedLinear(*side_by_side([attention.project for attention in attentions]), numerics.product)

    def bias(self, height: int, width: int) -> Tensor:
        """Position bias ``heads×tokens×tokens`` of a window of this size."""
        if (height, width) not in self.biases:
            index = torch.arange(self.window**2, device=self.full_bias.device).reshape(self.window, self.window)
            kept = index[:height, :width].flatten()
            part = self.full_bias[:, kept][..., kept]
            self.biases[height, width] = part.to(self.numerics.product).contiguous()
        return self.biases[height, width]

    def attend(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """``(windows·tokens)×inputs`` → ``(windows·tokens)×C``, projected."""
        tokens = tokens.to(self.numerics.product)
        make = partial(_AttentionBuffers, self, tokens, height * width)
        key = (type(self), "attention", tokens.shape, height * width)
        buffers = self.numerics.workspace.arrange(key, make)
        buffers.parts.copy_(self.parts(tokens).as_strided(*buffers.joint))
        self.logits(buffers, height, width)
        direct = tokens.device.type == "cpu" and tokens.dtype != torch.float16
        total = _exponentiate(buffers.logits) if direct else None
        if total is None:
            if direct:  # beyond the range of the exponential: start again and subtract the largest logit first
                self.logits(buffers, height, width)
            torch.softmax(buffers.logits * LN_2, dim=-1, out=buffers.logits)
        torch.bmm(buffers.logits, buffers.value, out=buffers.mixed)
        if total is None:
            buffers.wide.copy_(buffers.mixed)
        else:
            torch.mul(buffers.mixed, total.reciprocal_()[..., None], out=buffers.wide)
        buffers.merged.copy_(buffers.gathered)
        return self.project(buffers.flat)

    def logits(self, buffers: _AttentionBuffers, height: int, width: int) -> None:
        """Query times key plus position bias, ``windows·heads×tokens×tokens``, in units of log 2."""
        bias = self.bias(height, width)
        if buffers.logits.device.type == "cpu":  # the product adds the bias in passing where it is repeated for it
            repeated = self.numerics.workspace.repeat((id(self), height, width), bias, buffers.windows)
            torch.baddbmm(repeated, buffers.query, buffers.key, out=buffers.logits)
        else:
            torch.bmm(buffers.query, buffers.key, out=buffers.logits)
            buffers.logits.view(buffers.windows, *bias.shape).add_(bias)


class FoldedSwinBlock(FoldedWindowAttention):
    """A Swin block on one tile, in place."""

    def __init__(self, block: SwinBlock, numerics: Numerics) -> None:
        qkv = block.attention.qkv
        query, key, value = zip(qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True)
        super().__init__([block.attention], query, key, value, numerics)
        self.shift = block.shift
        self.norms = [FoldedNorm(norm, numerics.feature) for norm in (block.norm1, block.norm2)]
        self.first = FoldedLinear(block.mlp.fc1.weight, block.mlp.fc1.bias, numerics.product, gelu=True)
        self.second = FoldedLinear(block.mlp.fc2.weight, block.mlp.fc2.bias, numerics.product)

    def __call__(self, tile: Tensor, height: int, width: int) -> None:
        """Transform ``rows×columns×C`` in windows of ``height×width``, in place."""
        feature = self.numerics.feature
        buffers = window_buffers("windows", tile.shape, (height, width), feature, tile.device, self.numerics)
        grid, x = in_windows(tile, height, width), buffers.flat
        buffers.grid.copy_(grid)
        x += self.attend(self.norms[0](x), height, width)
        x += self.second(self.first(self.norms[1](x)))
        grid.copy_(buffers.grid)


class FoldedAlignment(FoldedWindowAttention):
    """The part of spatial alignment that stays inside windows, on one tile, both sides at once.

    The sides share the estimate that they are aligned to; together they need half the operations. A product of twice
    the size, half of it zeros, takes no longer than two of these small ones.
    """

    def __init__(self, under: SpatialAlignment, over: SpatialAlignment, numerics: Numerics) -> None:
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
            numerics,
        )
        dtype = numerics.product
        first, second = [side.degrade.fc1 for side in sides], [side.degrade.fc2 for side in sides]
        bias = torch.cat([layer.bias for layer in first])
        self.first = FoldedLinear(torch.cat([layer.weight for layer in first]), bias, dtype, gelu=True)
        self.second = FoldedLinear(*side_by_side(second), dtype)

    def __call__(self, under: Tensor, estimate: Tensor, over: Tensor, degraded: Tensor, aligned: Tensor) -> None:
        """``rows×columns×C`` α₁, x, α₃ → written into ``degraded`` (d₁, d₃) and ``aligned`` (r₁, r₃), ``2C`` each."""
        size, dtype, device = self.window, self.numerics.product, estimate.device
        rows, columns, dim = estimate.shape
        buffers = partial(window_buffers, window=(size, size), dtype=dtype, device=device, numerics=self.numerics)
        x = buffers("estimate", (rows, columns, dim))
        x.grid.copy_(in_windows(estimate, size, size))
        d = self.second(self.first(x.flat))
        joined = buffers("joined", (rows, columns, 4 * dim))
        for side, part in enumerate((under, over)):
            joined.grid[..., side * dim : (side + 1) * dim].copy_(in_windows(part, size, size))
        joined.flat[:, 2 * dim :] = d
        r = self.attend(joined.flat, size, size)
        r += d
        for target, result in ((degraded, d), (aligned, r)):
            grid = result.view(rows // size, columns // size, size, size, 2 * dim).transpose(1, 2)
            in_windows(target, size, size).copy_(grid)


class _AttentionBuffers:
    """The buffers of attention for tiles of one size; ``parts`` takes the product that ``query`` … ``value`` view."""

    def __init__(self, attention: FoldedWindowAttention, inputs: Tensor, tokens: int) -> None:
        heads, size, self.windows = attention.heads, attention.size, len(inputs) // tokens
        windows, feature = self.windows, attention.numerics.feature
        take = partial(attention.numerics.workspace.take, device=inputs.device)
        self.parts = take("parts", (3, windows, heads, tokens, size), inputs.dtype)
        row = 3 * heads * size
        #: Shape and strides under which the product, ``tokens×(part, head, channel)``, lies like ``parts``.
        self.joint = self.parts.shape, (heads * size, tokens * row, size, row, 1)
        query, key, value = (part.flatten(0, 1) for part in self.parts)
        self.query, self.key, self.value = query, key.transpose(1, 2), value
        self.logits = take("logits", (windows * heads, tokens, tokens), inputs.dtype)
        self.mixed = take("mixed", (windows * heads, tokens, size), inputs.dtype)
        self.wide = self.mixed
        if inputs.dtype != feature:
            self.wide = take("wide", (windows * heads, tokens, size), feature)
        self.gathered = self.wide.view(windows, heads, tokens, size).transpose(1, 2)
        self.merged = take("merged", (windows, tokens, heads, size), feature)
        self.flat = self.merged.view(windows * tokens, heads * size)


def _exponentiate(logits: Tensor) -> Tensor | None:
    """``2**logits`` in place and its sums over the last axis, or None if a row overflows or vanishes.

    Without the usual subtraction of the largest logit, which saves a pass. Attention is a ratio: as long as the sum
    is far from both ends of the range of float32, nothing is lost.
    """
    total = logits.exp2_().sum(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    low, high = total.aminmax()
    return total if low.item() > SMALLEST_SUM and high.item() < LARGEST_SUM else None


class _WindowBuffers:
    """The windows of a tile: ``flat`` as rows of tokens for products, ``grid`` in the order of :func:`in_windows`."""

    def __init__(self, name: str, shape: tuple[int, ...], window: tuple[int, int], take: partial[Tensor]) -> None:
        rows, columns, dim = shape
        height, width = window
        windows = take(name, (rows * columns // (height * width), height * width, dim))
        self.flat = windows.view(-1, dim)
        self.grid = windows.view(rows // height, columns // width, height, width, dim).transpose(1, 2)


def window_buffers(
    name: str,
    shape: tuple[int, ...],
    window: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
    numerics: Numerics,
) -> _WindowBuffers:
    """The buffers of this name for tiles ``rows×columns×C`` cut into windows."""
    take = partial(numerics.workspace.take, dtype=dtype, device=device)
    return numerics.workspace.arrange((name, shape, window, dtype), partial(_WindowBuffers, name, shape, window, take))


def in_windows(tile: Tensor, height: int, width: int) -> Tensor:
    """``rows×columns×C`` seen as ``down×height×across×width×C``."""
    rows, columns, dim = tile.shape
    return tile.view(rows // height, height, columns // width, width, dim)
