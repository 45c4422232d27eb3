"""The weighted sum that training minimises.

The field compares in the μ-law domain, where shadows count as they do on a display. That alone neglects highlights,
which fill only a small part of the compressed range: :func:`~afunet_core.losses.radiance.radiance_loss` adds them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afunet_core.errors import ArgumentError
from afunet_core.losses.decibel import decibel_loss
from afunet_core.losses.fourier import fourier_l1_loss
from afunet_core.losses.mu_law import mu_l1_loss
from afunet_core.losses.pair_loss import paired, reduced
from afunet_core.losses.perceptual import VGGFeatures, perceptual_loss
from afunet_core.losses.radiance import radiance_loss
from afunet_core.ops.arguments import Scalar, check_positive, hold, is_number
from afunet_core.radiometry import MU


class HDRLoss(nn.Module):
    """Weighted sum of L1-μ and, where wanted, terms for highlights, structure and texture; always a scalar.

    ``HDRLoss(radiance=0, fourier=0.005)`` is the loss of the published code, ``HDRLoss(radiance=0, perceptual=0.005,
    features=...)`` that of the paper.

    Args:
        mu_l1: weight of :func:`~afunet_core.losses.mu_law.mu_l1_loss`.
        radiance: weight of :func:`~afunet_core.losses.radiance.radiance_loss`.
        fourier: weight of :func:`~afunet_core.losses.fourier.fourier_l1_loss`.
        perceptual: weight of :func:`~afunet_core.losses.perceptual.perceptual_loss`.
        decibel: weight of :func:`~afunet_core.losses.decibel.decibel_loss`.
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

    mu: Scalar

    def __init__(
        self,
        mu_l1: float = 1.0,
        radiance: float = 0.1,
        fourier: float = 0.0,
        perceptual: float = 0.0,
        features: VGGFeatures | str | Path | None = None,
        decibel: float = 0.0,
        radiance_kind: str = "rms",
        mu: Scalar = MU,
    ) -> None:
        super().__init__()
        self.weights = {"mu_l1": mu_l1, "radiance": radiance, "fourier": fourier}
        self.weights |= {"perceptual": perceptual, "decibel": decibel}
        for name, weight in self.weights.items():
            if not (is_number(weight) and 0 <= weight < math.inf):
                raise ArgumentError(name, "a weight of at least 0", repr(weight))
        if not any(self.weights.values()):
            raise ArgumentError(", ".join(self.weights), "one weight above 0", 0.0)
        if perceptual > 0 and features is None:
            raise ArgumentError("features", "VGG-19 features", None, "Give the path of a VGG-19 file.")
        self.features: Any = VGGFeatures.from_file(features) if isinstance(features, str | Path) else features
        check_positive("mu", mu)
        self.radiance_kind = radiance_kind
        hold(self, mu=mu)

    def terms(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compute the terms with a weight above 0, not yet weighted, for a log."""
        functions = {
            "mu_l1": lambda: mu_l1_loss(prediction, target, self.mu),
            "radiance": lambda: radiance_loss(prediction, target, self.radiance_kind),
            "fourier": lambda: fourier_l1_loss(prediction, target, self.mu),
            "perceptual": lambda: perceptual_loss(prediction, target, self.features, self.mu),
            "decibel": lambda: decibel_loss(prediction, target, mu=self.mu),
        }
        return {name: compute() for name, compute in functions.items() if self.weights[name] > 0}

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        terms = self.terms(*paired(prediction, target))
        weighted = torch.stack([self.weights[name] * term for name, term in terms.items()])
        return reduced(weighted, "sum", prediction, target)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={weight}" for name, weight in self.weights.items())
