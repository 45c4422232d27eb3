"""Traces of alignment in frames that are to be merged: resampled noise, softness, residuals, filled borders.

The camera's motion is undone by its true inverse and a drawn error; that of things by the code that `merge()` uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.motion import OUTER, REFERENCE
from afunet_core.data.synthesis.sampling import draw_coarse_field, pixel_grid, smooth_field, tensor, uniform, warp
from afunet_core.motion.compensation import follow_motion
from afunet_core.radiometry import encode, linearize
from afunet_core.registration.align import unseen_content


@dataclass(frozen=True)
class UnseenStrip:
    """A strip at the border that a frame did not see."""

    outward: np.ndarray  # (x, y), a unit vector across the strip, away from the picture's middle
    depth: float  # in pixels
    repeated: bool  # filled with the repeated edge alone, not from the reference


@dataclass(frozen=True)
class Misalignment:
    """An imperfect registration of one bracket."""

    residual: Tensor  # 4×h×w, coarse: (x, y) for the first and for the last frame
    amplitude: float  # of the residual, in pixels
    # for the first and the last frame; None where nothing is missing
    unseen: tuple[UnseenStrip | None, UnseenStrip | None]


def draw_misalignment(rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int]) -> Misalignment:
    """Residual and strips of a registration."""
    residual = draw_coarse_field(rng, 4, int(rng.integers(2, 5)), size)
    amplitude = rng.random() * uniform(rng, config.residual)
    return Misalignment(residual, amplitude, (_draw_strip(rng, size), _draw_strip(rng, size)))


def _draw_strip(rng: np.random.Generator, size: tuple[int, int]) -> UnseenStrip | None:
    if rng.random() < 0.5:
        return None
    depth = min(rng.exponential(10.0), 0.3 * min(size))
    slant = rng.uniform(-0.3, 0.3) if rng.random() < 0.6 else 0.0
    angle = rng.integers(4) * np.pi / 2 + slant
    return UnseenStrip(np.array([np.cos(angle), np.sin(angle)]), depth, bool(rng.random() < 0.15))


def simulate_alignment(
    frames: Tensor, radiance: Tensor, misalignment: Misalignment, camera: Tensor, times: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Resample the outer frames of 3×3×H×W onto the reference, noise and all, in linear light.

    ``camera``, 3×H×W×2, is what the frames were taken with: small enough to be undone by its negative. Strips that a
    frame did not see are filled as `afunet_core.registration.align` does it, now and then by the repeated edge alone.
    Returns the frames, encoded, and the radiance seen in their places, strips not filled.
    """
    size, device = (frames.shape[2], frames.shape[3]), frames.device
    residual = smooth_field(misalignment.residual, size, device) * misalignment.amplitude
    positions = pixel_grid(*size, device) - camera[OUTER] + residual.unflatten(0, (2, 2)).movedim(1, -1)
    pictures = torch.cat([linearize(frames[OUTER]), radiance[OUTER]], dim=1)
    linear, shown = warp(pictures, positions[:, None])[:, 0].chunk(2, dim=1)
    shares = (times.astype(np.float32)[OUTER] / np.float32(times[REFERENCE])).tolist()
    linear = torch.stack(
        [
            _filled(strip, picture, frames[REFERENCE], share)
            for strip, picture, share in zip(misalignment.unseen, linear, shares, strict=True)
        ]
    )
    frames, seen = frames.clone(), radiance.clone()
    frames[OUTER], seen[OUTER] = encode(linear.clamp(0, 1)), shown
    return frames, seen


def _filled(strip: UnseenStrip | None, picture: Tensor, reference: Tensor, share: float) -> Tensor:
    """Fill the strip that a 3×H×W linear picture did not see; ``share`` is its time over the reference's."""
    if strip is None:
        return picture
    grid, outward = pixel_grid(picture.shape[-2], picture.shape[-1], picture.device), tensor(strip.outward).to(picture)
    along = grid[..., 0] * outward[0] + grid[..., 1] * outward[1]
    beyond = (along - (along.amax() - strip.depth)).clamp_min(0)
    content = warp(picture[None], (grid - beyond[..., None] * outward)[None, None])[0, 0]
    if not strip.repeated:
        told = (linearize(reference) * share).clamp(0, 1)
        content = unseen_content(content[None], told[None], reference[None])[0]
    return torch.where(beyond > 0, content, picture)


def follow_things(frames: Tensor, times: np.ndarray) -> Tensor:
    """Bring what moved in the outer of 3×3×H×W frames to where the reference shows it, as `merge()` does."""
    stack = ExposureStack(frames[:, None].unbind(0), torch.from_numpy(times), reference=REFERENCE)
    return torch.cat(list(follow_motion(stack)[0]))
