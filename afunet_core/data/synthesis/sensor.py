"""From radiance to the numbers in a picture file: photon and read noise, camera curves, quantisation, JPEG.

`record` and its parts are differentiable with respect to radiance and exposures, the noise once drawn. Gradients pass
through the rounding to a file's levels and through JPEG as if they were not there, and stop where a value is clipped.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import kornia
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.motion import REFERENCE
from afunet_core.data.synthesis.sampling import log_uniform, tensor, uniform, uniform_array
from afunet_core.errors import ArgumentError
from afunet_core.ops.arguments import Scalar, check_not_negative, check_tensor, per_sample
from afunet_core.radiometry import GAMMA, encode

Bits = int | None
# Keeps the gradient of the noise finite where there is neither light nor read noise.
_LEAST_VARIANCE = 1e-30


@dataclass(frozen=True)
class Sensor:
    """A camera and its settings for one bracket."""

    # 3×3 (frame, channel) exposures: the times, with errors of the outer frames relative to the reference
    gains: np.ndarray
    photon_noise: float  # one over the electrons of full well
    read_noise: float  # standard deviation, of full well
    noise_seed: int | None  # of the generator that draws the noise; None for a camera without any
    black_level: float  # added to the signal
    gamma: float  # of the camera's curve, unless `srgb`
    srgb: bool  # whether the file is sRGB
    bits: Bits  # of the file; None where it is not quantised
    jpeg_quality: int | None  # None for files without loss


def draw_sensor(rng: np.random.Generator, config: SynthesisConfig, times: np.ndarray) -> Sensor:
    """A random camera for the three nominal exposure times."""
    errors = np.ones((3, 3))
    if rng.random() < config.exposure_error_share:
        errors *= 1 + uniform_array(rng, (-config.exposure_error, config.exposure_error), 3, 1)
    if rng.random() < config.white_balance_drift_share:
        errors *= 1 + uniform_array(rng, (-config.white_balance_drift, config.white_balance_drift), 3, 3)
    errors[REFERENCE] = 1  # its exposure defines the unit of the truth
    photon_noise, read_noise = log_uniform(rng, config.gain), log_uniform(rng, config.read_noise)
    seed = int(rng.integers(2**62)) if photon_noise > 0 or read_noise > 0 else None
    black_level = uniform(rng, config.black_level) if rng.random() < config.black_level_share else 0.0
    srgb = bool(rng.random() < config.srgb_share)
    gamma = GAMMA
    if not srgb and rng.random() < config.curve_error_share:
        gamma *= 1 + uniform(rng, (-config.curve_error, config.curve_error))
    bits = config.bit_depths[rng.integers(len(config.bit_depths))]
    quality: int | None = None
    if bits == 8 and rng.random() < config.jpeg_share:
        quality = int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1))
    return Sensor(errors * times[:, None], photon_noise, read_noise, seed, black_level, gamma, srgb, bits, quality)


def draw_noise(sensor: Sensor, radiance: Tensor) -> Tensor | None:
    """Standard normal values of the shape of `radiance`, from the generator of a sensor; None if it has no noise."""
    if sensor.noise_seed is None:
        return None
    return torch.empty_like(radiance).normal_(generator=torch.Generator(radiance.device).manual_seed(sensor.noise_seed))


def record(radiance: Tensor, sensor: Sensor, noise: Tensor | None, gains: Tensor | None = None) -> Tensor:
    """Record three instants as a camera stores them: 3×3×H×W encoded with gamma 2.2 in [0, 1].

    An sRGB file is decoded and encoded again, as its reader would; a curve that deviates from gamma 2.2 is not known
    to any.

    Args:
        radiance: 3×3×H×W (frame, RGB), saturating at 1 / time.
        sensor: the camera.
        noise: from `draw_noise`.
        gains: 3×3 (frame, channel) exposures in place of those of the sensor, for example to differentiate.
    """
    gains = tensor(sensor.gains).to(radiance) if gains is None else gains
    exposed = radiance * gains[..., None, None]
    if noise is not None:
        photons, read = radiance.new_tensor([sensor.photon_noise, sensor.read_noise])
        exposed = add_sensor_noise(exposed, photons, read, noise)
    linear = (exposed + sensor.black_level).clamp(0, 1)
    if sensor.srgb:
        encoded = kornia.color.linear_rgb_to_rgb(linear)
    else:
        encoded = encode(linear, gamma=GAMMA if sensor.gamma == GAMMA else linear.new_full((1, 1, 1, 1), sensor.gamma))
    stored = quantize(encoded, sensor.bits)
    if sensor.jpeg_quality is not None:
        stored = jpeg_artefacts(stored, sensor.jpeg_quality)
    return encode(kornia.color.rgb_to_linear_rgb(stored)) if sensor.srgb else stored


def add_sensor_noise(exposed: Tensor, gain: Scalar, read: Scalar, noise: Tensor) -> Tensor:
    """Photon and read noise of a linear sensor: variance gain·x + read², where 1.0 is full well.

    Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", TIP 2008. The
    photons' part is Gaussian here too; where they are so few that it matters, read noise hides it.

    Args:
        exposed: radiance times exposure time, not clipped.
        gain: one over the electrons of full well, 3e-5 at ISO 100 to 3e-3 at ISO 6400; one per sample (B,), or for all.
        read: standard deviation of the read noise, likewise.
        noise: a standard normal draw of the same shape.

    Returns:
        The recorded light, in shape and dtype of ``exposed``.

    Raises:
        TensorTypeError: unless ``exposed`` and ``noise`` are floating-point tensors.
        ShapeError: for a vector of another length than the batch.
        ArgumentError: for a negative gain or read noise.

    Example:
        >>> add_sensor_noise(torch.tensor([0.25]), 0.0, 0.1, torch.tensor([1.0]))
        tensor([0.3500])
    """
    check_tensor("exposed", exposed)
    check_tensor("noise", noise)
    check_not_negative("gain", gain)
    check_not_negative("read", read)
    light = exposed.to(torch.promote_types(exposed.dtype, torch.float32))  # half precision ends above the variance
    gain, read = per_sample("gain", gain, light), per_sample("read", read, light)
    variance = gain * light.clamp_min(0) + (read**2 + _LEAST_VARIANCE)
    return torch.addcmul(light, noise.to(light), variance.sqrt()).to(exposed.dtype)


def quantize(encoded: Tensor, bits: Bits) -> Tensor:
    """Round encoded values in [0, 1] to the levels of ``bits`` bits; ``None`` leaves them as they are.

    The gradient passes as if nothing were rounded ("straight through"; Bengio et al., arXiv:1308.3432): the true one
    is zero nearly everywhere.

    Example:
        >>> quantize(torch.tensor([0.4]), 1)
        tensor([0.])
    """
    check_tensor("encoded", encoded)
    if bits is None:
        return encoded
    if not (isinstance(bits, int | np.integer) and bits > 0):
        raise ArgumentError("bits", "a whole number above 0, or None", repr(bits))
    levels = 2**bits - 1
    return _Stored.apply(encoded, (encoded.detach() * levels).round_().div_(levels))


class _Stored(torch.autograd.Function):
    """The second argument, with the gradient of the first: a step that differentiation sees as the identity."""

    @staticmethod
    def forward(ctx: Any, encoded: Tensor, stored: Tensor) -> Tensor:
        return stored

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def jpeg_artefacts(encoded: Tensor, quality: int, subsampled: bool = True) -> Tensor:
    """Store N×3×H×W encoded pictures in [0, 1] as JPEG files and read them; the gradient passes as if it were exact.

    Args:
        encoded: the pictures.
        quality: as libjpeg counts it.
        subsampled: keep a quarter of the chroma (4:2:0), as is usual.

    Example:
        >>> jpeg_artefacts(torch.full((1, 3, 16, 16), 0.5), 90)[0, 0, 0, :2] * 255
        tensor([128., 128.])
    """
    files = []
    for picture in (encoded.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy():
        with io.BytesIO() as file:
            chroma = "4:2:0" if subsampled else "4:4:4"
            Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=chroma)
            files.append(np.asarray(Image.open(file)))
    return _Stored.apply(encoded, torch.from_numpy(np.stack(files)).permute(0, 3, 1, 2).to(encoded) / 255)
