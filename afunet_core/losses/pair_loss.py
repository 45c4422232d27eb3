"""Checks, reductions and module twins that losses between two images share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.ops.arguments import Scalar, check_tensor, hold
from afunet_core.radiometry import mu_law

_REDUCTIONS = ("mean", "sum", "none")


class PairLoss(nn.Module):
    """Module twin of a loss function: holds the options that it is called with."""

    def __init__(self, function: Callable[..., Tensor], **options: Any) -> None:
        super().__init__()
        self.function, self.options = function, tuple(options)
        hold(self, **options)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target, **{name: getattr(self, name) for name in self.options})


def paired(prediction: Tensor, target: Tensor, mu: Scalar | None = None) -> tuple[Tensor, Tensor]:
    """Check both images and return them, after the μ-law if asked, in single precision at least."""
    check_tensor("prediction", prediction)
    check_tensor("target", target)
    if prediction.ndim != 4 or prediction.shape != target.shape:
        raise ShapeError("prediction", f"B×C×H×W like the target {tuple(target.shape)}", tuple(prediction.shape))
    working = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    prediction, target = prediction.to(working), target.to(working)
    return (prediction, target) if mu is None else (mu_law(prediction, mu), mu_law(target, mu))


def reduced(values: Tensor, reduction: str, prediction: Tensor, target: Tensor) -> Tensor:
    """Apply a reduction as torch and kornia name it, and return it in the dtype of the images compared."""
    if reduction not in _REDUCTIONS:
        raise ArgumentError("reduction", f"one of {', '.join(_REDUCTIONS)}", repr(reduction))
    if reduction != "none":
        values = values.mean() if reduction == "mean" else values.sum()
    return values.to(torch.promote_types(prediction.dtype, target.dtype))


def mean_square(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the mean squared difference of each sample, (B,)."""
    return (prediction - target).square().flatten(1).mean(1)
