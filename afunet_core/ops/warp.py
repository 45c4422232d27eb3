"""Warping: pictures resampled under homographies or at any positions, differentiable and without ringing."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.ops.arguments import check_batch, check_tensor, visible
from afunet_core.ops.strips import row_strips

__all__ = ["WarpHomography", "sample", "warp_homography"]

STRIP_PIXELS = 1 << 18  # of large images this many are warped, or asked for what they cover, at a time


# kornia's transform_points does not divide a point at infinity: it comes out as if it were near.
def transfer_points(homography: Tensor, points: Tensor) -> Tensor:
    """Apply homographies, 3×3 or B×3×3, to N×2 points (x, y) in pixels; one at infinity becomes inf or NaN."""
    x, y = points[..., 0:1], points[..., 1:2]
    columns = homography.unsqueeze(-3)
    mapped = x * columns[..., 0] + y * columns[..., 1] + columns[..., 2]
    return mapped[..., :2] / mapped[..., 2:]


def displacement(homography: Tensor, height: int, width: int) -> float:
    """Measure the furthest that a homography moves any corner of an image, in pixels; inf when it tears the image."""
    right, bottom = width - 1.0, height - 1.0
    corners = torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=homography.dtype)
    depth = corners @ homography[2, :2] + homography[2, 2]
    if not bool(torch.isfinite(homography).all()) or float(depth.min()) <= 1e-6:
        return float("inf")
    return float((transfer_points(homography, corners) - corners).norm(dim=-1).max())


def valid_area(homography: Tensor, height: int, width: int, every: int = 1) -> Tensor:
    """Mask, B×1×⌈H/every⌉×W, where a warped picture has content of its own; one row in ``every`` is looked at."""
    batch, rows = _as_batch(homography), range(0, height, every)
    cuts = row_strips(len(rows), width, STRIP_PIXELS, multiple=2)
    return torch.cat([_inside(_source_grid(batch, width, rows[cut]), height, width) for cut in cuts], dim=-2)


def warp_homography(
    image: Tensor, homography: Tensor, mode: str = "bicubic", dsize: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Resample ``image`` so that its pixel ``p`` lands on ``homography · p``, as ``cv2.warpPerspective`` does.

    It does not ring (see :func:`sample`). Outside the image its border is repeated.

    Args:
        image: B×C×H×W, any floating dtype; linear light when it is a photograph.
        homography: 3×3 or B×3×3, from pixels (x, y, 1) of the image to pixels of the result.
        mode: ``"bicubic"``, ``"bilinear"`` or ``"nearest"``.
        dsize: height and width of the result, as kornia calls them; those of the image by default.

    Returns:
        The warped image, B×C×H×W, differentiable in image and homography, and the boolean mask B×1×H×W of the area
        that the image covers.

    Raises:
        TensorTypeError: unless both are floating-point tensors.
        ShapeError: unless the image is B×C×H×W and the homography 3×3 or B×3×3.
        ArgumentError: for an unknown mode, or a singular homography on the CPU. Elsewhere it is not looked at, which
            would wait for the device, and its result is undefined.

    Example:
        >>> shift = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> warped, valid = warp_homography(torch.arange(4.0).reshape(1, 1, 1, 4), shift)
        >>> warped[0, 0], valid[0, 0]
        (tensor([[0., 0., 1., 2.]]), tensor([[False,  True,  True,  True]]))
    """
    check_batch("image", image)
    check_tensor("homography", homography)
    if mode not in ("bicubic", "bilinear", "nearest"):
        raise ArgumentError("mode", "bicubic, bilinear or nearest", repr(mode))
    height, width = image.shape[-2:]
    rows, columns = (height, width) if dsize is None else dsize
    source = _source_grid(_as_batch(homography), columns, range(rows))
    if source.shape[0] not in (1, image.shape[0]):
        raise ShapeError("homography", f"3×3 or {image.shape[0]}×3×3", tuple(homography.shape))
    valid = _inside(source, height, width)
    return sample(image, source, mode), valid.expand(image.shape[0], -1, -1, -1)


def warp_rows(
    image: Tensor, homography: Tensor, start: int, stop: int, prepare: Callable[[Tensor], Tensor] = lambda rows: rows
) -> tuple[Tensor, Tensor]:
    """Warp as :func:`warp_homography` does, but only rows ``start`` to ``stop``, from the rows they come from alone.

    A whole warp takes some fifty bytes for each pixel and channel; strips of a large image take little, and what they
    take stays in the cache. ``prepare`` is applied, pixel by pixel, to the rows of the image before they are resampled.
    """
    height, width = image.shape[-2:]
    source = _source_grid(_as_batch(homography), width, range(start, stop))
    valid = _inside(source, height, width)
    y = source[..., 1].nan_to_num(0.0).clamp(0, height - 1)
    # Cubic interpolation looks two pixels further; beyond the rows taken only the repeated border is seen.
    first = max(math.floor(float(y.min())) - 3, 0)
    last = min(math.ceil(float(y.max())) + 4, height)
    rows = prepare(image[..., first:last, :])
    warped = sample(rows, source - source.new_tensor([0.0, first]), "bicubic")
    return warped, valid.expand(image.shape[0], -1, -1, -1)


