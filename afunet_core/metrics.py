"""Metrics of the field between two radiance images, each named after its definition.

Inputs are B×C×H×W; results are one number per sample, shape (B,), for any number of samples. The field averages the
decibels of scenes, not their errors, so average the results. Every function is differentiable and works for any
floating dtype and device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import kornia
import torch
from torch import Tensor

from afunet_core.errors import ShapeError, TensorTypeError
from afunet_core.ops.arguments import Scalar, check_positive, check_tensor, per_result, per_sample
from afunet_core.ops.strips import in_haloed_strips
from afunet_core.radiometry import MU, mu_law

__all__ = ["METRICS", "Metric", "psnr", "psnr_linear", "psnr_mu", "ssim", "ssim_authors", "ssim_linear", "ssim_mu"]

_WINDOW = 11
# SSIM looks at so many at a time: the window's images of them stay in the cache, and never fill the memory.
_PIXELS_AT_ONCE = 1 << 18
_SSIM = "11×11 Gaussian σ 1.5, K1 0.01, K2 0.03, valid region, mean over channels"


# kornia's psnr knows no mask, and pools the samples of a batch.
def psnr(image: Tensor, target: Tensor, max_val: Scalar = 1.0, mask: Tensor | None = None) -> Tensor:
    r"""Compute the peak signal-to-noise ratio in decibels, :math:`10 \log_{10}(p^2 / \mathrm{MSE})`.

    Args:
        image: B×C×H×W.
        target: the truth, of the same shape.
        max_val: the value that counts as full signal, p; a number, or one per sample (B,).
        mask: B×1×H×W, True (or 1) where pixels count; fractions weigh. Without it every pixel counts.

    Returns:
        Decibels (B,): ``inf`` for equal images, ``nan`` where the mask selects nothing.

    Raises:
        TensorTypeError: unless both are floating-point tensors.
        ShapeError: if the shapes differ or the mask does not fit.
        ArgumentError: if ``max_val`` is not above 0.

    Example:
        >>> psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1))
        tensor([20.])
    """
    _check_pair(image, target)
    check_positive("max_val", max_val)
    squared = (image - target) ** 2
    if mask is None:
        error = squared.mean((1, 2, 3))
    else:
        if not isinstance(mask, Tensor) or mask.is_complex():
            raise TensorTypeError("mask", "a tensor of numbers or of True and False", f"a {type(mask).__name__}")
        if mask.ndim != 4 or mask.shape[2:] != image.shape[2:] or len(mask) not in (1, len(image)):
            raise ShapeError("mask", f"B×1×H×W that fits {tuple(image.shape)}", tuple(mask.shape))
        weight = mask.to(squared).expand_as(squared)
        error = (squared * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    return 10 * torch.log10(per_result("max_val", max_val, image) ** 2 / error)


def psnr_linear(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute PSNR-l: :func:`psnr` of linear radiance clipped to [0, 1], peak 1.

    Example:
        >>> psnr_linear(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.01))
        tensor([40.])
    """
    return psnr(*_unit(image, target), mask=mask)


def psnr_mu(image: Tensor, target: Tensor, mu: Scalar = MU, mask: Tensor | None = None) -> Tensor:
    """Compute PSNR-μ: :func:`psnr` after the μ-law of linear radiance clipped to [0, 1], peak 1.

    Example:
        >>> round(psnr_mu(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.01)).item(), 2)
        6.71
    """
    check_positive("mu", mu)
    return psnr(*_unit(image, target, mu), mask=mask)


def ssim(image: Tensor, target: Tensor, max_val: Scalar = 1.0) -> Tensor:
    """Compute the structural similarity of Wang et al., the mean over channels and the valid region.

    Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
    TIP 2004: 11×11 Gaussian window of σ 1.5, K1 = 0.01, K2 = 0.03, weighted (not sample) covariance. Equal to
    scikit-image's ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`` away from
    the border, which is left out here as in the original. The map is :func:`kornia.metrics.ssim`'s, with ``eps=0``.

    Args:
        image: B×C×H×W, at least 11×11 pixels.
        target: the truth, of the same shape.
        max_val: the range of the data, L in the paper; a number, or one per sample (B,).

    Returns:
        Similarity (B,), 1 for equal images.

    Raises:
        TensorTypeError: unless both are floating-point tensors.
        ShapeError: if the shapes differ or are smaller than the window.
        ArgumentError: if ``max_val`` is not above 0.

    Example:
        >>> x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
        >>> ssim(x, x)
        tensor([1.], dtype=torch.float64)
    """
    _check_pair(image, target)
    check_positive("max_val", max_val)
    if min(image.shape[-2:]) < _WINDOW:
        expected = f"at least {_WINDOW}×{_WINDOW} pixels"
        raise ShapeError("image", expected, tuple(image.shape), "Its window does not fit.")
    if isinstance(max_val, Tensor):
        image, target = (x / per_sample("max_val", max_val, x) for x in (image, target))
    peak = 1.0 if isinstance(max_val, Tensor) else float(max_val)  # kornia takes no NumPy scalar

    def similarity(x: Tensor, y: Tensor) -> Tensor:
        if x.is_meta:  # kornia's SSIM switches autocast off, and meta devices have none
            return x * y
        # A strip is not contiguous, and only of contiguous images does kornia take the layout that is fast on a CPU.
        return kornia.metrics.ssim(x.contiguous(), y.contiguous(), _WINDOW, max_val=peak, eps=0.0)

    radius, pixels = _WINDOW // 2, _PIXELS_AT_ONCE // max(image.shape[0], 1)
    found = in_haloed_strips(similarity, radius, image, target, pixels=pixels)
    return found[..., radius:-radius, radius:-radius].mean((2, 3)).mean(1)


