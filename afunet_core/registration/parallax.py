"""Residual local motion after the homography: parallax, and things that moved by a little on their own.

A hand also shifts the camera, and then what is near moves further than what is far. No single transform undoes that;
it can be measured and told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from afunet_core.registration.features import Level
from afunet_core.registration.gauss_newton import CORRELATED_PIXELS, Template, difference
from afunet_core.registration.homography import CentredFrame, transfer_centred

BLOCKS = 24  # blocks across the longer side
SMALLEST = 32  # side of a block at least, pixels
CERTAIN = 0.25  # pixels; blocks whose texture determines their motion less well do not count,
FEWEST_POINTS = 24  # nor those with fewer textured pixels,
LEAST_CORRELATION = 0.5  # nor those that agree less after they moved
STEPS = 4  # Gauss–Newton steps at each level
LONGEST_STEP = 1.5  # pixels of the level
ROUNDS = 10  # reweighted least squares of the affinity that most blocks want
NOTICEABLE = 1.5  # pixels; less is within what the network follows without effort


@dataclass(frozen=True)
class LocalMotion:
    """Distances of the parts of a frame from the reference after the transform."""

    distance: float  # full-resolution pixels that a tenth of the textured blocks is off by, or more
    share: float  # of the textured blocks, that which is off by more than `NOTICEABLE` pixels, in [0, 1]
    centres: Tensor  # N×2, where the textured blocks lie in the moving frame, centred coordinates
    shifts: Tensor  # N×2, how far each is from where the transform puts it, in the same
    extent: float  # how far over the frame the textured blocks are spread: 1 for evenly, near 0 for all in one place

    def correct(self, homography: Tensor) -> Tensor:
        """Return the transform followed by the affinity that most blocks want: a better start if it went astray."""
        source = torch.cat((self.centres, torch.ones(len(self.centres), 1)), dim=1).double()
        goal = (self.centres + self.shifts).double()
        weight = torch.ones(len(goal), 1, dtype=torch.float64)
        for _ in range(ROUNDS):
            ridge = 1e-6 * torch.eye(3, dtype=torch.float64)
            solution = torch.linalg.solve(
                source.T @ (weight * source) + ridge, source.T @ (weight * goal) + ridge[:, :2]
            )
            off = (source @ solution - goal).norm(dim=-1, keepdim=True)
            weight = 1 / (1 + (off / off.median().clamp(min=1e-6)).square()).square()
        affinity = torch.eye(3, dtype=torch.float64)
        affinity[:2] = solution.T
        return affinity @ homography


def local_motion(
    moving: Sequence[Level], templates: Sequence[Template], frame: CentredFrame, homography: Tensor
) -> LocalMotion | None:
    """Measure how far every block of the frame goes when it may move on its own, by up to about ten pixels.

    One shift for each block is found by Gauss–Newton (Lucas and Kanade, 1981) on the two finest levels. None where no
    block has the texture to tell.
    """
    size = max(SMALLEST, max(frame.height, frame.width) // BLOCKS)
    across = -(-frame.width // size)
    count = across * -(-frame.height // size)
    shift = torch.zeros(count, 2, dtype=torch.float32)
    for level, template in reversed(list(zip(moving[:2], templates[:2], strict=True))):
        pixels = frame.to_level(template.points, 1).clamp(min=0).div(size, rounding_mode="floor").long()
        block = pixels[:, 1].clamp(max=count // across - 1) * across + pixels[:, 0].clamp(max=across - 1)
        slopes = template.slopes[:, 2:4] * (level.factor / frame.unit)  # along x and y, for a pixel of the level
        for _ in range(STEPS):
            error, inside, _ = difference(level, template, frame, homography, shift[block] / level.factor)
            weight = inside[0]
            normal = _sums(weight[:, None, None] * slopes[:, :, None] * slopes[:, None, :], block, count)
            pull = _sums(weight[:, None] * slopes * error[0][:, None], block, count)
            step = -torch.linalg.solve(normal + 1e-4 * torch.eye(2).to(normal), pull[..., None])[..., 0]
            length = step.norm(dim=-1, keepdim=True).clamp(min=1e-6)
            shift = shift + step * (LONGEST_STEP / length).clamp(max=1.0) * level.factor
    error, inside, _ = difference(level, template, frame, homography, shift[block] / level.factor)
    points = _sums(inside[0], block, count)
    left = _sums(error[0].square(), block, count)
    energy = _sums(inside[0] * template.values.square(), block, count).clamp(min=1e-6)
    weakest = torch.linalg.eigvalsh(normal)[:, 0].clamp(min=1e-9)
    spread = (left / points.clamp(min=1) * CORRELATED_PIXELS / weakest).sqrt() * level.factor
    told = (points >= FEWEST_POINTS) & (1 - left / (2 * energy) > LEAST_CORRELATION) & (spread < CERTAIN)
    if not bool(told.any()):
        return None
    distance = shift[told].norm(dim=-1)
    index = torch.arange(count)
    middle = torch.stack((index % across, index // across), dim=-1) * size + size / 2 - 0.5
    centres = transfer_centred(homography.to(middle), frame.to_centred(middle, 1))[0]
    return LocalMotion(
        float(distance.quantile(0.9)),
        float((distance > NOTICEABLE).float().mean()),
        centres[told],
        shift[told] / frame.unit,
        _extent(middle[told], frame),
    )


def _extent(pixels: Tensor, frame: CentredFrame) -> float:
    """Standard deviation of places over that of places all over the frame, geometric mean of both axes."""
    if len(pixels) < 2:
        return 0.0
    even = pixels.new_tensor([frame.width, frame.height]) / 12**0.5
    return float((pixels.std(dim=0) / even).clamp(max=1.0).prod().sqrt())


def _sums(values: Tensor, block: Tensor, count: int) -> Tensor:
    """Sums over the points of every block."""
    return values.new_zeros(count, *values.shape[1:]).index_add_(0, block, values)
