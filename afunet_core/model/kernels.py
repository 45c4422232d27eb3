"""The network's layers prepared for piecewise execution: affine maps folded, heads arranged, fused CPU products.

Every kernel works on contiguous ``…×C`` rows of one piece and computes exactly what its module computes, up to the
order of floating-point sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afunet_core.model.alignment import SpatialAlignment
from afunet_core.model.attention import ChannelCrossAttention, _WindowAttention
from afunet_core.model.fusion import ChannelFusion, DataConsistency, SwinBlock
from afunet_core.model.operators import Linear, Norm, Numerics, PreparedMLP

__all__ = ["AlignmentKernel", "ChannelFusionKernel", "ConsistencyKernel", "SwinKernel"]

LOG2_E, LN_2 = math.log2(math.e), math.log(2)


Affine = tuple[Tensor, Tensor]
"""Weight and bias of a linear layer."""


class _WindowKernel:
    """Attention inside windows of ``height×width`` pixels, the modules' window or a part of it cut by the border.

    At the border of the image the cyclic shift joins pixels that must not see each other; the module lowers their
    logits by 100. Here such a window is cut into its parts, each with its part of the position bias: what remains of
    attention through a logit of −100 is far below the resolution of the result.

    Args:
        attentions: modules that work side by side, each on channels and heads of its own.
        query, key, value: what makes each of them of what the attention sees, for all modules together.
        numerics: how to compute.
    """

    def __init__(
        self, attentions: Sequence[_WindowAttention], query: Affine, key: Affine, value: Affine, numerics: Numerics
    ) -> None:
        self.heads, self.window = sum(attention.heads for attention in attentions), attentions[0].window
        self.numerics = numerics
        # Logits in units of log 2, for exp2: four times as fast as exp on CPUs.
        scale = attentions[0].scale * LOG2_E
        query = query[0] * scale, query[1] * scale
        self.full_bias = torch.cat([attention.bias().detach() for attention in attentions]) * LOG2_E
        self.biases: dict[tuple[int, int], Tensor] = {}
        project = side_by_side([attention.project for attention in attentions])
        self.parts = Linear(*stacked(query, key), numerics.product)
        self.across = numerics.product == torch.bfloat16 and self.parts.fused is not None
        if self.across:
            self._prepare_across(value, project)
        else:
            self.parts = Linear(*stacked(query, key, value), numerics.product)
            self.project = Linear(*project, numerics.product)

    def bias(self, height: int, width: int) -> Tensor:
        """Position bias ``heads×tokens×tokens`` of a window of this size."""
        if (height, width) not in self.biases:
            index = torch.arange(self.window**2, device=self.full_bias.device).reshape(self.window, self.window)
            kept = index[:height, :width].flatten()
            part = self.full_bias[:, kept][..., kept]
            self.biases[height, width] = part.to(self.numerics.product).contiguous()
        return self.biases[height, width]

    def attend(self, seen: Tensor, height: int, width: int) -> Tensor:
        """``(windows·tokens)×inputs`` → ``(windows·tokens)×C``, projected."""
        seen = seen.to(self.numerics.product)
        if self.across:
            return self._attend_across(seen, height, width)
        query, key, value = self.split(self.parts(seen), height * width, 3)
        windows, heads, tokens, size = value.shape
        take = self.numerics.workspace.take
        mixed = take("mixed", (windows, heads, tokens, size), value.dtype, value.device)
        merged = take("merged", (windows, tokens, heads, size), self.numerics.feature, value.device)
        logits = self.logits(query, key, height, width)
        direct = logits.device.type == "cpu" and logits.dtype != torch.float16
        total = _exponentiate(logits) if direct else None
        if total is None:
            if direct:  # beyond the range of the exponential: start again and subtract the largest logit first
                logits = self.logits(query, key, height, width)
            torch.softmax(logits * LN_2, dim=-1, out=logits)
        torch.bmm(logits.flatten(0, 1), value.flatten(0, 1), out=mixed.flatten(0, 1))
        if total is not None:
            mixed = mixed.to(merged.dtype).mul_(total.reciprocal_()[..., None])
        merged.copy_(mixed.transpose(1, 2))
        return self.project(merged.view(windows * tokens, heads * size))

    def split(self, joint: Tensor, tokens: int, count: int) -> Tensor:
        """Parts side by side, ``(windows·tokens)×count·C`` → ``count×windows×heads×tokens×c``."""
        joint = joint.view(-1, tokens, count, self.heads, joint.shape[1] // (count * self.heads))
        windows, size = joint.shape[0], joint.shape[4]
        shape = (count, windows, self.heads, tokens, size)
        parts = self.numerics.workspace.take("parts", shape, joint.dtype, joint.device)
        return parts.copy_(joint.permute(2, 0, 3, 1, 4))

    def logits(self, query: Tensor, key: Tensor, height: int, width: int) -> Tensor:
        """Query times key plus position bias, ``windows×heads×tokens×tokens``, in units of log 2."""
        windows, heads, tokens, _ = query.shape
        query, key = query.flatten(0, 1), key.flatten(0, 1)
        bias, workspace = self.bias(height, width), self.numerics.workspace
        logits = workspace.take("logits", (windows, heads, tokens, tokens), query.dtype, query.device)
        if query.device.type == "cpu":  # the product adds in passing what is laid out ready for it
            spread = workspace.repeat((id(self), height, width), bias, windows)
            torch.baddbmm(spread.flatten(0, 1), query, key.transpose(1, 2), out=logits.flatten(0, 1))
            return logits
        torch.bmm(query, key.transpose(1, 2), out=logits.flatten(0, 1))
        logits += bias
        return logits

    # bfloat16 on CPUs: the values lie across, channels by tokens. Products with 64 columns instead of a few are faster,
    # heads need not be gathered and scattered, and a row of ones among the values sums the weights in passing.

    def _prepare_across(self, value: Affine, project: Affine) -> None:
        """Rows of the value's product, a row of zeros after each head's; the projection with its bias as last row."""
        weight, dtype = value[0], self.numerics.product
        rows = F.pad(weight.unflatten(0, (self.heads, -1)), (0, 0, 0, 1)).flatten(0, 1)
        self.value = rows.detach()[None].to(dtype)
        # The weights of a token sum to one: a bias of the values passes through as it is.
        bias = project[1] + project[0] @ value[1]
        self.out = torch.cat([project[0].T, bias[None]]).detach()[None].to(dtype)

    def _attend_across(self, seen: Tensor, height: int, width: int) -> Tensor:
        tokens, inputs = height * width, seen.shape[1]
        query, key = self.split(self.parts(seen), tokens, 2)
        windows, heads, _, size = query.shape
        dim, dtype, device, take = heads * size, seen.dtype, seen.device, self.numerics.workspace.take
        values = take("values", (windows, heads, size + 1, tokens), dtype, device)
        columns = seen.view(windows, tokens, inputs).transpose(1, 2)
        torch.bmm(self.value.expand(windows, -1, -1), columns, out=values.flatten(1, 2))
        values[:, :, size] = 1.0
        logits = self.logits(query, key, height, width).exp2_()
        mixed = take("mixed", (windows, heads, size + 1, tokens), dtype, device)
        torch.bmm(values.flatten(0, 1), logits.flatten(0, 1).transpose(1, 2), out=mixed.flatten(0, 1))
        total = mixed[:, :, size:]
        if not _in_range(total):
            logits = self.logits(query, key, height, width)
            torch.softmax(logits * LN_2, dim=-1, out=logits)
            torch.bmm(values.flatten(0, 1), logits.flatten(0, 1).transpose(1, 2), out=mixed.flatten(0, 1))
        merged = take("merged", (windows, dim + 1, tokens), dtype, device)
        torch.div(mixed[:, :, :size], total, out=merged[:, :dim].unflatten(1, (heads, size)))
        merged[:, dim] = 1.0
        return torch.bmm(merged.transpose(1, 2), self.out.expand(windows, -1, -1)).view(windows * tokens, dim)


def _exponentiate(logits: Tensor) -> Tensor | None:
    """``2**logits`` in place and its sums over the last axis, or None if a row overflows or vanishes.

    Without the usual subtraction of the largest logit, which saves a pass. Attention is a ratio: as long as the sum
    is far from both ends of the range of float32 (bfloat16 has the same), nothing is lost.
    """
    total = logits.exp2_().sum(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return total if _in_range(total) else None


def _in_range(total: Tensor) -> bool:
    """Whether sums of exponentials are far from both ends of the range of float32, and numbers at all."""
    low, high = total.aminmax()
    return low.item() > 1e-25 and high.item() < 1e35


class SwinKernel(_WindowKernel):
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
        windows = to_windows(piece, height, width, self.numerics)
        x = windows.view(-1, windows.shape[-1])
        x += self.attend(self.norms[0](x), height, width)
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


def stacked(*layers: Affine) -> Affine:
    """One layer whose outputs are those of several, one after the other."""
    return torch.cat([weight for weight, _ in layers]), torch.cat([bias for _, bias in layers])


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
        rows, columns, dim = estimate.shape
        size, take = self.window, self.numerics.workspace.take
        count, tokens, dtype = rows * columns // size**2, size**2, self.numerics.product
        x = take("estimate", (count, tokens, dim), dtype, estimate.device)
        seen = take("seen", (count, tokens, 4 * dim), dtype, estimate.device)
        for part, windows in ((estimate, x), (under, seen[..., :dim]), (over, seen[..., dim : 2 * dim])):
            _tiles(windows, rows, columns, size, size).copy_(_grid(part, size, size))
        d = self.second(self.first(x.view(-1, dim))).view(count, tokens, 2 * dim)
        seen[..., 2 * dim :] = d
        r = self.attend(seen.view(-1, 4 * dim), size, size).view(count, tokens, 2 * dim)
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