def ssim_linear(image: Tensor, target: Tensor) -> Tensor:
    """Compute SSIM-l: :func:`ssim` of linear radiance clipped to [0, 1], peak 1."""
    return ssim(*_unit(image, target))


def ssim_mu(image: Tensor, target: Tensor, mu: Scalar = MU) -> Tensor:
    """Compute SSIM-μ: :func:`ssim` after the μ-law of linear radiance clipped to [0, 1], peak 1."""
    check_positive("mu", mu)
    return ssim(*_unit(image, target, mu))


def ssim_authors(image: Tensor, target: Tensor) -> Tensor:
    """Compute SSIM as the AFUNet authors do: values × 255 clipped to [0, 255], peak 255, all channels pooled.

    SSIM does not change when values and peak are scaled together, and pooling channels of equal size is averaging them:
    on images inside [0, 1] this equals :func:`ssim`, and differs from it only by clipping what lies outside. It is kept
    under its own name so that a table can say which one it shows; the -μ figure wants both images μ-law first.

    Args:
        image: B×C×H×W, linear or μ-law, nominally in [0, 1], at least 11×11 pixels.
        target: the truth, of the same shape.

    Returns:
        Similarity (B,).
    """
    _check_pair(image, target)
    return ssim((image * 255).clamp(0, 255), (target * 255).clamp(0, 255), max_val=255.0)


@dataclass(frozen=True)
class Metric:
    """A metric with its definition, unit and peak, for tables."""

    function: Callable[[Tensor, Tensor], Tensor]  # (image, target) → (B,), on linear radiance
    definition: str  # what is computed, in words
    unit: str  # "dB" or ""
    peak: float  # the value that counts as full signal


_AUTHORS = "SSIM as the AFUNet authors compute it: "
_POOLED = " × 255, clipped to [0, 255], valid region, channels pooled"
METRICS: dict[str, Metric] = {
    "PSNR-μ": Metric(psnr_mu, "PSNR after μ-law (μ = 5000) of linear radiance clipped to [0, 1]", "dB", 1.0),
    "PSNR-l": Metric(psnr_linear, "PSNR of linear radiance clipped to [0, 1]", "dB", 1.0),
    "SSIM-μ": Metric(ssim_mu, f"SSIM ({_SSIM}) after μ-law (μ = 5000) of radiance clipped to [0, 1]", "", 1.0),
    "SSIM-l": Metric(ssim_linear, f"SSIM ({_SSIM}) of linear radiance clipped to [0, 1]", "", 1.0),
    "SSIM-μ (authors)": Metric(
        lambda x, y: ssim_authors(mu_law(x), mu_law(y)), f"{_AUTHORS}after μ-law,{_POOLED}", "", 255.0
    ),
    "SSIM-l (authors)": Metric(ssim_authors, f"{_AUTHORS}linear{_POOLED}", "", 255.0),
}


def _unit(image: Tensor, target: Tensor, mu: Scalar | None = None) -> tuple[Tensor, Tensor]:
    """Clip both images to [0, 1], and compress them with the μ-law if ``mu`` is given."""
    _check_pair(image, target)
    image, target = image.clamp(0.0, 1.0), target.clamp(0.0, 1.0)
    return (image, target) if mu is None else (mu_law(image, mu), mu_law(target, mu))


def _check_pair(image: Tensor, target: Tensor) -> None:
    check_tensor("image", image)
    check_tensor("target", target)
    if image.ndim != 4 or 0 in image.shape[1:]:
        raise ShapeError("image", "B×C×H×W with at least one pixel", tuple(image.shape))
    if image.shape != target.shape:
        raise ShapeError("image", f"B×C×H×W like the target {tuple(target.shape)}", tuple(image.shape))
