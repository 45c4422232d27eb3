"""From radiance to the numbers in a picture file: photon and read noise, camera curves, quantisation, JPEG."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

__all__ = ["add_sensor_noise", "jpeg_artefacts", "quantize", "srgb_decode", "srgb_encode"]


def add_sensor_noise(exposed: Tensor, gain: Tensor | float, read: Tensor | float, noise: Tensor) -> Tensor:
    """Photon and read noise of a linear sensor, var = gain·x + read², in units where 1.0 is full well.

    Photon noise is Gaussian here: at the levels that matter (more than 20 electrons) it does not differ from Poisson.

    Args:
        exposed: radiance times exposure, 1.0 = full well; not yet clipped.
        gain: inverse of the full-well electron count (3e-5 at ISO 100 to 3e-3 at ISO 6400).
        read: standard deviation of the read noise.
        noise: standard normal draw of the same shape.

    Example:
        >>> add_sensor_noise(torch.tensor([0.25]), 0.0, 0.1, torch.tensor([1.0]))
        tensor([0.3500])
    """
    return exposed + noise * (gain * exposed + read**2).sqrt()


def quantize(encoded: Tensor, bits: int | None) -> Tensor:
    """Round encoded values in [0, 1] to the levels of a `bits`-bit file; None leaves them alone.

    Example:
        >>> quantize(torch.tensor([0.4, 0.6]), 1)
        tensor([0., 1.])
    """
    if bits is None:
        return encoded
    levels = 2**bits - 1
    return (encoded * levels).round() / levels


def srgb_encode(linear: Tensor) -> Tensor:
    """Linear light in [0, 1] → sRGB (IEC 61966-2-1)."""
    curved = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curved)


def srgb_decode(encoded: Tensor) -> Tensor:
    """sRGB in [0, 1] → linear light, the inverse of `srgb_encode`."""
    curved = ((encoded.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, curved)


def jpeg_artefacts(encoded: Tensor, quality: int) -> Tensor:
    """Pass N×3×H×W encoded pictures through a real JPEG codec, on the CPU."""
    import imageio.v3 as imageio

    pixels = (encoded.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    decoded = [_jpeg_round_trip(imageio, picture, quality) for picture in pixels]
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).to(encoded) / 255


def _jpeg_round_trip(imageio: object, picture: np.ndarray, quality: int) -> np.ndarray:
    stored = io.BytesIO()
    imageio.imwrite(stored, picture, extension=".jpg", quality=quality)  # type: ignore[attr-defined]
    return np.asarray(imageio.imread(stored.getvalue(), extension=".jpg"))  # type: ignore[attr-defined]
