"""The network's layers folded for streaming: affine maps joined, fused CPU products.

Each works on contiguous ``…×C`` rows of one tile and computes what its module does, up to the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afunet_core.model.attention import ChannelCrossAttention
from afunet_core.model.layers import MLP, Conv3x3
from afunet_core.model.stages import ChannelFusion, DataConsistency

Affine = tuple[Tensor, Tensor]  # weight and bias of a linear layer


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of features and sums: of those given, only products are narrower than float32."""
    return torch.promote_types(dtype, torch.float32)


class FoldedLinear:
    """``x Wᵀ + b``, optionally followed by the exact GELU, in one fused product where the CPU library has it.

    oneDNN's products use AVX-512 on every CPU that has it; those PyTorch calls by default in float32 do not on AMD
    machines and reach half the rate.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, gelu: bool = False) -> None:
        self.weight = weight.detach().to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype).contiguous()
        self.dtype, self.activation = dtype, "gelu" if gelu else "none"
        self.fused = _fused_linear(self.weight.device.type, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.fused is not None:
            return self.fused(x, self.weight, self.bias, self.activation, [], "none")
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y) if self.activation == "gelu" else y


@cache
def _fused_linear(device: str, dtype: torch.dtype) -> Callable[..., Tensor] | None:
    """PyTorch's fused linear on oneDNN, where this build, device and dtype have it."""
    if device != "cpu" or dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return None
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    try:
        operation = torch.ops.mkldnn._linear_pointwise.default
        operation(torch.zeros(1, 3, dtype=dtype), torch.zeros(2, 3, dtype=dtype), None, "gelu", [], "none")
    except (AttributeError, NotImplementedError, RuntimeError):
        return None
    return operation


class FoldedMLP:
    """MLP: linear, GELU, linear."""

    def __init__(self, mlp: MLP, dtype: torch.dtype) -> None:
        self.first = FoldedLinear(mlp.fc1.weight, mlp.fc1.bias, dtype, gelu=True)
        self.second = FoldedLinear(mlp.fc2.weight, mlp.fc2.bias, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def normalised(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Apply a LayerNorm in the dtype of its input."""
    return F.layer_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


def stacked(*layers: Affine) -> Affine:
    """Join layers of one input: the outputs of all, one after the other."""
    return torch.cat([weight for weight, _ in layers]), torch.cat([bias for _, bias in layers])


def side_by_side(layers: Sequence[nn.Linear]) -> Affine:
    """Join layers into one, each working on its own channels."""
    return torch.block_diag(*(layer.weight for layer in layers)), torch.cat([layer.bias for layer in layers])


def depthwise(layers: list[Conv3x3], dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Fold ``x + depthwise(x)`` of several layers side by side, for ``(rows+2)×(columns+2)×C`` with its halo."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    weight[:, :, 1, 1] += 1.0
    return _convolution(weight, torch.cat([_bias(layer) for layer in layers]), dtype, groups=weight.shape[0])


def convolution(layer: nn.Conv2d, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Fold a 3×3 convolution from ``(rows+2)×(columns+2)×inputs`` to ``rows×columns×outputs``."""
    return _convolution(layer.weight.detach(), _bias(layer), dtype, groups=1)


def _convolution(weight: Tensor, bias: Tensor, dtype: torch.dtype, groups: int) -> Callable[[Tensor], Tensor]:
    weight, bias = weight.to(dtype).contiguous(memory_format=torch.channels_last), bias.to(dtype)

    def apply(haloed: Tensor) -> Tensor:
        # The batch axis first: then the strides say channels last. Added after the permutation they are ambiguous, and
        # every depthwise convolution is converted to channels first and back.
        image = haloed[None].permute(0, 3, 1, 2).to(dtype)
        return F.conv2d(image, weight, bias, groups=groups)[0].permute(1, 2, 0)

    return apply


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach()


class FoldedChannelFusion:
    """Channel fusion on rows of pixels: sums for the whole image first, then a map per pixel."""

    def __init__(self, fusion: ChannelFusion, dtype: torch.dtype) -> None:
        self.attention: ChannelCrossAttention = fusion.attention
        self.query = FoldedLinear(self.attention.query.weight, None, dtype)
        self.key = FoldedLinear(self.attention.key.weight, None, dtype)
        self.dtype, self.wide = dtype, wide(dtype)
        self.mix: FoldedLinear | None = None

    def statistics(self, side: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sum over ``pixels×C`` of one tile: the Gram matrix ``C×C`` and both squared norms ``C``."""
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
        self.mix = FoldedLinear(matrix, None, self.dtype)

    def __call__(self, side: Tensor, estimate: Tensor) -> Tensor:
        """``pixels×C`` → ``x + attention`` before the depthwise refinement."""
        assert self.mix is not None
        return self.mix(estimate + side) + estimate


class FoldedConsistency:
    """Data consistency on ``pixels×C``."""

    def __init__(self, consistency: DataConsistency, dtype: torch.dtype) -> None:
        self.transpose = FoldedMLP(consistency.transpose, dtype)
        self.inverse = FoldedMLP(consistency.inverse, dtype)
        self.betas = consistency.beta_under.detach(), consistency.beta_over.detach()

    def __call__(self, observed: Tensor, under: Tensor, over: Tensor) -> Tensor:
        joint = self.transpose(observed)
        for side, beta in zip((under, over), self.betas, strict=True):
            joint.addcmul_(side, beta)
        return self.inverse(joint)
