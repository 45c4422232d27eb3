"""Small layers shared by the modules; features travel as ``B×H×W×C``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def contiguous_if_exporting(x: Tensor) -> Tensor:
    """Copy to plain strides while exporting: comparing symbolic strides would tie the program to some sizes."""
    return x.clone(memory_format=torch.contiguous_format) if torch.compiler.is_exporting() else x


class MLP(nn.Module):
    """Linear, GELU (exact), Linear: how the network learns the operators D₁, D₃, D₂ᵀ and B⁻¹ (Fig. 3 d)."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``…×inputs`` → ``…×outputs``."""
        return self.fc2(F.gelu(self.fc1(x)))


class Conv3x3(nn.Conv2d):
    """3×3 convolution, dense or of each channel by itself, with reflected borders on channels-last features."""

    def __init__(self, inputs: int, outputs: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, 3, padding=1, padding_mode="reflect", groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """``B×H×W×inputs`` → ``B×H×W×outputs``."""
        return super().forward(contiguous_if_exporting(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)


class DropPath(nn.Module):
    """Stochastic depth: during training a residual is dropped for a whole sample with probability ``rate``."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, residual: Tensor, batch: int) -> Tensor:
        """``(batch·n)×…`` → the same, of the same mean; the ``n`` windows of a sample are kept or dropped together."""
        if not self.training or self.rate == 0.0:
            return residual
        keep = 1.0 - self.rate
        factors = ((torch.rand(batch, device=residual.device) < keep) / keep).to(residual.dtype)
        scale = factors.repeat_interleave(residual.shape[0] // batch)
        return residual * scale.reshape(-1, *([1] * (residual.dim() - 1)))
