"""From radiance to the numbers in a picture file: photon and read noise, camera curves, quantisation, JPEG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afunet_core.data.config import SynthesisConfig
from afunet_core.data.draws import log_uniform, tensor, uniform, uniform_array
from afunet_core.data.motion import REFERENCE
from afunet_core.radiometry import GAMMA, encode, linearize

__all__ = ["add_sensor_noise", "jpeg_artefacts", "quantize", "record"]


def record(
    rng: np.random.Generator, config: SynthesisConfig, radiance: Tensor, times: np.ndarray
) -> tuple[Tensor, int | None]:
    """What a random camera stores of three instants.

    Args:
        rng: draws the camera and its noise.
        config: which cameras there are.
        radiance: 3×3×H×W, saturating at 1 / time.
        times: the three nominal exposure times.

    Returns:
        3×3×H×W encoded with gamma 2.2 in [0, 1], and the bit depth of the file. An sRGB file is decoded and encoded
        again, as its reader would; the curve of a camera that deviates from gamma 2.2 is not known to any reader.
    """
    exposed = radiance * tensor(_frame_gains(rng, config, times)).to(radiance)[..., None, None]
    gain, read = log_uniform(rng, config.gain), log_uniform(rng, config.read_noise)
    if gain > 0 or read > 0:
        generator = torch.Generator(radiance.device).manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(exposed.shape, generator=generator, device=radiance.device)
        exposed = add_sensor_noise(exposed, gain, read, noise)
    if rng.random() < config.black_level_share:
        exposed = exposed + uniform(rng, config.black_level)
    linear = exposed.clamp(0, 1)

    srgb = rng.random() < config.srgb_share
    gamma = GAMMA
    if not srgb and rng.random() < config.curve_error_share:
        gamma *= 1 + uniform(rng, (-config.curve_error, config.curve_error))
    encoded = encode(linear, "srgb") if srgb else encode(linear, gamma=gamma)
    bits = config.bit_depths[rng.integers(len(config.bit_depths))]
    encoded = quantize(encoded, bits)
    if bits == 8 and rng.random() < config.jpeg_share:
        encoded = jpeg_artefacts(encoded, int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1)))
    return (encode(linearize(encoded, "srgb")) if srgb else encoded), bits


def _frame_gains(rng: np.random.Generator, config: SynthesisConfig, times: np.ndarray) -> np.ndarray:
    """3×3 (frame, channel) exposures: the times, with errors of the outer frames relative to the reference."""
    errors = np.ones((3, 3))
    if rng.random() < config.exposure_error_share:
        errors *= 1 + uniform_array(rng, (-config.exposure_error, config.exposure_error), 3, 1)
    if rng.random() < config.white_balance_drift_share:
        errors *= 1 + uniform_array(rng, (-config.white_balance_drift, config.white_balance_drift), 3, 3)
    errors[REFERENCE] = 1  # its exposure defines the unit of the truth
    return errors * times[:, None]


def add_sensor_noise(exposed: Tensor, gain: float, read: float, noise: Tensor) -> Tensor:
    """Photon and read noise of a linear sensor: variance gain·x + read², where 1.0 is full well.

    Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", TIP 2008. The
    photons' part is Gaussian here too; where they are so few that it matters, read noise hides it.

    Args:
        exposed: radiance times exposure time, not clipped.
        gain: one over the electrons of full well, 3e-5 at ISO 100 to 3e-3 at ISO 6400.
        read: standard deviation of the read noise.
        noise: a standard normal draw of the same shape.

    Example:
        >>> add_sensor_noise(torch.tensor([0.25]), 0.0, 0.1, torch.tensor([1.0]))
        tensor([0.3500])
    """
    return exposed + noise * (gain * exposed.clamp_min(0) + read**2).sqrt()


def quantize(encoded: Tensor, bits: int | None) -> Tensor:
    """Round encoded values in [0, 1] to the levels of a `bits`-bit file; None leaves them as they are.

    Example:
        >>> quantize(torch.tensor([0.4, 0.6]), 1)
        tensor([0., 1.])
    """
    if bits is None:
        return encoded
    levels = 2**bits - 1
    return (encoded * levels).round() / levels


def jpeg_artefacts(encoded: Tensor, quality: int) -> Tensor:
    """Pass N×3×H×W encoded pictures through a JPEG file in memory, on the CPU."""
    import imageio.v3 as imageio

    pixels = (encoded.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    decoded = np.stack([_through_jpeg(imageio, np.ascontiguousarray(picture), quality) for picture in pixels])
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(encoded) / 255


def _through_jpeg(imageio: Any, picture: np.ndarray, quality: int) -> np.ndarray:
    stored = io.BytesIO()
    imageio.imwrite(stored, picture, extension=".jpg", quality=quality)
    return np.asarray(imageio.imread(stored.getvalue(), extension=".jpg"))
