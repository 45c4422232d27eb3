"""Logarithm of the squared error: what a PSNR reports."""

from __future__ import annotations

from torch import Tensor, nn

from afunet_core.losses.reduction import paired, reduced
from afunet_core.radiometry import MU

__all__ = ["DecibelLoss", "decibel_loss"]


def decibel_loss(
    prediction: Tensor,
    target: Tensor,
    linear: float = 0.5,
    mu: float = MU,
    floor: float = 1e-5,
    reduction: str = "mean",
) -> Tensor:
    """Compute the orders of magnitude of each sample's squared error, in the μ domain and in linear light.

    The field reports the mean over scenes of a logarithm of the error. A mean of errors spends nearly all of its
    gradient on the hardest scene; this loss weighs all scenes alike. A tenth of an order is one decibel.

    Args:
        prediction: linear radiance B×C×H×W.
        target: the truth, of the same shape.
        linear: weight of the error in linear light beside that in the μ domain.
        mu: strength of the compression.
        floor: squared error below which a sample no longer matters; keeps the gradient bounded.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or (B,) with ``"none"``; 0 at a squared error of 1, negative below.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: for an unknown reduction.

    Example:
        >>> import torch
        >>> truth = torch.full((1, 3, 4, 4), 0.25)
        >>> decibel_loss(truth, truth, linear=0.0)
        tensor(-5.)
    """
    in_mu = _mean_square(*paired(prediction, target, mu)).add(floor).log10()
    in_light = _mean_square(*paired(prediction, target)).add(floor).log10()
    return reduced(in_mu + linear * in_light, reduction, prediction, target)


class DecibelLoss(nn.Module):
    """Module twin of :func:`decibel_loss`."""

    def __init__(self, linear: float = 0.5, mu: float = MU, floor: float = 1e-5, reduction: str = "mean") -> None:
        super().__init__()
        self.linear, self.mu, self.floor, self.reduction = linear, mu, floor, reduction

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return decibel_loss(prediction, target, self.linear, self.mu, self.floor, self.reduction)


def _mean_square(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().flatten(1).mean(1)
