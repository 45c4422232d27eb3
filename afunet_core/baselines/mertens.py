"""Exposure fusion: a picture for display from the best parts of every frame, without radiance.

Mertens, Kautz and Van Reeth, "Exposure Fusion", Pacific Graphics 2007, on the pyramids of Burt and Adelson, "The
Laplacian Pyramid as a Compact Image Code", 1983. (kornia's ``pyrdown`` averages 2×2 blurred pixels where they take
every second: another pyramid.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.ops.arguments import check_frames
from afunet_core.ops.strips import in_haloed_strips, in_strips
from afunet_core.radiometry import encode

GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, as the paper's code and OpenCV take it
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # Burt and Adelson's kernel with a = 0.375
FOUR_NEIGHBOURS = (0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0)  # the Laplacian of the paper's code, 3×3
WIDTH = 0.2  # σ of well-exposedness around mid-grey; from the paper
FLOOR = 1e-6  # least value of a measure: where one says nothing, as saturation does of grey pixels, the others count
# Axis, shape of the kernel and stride of a pass along columns, then along rows.
PASSES = ((-2, (1, 1, 5, 1), (2, 1)), (-1, (1, 1, 1, 5), (1, 2)))


def exposure_fusion(bracket: ExposureStack, check: Callable[[], None] = lambda: None) -> Tensor:
    """Fuse the frames as a display shows them (see :func:`fuse_frames`).

    Args:
        bracket: the exposures.
        check: as for :func:`fuse_frames`.

    Returns:
        B×3×H×W display-encoded picture in [0, 1]. It is not radiance and has no exposure.
    """
    if bracket.encoding != "linear":
        return fuse_frames(bracket.frames, check)

    encoded = partial(encode, encoding="gamma", gamma=bracket.gamma)
    return fuse_frames([in_strips(encoded, frame, check=check) for frame in bracket.frames], check)


def fuse_frames(frames: Tensor | Sequence[Tensor], check: Callable[[], None] = lambda: None) -> Tensor:
    r"""Blend display-encoded frames on many scales by what looks good in each.

    Each pixel of each frame is weighted by contrast (absolute Laplacian of grey), saturation (deviation between the
    channels) and well-exposedness (a Gaussian around mid-grey); Laplacian pyramids of the frames are blended by
    Gaussian pyramids of the weights.

    Args:
        frames: N display-encoded frames in [0, 1], each B×3×H×W of any size down to 1×1.
        check: called before each step on a whole frame; it raises when the caller no longer wants the picture.

    Returns:
        B×3×H×W display-encoded picture in [0, 1].

    Raises:
        ShapeError: unless there are at least one frame, all B×3×H×W and alike.

    Example:
        >>> frames = [torch.full((1, 3, 9, 7), value) for value in (0.2, 0.5, 0.9)]
        >>> fuse_frames(frames).mean() > 0.49
        tensor(True)
    """
    check_frames(frames)
    qualities = [in_haloed_strips(_quality, 1, frame, check=check) for frame in frames]
    total = torch.stack(qualities).sum(0)
    levels: list[Tensor] = []
    for frame, own_quality in zip(frames, qualities, strict=True):
        own = _weighted_pyramid(frame, own_quality / total, check)
        levels = [level + more for level, more in zip(levels, own, strict=True)] if levels else own
    picture = levels[-1]
    for detail in levels[-2::-1]:
        picture = detail + _double(picture, detail.shape, check)
        check()
    return picture.clamp(0.0, 1.0)


def _quality(frame: Tensor) -> Tensor:
    """Product of the three measures, never quite zero: B×3×H×W → B×1×H×W."""
    grey = _mirrored(_mirrored((frame * frame.new_tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True), 1, -2), 1, -1)
    edges = F.conv2d(grey, frame.new_tensor(FOUR_NEIGHBOURS).view(1, 1, 3, 3)).abs()
    colour = (frame - frame.mean(1, keepdim=True)).square().mean(1, keepdim=True)
    off_centre = (frame - 0.5).square().sum(1, keepdim=True)
    return (edges + FLOOR) * (colour + FLOOR**2).sqrt() * torch.exp(off_centre * (-1 / (2 * WIDTH**2)))


def _weighted_pyramid(image: Tensor, weight: Tensor, check: Callable[[], None]) -> list[Tensor]:
    """Laplacian pyramid of the image times the Gaussian pyramid of the weight, finest level first."""
    levels = []
    while min(image.shape[-2:]) >= 2:
        smaller = _halve(image, check)
        detail = image - _double(smaller, image.shape, check)
        check()
        levels.append(weight * detail)
        image, weight = smaller, _halve(weight, check)
    return [*levels, weight * image]


def _halve(x: Tensor, check: Callable[[], None]) -> Tensor:
    """Binomial blur along rows and columns, then every second pixel; an odd size rounds up."""
    kernel, halved = x.new_tensor(BINOMIAL), []
    for plane in x.flatten(0, 1)[:, None].split(1):  # plane by plane, so that cancelling does not wait
        for axis, shape, stride in PASSES:
            check()
            plane = F.conv2d(_mirrored(plane, 2, axis), kernel.view(shape), stride=stride)
        halved.append(plane)
    return torch.cat(halved)[:, 0].unflatten(0, x.shape[:2])


def _double(x: Tensor, size: torch.Size, check: Callable[[], None]) -> Tensor:
    """The interpolation that belongs to :func:`_halve`, cut to a size."""
    kernel, doubled = 2 * x.new_tensor(BINOMIAL), []
    for plane in x.flatten(0, 1)[:, None].split(1):
        for axis, shape, stride in PASSES:
            check()
            count = x.shape[axis]
            around = torch.arange(-1, count + 1, device=x.device).abs().clamp(max=count - 1)
            plane = F.conv_transpose2d(plane.index_select(axis, around), kernel.view(shape), stride=stride)
            plane = plane.narrow(axis, 4, size[axis])
        doubled.append(plane)
    return torch.cat(doubled)[:, 0].unflatten(0, x.shape[:2])


def _mirrored(x: Tensor, margin: int, axis: int) -> Tensor:
    """The image with a margin along one axis, mirrored about its border pixels however small it is."""
    last = x.shape[axis] - 1
    place = torch.arange(-margin, last + margin + 1, device=x.device) % max(2 * last, 1)
    return x.index_select(axis, torch.minimum(place, 2 * last - place))
