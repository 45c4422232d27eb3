"""Resampling a picture under a homography: once, differentiable, without ringing, with the area it covers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afunet_core.errors import ArgumentError, ShapeError

__all__ = [
    "WarpHomography",
    "covered_share",
    "displacement",
    "largest_rectangle",
    "transfer_points",
    "valid_area",
    "warp_homography",
    "warp_rows",
]

STRIP_PIXELS = 1 << 18
"""Of large images this many are warped, or asked for what they cover, at a time."""


# kornia's transform_points does not divide a point at infinity: it comes out as if it were near.
def transfer_points(homography: Tensor, points: Tensor) -> Tensor:
    """Apply homographies to points.

    Args:
        homography: 3×3, or B×3×3.
        points: N×2, as (x, y) in pixels.

    Returns:
        The transferred points, N×2 or B×N×2. A point on the line at infinity becomes inf or NaN.

    Example:
        >>> shift = torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, -2.0], [0.0, 0.0, 1.0]])
        >>> transfer_points(shift, torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
        tensor([[ 5., -2.],
                [15.,  8.]])
    """
    x, y = points[..., 0:1], points[..., 1:2]
    columns = homography.unsqueeze(-3)
    mapped = x * columns[..., 0] + y * columns[..., 1] + columns[..., 2]
    return mapped[..., :2] / mapped[..., 2:]


def displacement(homography: Tensor, height: int, width: int) -> float:
    """The furthest that a homography moves any corner of an image, in pixels; inf when it tears the image.

    Example:
        >>> displacement(torch.eye(3), 10, 20)
        0.0
    """
    corners = _corners(height, width).to(homography.dtype)
    depth = corners @ homography[2, :2] + homography[2, 2]
    if not bool(torch.isfinite(homography).all()) or float(depth.min()) <= 1e-6:
        return float("inf")
    return float((transfer_points(homography, corners) - corners).norm(dim=-1).max())


def valid_area(homography: Tensor, height: int, width: int) -> Tensor:
    """Where a picture warped by :func:`warp_homography` has content of its own.

    Args:
        homography: 3×3 or B×3×3, from the picture's pixels to the output's.
        height: rows of picture and output.
        width: columns of picture and output.

    Returns:
        Boolean mask B×1×H×W (B = 1 for a single homography).

    Example:
        >>> shift = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> valid_area(shift, 1, 4)[0, 0]
        tensor([[False,  True,  True,  True]])
    """
    batch, rows = _as_batch(homography), strip_rows(width)
    strips = [range(top, min(top + rows, height)) for top in range(0, height, rows)]
    return torch.cat([_inside(_source_grid(batch, strip, width), height, width) for strip in strips], dim=-2)


def covered_share(homography: Tensor, height: int, width: int) -> float:
    """How much of the output :func:`valid_area` covers, in [0, 1]; of large images some rows tell.

    Example:
        >>> shift = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> covered_share(shift, 1, 4)
        0.75
    """
    rows = range(0, height, max(1, height * width // STRIP_PIXELS))
    return float(_inside(_source_grid(_as_batch(homography), rows, width), height, width).float().mean())


def strip_rows(width: int) -> int:
    """Rows of one strip of an image that is worked on in strips; an even number, for two cores.

    Example:
        >>> strip_rows(1000), strip_rows(10**9)
        (262, 2)
    """
    return max(2, STRIP_PIXELS // max(width, 1) // 2 * 2)


def largest_rectangle(mask: Tensor) -> tuple[int, int, int, int]:
    """The largest upright rectangle inside a mask without holes, such as the area that warped frames share.

    Of every pair of rows the columns between which both are covered bound a rectangle; the area of a convex mask
    between two rows is bounded by those rows.

    Args:
        mask: boolean H×W, convex.

    Returns:
        Top, left, height, width; 0, 0, 0, 0 for an empty mask.

    Example:
        >>> mask = torch.zeros(6, 8, dtype=torch.bool)
        >>> mask[1:5, 2:] = True
        >>> largest_rectangle(mask)
        (1, 2, 4, 6)
    """
    height, width = mask.shape
    rows = torch.linspace(0, height - 1, min(height, 1024)).long()  # of more rows not every pair is looked at
    mask = mask[rows]
    filled = mask.any(dim=1)
    left = mask.int().argmax(dim=1)
    right = width - mask.flip(1).int().argmax(dim=1)
    # Empty rows: a left edge beyond the right one leaves no width.
    left, right = torch.where(filled, left, width), torch.where(filled, right, 0)
    wide = (torch.minimum(right[:, None], right) - torch.maximum(left[:, None], left)).clamp(min=0)
    tall = (rows - rows[:, None] + 1).clamp(min=0)
    best = int((wide * tall).argmax())
    top, bottom = divmod(best, len(rows))
    if int(wide[top, bottom]) == 0:
        return 0, 0, 0, 0
    edge, tallest = int(max(left[top], left[bottom])), int(tall[top, bottom])
    return int(rows[top]), edge, tallest, int(wide[top, bottom])


def warp_homography(image: Tensor, homography: Tensor, mode: str = "bicubic") -> tuple[Tensor, Tensor]:
    """Resample ``image`` so that its pixel ``p`` lands on ``homography · p``, as ``cv2.warpPerspective`` does.

    Cubic interpolation overshoots beside highlights, which in linear light may be a hundred times brighter than their
    surroundings: one dark fringe around every lamp. The result is therefore held between the smallest and the largest
    of the four pixels around each sampling position. Outside the image its border is repeated.

    Args:
        image: B×C×H×W, any floating dtype; linear light when it is a photograph.
        homography: 3×3 or B×3×3, from pixels (x, y, 1) of the image to pixels of the result.
        mode: ``"bicubic"``, ``"bilinear"`` or ``"nearest"``.

    Returns:
        The warped image, B×C×H×W, differentiable in image and homography, and the boolean mask B×1×H×W of the area
        that the image covers.

    Raises:
        ShapeError: unless the image is B×C×H×W and the homography 3×3 or B×3×3.
        ArgumentError: for an unknown mode or a singular homography.

    Example:
        >>> shift = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> warped, valid = warp_homography(torch.arange(4.0).reshape(1, 1, 1, 4), shift)
        >>> warped[0, 0], valid[0, 0]
        (tensor([[0., 0., 1., 2.]]), tensor([[False,  True,  True,  True]]))
    """
    if image.ndim != 4:
        raise ShapeError("image", "B×C×H×W", tuple(image.shape))
    if mode not in ("bicubic", "bilinear", "nearest"):
        raise ArgumentError("mode", "bicubic, bilinear or nearest", repr(mode))
    height, width = image.shape[-2:]
    source = _source_grid(_as_batch(homography), range(height), width)
    if source.shape[0] not in (1, image.shape[0]):
        raise ShapeError("homography", f"3×3 or {image.shape[0]}×3×3", tuple(homography.shape))
    valid = _inside(source, height, width)
    return _resample(image, source, mode), valid.expand(image.shape[0], -1, -1, -1)


def warp_rows(
    image: Tensor,
    homography: Tensor,
    start: int,
    stop: int,
    prepare: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> tuple[Tensor, Tensor]:
    """Rows ``start`` to ``stop`` of what :func:`warp_homography` makes of an image, from the rows they come from alone.

    A whole warp takes some fifty bytes for each pixel and channel; strips of a large image take little, and what they
    take stays in the cache.

    Args:
        image: B×C×H×W.
        homography: 3×3.
        start: first row of the result.
        stop: one past the last row.
        prepare: applied to the rows of the image before they are resampled; pixel by pixel.

    Returns:
        The warped rows, B×C×(stop − start)×W, and the mask B×1×(stop − start)×W of what the image covers.

    Example:
        >>> shift = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]])
        >>> warp_rows(torch.arange(6.0).reshape(1, 1, 6, 1), shift, 3, 6)[0].flatten()
        tensor([1., 2., 3.])
    """
    height, width = image.shape[-2:]
    source = _source_grid(_as_batch(homography), range(start, stop), width)
    valid = _inside(source, height, width)
    y = source[..., 1].nan_to_num(0.0).clamp(0, height - 1)
    # Cubic interpolation looks two pixels further; beyond the rows taken only the repeated border is seen.
    first = max(math.floor(float(y.min())) - 3, 0)
    last = min(math.ceil(float(y.max())) + 4, height)
    rows = prepare(image[..., first:last, :])
    warped = _resample(rows, source - source.new_tensor([0.0, first]), "bicubic")
    return warped, valid.expand(image.shape[0], -1, -1, -1)


def _resample(image: Tensor, source: Tensor, mode: str) -> Tensor:
    """The image at positions B×h×w×2 in pixels; cubic interpolation held within the four pixels around."""
    height, width = image.shape[-2:]
    dtype, image = image.dtype, image.to(torch.promote_types(image.dtype, torch.float32))
    grid = _normalise(source, height, width).to(image.dtype).expand(image.shape[0], -1, -1, -1)
    warped = _sample(image, grid, mode)
    if mode == "bicubic":
        extremes = torch.cat(_neighbourhood(image), dim=1)
        # The corner pixel of the 2×2 neighbourhood is the floor of the position, hence half a pixel up and left.
        shift = grid.new_tensor([1.0 / width, 1.0 / height])
        with torch.no_grad():
            corner = grid - shift
        warped = warped.clamp(*_sample(extremes, corner, "nearest").chunk(2, dim=1))
    return warped.to(dtype)


class WarpHomography(nn.Module):
    """Module twin of :func:`warp_homography`, without the mask.

    Example:
        >>> WarpHomography()(torch.rand(1, 3, 4, 6), torch.eye(3)).shape
        torch.Size([1, 3, 4, 6])
    """

    def __init__(self, mode: str = "bicubic") -> None:
        super().__init__()
        self.mode = mode

    def forward(self, image: Tensor, homography: Tensor) -> Tensor:
        return warp_homography(image, homography, self.mode)[0]

    def extra_repr(self) -> str:
        return f"mode={self.mode!r}"


def _corners(height: int, width: int) -> Tensor:
    right, bottom = float(width - 1), float(height - 1)
    return torch.tensor([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]], dtype=torch.float64)


def _as_batch(homography: Tensor) -> Tensor:
    if homography.ndim not in (2, 3) or homography.shape[-2:] != (3, 3):
        raise ShapeError("homography", "3×3 or B×3×3", tuple(homography.shape))
    return homography.reshape(-1, 3, 3)


# kornia's create_meshgrid and transform_points take 3.4 times as long.
def _source_grid(homography: Tensor, rows: range, width: int) -> Tensor:
    """For every output pixel of some rows the position (x, y) it comes from, B×rows×W×2, in pixels.

    A homography is linear before its division, so columns and rows are multiplied on their own and then added: a
    seventh of the work of one matrix product for each pixel.
    """
    inverse, failed = torch.linalg.inv_ex(homography)
    if bool(failed.any()) or not bool(torch.isfinite(inverse).all()):
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
    size = source.new_tensor([width, height])
    return (source * 2 + 1) / size - 1


# kornia's remap is as fast, but rounds positions more coarsely: strips of a warped frame would show.
def _sample(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    """``grid_sample`` that uses every core: it runs in parallel over the batch only, so rows are made a batch."""
    batch, rows = grid.shape[:2]
    if batch > 1 or rows % 2 or image.device.type != "cpu":
        return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)
    halves = grid.reshape(2, rows // 2, grid.shape[2], 2)
    sampled = F.grid_sample(image.expand(2, -1, -1, -1), halves, mode=mode, padding_mode="border", align_corners=False)
    return torch.cat((sampled[:1], sampled[1:]), dim=2)


def _neighbourhood(image: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each pixel and its neighbours right, below and diagonal."""
    wide = F.pad(image, (0, 1, 0, 1), mode="replicate")
    low, high = torch.minimum(wide[..., 1:], wide[..., :-1]), torch.maximum(wide[..., 1:], wide[..., :-1])
    return torch.minimum(low[..., 1:, :], low[..., :-1, :]), torch.maximum(high[..., 1:, :], high[..., :-1, :])
