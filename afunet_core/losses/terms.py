"""Losses between two images: L1 after the μ-law, the error in linear light, L1 of Fourier transforms, decibel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.ops.arguments import Scalar, check_positive, check_tensor, hold
from afunet_core.radiometry import MU, mu_law

__all__ = [
    "DecibelLoss",
    "FourierL1Loss",
    "MuL1Loss",
    "RadianceLoss",
    "decibel_loss",
    "fourier_l1_loss",
    "mu_l1_loss",
    "radiance_loss",
]

_REDUCTIONS = ("mean", "sum", "none")
# Added to the squared error: the root is vertical at 0. Errors below a millionth of saturation are left alone.
_TINY = 1e-12
_FLOOR = 1e-5  # of squared errors whose logarithm is taken: keeps the gradient bounded
_LINEAR = 0.5  # weight of linear light beside the μ domain


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
    error = torch.sub(*images).abs() if kind == "l1" else (_mean_square(*images) + _TINY).sqrt()
    return reduced(error, reduction, prediction, target)


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
        >>> truth = torch.full((1, 3, 4, 4), 0.25)
        >>> decibel_loss(truth, truth)
        tensor(-7.5000)
    """
    check_positive("mu", mu)
    in_mu = (_mean_square(*paired(prediction, target, mu)) + _FLOOR).log10()
    in_light = (_mean_square(*paired(prediction, target)) + _FLOOR).log10()
    return reduced(in_mu + _LINEAR * in_light, reduction, prediction, target)


class PairLoss(nn.Module):
    """Module twin of a loss function: holds the options that it is called with."""

    def __init__(self, function: Callable[..., Tensor], **options: Any) -> None:
        super().__init__()
        self.function, self.options = function, tuple(options)
        hold(self, **options)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target, **{name: getattr(self, name) for name in self.options})


class MuL1Loss(PairLoss):
    """Module twin of :func:`mu_l1_loss`."""

    def __init__(self, mu: Scalar = MU, reduction: str = "mean") -> None:
        super().__init__(mu_l1_loss, mu=mu, reduction=reduction)


class RadianceLoss(PairLoss):
    """Module twin of :func:`radiance_loss`."""

    def __init__(self, kind: str = "rms", reduction: str = "mean") -> None:
        super().__init__(radiance_loss, kind=kind, reduction=reduction)


class FourierL1Loss(PairLoss):
    """Module twin of :func:`fourier_l1_loss`."""

    def __init__(self, mu: Scalar | None = MU, norm: str = "backward", reduction: str = "mean") -> None:
        super().__init__(fourier_l1_loss, mu=mu, norm=norm, reduction=reduction)


class DecibelLoss(PairLoss):
    """Module twin of :func:`decibel_loss`."""

    def __init__(self, mu: Scalar = MU, reduction: str = "mean") -> None:
        super().__init__(decibel_loss, mu=mu, reduction=reduction)


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


def _mean_square(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().flatten(1).mean(1)
