"""Robust Gauss–Newton refinement of a homography between two levels of features.

Homographies are kept in centred coordinates, the same at every level, in which the eight parameters have like sizes.
They map reference positions to moving positions, the direction in which a picture is sampled.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.ops.robust import median_deviation
from afunet_core.registration.features import Level
from afunet_core.registration.homography import (
    PARAMETERS,
    CentredFrame,
    corner_spread,
    homography_of,
    parameters_of,
    transfer_centred,
)

# Standard deviations of what a hand does to a homography. Where the picture has texture the data outweigh this by far;
# where it has none this keeps the corners from drifting.
SHEAR_SPREAD = 0.02  # rare in pictures taken by hand
PERSPECTIVE_SPREAD = 0.03  # comes with turning the camera
CORRELATED_PIXELS = 8.0  # neighbouring feature pixels share their noise; so many of them count as one observation
STILL = 0.01  # pixels of the level, by which no corner moves any more when the refinement ends
CELL = 16  # side of the cells whose strongest pixels are looked at, pixels of a level
# Squared slope of a feature, whose contrast is about 1, from which a pixel tells something about where it is.
TEXTURE = 1e-3


@dataclass(frozen=True)
class Template:
    """Textured pixels of a reference level, spread over the frame."""

    points: Tensor  # N×2 centred coordinates
    values: Tensor  # N feature values
    slopes: Tensor  # N×8 derivative of the feature along each parameter
    cells: Tensor  # N, the cell of the frame that each pixel was chosen from

    @classmethod
    def of(cls, level: Level, frame: CentredFrame, most: int) -> Template:
        """Choose the strongest gradients of every small cell, so that no part of the frame goes unheard."""
        feature = level.feature
        width = feature.shape[-1]
        # kornia's spatial_gradient takes twice as long, and repeats the border where these are 0.
        along_x, along_y = torch.zeros_like(feature), torch.zeros_like(feature)
        along_x[..., 1:-1] = (feature[..., 2:] - feature[..., :-2]) / 2
        along_y[..., 1:-1, :] = (feature[..., 2:, :] - feature[..., :-2, :]) / 2
        strength = (along_x.square() + along_y.square()) * level.valid
        chosen, cells = _strongest(strength[0, 0], most)
        y, x = chosen // width, chosen % width
        points = frame.to_centred(torch.stack((x, y), dim=-1).to(feature.dtype), level.factor)
        pixels = frame.unit / level.factor
        gx, gy = along_x.view(-1)[chosen] * pixels, along_y.view(-1)[chosen] * pixels
        u, v = points[:, 0], points[:, 1]
        radial = -(u * gx + v * gy)
        entries = torch.stack((u * gx, v * gx, gx, u * gy, v * gy, gy, u * radial, v * radial), dim=-1)
        return cls(points, feature.view(-1)[chosen], entries @ PARAMETERS.to(entries), cells)

    def cell_means(self, x: Tensor) -> Tensor:
        """For K×N values the mean over the cell of each pixel, K×N."""
        total = int(self.cells[-1]) + 1 if len(self.cells) else 1
        index = self.cells.expand(x.shape[0], -1)
        sums = x.new_zeros(x.shape[0], total).scatter_add_(1, index, x)
        counts = torch.bincount(self.cells, minlength=total).clamp(min=1)
        return (sums / counts).gather(1, index)


@dataclass(frozen=True)
class Fit:
    """Result of Gauss–Newton for each of K starts."""

    homography: Tensor  # K×3×3, float64, centred, reference to moving
    agreement: Tensor  # K, share of the reference pixels that agree, in [0, 1]; those outside the moving frame do not
    # K, of the features where the frames overlap: 1 for the same picture, about 0 for unrelated ones
    correlation: Tensor
    uncertainty: Tensor  # K, predicted standard deviation of the worst corner, full-resolution pixels

    def __getitem__(self, index: int) -> Fit:
        return Fit(*(getattr(self, field.name)[index : index + 1] for field in fields(self)))


def refine(
    moving: Level, template: Template, frame: CentredFrame, start: Tensor, parameters: int, iterations: int
) -> Fit:
    """Refine K centred homographies at once by robust inverse-compositional Gauss–Newton; ``parameters`` is 4, 6 or 8.

    Baker and Matthews, "Lucas–Kanade 20 Years On", 2004, with Geman–McClure weights renewed at every step, so that a
    pixel that follows another motion loses its say, and with a weak prior on shear and perspective. It stops when no
    corner moves by more than `STILL` pixels of the level.
    """
    homography = start.clone()
    slopes = template.slopes[:, :parameters]
    spread = torch.full((parameters,), float("inf"), dtype=torch.float64)
    spread[4:6], spread[6:8] = SHEAR_SPREAD, PERSPECTIVE_SPREAD
    precision = spread.square().reciprocal()
    corners = frame.corners()
    remaining = iterations
    while True:
        error, inside, sigma = difference(moving, template, frame, homography)
        weight = inside / (1 + (error / (2.0 * sigma[:, None])).square()).square()
        # Something that moves on its own disagrees as a whole. Those of its pixels that fit by chance go with the rest.
        weight = weight * ((template.cell_means(weight) - 0.2) / 0.3).clamp(0.0, 1.0)
        weighted = weight[:, :, None] * slopes
        count = weight.sum(dim=1).clamp(min=1.0)
        variance = (weight * error.square()).sum(dim=1) / count * CORRELATED_PIXELS
        scale = variance.double().clamp(min=1e-8)[:, None]
        hessian = (weighted.transpose(1, 2) @ slopes).double() / scale[..., None]
        hessian = hessian + torch.diag(precision) + 1e-6 * torch.eye(parameters, dtype=torch.float64)
        if remaining == 0:
            break
        pull = (weighted.transpose(1, 2) @ error[:, :, None]).double()[..., 0] / scale
        pull = pull + precision * parameters_of(homography)[:, :parameters]
        change = torch.linalg.solve(hessian, pull)
        update = homography_of(change)
        homography = homography @ torch.linalg.inv(update)
        homography = homography / homography[:, 2:, 2:]
        moved = (transfer_centred(update, corners) - corners).norm(dim=-1).amax(dim=1) * frame.unit / moving.factor
        # After the last step the loop looks once more, so that the statistics belong to the result.
        remaining = 0 if float(moved.amax()) < STILL else remaining - 1
    spreads = corner_spread(hessian, corners, parameters) * frame.unit
    # One scale for all starts: a wrong transform must not look good because it expects little of itself.
    common = 2.5 * float(sigma.amin().clamp(0.1, 1.0))
    agreement = (inside / (1 + (error / common).square()).square()).sum(dim=1) / len(template.values)
    # The error is gain · moving − wanted, both scaled to one energy: its energy tells the correlation.
    energy = (inside * template.values.square()).sum(dim=1).clamp(min=1e-6)
    correlation = 1 - error.square().sum(dim=1) / (2 * energy)
    return Fit(homography, agreement, correlation, spreads)


def shared_agreement(moving: Level, template: Template, frame: CentredFrame, homography: Tensor) -> Tensor:
    """Measure the share of agreement, K in [0, 1], of K transforms where *all* leave pixels inside the frame.

    A large shift leaves less to compare; what it loses must not speak against it.
    """
    error, inside, sigma = difference(moving, template, frame, homography)
    shared = inside.prod(dim=0)
    common = 2.5 * float(sigma.amin().clamp(0.1, 1.0))
    return (shared / (1 + (error / common).square()).square()).sum(dim=1) / shared.sum().clamp(min=1.0)


def difference(
    moving: Level, template: Template, frame: CentredFrame, homography: Tensor, offset: Tensor | float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Subtract the template from the moving frame: difference K×N, inside K×N in {0, 1}, robust deviation K.

    ``offset``, N×2 in pixels of the level, is added to the positions looked at.
    """
    positions = transfer_centred(homography.to(template.points.dtype), template.points)
    height, width = moving.feature.shape[-2:]
    pixels = frame.to_level(positions, moving.factor) + offset
    grid = pixels / pixels.new_tensor([width, height]) * 2 - 1
    both = torch.cat((moving.feature, moving.valid), dim=1)
    inside = ((grid.abs() < 1).all(dim=-1)).to(both.dtype)
    samples = _sample_points(both, grid.nan_to_num(2.0, posinf=2.0, neginf=-2.0))
    inside = inside * (samples[:, 1] > 0.99)
    values, wanted = samples[:, 0], template.values
    # One gain for all pixels absorbs what noise and tone curves do to contrast.
    energy_moving = (inside * values.square()).sum(dim=1)
    energy_wanted = (inside * wanted.square()).sum(dim=1)
    gain = (energy_wanted / energy_moving.clamp(min=1e-12)).sqrt().clamp(0.5, 2.0)
    error = (gain[:, None] * values - wanted) * inside
    compared = torch.where(inside > 0, error, torch.full_like(error, float("nan")))
    sigma = median_deviation(compared).nan_to_num(1.0).clamp(min=1e-3)
    return error, inside, sigma


