"""The network's layers prepared for piecewise execution: affine maps folded, heads arranged, fused CPU products.

Every kernel works on contiguous ``…×C`` rows of one piece and computes exactly what its module computes, up to the order
of floating-point sums.
"""

from __future__ import annotations

from collections.abc import Callable

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
    "PreparedMLP",
    "SwinKernel",
    "depthwise",
]


class Linear:
    """``x Wᵀ + b``, optionally followed by the exact GELU, in one fused product where the CPU library has it.

    oneDNN's products use AVX-512 on every CPU that has it; those PyTorch calls by default in float32 do not on AMD
    machines and reach half the rate.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, gelu: bool = False) -> None:
        self.weight = weight.detach().to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype).contiguous()
        self.gelu = gelu
        self.fused = _fused_linear(self.weight)

    def __call__(self, x: Tensor) -> Tensor:
        if self.fused is not None:
            return self.fused(x, self.weight, self.bias, "gelu" if self.gelu else "none", [], "none")
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y) if self.gelu else y


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

    def __init__(self, attention: _WindowAttention, dtype: torch.dtype) -> None:
        self.heads, self.window = attention.heads, attention.window
        self.project = Linear(attention.project.weight, attention.project.bias, dtype)
        self.full_bias = attention.bias().detach().to(dtype)
        self.biases: dict[tuple[int, int], Tensor] = {}

    def bias(self, height: int, width: int) -> Tensor:
        """Position bias ``heads×tokens×tokens`` of a window of this size."""
        if (height, width) not in self.biases:
            index = torch.arange(self.window**2, device=self.full_bias.device).reshape(self.window, self.window)
            kept = index[:height, :width].flatten()
            self.biases[height, width] = self.full_bias[:, kept][:, :, kept].contiguous()
        return self.biases[height, width]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """``windows×tokens×C`` each (query scaled already) → the same, before the projection."""
        windows, tokens, dim = query.shape
        size = dim // self.heads
        logits = query.new_empty(self.heads, windows, tokens, tokens)
        mixed = query.new_empty(self.heads, windows, tokens, size)
        for head in range(self.heads):
            part = slice(head * size, (head + 1) * size)
            torch.baddbmm(bias[head], query[..., part], key[..., part].transpose(1, 2), out=logits[head])
        torch.softmax(logits, dim=-1, out=logits)
        for head in range(self.heads):
            torch.bmm(logits[head], value[..., head * size : (head + 1) * size], out=mixed[head])
        return mixed.permute(1, 2, 0, 3).reshape(windows * tokens, dim)


class SwinKernel(_WindowKernel):
    """A Swin block on one piece, in place."""

    def __init__(self, block: SwinBlock, dtype: torch.dtype) -> None:
        super().__init__(block.attention, dtype)
        self.shift, self.eps = block.shift, block.norm1.eps
        scale = torch.ones_like(block.attention.qkv.bias)
        scale[: scale.numel() // 3] = block.attention.scale
        self.qkv = _after_norm(block.norm1, block.attention.qkv, dtype, scale)
        self.first = _after_norm(block.norm2, block.mlp.fc1, dtype, gelu=True)
        self.second = Linear(block.mlp.fc2.weight, block.mlp.fc2.bias, dtype)

    def __call__(self, piece: Tensor, height: int, width: int) -> None:
        """Transform ``rows×columns×C`` in windows of ``height×width``, in place."""
        x = to_windows(piece, height, width)
        windows, tokens, dim = x.shape
        flat = x.view(-1, dim)
        query, key, value = self.qkv(_normalise(flat, self.eps)).view(windows, tokens, 3 * dim).split(dim, dim=-1)
        flat += self.project(self.attend(query, key, value, self.bias(height, width)))
        flat += self.second(self.first(_normalise(flat, self.eps)))
        from_windows(x, piece, height, width)


def _normalise(x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], None, None, eps)


def _after_norm(
    norm: nn.LayerNorm, linear: nn.Linear, dtype: torch.dtype, scale: Tensor | None = None, gelu: bool = False
) -> Linear:
    """A linear layer with the scale and offset of the LayerNorm before it, and a scale of its outputs, folded in."""
    weight, bias = linear.weight.double(), linear.bias.double()
    bias = bias + weight @ norm.bias.double()
    weight = weight * norm.weight.double()
    if scale is not None:
        weight, bias = weight * scale.double()[:, None], bias * scale.double()
    return Linear(weight, bias, dtype, gelu)


def to_windows(piece: Tensor, height: int, width: int) -> Tensor:
    """``rows×columns×C`` → a contiguous copy ``windows×tokens×C``."""
    windows = piece.new_empty(piece.shape[0] * piece.shape[1] // (height * width), height * width, piece.shape[2])
    _tiles(windows, piece, height, width).copy_(_grid(piece, height, width))
    return windows


def from_windows(windows: Tensor, piece: Tensor, height: int, width: int) -> None:
    """Write ``windows×tokens×C`` back to where :func:`to_windows` took it from."""
    _grid(piece, height, width).copy_(_tiles(windows, piece, height, width))


def _grid(piece: Tensor, height: int, width: int) -> Tensor:
    rows, columns, _ = piece.shape
    return piece.unflatten(1, (columns // width, width)).unflatten(0, (rows // height, height))


def _tiles(windows: Tensor, piece: Tensor, height: int, width: int) -> Tensor:
    rows, columns, dim = piece.shape
    return windows.view(rows // height, columns // width, height, width, dim).transpose(1, 2)


class AlignmentKernel(_WindowKernel):
    """The part of spatial alignment that stays inside windows, on one piece."""

    def __init__(self, alignment: SpatialAlignment, dtype: torch.dtype) -> None:
        attention = alignment.attention
        super().__init__(attention, dtype)
        self.degrade = PreparedMLP(alignment.degrade, dtype)
        self.query = Linear(attention.query.weight * attention.scale, attention.query.bias * attention.scale, dtype)
        self.key_value = Linear(attention.key_value.weight, attention.key_value.bias, dtype)

    def __call__(self, side: Tensor, estimate: Tensor, degraded: Tensor, aligned: Tensor) -> None:
        """``rows×columns×C`` α and x → written into ``degraded`` (d) and ``aligned`` (r)."""
        windows = to_windows(side, self.window, self.window)
        count, tokens, dim = windows.shape
        flat = windows.view(-1, dim)
        d = self.degrade(to_windows(estimate, self.window, self.window).view(-1, dim))
        query = self.query(flat).view(count, tokens, dim)
        key, value = self.key_value(flat + d).view(count, tokens, 2 * dim).split(dim, dim=-1)
        r = self.project(self.attend(query, key, value, self.bias(self.window, self.window))) + d
        from_windows(d.view_as(windows), degraded, self.window, self.window)
        from_windows(r.view_as(windows), aligned, self.window, self.window)


class ChannelFusionKernel:
    """Channel fusion on rows of pixels: sums for the whole image first, then a map per pixel."""

    def __init__(self, fusion: ChannelFusion, dtype: torch.dtype) -> None:
        self.attention: ChannelCrossAttention = fusion.attention
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
        norms = (square.reshape(1, heads, size).to(self.wide) for square in (query_square, key_square))
        matrix = self.attention.mixing((blocks[None].to(self.wide), *norms))[0]
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
    bias = torch.cat([layer.bias.detach() for layer in layers])
    weight = weight.clone()
    weight[:, :, 1, 1] += 1.0
    return convolution(weight, bias, dtype, groups=weight.shape[0])


def convolution(weight: Tensor, bias: Tensor, dtype: torch.dtype, groups: int = 1) -> Callable[[Tensor], Tensor]:
    """A 3×3 convolution from ``(rows+2)×(columns+2)×inputs`` to ``rows×columns×outputs``."""
    weight = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
    bias = bias.detach().to(dtype)

    def apply(haloed: Tensor) -> Tensor:
        return F.conv2d(haloed.permute(2, 0, 1)[None], weight, bias, groups=groups)[0].permute(1, 2, 0)

    return apply
