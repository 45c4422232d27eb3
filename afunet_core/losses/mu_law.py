"""L1 after the μ-law."""

from __future__ import annotations

import torch
from torch import Tensor

from afunet_core.losses.pair_loss import PairLoss, paired, reduced
from afunet_core.ops.arguments import Scalar, check_positive
from afunet_core.radiometry import MU

__all__ = ["MuL1Loss", "mu_l1_loss"]


def mu_l1_loss(prediction: Tensor, target: Tensor, mu: Scalar = MU, reduction: str = "mean") -> Tensor:
    """Compute the absolute difference after the μ-law, where shadows count as they do on a display.

    The loss of most HDR merging networks since N. K. Kalantari, R. Ramamoorthi, "Deep High Dynamic Range Imaging of
    Dynamic Scenes", SIGGRAPH 2017.

    Args:
        prediction: linear radiance B×C×H×W.
        target: the truth, of the same shape.
        mu: strength of the compression.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or B×C×H×W with ``"none"``, in the dtype of the images.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: for an unknown reduction, or a ``mu`` that is not above 0.

    Example:
        >>> mu_l1_loss(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
        tensor(1.)
    """
    check_positive("mu", mu)
    return reduced(torch.sub(*paired(prediction, target, mu)).abs(), reduction, prediction, target)


class MuL1Loss(PairLoss):
    """Module twin of :func:`mu_l1_loss`."""

    def __init__(self, mu: Scalar = MU, reduction: str = "mean") -> None:
        super().__init__(mu_l1_loss, mu=mu, reduction=reduction)