def sample(image: Tensor, positions: Tensor, mode: str = "bicubic") -> Tensor:
    """Sample pictures between their pixels, without ringing; the border is repeated.

    Cubic interpolation overshoots beside highlights a hundred times brighter than their surroundings, which no lens
    does. So its result is held between the smallest and the largest of the four pixels around each position.

    Args:
        image: B×C×H×W.
        positions: B×h×w×2, or 1×h×w×2 for all, (x, y) in pixels.
        mode: ``"bicubic"``, ``"bilinear"`` or ``"nearest"``.

    Returns:
        B×C×h×w, differentiable in the image and, but for the bounds, in the positions.

    Example:
        >>> sample(torch.arange(12.0).reshape(1, 1, 3, 4), torch.tensor([[[[1.0, 1.0], [2.0, 1.0]]]]))
        tensor([[[[5., 6.]]]])
    """
    height, width = image.shape[-2:]
    if image.shape[0] == 0:
        return image[..., :1, :1].expand(-1, -1, *positions.shape[1:3])
    dtype, image = image.dtype, image.to(torch.promote_types(image.dtype, torch.float32))
    grid = _normalise(positions, height, width).to(image.dtype).expand(image.shape[0], -1, -1, -1)
    sampled = _grid_sample(image, grid, mode)
    if mode == "bicubic":
        extremes = torch.cat(_neighbourhood(image), dim=1)
        # The corner pixel of the 2×2 neighbourhood is the floor of the position, hence half a pixel up and left.
        with torch.no_grad():
            x, y = grid.unbind(-1)
            corner = torch.stack((x - 1.0 / width, y - 1.0 / height), dim=-1)
        sampled = sampled.clamp(*_grid_sample(extremes, corner, "nearest").chunk(2, dim=1))
    return sampled.to(dtype)


class WarpHomography(nn.Module):
    """Module twin of :func:`warp_homography`, without the mask.

    Example:
        >>> WarpHomography()(torch.rand(1, 3, 4, 6), torch.eye(3)).shape
        torch.Size([1, 3, 4, 6])
    """

    def __init__(self, mode: str = "bicubic", dsize: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.mode, self.dsize = mode, dsize

    def forward(self, image: Tensor, homography: Tensor) -> Tensor:
        return warp_homography(image, homography, self.mode, self.dsize)[0]

    def extra_repr(self) -> str:
        return f"mode={self.mode!r}, dsize={self.dsize}"


def _as_batch(homography: Tensor) -> Tensor:
    if homography.ndim not in (2, 3) or homography.shape[-2:] != (3, 3):
        raise ShapeError("homography", "3×3 or B×3×3", tuple(homography.shape))
    return homography.reshape(-1, 3, 3)


# kornia's create_meshgrid and transform_points take 3.4 times as long.
def _source_grid(homography: Tensor, width: int, rows: range) -> Tensor:
    """For every output pixel of some rows the position (x, y) it comes from, B×rows×W×2, in pixels.

    A homography is linear before its division, so columns and rows are multiplied on their own and then added: a
    seventh of the work of one matrix product for each pixel.
    """
    homography = homography.to(torch.promote_types(homography.dtype, torch.float32))
    inverse, failed = torch.linalg.inv_ex(homography)
    if visible(inverse) and (bool(failed.any()) or not bool(torch.isfinite(inverse).all())):
        raise ArgumentError("homography", "an invertible matrix", homography.tolist())
    x = torch.arange(width, dtype=homography.dtype, device=homography.device)
    y = torch.arange(rows.start, rows.stop, rows.step, dtype=homography.dtype, device=homography.device)
    along_x = inverse[:, :, 0, None] * x + inverse[:, :, 2, None]
    along_y = inverse[:, :, 1, None] * y
    # Float64 keeps the sums exact; from here float32 holds a thousandth of a pixel on any frame.
    working = torch.float64 if homography.requires_grad else torch.float32
    mapped = along_x.to(working)[:, :, None, :] + along_y.to(working)[:, :, :, None]
    return torch.stack((mapped[:, 0] / mapped[:, 2], mapped[:, 1] / mapped[:, 2]), dim=-1)


def _inside(source: Tensor, height: int, width: int) -> Tensor:
    x, y = source[..., 0], source[..., 1]
    tolerance = 1e-3
    inside = (x >= -tolerance) & (x <= width - 1 + tolerance) & (y >= -tolerance) & (y <= height - 1 + tolerance)
    return inside[:, None]


def _normalise(source: Tensor, height: int, width: int) -> Tensor:
    """Pixels to the [-1, 1] of ``grid_sample`` with ``align_corners=False``."""
    x, y = source.unbind(-1)
    return torch.stack(((x * 2 + 1) / width - 1, (y * 2 + 1) / height - 1), dim=-1)


# kornia's remap is as fast, but rounds positions more coarsely: strips of a warped frame would show.
def _grid_sample(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    """``grid_sample`` that uses every core: it runs in parallel over the batch only, so rows are made a batch."""
    batch, rows = grid.shape[:2]
    if torch.compiler.is_compiling() or batch > 1 or rows % 2 or image.device.type != "cpu":
        return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)
    halves = grid.reshape(2, rows // 2, grid.shape[2], 2)
    sampled = F.grid_sample(image.expand(2, -1, -1, -1), halves, mode=mode, padding_mode="border", align_corners=False)
    return torch.cat((sampled[:1], sampled[1:]), dim=2)


def _neighbourhood(image: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each pixel and its neighbours right, below and diagonal."""
    wide = F.pad(image, (0, 1, 0, 1), mode="replicate")
    low, high = torch.minimum(wide[..., 1:], wide[..., :-1]), torch.maximum(wide[..., 1:], wide[..., :-1])
    return torch.minimum(low[..., 1:, :], low[..., :-1, :]), torch.maximum(high[..., 1:, :], high[..., :-1, :])