def _sample_points(image: Tensor, grid: Tensor) -> Tensor:
    """Cubic samples of a 1×C×h×w image at K×N points: K×C×N."""
    count, points = grid.shape[:2]
    if count == 1 and points % 2 == 0:  # two halves for two cores: grid_sample is parallel over its batch
        halves = _sample_points(image, grid.view(2, points // 2, 2))
        return halves.permute(1, 0, 2).reshape(1, image.shape[1], points)
    expanded = image.expand(count, -1, -1, -1)
    grid = grid[:, None].to(image)
    return F.grid_sample(expanded, grid, mode="bicubic", padding_mode="border", align_corners=False)[:, :, 0]


def _strongest(strength: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The strongest pixels of every cell, about ``most`` in all: flat indices, and the cell of each, ascending."""
    height, width = strength.shape
    rows, columns = max(1, height // CELL), max(1, width // CELL)
    tall, wide = min(CELL, height), min(CELL, width)
    index = torch.arange(height * width).view(height, width)[: rows * tall, : columns * wide]
    index = index.reshape(rows, tall, columns, wide).transpose(1, 2).reshape(rows * columns, tall * wide)
    strengths = strength.reshape(-1)[index]
    counts = (strengths > TEXTURE).sum(dim=1)
    # Where most of the frame is clipped, the few cells that tell something tell the more.
    each = max(1, bisect_right(range(tall * wide), most, key=lambda share: int(counts.clamp(max=share).sum())) - 1)
    ranked = strengths.topk(each, dim=1)
    textured = ranked.values > TEXTURE
    chosen = index.gather(1, ranked.indices)[textured]
    cells = torch.arange(rows * columns)[:, None].expand(-1, each)[textured]
    even = len(chosen) // 2 * 2
    return chosen[:even], cells[:even]
