"""Fusion: spatial (SFM, Eq. 13a), across channels (CFM, Eq. 13b-c) and data consistency (DCM, Eq. 14)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from afunet_core.model.attention import (
    ChannelCrossAttention,
    WindowSelfAttention,
    merge_windows,
    shift_mask,
    split_windows,
)
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.layers import MLP, Conv3x3, Depthwise3x3, DropPath

__all__ = ["ChannelFusion", "DataConsistency", "SpatialFusion", "SwinBlock"]


class SwinBlock(nn.Module):
    """Pre-norm self-attention in (shifted) windows, then an MLP, both residual."""

    def __init__(self, config: AFUNetConfig, shift: int, drop_path: float = 0.0) -> None:
        super().__init__()
        dim = config.embed_dim
        self.window, self.shift = config.window_size, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attention = WindowSelfAttention(dim, config.fusion_heads, config.window_size)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, int(dim * config.mlp_ratio), dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """``B×H×W×C`` → the same; ``mask`` from :func:`shift_mask` when this block is shifted."""
        batch, height, width, _ = features.shape
        if self.shift:
            features = torch.roll(features, (-self.shift, -self.shift), (1, 2))
        windows = split_windows(features, self.window)
        windows = windows + self.drop_path(self.attention(self.norm1(windows), mask), batch)
        windows = windows + self.drop_path(self.mlp(self.norm2(windows)), batch)
        features = merge_windows(windows, self.window, height, width)
        if self.shift:
            features = torch.roll(features, (self.shift, self.shift), (1, 2))
        return features


class SpatialFusion(nn.Module):
    """Swin blocks over the three branches together, then a dense convolution, residual to the input (SFM)."""

    def __init__(self, config: AFUNetConfig, depth: int, drop_path: list[float]) -> None:
        super().__init__()
        self.window = config.window_size
        half = config.window_size // 2
        self.blocks = nn.ModuleList(
            SwinBlock(config, shift=half * (index % 2), drop_path=drop_path[index]) for index in range(depth)
        )
        self.conv = Conv3x3(config.embed_dim, config.embed_dim)

    def forward(self, joined: Tensor) -> Tensor:
        """``B×H×W×3C`` → the same."""
        _, height, width, _ = joined.shape
        features = joined
        mask = None
        if len(self.blocks) > 1:
            mask = shift_mask(height, width, self.window, self.window // 2, joined.device, joined.dtype)
        for block in self.blocks:
            features = block(features, mask if block.shift else None)
        return self.conv(features) + joined


class ChannelFusion(nn.Module):
    """The learned proximal operator of Eq. 6a-b: mixes a spatially fused side with the estimate, channel by channel."""

    def __init__(self, config: AFUNetConfig) -> None:
        super().__init__()
        self.attention = ChannelCrossAttention(config.branch_dim, config.channel_heads)
        self.refine = Depthwise3x3(config.branch_dim)

    def forward(self, side: Tensor, estimate: Tensor) -> Tensor:
        """``side`` (u_s or v_s) and ``estimate`` (x), ``B×H×W×C`` each → u or v."""
        fused = estimate + self.attention(side, estimate + side)
        return fused + self.refine(fused) + estimate


class DataConsistency(nn.Module):
    """``x_p = B⁻¹(D₂ᵀ y₂ + β₁ u + β₃ v)``: the closed form of Eq. 6c with learned operators."""

    def __init__(self, config: AFUNetConfig) -> None:
        super().__init__()
        dim = config.branch_dim
        self.transpose = MLP(dim, int(dim * config.mlp_ratio), dim)
        self.inverse = MLP(dim, int(dim * config.mlp_ratio), dim)
        self.beta_under = nn.Parameter(torch.tensor(0.5))
        self.beta_over = nn.Parameter(torch.tensor(0.5))

    def forward(self, reference: Tensor, under: Tensor, over: Tensor) -> Tensor:
        """``reference`` (y₂), ``under`` (u) and ``over`` (v), ``B×H×W×C`` each → x_p."""
        return self.inverse(self.transpose(reference) + self.beta_under * under + self.beta_over * over)
