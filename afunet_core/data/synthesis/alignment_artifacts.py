"""Traces of alignment in frames that are to be merged: resampled noise, softness, residuals, filled borders.

The camera's motion is undone by its true inverse and a drawn error, for speed; the motion of things by the very code
that `merge()` uses, with all that it gets wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.draws import per_sample, select, tensor, uniform
from afunet_core.data.synthesis.motion import OUTER, REFERENCE
from afunet_core.data.synthesis.sampling import draw_coarse_field, pixel_grid, smooth_fields, warp
from afunet_core.motion.compensation import follow_motion
from afunet_core.radiometry import encode, linearize
from afunet_core.registration.frames import unseen_content

__all__ = ["Registration", "UnseenStrip", "draw_registration", "follow_things", "register", "registration_positions"]


@dataclass(frozen=True)
class UnseenStrip:
    """A strip at the border that a frame did not see."""

    outward: np.ndarray  # (x, y), a unit vector across the strip, away from the picture's middle
    depth: float  # in pixels
    repeated: bool  # filled with the repeated edge alone, not from the reference


@dataclass(frozen=True)
class Registration:
    """An imperfect registration of one bracket."""

    residual: Tensor  # 4×h×w, coarse: (x, y) for the first and for the last frame
    amplitude: float  # of the residual, in pixels
    # for the first and the last frame; None where nothing is missing
    unseen: tuple[UnseenStrip | None, UnseenStrip | None]


def draw_registration(rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int]) -> Registration:
    """Residual and strips of a registration."""
    residual = draw_coarse_field(rng, 4, int(rng.integers(2, 5)), size)
    amplitude = rng.random() * uniform(rng, config.residual)
    return Registration(residual, amplitude, (_draw_strip(rng, size), _draw_strip(rng, size)))


def _draw_strip(rng: np.random.Generator, size: tuple[int, int]) -> UnseenStrip | None:
    if rng.random() < 0.5:
        return None
    depth = min(rng.exponential(10.0), 0.3 * min(size))
    slant = rng.uniform(-0.3, 0.3) if rng.random() < 0.6 else 0.0
    angle = rng.integers(4) * np.pi / 2 + slant
    return UnseenStrip(np.array([np.cos(angle), np.sin(angle)]), depth, bool(rng.random() < 0.15))


def registration_positions(registrations: Sequence[Registration], camera: Tensor) -> Tensor:
    """Find where imperfect registrations look for each pixel of the reference in the two outer frames.

    Args:
        registrations: of B brackets.
        camera: B×3×H×W×2 displacements with which the frames were taken, small enough to be undone by their negative.

    Returns:
        B×2×H×W×2 positions in pixels: the camera's displacement undone, up to a smooth residual.
    """
    size = (camera.shape[2], camera.shape[3])
    residual = smooth_fields([one.residual for one in registrations], size, camera.device)
    residual = residual * per_sample((one.amplitude for one in registrations), residual)
    return pixel_grid(*size, camera.device) - camera[:, OUTER] + residual.unflatten(1, (2, 2)).movedim(2, -1)


def register(
    frames: Tensor, radiance: Tensor, registrations: Sequence[Registration], positions: Tensor, times: Tensor
) -> tuple[Tensor, Tensor]:
    """Resample the outer frames onto the reference, noise and all, in linear light.

    A strip at the border that an outer frame did not see, as a large motion leaves it, is filled as
    `afunet_core.registration.frames` does it: from the reference, and by repeating the edge where the reference is
    clipped and
    the edge is brighter; now and then by the repeated edge alone.

    Args:
        frames: B×3×3×H×W encoded.
        radiance: B×3×3×H×W of the same instants.
        registrations: of the B brackets.
        positions: B×2×H×W×2, from `registration_positions`.
        times: B×3.

    Returns:
        The outer frames, B×2×3×H×W encoded. And the radiance seen in their places, strips not filled.
    """
    pictures = torch.cat([linearize(frames[:, OUTER]), radiance[:, OUTER]], dim=2).flatten(0, 1)
    linear, seen = warp(pictures, positions.flatten(0, 1)[:, None])[:, 0].chunk(2, dim=1)
    strips = [strip for one in registrations for strip in one.unseen]
    shares = (times[:, OUTER] / times[:, REFERENCE, None]).flatten()
    filled = _fill_unseen(strips, linear, frames[:, REFERENCE], shares)
    return encode(filled.clamp(0, 1)).unflatten(0, (-1, 2)), seen.unflatten(0, (-1, 2))


def _fill_unseen(strips: Sequence[UnseenStrip | None], pictures: Tensor, references: Tensor, shares: Tensor) -> Tensor:
    """Replace strips of linear pictures by what the references tell of them, or by the repeated edge.

    Args:
        strips: 2·B, for the first and last frame of each bracket.
        pictures: 2·B×3×H×W linear light of these frames.
        references: B×3×H×W encoded.
        shares: 2·B, exposure times of the pictures in those of their references.
    """
    drawn = {place: strip for place, strip in enumerate(strips) if strip is not None}
    if not drawn:
        return pictures
    index = torch.tensor(list(drawn)).to(pictures.device)
    some, reference = pictures[index], references[index // 2]
    right, down = tensor(np.stack([strip.outward for strip in drawn.values()])).to(some).T[..., None, None, None]
    depth, repeated = (
        per_sample((getattr(strip, name) for strip in drawn.values()), some) for name in ("depth", "repeated")
    )
    x, y = pixel_grid(some.shape[-2], some.shape[-1], some.device).unbind(-1)
    along = x * right + y * down
    beyond = (along - (along.amax(dim=(-2, -1), keepdim=True) - depth)).clamp_min(0)
    edge = warp(some, torch.stack([x - beyond * right, y - beyond * down], dim=-1))[:, 0]
    told = (linearize(reference) * shares[index][:, None, None, None]).clamp(0, 1)
    content = torch.where(repeated > 0, edge, unseen_content(edge, told, reference))
    return pictures.index_copy(0, index, torch.where(beyond > 0, content, some))


def follow_things(frames: Tensor, times: Mapping[int, tuple[float, ...]]) -> None:
    """Bring what moved in outer frames to where the reference shows it, as `merge()` does it.

    Args:
        frames: B×3×3×H×W encoded, changed.
        times: of the brackets to follow, which are registered or from cameras that stood still; those with the same
            times are followed together.
    """
    for exposures in dict.fromkeys(times.values()):
        places = [place for place, own in times.items() if own == exposures]
        index = select(places, frames.device)
        seconds = torch.tensor(exposures, dtype=torch.float64)
        stack = ExposureStack(frames[index].unbind(1), seconds, reference=REFERENCE)
        for instant, followed in enumerate(follow_motion(stack)[0]):
            if followed is not stack.frames[instant]:
                frames[index, instant] = followed
