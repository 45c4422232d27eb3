"""Logarithm of the squared error: what a PSNR reports."""

from __future__ import annotations

from torch import Tensor, nn

from afunet_core.losses.reduction import paired, reduced
from afunet_core.ops.arguments import Scalar, check_not_negative, check_positive, hold, per_result
from afunet_core.radiometry import MU


def decibel_loss(
    prediction: Tensor,
    target: Tensor,
    linear: Scalar = 0.5,
    mu: Scalar = MU,
    floor: Scalar = 1e-5,
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
        ArgumentError: for an unknown reduction, a ``mu`` that is not above 0, or a negative ``linear`` or ``floor``.

    Example:
        >>> import torch
        >>> truth = torch.full((1, 3, 4, 4), 0.25)
        >>> decibel_loss(truth, truth, linear=0.0)
        tensor(-5.)
    """
    for name, number in {"linear": linear, "floor": floor}.items():
        check_not_negative(name, number)
    check_positive("mu", mu)
    images = paired(prediction, target)
    least, share = per_result("floor", floor, images[0]), per_result("linear", linear, images[0])
    in_mu = (_mean_square(*paired(prediction, target, mu)) + least).log10()
    in_light = (_mean_square(*images) + least).log10()
    return reduced(in_mu + share * in_light, reduction, prediction, target)


class DecibelLoss(nn.Module):
    """Module twin of :func:`decibel_loss`."""

    linear: Scalar
    mu: Scalar
    floor: Scalar

    def __init__(self, linear: Scalar = 0.5, mu: Scalar = MU, floor: Scalar = 1e-5, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction
        hold(self, linear=linear, mu=mu, floor=floor)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return decibel_loss(prediction, target, self.linear, self.mu, self.floor, self.reduction)


def _mean_square(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().flatten(1).mean(1)
