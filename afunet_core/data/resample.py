"""What alignment does to frames before they are merged: resampled noise, softness, residuals, filled borders.

The camera's motion is undone by its true inverse and a drawn error, for speed; the motion of things by the very code
that `merge()` uses, with all that it gets wrong.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from afunet_core.data.config import SynthesisConfig
from afunet_core.data.draws import uniform
from afunet_core.data.motion import REFERENCE, pixel_grid, smooth_field, warp
from afunet_core.motion_compensation import follow_motion
from afunet_core.radiometry import GAMMA, encode, linearize
from afunet_core.registration import unseen_content

__all__ = ["OUTER", "follow_things", "register_frames", "registration_positions"]

OUTER = (0, 2)


def registration_positions(rng: np.random.Generator, config: SynthesisConfig, camera: Tensor) -> Tensor:
    """Where an imperfect registration looks for each pixel of the reference in the two outer frames.

    Args:
        rng: draws the residual.
        config: `residual` is used.
        camera: 3×H×W×2 displacements with which the frames were taken, small enough to be undone by their negative.

    Returns:
        2×H×W×2 positions in pixels: the camera's displacement undone, up to a smooth residual.
    """
    size = (camera.shape[1], camera.shape[2])
    residual = smooth_field(rng, 4, int(rng.integers(2, 5)), size).reshape(2, 2, *size).permute(0, 2, 3, 1)
    residual = residual * (rng.random() * uniform(rng, config.residual))
    return pixel_grid(*size) - camera[list(OUTER)] + residual


def register_frames(rng: np.random.Generator, frames: Tensor, positions: Tensor, times: np.ndarray) -> Tensor:
    """Resample the outer frames onto the reference, noise and all, in linear light.

    A strip at the border that an outer frame did not see, as a large motion leaves it, is filled as
    `afunet_core.registration` does it: from the reference, and by repeating the edge where the reference is clipped and
    the edge is brighter; now and then by the repeated edge alone.

    Args:
        rng: draws the strips.
        frames: 3×3×H×W encoded.
        positions: from `registration_positions`.
        times: the three exposure times.

    Returns:
        3×3×H×W encoded; the reference is untouched.
    """
    linear = linearize(frames)
    warped = warp(linear[list(OUTER)], positions.to(frames.device))
    registered = frames.clone()
    for place, index in enumerate(OUTER):
        seen = _fill_unseen(rng, warped[place], linear[REFERENCE], times[index] / times[REFERENCE])
        registered[index] = encode(seen.clamp(0, 1))
    return registered


def follow_things(frames: Tensor, times: np.ndarray) -> Tensor:
    """The outer frames with what moved in them brought to where the reference shows it, as `merge()` does it.

    Args:
        frames: 3×3×H×W encoded, registered or from a camera that stood still.
        times: the three exposure times.

    Returns:
        3×3×H×W encoded; the reference is untouched.
    """
    stack = SimpleNamespace(
        frames=tuple(frames[:, None]), times=torch.as_tensor(times), encoding="gamma", gamma=GAMMA, reference=REFERENCE
    )
    return torch.cat(follow_motion(stack)[0])


def _fill_unseen(rng: np.random.Generator, picture: Tensor, reference: Tensor, ratio: float) -> Tensor:
    """Replace a strip along one border by the reference at this exposure, or by the repeated edge."""
    if rng.random() < 0.5:
        return picture
    height, width = picture.shape[-2:]
    depth = min(rng.exponential(10.0), 0.3 * min(height, width))
    slant = rng.uniform(-0.3, 0.3) if rng.random() < 0.6 else 0.0
    angle = rng.integers(4) * np.pi / 2 + slant
    inward = torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float32, device=picture.device)
    grid = pixel_grid(height, width, picture.device)
    along = grid @ inward
    overshoot = (along - (along.max() - depth)).clamp_min(0)
    edge = warp(picture, (grid - overshoot[..., None] * inward)[None])[0]
    if rng.random() < 0.15:
        return edge
    told = (reference * ratio).clamp(0, 1)
    return torch.where(overshoot > 0, unseen_content(edge, told, encode(reference)), picture)
