"""Checks and reductions shared by the losses."""

from __future__ import annotations

import torch
from torch import Tensor

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.ops.arguments import Scalar, check_tensor
from afunet_core.radiometry import mu_law

REDUCTIONS = ("mean", "sum", "none")


def paired(prediction: Tensor, target: Tensor, mu: Scalar | None = None) -> tuple[Tensor, Tensor]:
    """Check both images and return them, after the μ-law if asked, in single precision at least."""
    check_tensor("prediction", prediction)
    check_tensor("target", target)
    if prediction.ndim != 4 or prediction.shape != target.shape:
        raise ShapeError("prediction", f"B×C×H×W like the target {tuple(target.shape)}", tuple(prediction.shape))
    working = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    prediction, target = prediction.to(working), target.to(working)
    return (prediction, target) if mu is None else (mu_law(prediction, mu), mu_law(target, mu))


def reduced(values: Tensor, reduction: str, *images: Tensor) -> Tensor:
    """Apply a reduction as torch and kornia name it, and return it in the dtype of the images compared."""
    if reduction not in REDUCTIONS:
        raise ArgumentError("reduction", f"one of {', '.join(REDUCTIONS)}", repr(reduction))
    if reduction != "none":
        values = values.mean() if reduction == "mean" else values.sum()
    return values.to(torch.promote_types(images[0].dtype, images[-1].dtype)) if images else values
