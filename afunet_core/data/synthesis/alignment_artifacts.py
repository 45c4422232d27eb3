"""Traces of alignment in frames that are to be merged: resampled noise, softness, residuals, filled borders.

The camera's motion is undone by its true inverse and a drawn error; that of things by the code that `merge()` uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.draws import select, tensor, uniform
from afunet_core.data.synthesis.motion import OUTER, REFERENCE
from afunet_core.data.synthesis.sampling import draw_coarse_field, pixel_grid, smooth_field, warp
from afunet_core.motion.compensation import follow_motion
from afunet_core.radiometry import encode, linearize
from afunet_core.registration.frames import unseen_content


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


def aligned_positions(misalignments: Sequence[Misalignment], camera: Tensor) -> Tensor:
    """Find where misalignments look for each pixel of the reference in the outer frames: B×2×H×W×2, in pixels.

    ``camera``, B×3×H×W×2, is what the frames were taken with: small enough to be undone by its negative.
    """
    size, device = (camera.shape[2], camera.shape[3]), camera.device
    residual = torch.stack([smooth_field(one.residual, size, device) * one.amplitude for one in misalignments])
    return pixel_grid(*size, device) - camera[:, OUTER] + residual.unflatten(1, (2, 2)).movedim(2, -1)


def simulate_alignment(
    frames: Tensor, radiance: Tensor, misalignments: Sequence[Misalignment], positions: Tensor, times: Tensor
) -> tuple[Tensor, Tensor]:
    """Resample the outer frames of B×3×3×H×W onto the reference, noise and all, in linear light.

    Strips that a frame did not see are filled as `afunet_core.registration.frames` does it, now and then by the
    repeated edge alone. Returns the outer frames, encoded, and the radiance seen in their places, strips not filled.
    """
    pictures = torch.cat([linearize(frames[:, OUTER]), radiance[:, OUTER]], dim=2).flatten(0, 1)
    linear, seen = warp(pictures, positions.flatten(0, 1)[:, None])[:, 0].chunk(2, dim=1)
    strips = [strip for one in misalignments for strip in one.unseen]
    shares = (times[:, OUTER] / times[:, REFERENCE, None]).flatten()
    filled = _fill_unseen(strips, linear, frames[:, REFERENCE], shares)
    return encode(filled.clamp(0, 1)).unflatten(0, (-1, 2)), seen.unflatten(0, (-1, 2))


def _fill_unseen(strips: Sequence[UnseenStrip | None], pictures: Tensor, references: Tensor, shares: Tensor) -> Tensor:
    """Fill strips of 2B×3×H×W linear pictures; ``shares`` are their times over the reference's."""
    filled, grid = pictures.clone(), pixel_grid(pictures.shape[-2], pictures.shape[-1], pictures.device)
    for place, strip in enumerate(strips):
        if strip is not None:
            outward = tensor(strip.outward).to(grid)
            along = grid[..., 0] * outward[0] + grid[..., 1] * outward[1]
            beyond = (along - (along.amax() - strip.depth)).clamp_min(0)
            content = warp(pictures[place, None], (grid - beyond[..., None] * outward)[None, None])[0, 0]
            if not strip.repeated:
                reference = references[place // 2]
                told = (linearize(reference) * shares[place]).clamp(0, 1)
                content = unseen_content(content[None], told[None], reference[None])[0]
            filled[place] = torch.where(beyond > 0, content, filled[place])
    return filled


def follow_things(frames: Tensor, times: Mapping[int, tuple[float, ...]]) -> None:
    """Bring what moved in outer frames, B×3×3×H×W, to where the reference shows it, in place, as `merge()` does.

    Only in brackets of which ``times`` has the exposures; those with the same times are followed together.
    """
    for exposures in dict.fromkeys(times.values()):
        places = [place for place, own in times.items() if own == exposures]
        index = select(places, frames.device)
        seconds = torch.tensor(exposures, dtype=torch.float64)
        stack = ExposureStack(frames[index].unbind(1), seconds, reference=REFERENCE)
        for instant, followed in enumerate(follow_motion(stack)[0]):
            if followed is not stack.frames[instant]:
                frames[index, instant] = followed
