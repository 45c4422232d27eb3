"""Homographies in centred coordinates: their eight parameters, and the points they transfer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Columns are the parameters (scale, rotation, x, y | two of shear | two of perspective) in terms of the eight free
# entries of a homography, row by row. The first 4 span similarities, the first 6 affinities.
PARAMETERS = torch.tensor(
    [
        [1, 0, 0, 0, 1, 0, 0, 0],
        [0, -1, 0, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, -1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 1],
    ],
    dtype=torch.float64,
    device="cpu",
)


@dataclass(frozen=True)
class CentredFrame:
    """Full-resolution frame in centred coordinates: the middle is (0, 0), half the diagonal the unit."""

    height: int
    width: int

    @property
    def unit(self) -> float:
        """Half the diagonal, in pixels."""
        return 0.5 * (self.height**2 + self.width**2) ** 0.5

    def to_centred(self, points: Tensor, factor: int) -> Tensor:
        """(x, y) in pixels of a level to centred coordinates."""
        centre = points.new_tensor([self.width / 2, self.height / 2])
        return ((points + 0.5) * factor - centre) / self.unit

    def to_level(self, points: Tensor, factor: int) -> Tensor:
        """Centred coordinates to pixels of a level, counted from the frame's edge: the first pixel is at 0.5."""
        return (points * self.unit + points.new_tensor([self.width / 2, self.height / 2])) / factor

    def to_pixels(self) -> Tensor:
        """3×3 matrix from centred coordinates to full-resolution pixels, float64."""
        return torch.tensor(
            [[self.unit, 0, self.width / 2 - 0.5], [0, self.unit, self.height / 2 - 0.5], [0, 0, 1]],
            dtype=torch.float64,
        )

    def corners(self) -> Tensor:
        """The four corners in centred coordinates, 4×2, float64."""
        x, y = self.width / 2 / self.unit, self.height / 2 / self.unit
        return torch.tensor([[-x, -y], [x, -y], [x, y], [-x, y]], dtype=torch.float64)


def transfer_centred(homography: Tensor, points: Tensor) -> Tensor:
    """K×3×3 on N×2 points: K×N×2; points at or behind the horizon become NaN."""
    mapped = points @ homography[:, :, :2].transpose(1, 2) + homography[:, None, :, 2]
    depth = mapped[..., 2:]
    return mapped[..., :2] / torch.where(depth > 1e-3, depth, torch.full_like(depth, float("nan")))


def homography_of(parameters: Tensor) -> Tensor:
    """Homographies from K×n small parameters."""
    entries = parameters @ PARAMETERS[:, : parameters.shape[1]].T
    last = torch.zeros(len(entries), 1, dtype=entries.dtype)
    return torch.eye(3, dtype=entries.dtype) + torch.cat((entries, last), dim=1).view(-1, 3, 3)


def parameters_of(homography: Tensor) -> Tensor:
    """The K×8 parameters that :func:`homography_of` takes."""
    difference = (homography - torch.eye(3, dtype=homography.dtype)).reshape(-1, 9)[:, :8]
    return torch.linalg.solve(PARAMETERS, difference.T).T


def corner_spread(hessian: Tensor, corners: Tensor, parameters: int) -> Tensor:
    """Predicted standard deviation of the worst corner for each of K fits, centred units."""
    covariance = torch.linalg.inv(hessian)
    u, v = corners[:, 0], corners[:, 1]
    zero, one = torch.zeros_like(u), torch.ones_like(u)
    rows_x = torch.stack((u, v, one, zero, zero, zero, -u * u, -u * v), dim=-1)
    rows_y = torch.stack((zero, zero, zero, u, v, one, -u * v, -v * v), dim=-1)
    jacobian = torch.stack((rows_x, rows_y), dim=1) @ PARAMETERS[:, :parameters]
    spread = jacobian @ covariance[:, None] @ jacobian.transpose(-1, -2)
    return spread.diagonal(dim1=-2, dim2=-1).sum(-1).amax(dim=1).clamp(min=0.0).sqrt()
