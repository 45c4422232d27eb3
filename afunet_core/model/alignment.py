"""Spatial alignment (SAM): one gradient step on the alignment subproblem (Eq. 4, 11, 12)."""

from __future__ import annotations

from torch import Tensor, nn

from afunet_core.model.attention import WindowCrossAttention, merge_windows, split_windows
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.layers import MLP, Depthwise3x3, DropPath

__all__ = ["SpatialAlignment"]


class SpatialAlignment(nn.Module):
    """Moves the feature of an outer frame towards the current estimate of the scene.

    The estimate ``x`` is degraded by a learned ``D_i`` into what this frame should have seen; each window of
    the frame's feature then looks it up by attention.
    """

    def __init__(self, config: AFUNetConfig, drop_path: float = 0.0) -> None:
        super().__init__()
        dim = config.branch_dim
        self.window = config.window_size
        self.degrade = MLP(dim, int(dim * config.mlp_ratio), dim)
        self.attention = WindowCrossAttention(dim, config.alignment_heads, config.window_size)
        self.refine = Depthwise3x3(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, side: Tensor, estimate: Tensor) -> Tensor:
        """Align ``side`` (α_i) to ``estimate`` (x); both ``B×H×W×C``, height and width multiples of the window."""
        degraded, attended = self.attend(side, estimate)
        return self.refine_aligned(degraded, attended)

    def attend(self, side: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
        """The part that stays inside windows: ``d = D_i(x)`` and ``r = d + attention(α; d + α)``."""
        batch, height, width, _ = side.shape
        degraded = self.degrade(estimate)
        query = split_windows(side, self.window)
        context = split_windows(degraded + side, self.window)
        attended = merge_windows(self.attention(query, context), self.window, height, width)
        return degraded, degraded + self.drop_path(attended, batch)

    def refine_aligned(self, degraded: Tensor, aligned: Tensor) -> Tensor:
        """The part that looks one pixel around: ``r + depthwise(r) + d``."""
        batch = aligned.shape[0]
        return aligned + self.drop_path(self.refine(aligned), batch) + degraded
