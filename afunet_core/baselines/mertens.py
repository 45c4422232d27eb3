"""Exposure fusion: a picture for display from the best parts of every frame, without radiance.

The finest level of the pyramids is three quarters of the work. Large images do it in strips of rows, whose weights,
differences and interpolations never leave the processor's cache; the coarser levels are done whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from afunet_core.errors import ArgumentError, ShapeError

__all__ = ["check_frames", "fuse_frames"]

STRIP_PIXELS = 1 << 16
"""Of large images this many are fused at a time; smaller ones are fused whole."""

# The floor decides where a measure says nothing, as saturation does for grey pixels: the other measures then count.
_FLOOR = 1e-6


def fuse_frames(
    frames: Tensor | Sequence[Tensor], contrast: float = 1.0, saturation: float = 1.0, exposedness: float = 1.0
) -> Tensor:
    r"""Exposure fusion: a multi-scale blend of display-encoded frames by what looks good in each.

    Mertens, Kautz and Van Reeth, "Exposure Fusion", Pacific Graphics 2007. Each pixel of each frame is weighted by
    contrast (absolute Laplacian of grey), saturation (deviation between the channels) and well-exposedness (a Gaussian
    of width 0.2 around mid-grey), each raised to its exponent; Laplacian pyramids of the frames are blended by Gaussian
    pyramids of the weights.

    Args:
        frames: N display-encoded frames in [0, 1], each B×3×H×W of any size down to 1×1.
        contrast: exponent of the contrast measure, at least 0.
        saturation: exponent of the saturation measure, at least 0.
        exposedness: exponent of the well-exposedness measure, at least 0.

    Returns:
        B×3×H×W display-encoded picture in [0, 1].

    Raises:
        ShapeError: unless there are at least one frame, all B×3×H×W and alike.
        ArgumentError: for a negative exponent.

    Example:
        >>> frames = [torch.full((1, 3, 9, 7), value) for value in (0.2, 0.5, 0.9)]
        >>> fuse_frames(frames).mean() > 0.49
        tensor(True)
    """
    check_frames(frames)
    exponents = (contrast, saturation, exposedness)
    for name, exponent in zip(("contrast", "saturation", "exposedness"), exponents, strict=True):
        if not exponent >= 0:
            raise ArgumentError(name, "an exponent of at least 0", exponent)
    if len(frames) == 1:
        return frames[0].clamp(0.0, 1.0)
    height, width = frames[0].shape[-2:]
    step = max(8, STRIP_PIXELS // width // 2 * 2)
    differentiable = torch.is_grad_enabled() and any(frame.requires_grad for frame in frames)
    if differentiable or height < 2 * step or width < 2 or frames[0].device.type != "cpu":
        # Pyramids are linear and the weights sum to one, so Σ w·I = I_last + Σ w·(I − I_last), level by level:
        # the last frame needs neither a pyramid nor a weight, a third of the work for three frames.
        blended = _blend(*_differences_and_weights(frames, 0, height, exponents))
        return (frames[-1] + blended).clamp(0.0, 1.0)
    return _fuse_in_strips(frames, step, exponents)


def _fuse_in_strips(frames: Tensor | Sequence[Tensor], step: int, exponents: tuple[float, float, float]) -> Tensor:
    """The same with the finest level of the pyramids in strips of ``step`` rows, an even number."""
    first, others = frames[0], len(frames) - 1
    batch, colours, height, width = first.shape
    strips = [(top, min(top + step, height)) for top in range(0, height, step)]
    weights = first.new_empty(batch, others, height, width)
    coarse = first.new_empty(batch, others * (colours + 1), (height + 1) // 2, (width + 1) // 2)
    for top, bottom in strips:
        images, quality = _differences_and_weights(frames, top - 2, bottom + 2, exponents)
        weights[..., top:bottom, :] = quality[..., 2 : bottom - top + 2, :]
        rows = slice(top // 2, (bottom + 1) // 2)
        coarse[:, : others * colours, rows] = _halve_columns(_halve_haloed_rows(images))
        coarse[:, others * colours :, rows] = _halve_columns(_halve_haloed_rows(quality))
    coarse_images, coarse_weights = coarse[:, : others * colours], coarse[:, others * colours :]
    layers = torch.cat([coarse_images, _blend(coarse_images, coarse_weights)], 1)
    result = torch.empty_like(first)
    for top, bottom in strips:
        smooth = _double_rows(_double_columns(layers, top // 2, (bottom + 1) // 2, width), bottom - top)
        fused = smooth[:, others * colours :] + frames[-1][..., top:bottom, :]
        for index in range(others):
            detail = frames[index][..., top:bottom, :] - frames[-1][..., top:bottom, :]
            detail -= smooth[:, index * colours : (index + 1) * colours]
            fused.addcmul_(detail, weights[:, index : index + 1, top:bottom])
        torch.clamp(fused, 0.0, 1.0, out=result[..., top:bottom, :])
    return result


def _differences_and_weights(
    frames: Tensor | Sequence[Tensor], start: int, stop: int, exponents: tuple[float, float, float]
) -> tuple[Tensor, Tensor]:
    """Of all frames but the last: difference to the last one and normalised weight; B×(N − 1)·3 and B×(N − 1).

    Rows ``start`` to ``stop``, which may lie beyond the borders, where the frames are mirrored.
    """
    rows = [_mirrored_rows(frame, start - 1, stop + 1) for frame in frames]
    quality = [_visual_quality(frame, *exponents) for frame in rows]
    total = quality[0] + quality[-1]
    for value in quality[1:-1]:
        total += value
    last = rows[-1][..., 1:-1, :]
    images = torch.cat([frame[..., 1:-1, :] - last for frame in rows[:-1]], 1)
    return images, torch.stack(quality[:-1], 1) / total[:, None]


# Grey by kornia's rgb_to_grayscale takes 1.8 times as long.
def _visual_quality(frame: Tensor, contrast: float, saturation: float, exposedness: float) -> Tensor:
    """The product of Mertens' three measures, never quite zero: B×3×(H + 2)×W with a row more on both sides → B×H×W."""
    inner = frame[..., 1:-1, :]
    red, green, blue = inner.unbind(1)
    quality = torch.ones_like(red)
    if contrast > 0:
        r, g, b = frame.unbind(1)
        grey = (0.299 * r).add_(g, alpha=0.587).add_(b, alpha=0.114)
        quality = _power(_laplacian(grey).abs() + _FLOOR, contrast)
    # The sum of squared deviations from the mean is a third of that of the squared differences of all pairs.
    pairs = (red - green).square() + (green - blue).square() + (blue - red).square()
    if saturation > 0:
        quality = quality * _power(pairs * (1 / 9) + _FLOOR**2, saturation / 2)
    if exposedness > 0:
        off_centre = (red + green + blue) * (1 / 3) - 0.5
        distance = torch.addcmul(pairs * (1 / 3), off_centre, off_centre, value=3.0)
        quality = quality * torch.exp(distance * (-exposedness / (2 * 0.2**2)))
    return quality


