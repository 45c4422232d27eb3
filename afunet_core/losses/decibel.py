"""Orders of magnitude of the error, which weigh all scenes alike."""

from __future__ import annotations

from torch import Tensor

from afunet_core.losses.pair_loss import PairLoss, mean_square, paired, reduced
from afunet_core.ops.arguments import Scalar, check_positive
from afunet_core.radiometry import MU

__all__ = ["DecibelLoss", "decibel_loss"]

_FLOOR = 1e-5  # of squared errors whose logarithm is taken: keeps the gradient bounded
_LINEAR = 0.5  # weight of linear light beside the μ domain


def decibel_loss(prediction: Tensor, target: Tensor, mu: Scalar = MU, reduction: str = "mean") -> Tensor:
    """Compute the orders of magnitude of each sample's squared error: in the μ domain, and half of it in linear light.

    The field reports the mean over scenes of a logarithm of the error, PSNR. A mean of errors spends nearly all of its
    gradient on the hardest scene; this loss weighs all scenes alike. A tenth of an order is one decibel. Squared errors
    below 1e-5 no longer matter.

    Args:
        prediction: linear radiance B×C×H×W.
        target: the truth, of the same shape.
        mu: strength of the compression.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or (B,) with ``"none"``; 0 at a squared error of 1, negative below.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: for an unknown reduction, or a ``mu`` that is not above 0.

    Example:
        >>> import torch
        >>> truth = torch.full((1, 3, 4, 4), 0.25)
        >>> decibel_loss(truth, truth)
        tensor(-7.5000)
    """
    check_positive("mu", mu)
    in_mu = (mean_square(*paired(prediction, target, mu)) + _FLOOR).log10()
    in_light = (mean_square(*paired(prediction, target)) + _FLOOR).log10()
    return reduced(in_mu + _LINEAR * in_light, reduction, prediction, target)


class DecibelLoss(PairLoss):
    """Module twin of :func:`decibel_loss`."""

    def __init__(self, mu: Scalar = MU, reduction: str = "mean") -> None:
        super().__init__(decibel_loss, mu=mu, reduction=reduction)
