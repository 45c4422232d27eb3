"""L1 of Fourier transforms."""

from __future__ import annotations

import torch
from torch import Tensor

from afunet_core.losses.pair_loss import PairLoss, paired, reduced
from afunet_core.ops.arguments import Scalar
from afunet_core.radiometry import MU

__all__ = ["FourierL1Loss", "fourier_l1_loss"]


def fourier_l1_loss(
    prediction: Tensor, target: Tensor, mu: Scalar | None = MU, norm: str = "backward", reduction: str = "mean"
) -> Tensor:
    """Compute the absolute difference of the real FFTs, real and imaginary parts apart.

    The AFUNet authors' code adds 0.005 of this to the L1-μ loss, in the μ-law domain and without normalisation.

    Args:
        prediction: linear radiance B×C×H×W.
        target: the truth, of the same shape.
        mu: strength of the compression before the transform, or ``None`` to compare linear radiance.
        norm: ``"backward"`` (none, as the authors), ``"ortho"`` (independent of the size) or ``"forward"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or B×C×H×(W/2+1)×2 with ``"none"``, in the dtype of the images.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: for an unknown reduction.

    Example:
        >>> fourier_l1_loss(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(0.6667)
    """
    difference = torch.sub(*paired(prediction, target, mu))
    if difference.shape[0] == 0:  # MKL refuses to transform nothing
        spectrum = difference[..., : difference.shape[-1] // 2 + 1, None].expand(-1, -1, -1, -1, 2)
    else:
        spectrum = torch.view_as_real(torch.fft.rfft2(difference, norm=norm)).abs()
    return reduced(spectrum, reduction, prediction, target)


class FourierL1Loss(PairLoss):
    """Module twin of :func:`fourier_l1_loss`."""

    def __init__(self, mu: Scalar | None = MU, norm: str = "backward", reduction: str = "mean") -> None:
        super().__init__(fourier_l1_loss, mu=mu, norm=norm, reduction=reduction)