def _power(base: Tensor, exponent: float) -> Tensor:
    return base if exponent == 1.0 else base.sqrt() if exponent == 0.5 else base**exponent


# kornia's laplacian looks at eight neighbours; its filter2d with these four takes 4.8 times as long.
def _laplacian(grey: Tensor) -> Tensor:
    """Four neighbours minus four times the centre; B×(H + 2)×W → B×H×W, the columns mirrored at the border."""
    inner = grey[..., 1:-1, :]
    before, after = _neighbours(inner)
    return torch.add(grey[..., :-2, :], grey[..., 2:, :]).add_(before).add_(after).sub_(inner, alpha=4)


def _neighbours(x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` shifted by one column either way, mirrored about the border pixel (alone, it mirrors itself)."""
    size = x.shape[-1]
    inner = min(1, size - 1)
    before = torch.cat([x[..., inner : inner + 1], x[..., : size - 1]], -1)
    after = torch.cat([x[..., 1:], x[..., size - 1 - inner : size - inner]], -1)
    return before, after


def _mirrored_rows(x: Tensor, start: int, stop: int) -> Tensor:
    """Rows ``start`` to ``stop`` of an image that goes on mirrored about its border rows."""
    height = x.shape[-2]
    if start >= 0 and stop <= height:
        return x[..., start:stop, :]
    index = torch.arange(start, stop, device=x.device) % max(2 * (height - 1), 1)
    return x.index_select(-2, torch.minimum(index, 2 * (height - 1) - index))


# --- pyramids: Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983, five binomial taps ---
# kornia's pyrdown averages 2×2 blurred pixels where they take every second: another pyramid, at 9 times the time.


def _blend(images: Tensor, weights: Tensor) -> Tensor:
    """Σ weights × images, band by band: the fine bands locally, the coarse ones broadly.

    Args:
        images: B×N·C×H×W.
        weights: B×N×H×W.
    """
    height, width = images.shape[-2:]
    if min(height, width) < 2:
        return _weighted_sum(images, weights)
    coarse_images, coarse_weights = _halve(images), _halve(weights)
    details = images - _double(coarse_images, height, width)
    return _weighted_sum(details, weights) + _double(_blend(coarse_images, coarse_weights), height, width)


def _weighted_sum(images: Tensor, weights: Tensor) -> Tensor:
    count = weights.shape[1]
    parts = images.chunk(count, 1)
    total = parts[0] * weights[:, :1]
    for index in range(1, count):
        total = torch.addcmul(total, parts[index], weights[:, index : index + 1])
    return total


def _halve(x: Tensor) -> Tensor:
    """Binomial blur [1 4 6 4 1] / 16 along rows and columns, then every second pixel; an odd size rounds up."""
    return _halve_columns(_halve_haloed_rows(_mirrored_rows(x, -2, x.shape[-2] + 2)))


def _halve_haloed_rows(x: Tensor) -> Tensor:
    """Along rows only, with two more rows on both sides."""
    count = (x.shape[-2] - 3) // 2

    def tap(offset: int) -> Tensor:
        return x[..., offset : offset + 2 * count - 1 : 2, :]

    return (
        (tap(1) + tap(3)).mul_(4 / 16).add_(tap(2), alpha=6 / 16).add_(tap(0), alpha=1 / 16).add_(tap(4), alpha=1 / 16)
    )


def _halve_columns(x: Tensor) -> Tensor:
    size = x.shape[-1]
    if size == 1:
        return x
    even, odd = x[..., 0::2].contiguous(), x[..., 1::2].contiguous()
    count = even.shape[-1]
    # Mirroring x about its border pixels, seen from the even and the odd samples.
    before = torch.cat([even[..., min(1, count - 1) :][..., :1], even[..., : count - 1]], -1)
    after = torch.cat([even[..., 1:], even[..., count - 1 - size % 2 :][..., :1]], -1)
    odd_before = torch.cat([odd[..., :1], odd[..., : count - 1]], -1)
    odd_after = torch.cat([odd, odd[..., count - 2 :][..., :1]], -1) if size % 2 else odd
    halved = (odd_before + odd_after).mul_(4 / 16).add_(even, alpha=6 / 16)
    return halved.add_(before, alpha=1 / 16).add_(after, alpha=1 / 16)


def _double(x: Tensor, height: int, width: int) -> Tensor:
    """The interpolation that belongs to :func:`_halve`, cut to ``height`` × ``width``."""
    return _double_rows(_double_columns(x, 0, x.shape[-2], width), height)


def _double_columns(x: Tensor, start: int, stop: int, width: int) -> Tensor:
    """Rows ``start`` to ``stop`` and one more on both sides (mirrored above, repeated below), twice as wide."""
    count = x.shape[-2]
    if start > 0 and stop < count:
        x = x[..., start - 1 : stop + 1, :]
    else:
        index = torch.arange(start - 1, stop + 1, device=x.device).abs().clamp(max=count - 1)
        x = x.index_select(-2, index)
    after = torch.cat([x[..., 1:], x[..., -1:]], -1)
    before = torch.cat([x[..., min(1, x.shape[-1] - 1) :][..., :1], x[..., :-1]], -1)
    even = (before + after).mul_(1 / 8).add_(x, alpha=6 / 8)
    odd = (x + after).mul_(1 / 2)
    # Stacked right behind their own axis the two interleave: even, odd, even, odd.
    return torch.stack([even, odd], -1).flatten(-2)[..., :width]


def _double_rows(x: Tensor, rows: int) -> Tensor:
    """Twice as many rows, cut to ``rows``, from coarse ones with one more on both sides."""
    before, centre, after = x[..., :-2, :], x[..., 1:-1, :], x[..., 2:, :]
    even = (before + after).mul_(1 / 8).add_(centre, alpha=6 / 8)
    odd = (centre + after).mul_(1 / 2)
    return torch.stack([even, odd], -2).flatten(-3, -2)[..., :rows, :]


def check_frames(frames: Tensor | Sequence[Tensor], channels: int | None = 3) -> None:
    """Refuse anything but frames of one shape, B×``channels``×H×W.

    Raises:
        ShapeError: naming the frame.
    """
    if len(frames) == 0:
        raise ShapeError("frames", "at least one frame", 0)
    shape = frames[0].shape
    for index, frame in enumerate(frames):
        if frame.ndim != 4 or frame.shape != shape or (channels is not None and frame.shape[1] != channels):
            raise ShapeError(
                f"frames[{index}]",
                f"B×{channels or 'C'}×H×W like the other frames",
                tuple(frame.shape),
                "Match the sizes.",
            )
