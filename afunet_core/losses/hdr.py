"""What training minimises. Predictions and truths are linear radiance, B×C×H×W; every loss is one number.

The field compares in the μ-law domain, where shadows count as they do on a display. That alone leaves highlights
behind, which fill only a small part of the compressed range: :func:`radiance_loss` gives them their share.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.losses.perceptual import VGGFeatures
from afunet_core.radiometry import MU, mu_law

__all__ = [
    "DecibelLoss",
    "FourierL1Loss",
    "HDRLoss",
    "MuL1Loss",
    "RadianceLoss",
    "VGGPerceptualLoss",
    "decibel_loss",
    "fourier_l1_loss",
    "mu_l1_loss",
    "perceptual_loss",
    "radiance_loss",
]


def mu_l1_loss(prediction: Tensor, target: Tensor, mu: float = MU) -> Tensor:
    """Mean absolute difference after the μ-law: the base of nearly every HDR merging network since 2017.

    Args:
        prediction: linear radiance B×C×H×W.
        target: the truth, of the same shape.
        mu: strength of the compression.

    Returns:
        A scalar; float32 for half-precision inputs.

    Raises:
        ShapeError: if the shapes differ.

    Example:
        >>> mu_l1_loss(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
        tensor(1.)
    """
    prediction, target = _pair(prediction, target, mu)
    return (prediction - target).abs().mean()


def radiance_loss(prediction: Tensor, target: Tensor, kind: str = "rms") -> Tensor:
    """Difference in linear light, where highlights are large.

    Args:
        prediction: linear radiance B×C×H×W.
        target: the truth, of the same shape.
        kind: ``"rms"``, the root of each sample's mean squared error, averaged over samples: its logarithm is PSNR-l,
            and the root keeps one bright scene from drowning the batch; or ``"l1"``.

    Returns:
        A scalar; float32 for half-precision inputs.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: for an unknown kind.

    Example:
        >>> radiance_loss(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5))
        tensor(0.5000)
    """
    if kind not in ("rms", "l1"):
        raise ArgumentError("kind", "'rms' or 'l1'", repr(kind))
    prediction, target = _pair(prediction, target, None)
    if kind == "l1":
        return (prediction - target).abs().mean()
    squared = ((prediction - target) ** 2).flatten(1).mean(1)
    # The root is vertical at 0; errors below a millionth of saturation are left alone.
    return (squared + 1e-12).sqrt().mean()


def fourier_l1_loss(prediction: Tensor, target: Tensor, mu: float | None = MU, norm: str = "backward") -> Tensor:
    """Mean absolute difference of the real FFTs, real and imaginary parts apart.

    The AFUNet authors' code adds 0.005 of this to :func:`mu_l1_loss`, in the μ-law domain and without normalisation.

    Args:
        prediction: linear radiance B×C×H×W.
        target: the truth, of the same shape.
        mu: strength of the compression before the transform, or ``None`` to compare linear radiance.
        norm: ``"backward"`` (none, as the authors), ``"ortho"`` (independent of the size) or ``"forward"``.

    Returns:
        A scalar; float32 for half-precision inputs.

    Raises:
        ShapeError: if the shapes differ.

    Example:
        >>> fourier_l1_loss(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(0.6667)
    """
    prediction, target = _pair(prediction, target, mu)
    spectrum = torch.fft.rfft2(prediction - target, norm=norm)
    return torch.view_as_real(spectrum).abs().mean()


def perceptual_loss(prediction: Tensor, target: Tensor, features: VGGFeatures, mu: float | None = MU) -> Tensor:
    """Sum over layers of the mean absolute difference between VGG-19 features.

    Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016; the
    AFUNet paper adds 0.005 of this to :func:`mu_l1_loss`, on relu1_1 to relu5_1.

    Args:
        prediction: linear radiance B×3×H×W.
        target: the truth, of the same shape; no gradient flows into it.
        features: the network, from :meth:`~afunet_core.losses.perceptual.VGGFeatures.from_file`.
        mu: strength of the compression that makes pictures of the radiance, or ``None`` if both are pictures already.

    Returns:
        A scalar.

    Raises:
        ShapeError: if the shapes differ or there are not 3 channels.
    """
    prediction, target = _pair(prediction, target, mu)
    if prediction.shape[1] != 3:
        raise ShapeError("prediction", "3 channels", tuple(prediction.shape), "Repeat a grey channel three times.")
    with torch.no_grad():
        wanted = features(target)
    found = features(prediction)
    return torch.stack([(found[layer] - wanted[layer]).abs().mean() for layer in wanted]).sum()


def decibel_loss(
    prediction: Tensor, target: Tensor, linear: float = 0.5, mu: float = MU, floor: float = 1e-5
) -> Tensor:
    """Orders of magnitude of the squared error, in the μ domain and in linear light, averaged over samples.

    What the field reports is the mean over scenes of a logarithm of the error. A mean of errors spends nearly all of
    its gradient on the hardest scene; this one pulls on each scene alike, and a tenth of an order is one decibel
    wherever it is gained.

    Args:
        prediction: linear radiance B×C×H×W.
        target: the truth, of the same shape.
        linear: weight of the error in linear light beside that in the μ domain.
        mu: strength of the compression.
        floor: squared error below which a sample stops to matter; keeps the gradient bounded.

    Returns:
        A scalar; 0 at a squared error of 1, negative below.

    Raises:
        ShapeError: if the shapes differ.

    Example:
        >>> truth = torch.full((1, 3, 4, 4), 0.25)
        >>> decibel_loss(truth, truth, linear=0.0)
        tensor(-5.)
    """
    in_mu = _mean_square(*_pair(prediction, target, mu)).add(floor).log10()
    in_light = _mean_square(*_pair(prediction, target, None)).add(floor).log10()
    return (in_mu + linear * in_light).mean()


def _mean_square(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().flatten(1).mean(1)


class DecibelLoss(nn.Module):
    """Module twin of :func:`decibel_loss`."""

    def __init__(self, linear: float = 0.5, mu: float = MU, floor: float = 1e-5) -> None:
        super().__init__()
        self.linear, self.mu, self.floor = linear, mu, floor

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return decibel_loss(prediction, target, self.linear, self.mu, self.floor)


class MuL1Loss(nn.Module):
    """Module twin of :func:`mu_l1_loss`."""

    def __init__(self, mu: float = MU) -> None:
        super().__init__()
        self.mu = mu

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return mu_l1_loss(prediction, target, self.mu)


class RadianceLoss(nn.Module):
    """Module twin of :func:`radiance_loss`."""

    def __init__(self, kind: str = "rms") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return radiance_loss(prediction, target, self.kind)


class FourierL1Loss(nn.Module):
    """Module twin of :func:`fourier_l1_loss`."""

    def __init__(self, mu: float | None = MU, norm: str = "backward") -> None:
        super().__init__()
        self.mu, self.norm = mu, norm

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return fourier_l1_loss(prediction, target, self.mu, self.norm)


class VGGPerceptualLoss(nn.Module):
    """Module twin of :func:`perceptual_loss`, with the VGG-19 features it compares.

    Args:
        weights_path: a VGG-19 file, as :meth:`~afunet_core.losses.perceptual.VGGFeatures.from_file` reads.
        layers: names such as ``"relu2_1"``; ``None`` takes those of relu1_1 … relu5_1 that the file holds.
        mu: strength of the compression, or ``None`` if inputs are pictures already.

    Raises:
        CheckpointError: if the file is not VGG-19 or ends before a layer that was asked for.
    """

    def __init__(self, weights_path: str | Path, layers: tuple[str, ...] | None = None, mu: float | None = MU) -> None:
        super().__init__()
        self.features = VGGFeatures.from_file(weights_path, layers)
        self.mu = mu

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return perceptual_loss(prediction, target, self.features, self.mu)


class HDRLoss(nn.Module):
    """The weighted sum training minimises: L1-μ, plus a share for highlights, structure and texture where wanted.

    ``HDRLoss(radiance=0, fourier=0.005)`` is the loss of the published code, ``HDRLoss(radiance=0, perceptual=0.005,
    features=...)`` that of the paper.

    Args:
        mu_l1: weight of :func:`mu_l1_loss`.
        radiance: weight of :func:`radiance_loss`.
        fourier: weight of :func:`fourier_l1_loss`.
        perceptual: weight of :func:`perceptual_loss`.
        decibel: weight of :func:`decibel_loss`.
        features: VGG-19 features or a file of them, needed with ``perceptual``.
        radiance_kind: ``"rms"`` or ``"l1"``.
        mu: strength of the compression.

    Raises:
        ArgumentError: for a negative weight, none above 0, or ``perceptual`` without ``features``.

    Example:
        >>> loss = HDRLoss(radiance=0.5)
        >>> loss(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))
        tensor(1.5000)
    """

    def __init__(
        self,
        mu_l1: float = 1.0,
        radiance: float = 0.1,
        fourier: float = 0.0,
        perceptual: float = 0.0,
        features: VGGFeatures | str | Path | None = None,
        decibel: float = 0.0,
        radiance_kind: str = "rms",
        mu: float = MU,
    ) -> None:
        super().__init__()
        self.weights = {
            "mu_l1": mu_l1,
            "radiance": radiance,
            "fourier": fourier,
            "perceptual": perceptual,
            "decibel": decibel,
        }
        for name, weight in self.weights.items():
            if not weight >= 0:
                raise ArgumentError(name, "a weight of at least 0", weight)
        if not any(self.weights.values()):
            raise ArgumentError("mu_l1, radiance, fourier, perceptual, decibel", "one weight above 0", 0.0)
        if perceptual > 0 and features is None:
            raise ArgumentError("features", "VGG-19 features", None, "Give the path of a VGG-19 file.")
        self.features = VGGFeatures.from_file(features) if isinstance(features, str | Path) else features
        self.radiance_kind, self.mu = radiance_kind, mu

    def terms(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The terms with a weight above 0, not yet weighted, for a log."""
        terms: dict[str, Tensor] = {}
        if self.weights["mu_l1"] > 0:
            terms["mu_l1"] = mu_l1_loss(prediction, target, self.mu)
        if self.weights["radiance"] > 0:
            terms["radiance"] = radiance_loss(prediction, target, self.radiance_kind)
        if self.weights["fourier"] > 0:
            terms["fourier"] = fourier_l1_loss(prediction, target, self.mu)
        if self.weights["perceptual"] > 0 and self.features is not None:
            terms["perceptual"] = perceptual_loss(prediction, target, self.features, self.mu)
        if self.weights["decibel"] > 0:
            terms["decibel"] = decibel_loss(prediction, target, mu=self.mu)
        return terms

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        terms = self.terms(prediction, target)
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={weight}" for name, weight in self.weights.items())


def _pair(prediction: Tensor, target: Tensor, mu: float | None) -> tuple[Tensor, Tensor]:
    """Both images in the domain of the comparison, in single precision at least: means of half floats are coarse."""
    if prediction.ndim != 4 or prediction.shape != target.shape:
        raise ShapeError("prediction", f"B×C×H×W like the target {tuple(target.shape)}", tuple(prediction.shape))
    if prediction.dtype in (torch.float16, torch.bfloat16):
        prediction = prediction.float()
    target = target.to(prediction.dtype)
    return (prediction, target) if mu is None else (mu_law(prediction, mu), mu_law(target, mu))
