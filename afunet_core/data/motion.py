"""What moves between the frames: the camera, layers of the scene, soft things in the wind, and objects of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MovingObject", "blur_along", "homography_flow", "pixel_grid", "smooth_field", "warp"]


def pixel_grid(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """H×W×2 coordinates (x, y) of the pixel centres, in pixels.

    Example:
        >>> pixel_grid(2, 2)[1, 0]
        tensor([0., 1.])
    """
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).to(device=device, dtype=torch.float32)


def warp(picture: Tensor, positions: Tensor, mode: str = "bicubic", padding: str = "border") -> Tensor:
    """Sample an N×C×H×W picture at N×h×w×2 pixel positions (x, y), exact at whole positions.

    Bicubic sampling sharpens as little as it blurs but rings below zero next to highlights; light is never negative.
    """
    height, width = picture.shape[-2:]
    scale = positions.new_tensor([2.0 / width, 2.0 / height])
    sampled = F.grid_sample(picture, (positions + 0.5) * scale - 1, mode, padding, align_corners=False)
    return sampled.clamp_min(0) if mode == "bicubic" else sampled


def homography_flow(grid: Tensor, translation: Tensor, angle: Tensor, zoom: Tensor, tilt: Tensor) -> Tensor:
    """Displacement of every pixel under K homographies about the image centre.

    Args:
        grid: H×W×2 pixel positions.
        translation: K×2, in pixels.
        angle: K, in radians.
        zoom: K, relative magnification minus one.
        tilt: K×2, perspective terms, in relative change of scale from the centre to the edge.

    Returns:
        K×H×W×2 displacements in pixels.
    """
    height, width = grid.shape[:2]
    centre = grid.new_tensor([(width - 1) / 2, (height - 1) / 2])
    centred = grid - centre
    cos, sin = torch.cos(angle) * (1 + zoom), torch.sin(angle) * (1 + zoom)
    rotation = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)
    turned = torch.einsum("hwi,kij->khwj", centred, rotation) + translation[:, None, None]
    depth = 1 + torch.einsum("hwi,ki->khw", centred / centre.clamp_min(1), tilt)
    return turned / depth.clamp_min(0.2)[..., None] - centred


def smooth_field(rng: np.random.Generator, channels: int, cells: int, size: tuple[int, int]) -> Tensor:
    """channels×H×W of smooth random values, roughly normal, with about `cells` bumps across the shorter side."""
    height, width = size
    shape = (max(2, round(cells * height / min(size))), max(2, round(cells * width / min(size))))
    coarse = torch.from_numpy(rng.normal(size=(1, channels, *shape)).astype(np.float32))
    # Two cheap steps (bicubic while small, bilinear to the full size) look like one bicubic step and cost a fifth.
    middle = (min(height, 6 * shape[0]), min(width, 6 * shape[1]))
    fine = F.interpolate(coarse, middle, mode="bicubic", align_corners=False)
    return F.interpolate(fine, size, mode="bilinear", align_corners=False)[0]


def blur_along(picture: Tensor, vector: tuple[float, float]) -> Tensor:
    """Average an N×C×H×W picture along `vector` (x, y) pixels, centred, as a camera in motion does."""
    taps = max(2, int(np.ceil(np.hypot(*vector))) + 1)
    radius = int(np.ceil(max(abs(vector[0]), abs(vector[1])) / 2)) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    for position in np.linspace(-0.5, 0.5, taps):
        x, y = position * vector[0] + radius, position * vector[1] + radius
        left, top = int(np.floor(x)), int(np.floor(y))
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            kernel[row, column] += (1 - abs(x - column)) * (1 - abs(y - row))
    weights = torch.from_numpy(kernel / kernel.sum()).to(picture)
    channels = picture.shape[1]
    padded = F.pad(picture, (radius,) * 4, mode="replicate")
    return F.conv2d(padded, weights.expand(channels, 1, -1, -1), groups=channels)


@dataclass(frozen=True)
class MovingObject:
    """A textured shape with a pose at each instant.

    Attributes:
        texture: 3×h×w radiance.
        shape: "blob", "ellipse", "polygon" or "bar".
        harmonics: (order, amplitude, phase) triples of the outline of a blob; for a polygon (corners, roundness, 0).
        aspect: height over width.
        centres: K×2 positions on the canvas, in pixels.
        radii: K sizes (half the width), in pixels.
        angles: K rotations, in radians.
        wobble: K amplitudes of a bending deformation, relative to the radius.
        edge: width of the soft edge in pixels.
        opacity: 1 for solid things; less for glass, smoke, blur.
    """

    texture: Tensor
    shape: str
    harmonics: tuple[tuple[float, float, float], ...]
    aspect: float
    centres: np.ndarray
    radii: np.ndarray
    angles: np.ndarray
    wobble: np.ndarray
    edge: float
    opacity: float = 1.0

    @property
    def displacement(self) -> float:
        """The largest shift of the centre, in pixels, between two instants."""
        return float(max(np.hypot(*(a - b)) for a in self.centres for b in self.centres))

    def reach(self) -> float:
        """No part of the object is further than this from its centres, in pixels."""
        return float(self.radii.max()) * 1.75 * max(1.0, self.aspect) + self.edge + 2

    def render(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Colour (K×3×h×w) and coverage (K×1×h×w) seen at K×h×w×2 canvas positions."""

        def column(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(positions.device)[:, None, None]

        offset = positions - column(self.centres)
        radius, cos, sin = column(self.radii), column(np.cos(self.angles)), column(np.sin(self.angles))
        x = (offset[..., 0] * cos + offset[..., 1] * sin) / radius
        y = (offset[..., 1] * cos - offset[..., 0] * sin) / (radius * self.aspect)
        bend = column(self.wobble)
        x, y = x + bend * torch.sin(2.1 * y), y + bend * torch.sin(2.6 * x + 1.0)
        inside = self._inside(x, y) * radius * min(1.0, self.aspect)
        coverage = (inside / self.edge + 0.5).clamp(0, 1) * self.opacity
        colour = F.grid_sample(
            self.texture.expand(len(x), -1, -1, -1),
            torch.stack([x, y], -1) * 0.8,
            "bilinear",
            "reflection",
            align_corners=False,
        )
        return colour, coverage[:, None]

    def _inside(self, x: Tensor, y: Tensor) -> Tensor:
        """Signed distance to the outline in units of the radius, positive inside; exact enough for a soft edge."""
        if self.shape == "bar":
            return torch.minimum(1 - x.abs(), 1 - y.abs())
        distance = torch.sqrt(x * x + y * y + 1e-6)
        if self.shape == "ellipse":
            return 1 - distance
        direction = torch.atan2(y, x)
        if self.shape == "polygon":
            corners, roundness, phase = self.harmonics[0]
            sector = 2 * np.pi / corners
            folded = torch.remainder(direction + phase, sector) - sector / 2
            flat = np.cos(sector / 2) - distance * torch.cos(folded)
            return flat * (1 - roundness) + (1 - distance) * roundness
        outline = torch.ones_like(x)
        for order, amplitude, phase in self.harmonics:
            outline = outline + amplitude * torch.cos(order * direction + phase)
        return outline - distance
