"""The network's layers prepared for piecewise execution: affine maps folded, heads arranged, fused CPU products.

Every kernel works on contiguous ``…×C`` rows of one piece and computes exactly what its module computes, up to the
order of floating-point sums.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afunet_core.model.alignment import SpatialAlignment
from afunet_core.model.attention import ChannelCrossAttention, _WindowAttention
from afunet_core.model.fusion import ChannelFusion, DataConsistency, SwinBlock
from afunet_core.model.layers import MLP, Depthwise3x3

__all__ = [
    "AlignmentKernel",
    "ChannelFusionKernel",
    "ConsistencyKernel",
    "Linear",
    "Numerics",
    "PreparedMLP",
    "SwinKernel",
    "Workspace",
    "depthwise",
]

LOG2_E, LN_2 = math.log2(math.e), math.log(2)


class Workspace(threading.local):
    """Buffers that the pieces of one run reuse, one set for each thread.

    Fresh memory costs a page fault every 4 KiB, and intermediate results that keep their place stay in the cache.
    """

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """An uninitialised tensor; the one taken before under this name is overwritten."""
        size = math.prod(shape)
        buffer = self.buffers.get(name)
        if buffer is None or buffer.numel() < size or buffer.dtype != dtype:
            buffer = self.buffers[name] = torch.empty(size, dtype=dtype, device=device)
        return buffer[:size].view(shape)


@dataclass(frozen=True)
class Numerics:
    """How a run computes.

    Args:
        product: dtype of matrix products and convolutions.
        feature: dtype of everything between them.
        workspace: buffers of the run.
    """

    product: torch.dtype
    feature: torch.dtype
    workspace: Workspace


class Linear:
    """``x Wᵀ + b``, optionally followed by the exact GELU, in one fused product where the CPU library has it.

    oneDNN's products use AVX-512 on every CPU that has it; those PyTorch calls by default in float32 do not on AMD
    machines and reach half the rate.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, gelu: bool = False) -> None:
        self.weight = weight.detach().to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype).contiguous()
        self.dtype, self.activation = dtype, "gelu" if gelu else "none"
        self.fused = _fused_linear(self.weight)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.fused is not None:
            return self.fused(x, self.weight, self.bias, self.activation, [], "none")
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y) if self.activation == "gelu" else y


def _fused_linear(weight: Tensor) -> Callable[..., Tensor] | None:
    """PyTorch's own fused linear on oneDNN, where this build, device and dtype have it."""
    usable = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16)
    if not usable or not torch.backends.mkldnn.is_available():
        return None
    if weight.dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    try:
        operation = torch.ops.mkldnn._linear_pointwise.default
        operation(weight.new_zeros(1, weight.shape[1]), weight, None, "gelu", [], "none")
    except (AttributeError, NotImplementedError, RuntimeError):
        return None
    return operation


