"""Error in linear light."""

from __future__ import annotations

import torch
from torch import Tensor

from afunet_core.errors import ArgumentError
from afunet_core.losses.pair_loss import PairLoss, mean_square, paired, reduced

__all__ = ["RadianceLoss", "radiance_loss"]

# Added to the squared error: the root is vertical at 0. Errors below a millionth of saturation are left alone.
_TINY = 1e-12


def radiance_loss(prediction: Tensor, target: Tensor, kind: str = "rms", reduction: str = "mean") -> Tensor:
    """Compute the error in linear light, where highlights are large: after the μ-law they fill little of the range.

    Args:
        prediction: linear radiance B×C×H×W.
        target: the truth, of the same shape.
        kind: ``"rms"``, the root of each sample's mean squared error: its logarithm is PSNR-l, and the root keeps one
            bright scene from dominating the batch; or ``"l1"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar; with ``"none"`` (B,) for ``"rms"`` and B×C×H×W for ``"l1"``. In the dtype of the images.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: for an unknown kind or reduction.

    Example:
        >>> radiance_loss(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5))
        tensor(0.5000)
    """
    if kind not in ("rms", "l1"):
        raise ArgumentError("kind", "'rms' or 'l1'", repr(kind))
    images = paired(prediction, target)
    error = torch.sub(*images).abs() if kind == "l1" else (mean_square(*images) + _TINY).sqrt()
    return reduced(error, reduction, prediction, target)


class RadianceLoss(PairLoss):
    """Module twin of :func:`radiance_loss`."""

    def __init__(self, kind: str = "rms", reduction: str = "mean") -> None:
        super().__init__(radiance_loss, kind=kind, reduction=reduction)
