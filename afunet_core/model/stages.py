"""One unfolded iteration: spatial alignment, fusion in space and across channels, data consistency (Eq. 10 to 15)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from afunet_core.model.attention import (
    ChannelCrossAttention,
    WindowCrossAttention,
    WindowSelfAttention,
    merge_windows,
    shift_mask,
    split_windows,
)
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.layers import MLP, Conv3x3, DropPath

__all__ = ["ChannelFusion", "DataConsistency", "SpatialAlignment", "SpatialFusion", "Stage", "SwinBlock"]


class SpatialAlignment(nn.Module):
    """One gradient step that aligns the feature of an outer frame to the estimate of the scene (SAM, Eq. 4, 11, 12).

    The estimate, degraded by a learned ``D_i`` into what this frame should have recorded, is what each window attends
    to.
    """

    def __init__(self, config: AFUNetConfig, drop_path: float = 0.0) -> None:
        super().__init__()
        dim = config.branch_dim
        self.window = config.window_size
        self.degrade = MLP(dim, int(dim * config.mlp_ratio), dim)
        self.attention = WindowCrossAttention(dim, config.alignment_heads, config.window_size)
        self.refine = Conv3x3(dim, dim, groups=dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, side: Tensor, estimate: Tensor) -> Tensor:
        """Align ``side`` (α_i) to ``estimate`` (x); both ``B×H×W×C``, height and width multiples of the window."""
        batch, height, width, _ = side.shape
        degraded = self.degrade(estimate)
        windows = self.attention(split_windows(side, self.window), split_windows(degraded + side, self.window))
        aligned = degraded + self.drop_path(merge_windows(windows, self.window, height, width), batch)
        return aligned + self.drop_path(self.refine(aligned), batch) + degraded


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
    """The learned proximal operator of Eq. 6a-b: channel attention between a fused side and the estimate (CFM)."""

    def __init__(self, config: AFUNetConfig) -> None:
        super().__init__()
        self.attention = ChannelCrossAttention(config.branch_dim, config.channel_heads)
        self.refine = Conv3x3(config.branch_dim, config.branch_dim, groups=config.branch_dim)

    def forward(self, side: Tensor, estimate: Tensor) -> Tensor:
        """``side`` (u_s or v_s) and ``estimate`` (x), ``B×H×W×C`` each → u or v."""
        fused = estimate + self.attention(side, estimate + side)
        return fused + self.refine(fused) + estimate


class DataConsistency(nn.Module):
    """Data consistency ``x_p = B⁻¹(D₂ᵀ y₂ + β₁ u + β₃ v)``: the closed form of Eq. 6c with learned operators (DCM)."""

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


class Stage(nn.Module):
    """One iteration: align the sides to the estimate, fuse, restore data consistency (Eq. 10 to 15)."""

    def __init__(self, config: AFUNetConfig, depth: int, fusion_drop: list[float], alignment_drop: float) -> None:
        super().__init__()
        dim = config.branch_dim
        hidden = int(dim * config.mlp_ratio)
        self.order = config.order
        self.align_under = SpatialAlignment(config, alignment_drop) if config.alignment else None
        self.align_over = SpatialAlignment(config, alignment_drop) if config.alignment else None
        self.fuse = SpatialFusion(config, depth, fusion_drop)
        self.fuse_under = ChannelFusion(config) if config.channel_fusion else None
        self.fuse_over = ChannelFusion(config) if config.channel_fusion else None
        self.consistency = DataConsistency(config) if config.data_consistency else None
        self.update = MLP(3 * dim, hidden, dim)

    def forward(self, under: Tensor, estimate: Tensor, over: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """α₁, x, α₃ and y₂, ``B×H×W×C`` each → the new α₁, x, α₃."""
        if self.order == "FA":
            estimate = self.fuse_all(under, estimate, over, observed)
        if self.align_under is not None and self.align_over is not None:  # Eq. 11 for both sides
            under, over = self.align_under(under, estimate), self.align_over(over, estimate)
        if self.order == "AF":
            estimate = self.fuse_all(under, estimate, over, observed)
        return under, estimate, over

    def fuse_all(self, under: Tensor, estimate: Tensor, over: Tensor, observed: Tensor) -> Tensor:
        """Eq. 13 to 15: the new estimate."""
        joined = self.fuse(torch.cat([under, estimate, over], dim=-1))
        side_under, residual, side_over = joined.chunk(3, dim=-1)
        if self.fuse_under is not None and self.fuse_over is not None:
            u, v = self.fuse_under(side_under, estimate), self.fuse_over(side_over, estimate)
        else:
            u, v = side_under + estimate, side_over + estimate
        preliminary = estimate if self.consistency is None else self.consistency(observed, u, v)
        return self.update(torch.cat([u, preliminary, v], dim=-1)) + residual