class PreparedMLP:
    """Linear, GELU, Linear."""

    def __init__(self, mlp: MLP, dtype: torch.dtype) -> None:
        self.first = Linear(mlp.fc1.weight, mlp.fc1.bias, dtype, gelu=True)
        self.second = Linear(mlp.fc2.weight, mlp.fc2.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class _WindowKernel:
    """Attention inside windows of ``height×width`` pixels, the module's window or a part of it cut by the border.

    At the border of the image the cyclic shift joins pixels that must not see each other; the module lowers their
    logits by 100. Here such a window is cut into its parts, each with its part of the position bias: what remains of
    attention through a logit of −100 is far below the resolution of the result.
    """

    def __init__(self, attention: _WindowAttention, numerics: Numerics) -> None:
        self.heads, self.window, self.numerics = attention.heads, attention.window, numerics
        self.project = Linear(attention.project.weight, attention.project.bias, numerics.product)
        # Logits in units of log 2, for exp2: four times as fast as exp on CPUs.
        self.query_scale = attention.scale * LOG2_E
        self.full_bias = attention.bias().detach() * LOG2_E
        self.biases: dict[tuple[int, int], Tensor] = {}

    def bias(self, height: int, width: int) -> Tensor:
        """Position bias ``heads×1×tokens×tokens`` of a window of this size."""
        if (height, width) not in self.biases:
            index = torch.arange(self.window**2, device=self.full_bias.device).reshape(self.window, self.window)
            kept = index[:height, :width].flatten()
            part = self.full_bias[:, None, kept][..., kept]
            self.biases[height, width] = part.to(self.numerics.product).contiguous()
        return self.biases[height, width]

    def attend(self, parts: Tensor, bias: Tensor) -> Tensor:
        """Query (scaled), key and value ``3×heads×windows×tokens×c`` → ``(windows·tokens)×C`` before the projection."""
        _, heads, windows, tokens, size = parts.shape
        take = self.numerics.workspace.take
        query, key, value = parts.flatten(1, 2)
        logits = take("logits", (heads, windows, tokens, tokens), parts.dtype, parts.device)
        mixed = take("mixed", (heads, windows, tokens, size), parts.dtype, parts.device)
        merged = take("merged", (windows, tokens, heads, size), self.numerics.feature, parts.device)
        torch.bmm(query, key.transpose(1, 2), out=logits.flatten(0, 1))
        logits += bias
        total = _exponentiate(logits)
        if total is None:  # beyond the range of the exponential: start again and subtract the largest logit first
            torch.bmm(query, key.transpose(1, 2), out=logits.flatten(0, 1))
            logits += bias
            torch.softmax(logits * LN_2, dim=-1, out=logits)
        torch.bmm(logits.flatten(0, 1), value, out=mixed.flatten(0, 1))
        merged.copy_(mixed.permute(1, 2, 0, 3))
        if total is not None:
            merged /= total.permute(1, 2, 0)[..., None]
        return merged.view(windows * tokens, heads * size)


def _exponentiate(logits: Tensor) -> Tensor | None:
    """``2**logits`` in place and its sums over the last axis, or None if a row overflows or vanishes.

    Without the usual subtraction of the largest logit, which saves a pass. Attention is a ratio: as long as the sum
    is far from both ends of the range of float32 (bfloat16 has the same), nothing is lost.
    """
    if logits.device.type != "cpu" or logits.dtype == torch.float16:
        return None
    total = logits.exp2_().sum(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    low, high = total.aminmax()
    return total if low.item() > 1e-25 and high.item() < 1e35 else None


class SwinKernel(_WindowKernel):
    """A Swin block on one piece, in place."""

    def __init__(self, block: SwinBlock, numerics: Numerics) -> None:
        super().__init__(block.attention, numerics)
        self.shift = block.shift
        self.norms = [_Norm(norm, numerics.feature) for norm in (block.norm1, block.norm2)]
        qkv = block.attention.qkv
        scale = torch.ones_like(qkv.bias)
        scale[: scale.numel() // 3] = self.query_scale
        self.qkv = Linear(qkv.weight * scale[:, None], qkv.bias * scale, numerics.product)
        self.first = Linear(block.mlp.fc1.weight, block.mlp.fc1.bias, numerics.product, gelu=True)
        self.second = Linear(block.mlp.fc2.weight, block.mlp.fc2.bias, numerics.product)

    def __call__(self, piece: Tensor, height: int, width: int) -> None:
        """Transform ``rows×columns×C`` in windows of ``height×width``, in place."""
        take = self.numerics.workspace.take
        windows = to_windows(piece, height, width, self.numerics)
        count, tokens, dim = windows.shape
        x = windows.view(-1, dim)
        qkv = self.qkv(self.norms[0](x)).view(count, tokens, 3, self.heads, dim // self.heads)
        parts = take("parts", (3, self.heads, count, tokens, dim // self.heads), qkv.dtype, qkv.device)
        parts.copy_(qkv.permute(2, 3, 0, 1, 4))
        x += self.project(self.attend(parts, self.bias(height, width)))
        x += self.second(self.first(self.norms[1](x)))
        from_windows(windows, piece, height, width)


class _Norm:
    """LayerNorm of rows."""

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        self.weight, self.bias, self.eps = norm.weight.detach().to(dtype), norm.bias.detach().to(dtype), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def to_windows(
    piece: Tensor, height: int, width: int, numerics: Numerics, name: str = "windows", dilation: int = 1
) -> Tensor:
    """``rows×columns×C`` → a contiguous copy ``windows×tokens×C``."""
    rows, columns, dim = piece.shape
    shape = (rows * columns // (height * width), height * width, dim)
    windows = numerics.workspace.take(name, shape, numerics.feature, piece.device)
    _tiles(windows, piece, height, width, dilation).copy_(_grid(piece, height, width, dilation))
    return windows


def from_windows(windows: Tensor, piece: Tensor, height: int, width: int, dilation: int = 1) -> None:
    """Write ``windows×tokens×C`` back to where :func:`to_windows` took it from."""
    _grid(piece, height, width, dilation).copy_(_tiles(windows, piece, height, width, dilation))


def _grid(piece: Tensor, height: int, width: int, dilation: int) -> Tensor:
    """``down×height×dilation×across×width×dilation×C``."""
    rows, columns, dim = piece.shape
    down, across = rows // (height * dilation), columns // (width * dilation)
    return piece.view(down, height, dilation, across, width, dilation, dim)


def _tiles(windows: Tensor, piece: Tensor, height: int, width: int, dilation: int) -> Tensor:
    """The windows, seen in the order of :func:`_grid`."""
    rows, columns, dim = piece.shape
    down, across = rows // (height * dilation), columns // (width * dilation)
    return windows.view(down, dilation, across, dilation, height, width, dim).permute(0, 4, 1, 2, 5, 3, 6)


class AlignmentKernel(_WindowKernel):
    """The part of spatial alignment that stays inside windows, on one piece."""

    def __init__(self, alignment: SpatialAlignment, numerics: Numerics) -> None:
        attention = alignment.attention
        super().__init__(attention, numerics)
        query, scale = attention.query, self.query_scale
        self.dilation = alignment.dilation
        self.degrade = PreparedMLP(alignment.degrade, numerics.product)
        self.query = Linear(query.weight * scale, query.bias * scale, numerics.product)
        self.key_value = Linear(attention.key_value.weight, attention.key_value.bias, numerics.product)

    def __call__(self, side: Tensor, estimate: Tensor, degraded: Tensor, aligned: Tensor) -> None:
        """``rows×columns×C`` α and x → written into ``degraded`` (d) and ``aligned`` (r)."""
        window, dilation, take = self.window, self.dilation, self.numerics.workspace.take
        windows = to_windows(side, window, window, self.numerics, "windows", dilation)
        count, tokens, dim = windows.shape
        size = dim // self.heads
        x = windows.view(-1, dim)
        d = self.degrade(to_windows(estimate, window, window, self.numerics, "estimate", dilation).view(-1, dim))
        query = self.query(x).view(count, tokens, self.heads, size)
        x += d
        key_value = self.key_value(x).view(count, tokens, 2, self.heads, size)
        parts = take("parts", (3, self.heads, count, tokens, size), query.dtype, query.device)
        parts[0].copy_(query.permute(2, 0, 1, 3))
        parts[1:].copy_(key_value.permute(2, 3, 0, 1, 4))
        r = self.project(self.attend(parts, self.bias(window, window))) + d
        from_windows(d.view(count, tokens, dim), degraded, window, window, dilation)
        from_windows(r.view(count, tokens, dim), aligned, window, window, dilation)


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


def depthwise(layers: list[Depthwise3x3], dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """``x + depthwise(x)`` of several layers side by side, on ``(rows+2)×(columns+2)×C`` with its halo."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    weight[:, :, 1, 1] += 1.0
    return _convolution(weight, torch.cat([_bias(layer) for layer in layers]), dtype, groups=weight.shape[0])


def convolution(layer: nn.Conv2d, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A 3×3 convolution from ``(rows+2)×(columns+2)×inputs`` to ``rows×columns×outputs``."""
    return _convolution(layer.weight.detach(), _bias(layer), dtype, groups=1)


def _convolution(weight: Tensor, bias: Tensor, dtype: torch.dtype, groups: int) -> Callable[[Tensor], Tensor]:
    weight, bias = weight.to(dtype).contiguous(memory_format=torch.channels_last), bias.to(dtype)

    def apply(haloed: Tensor) -> Tensor:
        image = haloed.permute(2, 0, 1)[None].to(dtype)
        return F.conv2d(image, weight, bias, groups=groups)[0].permute(1, 2, 0)

    return apply


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach()
