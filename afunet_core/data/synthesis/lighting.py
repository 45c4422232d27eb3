"""From a stored scene or photograph to radiance in the unit of a bracket: crop, grade, expand, expose."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.motion import REFERENCE
from afunet_core.data.synthesis.sampling import (
    draw_coarse_field,
    log_uniform,
    smooth_field,
    tensor,
    uniform,
    uniform_array,
)
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.radiometry import GAMMA

_PROBES = 1500


def draw_background(
    rng: np.random.Generator,
    config: SynthesisConfig,
    bank: SceneBank,
    size: tuple[int, int],
    times: np.ndarray,
    device: torch.device | str = "cpu",
) -> Tensor:
    """A piece of a scene as 3×H×W radiance of `size`, exposed so that the white of the short frame is 1."""
    from_photo = not bank.hdr or (len(bank.photos) > 0 and rng.random() < config.photo_share)
    source = _interesting_crop(rng, config, bank.photos if from_photo else bank.hdr, size)
    source = _expand_photo(rng, config, source) if from_photo else source.float()
    gains = tensor(uniform_array(rng, config.white_balance, 3))[:, None, None]
    saturation, power = uniform(rng, config.saturation), uniform(rng, config.scene_gamma)
    probe = source.flatten(1)[:, :: max(1, source[0].numel() // _PROBES), None]
    scale, clip = (
        choose_exposure(rng, config, _grade(probe, gains, saturation, power), times),
        uniform(rng, config.clip),
    )
    # Cut the sun before it is resampled, roughly since grading follows, and exactly afterwards.
    light = source.to(device).clamp_max(max((2 * clip / scale) ** (1 / power), 1e-6))
    canvas = F.interpolate(light[None], size, mode="bilinear", align_corners=False, antialias=True)[0]
    return (_grade(canvas, gains.to(device), saturation, power) * scale).clamp_max(clip)


def _grade(light: Tensor, gains: Tensor, saturation: float, power: float) -> Tensor:
    """White balance, saturation and contrast of 3×H×W linear light."""
    light = light * gains
    grey = light.mean(dim=-3, keepdim=True)
    return (grey + saturation * (light - grey)).clamp_min(0) ** power


def object_texture(
    rng: np.random.Generator, config: SynthesisConfig, bank: SceneBank, radius: float, times: np.ndarray
) -> Tensor:
    """3×h×w radiance of an object, anywhere from what only the long frame lifts out of the noise to a lamp."""
    from_photo = not bank.hdr or (len(bank.photos) > 0 and rng.random() < 0.75)
    pool = bank.photos if from_photo else bank.hdr
    side = int(np.clip(2.2 * radius, 12, 128))
    texture = _crop(rng, pool[rng.integers(len(pool))], (side, side), uniform(rng, (0.8, 1.5))).float()
    if from_photo:
        texture = (texture / 255) ** GAMMA
    # Light falls on it from one side, like on anything round.
    slope = (
        torch.linspace(-1, 1, texture.shape[2]) * rng.normal()
        + torch.linspace(-1, 1, texture.shape[1])[:, None] * rng.normal()
    )
    texture = texture * torch.exp2(0.7 * slope)
    mean = float(texture.mean()) + 1e-6
    lamp = rng.random() < config.lamp_share
    target = log_uniform(rng, (1.0, 3.0) if lamp else (0.04 / times[2], 0.7))
    tint = tensor(rng.uniform(0.75, 1.25, (3, 1, 1)))
    return (texture * (target / mean) * tint).clamp_max(max(1.5, 2.5 * target))


def choose_exposure(rng: np.random.Generator, config: SynthesisConfig, probe: Tensor, times: np.ndarray) -> float:
    """Choose the scale of 3×… probed pixels at which the frames saturate as a photographer's would.

    The short frame keeps nearly all highlights, the middle one a good part of the picture; a scene with more range
    than the bracket gives up highlights rather than let even the long frame drown in noise.
    """
    peaks = np.sort(probe.amax(dim=0).flatten().numpy())
    last = len(peaks) - 1

    def level(saturated: float) -> float:
        """Radiance that this share of the pixels exceeds."""
        return max(float(peaks[round((1 - saturated) * last)]), 1e-9)

    scale = 1 / level(uniform(rng, config.short_saturated))
    scale = min(scale, 1 / (level(uniform(rng, config.reference_saturated)) * times[REFERENCE]))
    darkest = 0.08 * uniform(rng, (0.5, 2.0)) / (level(0.5) * times[2])
    return min(max(scale, darkest), 1 / level(max(0.08, config.short_saturated[1])))


def _expand_photo(rng: np.random.Generator, config: SynthesisConfig, photo: Tensor) -> Tensor:
    """A display-encoded uint8 photograph → plausible scene radiance: whites glow, smooth light spans several stops."""
    linear = (photo.float() / 255) ** GAMMA
    boost, knee = uniform(rng, config.highlight_boost), rng.uniform(2, 8)
    size = (photo.shape[1], photo.shape[2])
    light = smooth_field(draw_coarse_field(rng, 1, 2, size), size) * (uniform(rng, config.light_field_stops) / 2)
    return linear * (1 + boost * linear.mean(dim=0, keepdim=True) ** knee) * torch.exp2(light)


def _interesting_crop(
    rng: np.random.Generator, config: SynthesisConfig, pool: tuple[Tensor, ...], size: tuple[int, int]
) -> Tensor:
    """A random window of a random picture; often the more textured of two, since much of the world is sky and wall."""
    ratio = log_uniform(rng, config.source_scale)
    crop = _crop(rng, pool[rng.integers(len(pool))], size, ratio)
    if rng.random() < config.detail_share:
        other = _crop(rng, pool[rng.integers(len(pool))], size, ratio)
        crop = max(crop, other, key=_detail)
    return crop


def _detail(picture: Tensor) -> float:
    """Mean relative difference between neighbours, on a sparse grid."""
    here, there = picture[1, :-4:9, :-4:9].float(), picture[1, 4::9, 4::9].float()
    rows, columns = min(here.shape[0], there.shape[0]), min(here.shape[1], there.shape[1])
    here, there = here[:rows, :columns], there[:rows, :columns]
    return float(((here - there).abs() / (here + there + 0.01)).mean())


def _crop(rng: np.random.Generator, picture: Tensor, size: tuple[int, int], ratio: float) -> Tensor:
    """A random window of `ratio` × `size` source pixels (less if there are not so many), turned and mirrored."""
    turned = bool(rng.random() < 0.25)
    window = (size[1], size[0]) if turned else size
    height, width = picture.shape[1:]
    ratio = min(ratio, height / window[0], width / window[1])
    tall, wide = (max(2, min(int(side * ratio), full)) for side, full in zip(window, (height, width), strict=True))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    piece = picture[:, top : top + tall, left : left + wide]
    if turned:
        piece = piece.transpose(1, 2)
    mirrored = [axis for axis, share in ((1, 0.15), (2, 0.5)) if rng.random() < share]
    return piece.flip(mirrored) if mirrored else piece
