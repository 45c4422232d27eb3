"""Cameras as people have them: lens, response curve, in-camera processing, JPEG, and a linearisation that is not exact.

`through_lens` is what the lens does to the scene (the truth has it, too); `photograph` what sensor, processor and
file do to the exposures, and how nearly `merge()` undoes the response curve afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import kornia
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.data.synthesis.motion import REFERENCE
from afunet_core.data.synthesis.sampling import log_uniform, tensor, uniform, uniform_array
from afunet_core.data.synthesis.sensor import Sensor, add_sensor_noise, jpeg_artefacts, quantize
from afunet_core.errors import ImageFileError
from afunet_core.radiometry import GAMMA

_NODES = 513  # nodes of a response curve, evenly spaced in light to the power of 1/2.2: shadows need the most
_FREQUENCIES = 4  # cosines that make up the error of a linearisation: calibrated curves err smoothly
_GLARE_CELLS = 4  # glare spreads over the picture; nothing of it is finer than a quarter of a window
# Whites of the short frame up to which light adds to the glare: beyond, a sun of 1e4 whites would veil everything.
_LATITUDE = 4.0
# Spread of the first coefficients of Grossberg and Nayar's basis, and their mean: between S-curves as consumer cameras
# have them (the basis' own mean) and gamma 2.2, which is (-0.02, -1.18, -0.28, -0.15).
_COEFFICIENT_MEAN = (-0.2, -0.5, -0.12, -0.06)
_COEFFICIENT_SPREAD = (1.6, 0.55, 0.22, 0.12)


@dataclass(frozen=True)
class Camera:
    """A camera with its processing, for one bracket."""

    response: np.ndarray  # 3×513, the encoded value of each channel at light u**2.2, u evenly spaced from 0 to 1
    recovered: float  # share of the way from gamma 2.2 to the true curve that the linearisation goes
    residual: np.ndarray  # 3×4 amplitudes of cosines: the relative error of the linearised value
    gains: np.ndarray  # 3×3 (frame, channel) errors of the exposures; 1 for the reference
    saturation: np.ndarray  # 3, the level at which each channel clips, in shares of white
    shoulder: float  # over how much of white it bends into the clip
    vignetting: float  # light lost at one window length from the optical axis
    axis: tuple[float, float]  # (x, y) of it, in window lengths from the middle of the picture
    glare: float  # share of the light that spreads over all of the picture
    glare_long: float  # the same, of the long frame alone
    denoising: float  # share of the noise that is smoothed, over `denoising_radius` pixels
    denoising_radius: float  # standard deviation
    sharpening: float  # gain of what a blur of one pixel takes away
    quality: int | None  # of the JPEG file, or None
    subsampled: bool  # whether the file keeps a quarter of the chroma


def draw_camera(rng: np.random.Generator, curves: str | Path | None = None) -> Camera:
    """Draw a camera, with a curve of Grossberg and Nayar's basis if an .npz file of it is given, else an S-curve.

    Example:
        >>> camera = draw_camera(np.random.default_rng(0))
        >>> camera.response.shape, bool((np.diff(camera.response) > 0).all())
        ((3, 513), True)
    """
    error = log_uniform(rng, (0.008, 0.06))
    each = rng.normal(size=(4, _FREQUENCIES)) * error / (1 + np.arange(_FREQUENCIES))
    residual = each[0] + 0.4 * each[1:]  # channels share most of it
    gains = np.exp2(rng.normal(size=(3, 1)) * uniform(rng, (0.0, 0.1))) * np.exp2(rng.normal(size=(3, 3)) * 0.015)
    gains = gains.clip(2**-0.2, 2**0.2)
    gains[REFERENCE] = 1
    return Camera(
        response=_draw_response(rng, curves),
        recovered=1.0 if rng.random() < 0.75 else uniform(rng, (0.7, 1.0)),
        residual=residual,
        gains=gains,
        saturation=uniform_array(rng, (0.9, 1.0), 3) if rng.random() < 0.5 else np.ones(3),
        shoulder=log_uniform(rng, (0.002, 0.05)),
        vignetting=uniform(rng, (0.0, 0.25)) if rng.random() < 0.5 else 0.0,
        axis=(uniform(rng, (-1.0, 1.0)), uniform(rng, (-1.0, 1.0))),
        glare=log_uniform(rng, (1e-4, 0.02)) if rng.random() < 0.5 else 0.0,
        glare_long=log_uniform(rng, (1e-4, 0.01)) if rng.random() < 0.3 else 0.0,
        denoising=uniform(rng, (0.4, 0.95)) if rng.random() < 0.7 else 0.0,
        denoising_radius=uniform(rng, (0.6, 1.6)),
        sharpening=uniform(rng, (0.1, 0.9)) if rng.random() < 0.5 else 0.0,
        quality=int(rng.integers(75, 99)) if rng.random() < 0.75 else None,
        subsampled=bool(rng.random() < 0.6),
    )


def _draw_response(rng: np.random.Generator, curves: str | Path | None) -> np.ndarray:
    """3×513 values from 0 to 1 that rise."""
    if curves is None:
        return np.stack(list(_s_curves(rng)))
    basis = response_table(str(curves))
    for _ in range(100):
        common = _COEFFICIENT_MEAN + rng.normal(size=4) * _COEFFICIENT_SPREAD
        each = common + rng.normal(size=(3, 4)) * np.array(_COEFFICIENT_SPREAD) * 0.03
        response = basis[0] + each @ basis[1:5]
        response = (response - response[:, :1]) / (response[:, -1:] - response[:, :1])
        if np.diff(response).min() > 2e-5:  # it rises everywhere, so that it can be undone
            return response
    return np.stack(list(_s_curves(rng)))


def _s_curves(rng: np.random.Generator) -> list[np.ndarray]:
    """u**p / (u**p + b (1 - u)**q), nearly alike for the three channels: toe, shoulder, how bright the middle is."""
    u = np.linspace(0, 1, _NODES)
    toe, shoulder, middle = uniform(rng, (0.95, 1.6)), uniform(rng, (0.8, 1.3)), uniform(rng, (-0.3, 0.4))
    result = []
    for _ in range(3):
        p, q, b = (value + rng.normal() * 0.01 for value in (toe, shoulder, middle))
        result.append(u**p / (u**p + np.exp(b) * (1 - u) ** q))
    return result


@lru_cache(maxsize=4)
def response_table(path: str) -> np.ndarray:
    """Return the mean and the components of a basis of response curves at our nodes, 12×513."""
    try:
        with np.load(path, allow_pickle=False) as file:
            light, rows = file["irradiance"], np.vstack([file["mean"][None], file["components"]])
    except (OSError, KeyError, ValueError) as error:
        raise ImageFileError(
            f"{path}: expected an .npz file with irradiance, mean and components ({error})."
        ) from error
    nodes = np.linspace(0, 1, _NODES) ** GAMMA
    return np.stack([np.interp(nodes, light, row) for row in rows])


def through_lens(radiance: Tensor, camera: Camera) -> Tensor:
    """Vignetting and glare: …×3×H×W radiance as it falls on the sensor."""
    height, width = radiance.shape[-2:]
    longest = max(height, width)
    x = (torch.arange(width, device=radiance.device) - (width - 1) / 2) / longest
    y = (torch.arange(height, device=radiance.device) - (height - 1) / 2) / longest
    squared = (x - camera.axis[0]).square() + (y[:, None] - camera.axis[1]).square()
    lit = radiance * (1 - camera.vignetting * squared.clamp_max(2.0))
    return lit + camera.glare * _spread(lit.clamp_max(_LATITUDE))


def _spread(light: Tensor) -> Tensor:
    """Light scattered over a window: half of it evenly, half of it near where it came from."""
    coarse = F.adaptive_avg_pool2d(light, _GLARE_CELLS)
    coarse = (coarse + coarse.mean((-2, -1), keepdim=True)) / 2
    return F.interpolate(coarse, light.shape[-2:], mode="bilinear", align_corners=False)


def photograph(radiance: Tensor, sensor: Sensor, camera: Camera, noise: Tensor | None) -> Tensor:
    """Photograph three instants, 3×3×H×W (frame, RGB) from `through_lens`, and linearise them to gamma 2.2."""
    exposed = radiance * tensor(sensor.gains * camera.gains).to(radiance)[..., None, None]
    if camera.glare_long:
        long = exposed[2:]
        exposed = torch.cat([exposed[:2], long + camera.glare_long * _spread(long.clamp_max(_LATITUDE))])
    if noise is not None:
        exposed = exposed + _processed_noise(exposed, sensor, camera, noise)
    level, bend = tensor(camera.saturation).to(exposed)[:, None, None], exposed.new_tensor(camera.shoulder)
    light = (level - bend * F.softplus((level - exposed) / bend)).clamp(0, 1)
    encoded = _look_up(tensor(camera.response).to(light), light ** (1 / GAMMA))
    if camera.sharpening:
        encoded = (encoded + camera.sharpening * (encoded - _blurred(encoded, 1.0))).clamp(0, 1)
    stored = quantize(encoded, 8 if camera.quality is not None else sensor.bits)
    if camera.quality is not None:
        stored = jpeg_artefacts(stored, camera.quality, camera.subsampled)
    return _linearized(stored, camera)


def _processed_noise(exposed: Tensor, sensor: Sensor, camera: Camera, noise: Tensor) -> Tensor:
    """Noise of the sensor, in part smoothed as cameras do it: weaker, and alike in neighbouring pixels."""
    photons, read = exposed.new_tensor([sensor.photon_noise, sensor.read_noise])
    own = add_sensor_noise(exposed, photons, read, noise) - exposed
    return torch.lerp(own, _blurred(own, camera.denoising_radius), camera.denoising) if camera.denoising else own


def _blurred(pictures: Tensor, sigma: float) -> Tensor:
    return kornia.filters.gaussian_blur2d(pictures.flatten(0, 1)[None], 7, (sigma, sigma), "replicate").view_as(
        pictures
    )


def _linearized(stored: Tensor, camera: Camera) -> Tensor:
    """Undo the curve as far as a calibration knows it: values encoded with gamma 2.2, a smooth error left."""
    steps = np.linspace(0, 1, _NODES)
    inverse = np.stack([np.interp(steps, row, steps) for row in camera.response])
    inverse = steps + camera.recovered * (inverse - steps)
    error = camera.residual @ np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * steps)
    return _look_up(tensor(inverse * (1 + error) ** (1 / GAMMA)).to(stored), stored).clamp(0, 1)


def _look_up(table: Tensor, places: Tensor) -> Tensor:
    """Linear interpolation in 3×513 tables at 3×3×H×W places in [0, 1] (frame, channel)."""
    position = places.transpose(0, 1) * (_NODES - 1)
    below = position.detach().floor().clamp(0, _NODES - 2)
    index = below.long().flatten(1)
    low, high = (table.gather(1, index + step).view_as(position) for step in (0, 1))
    return torch.lerp(low, high, position - below).transpose(0, 1)
