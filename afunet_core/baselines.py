"""What a photographer had before networks: the reference frame alone, the weighted merge, exposure fusion.

They are the rows every table needs for comparison, and the weighted merge is the best there is where nothing moves.
The functions named after a method take a bracket; ``merge_frames`` and ``fuse_frames`` do the same for bare tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.radiometry import GAMMA, Scalar, encode, linearize, to_radiance
from afunet_core.smoothstep import smoothstep
from afunet_core.strips import in_strips

__all__ = [
    "SATURATION_FADE",
    "exposure_fusion",
    "fuse_frames",
    "merge_frames",
    "merge_weights",
    "reference_only",
    "weighted_merge",
]

# Encoded values between which a longer frame loses our trust: JPEG and noise blur the exact clipping point.
SATURATION_FADE = (0.90, 0.99)


class ExposureStack(Protocol):
    """The part of a :class:`~afunet_core.bracket.Bracket` that merging needs."""

    @property
    def frames(self) -> tuple[Tensor, ...]: ...
    @property
    def times(self) -> Tensor: ...
    @property
    def encoding(self) -> str: ...
    @property
    def gamma(self) -> Scalar: ...
    @property
    def reference(self) -> int: ...


def reference_only(bracket: ExposureStack) -> Tensor:
    """Radiance of the reference frame alone: no ghosts, clipped highlights, all of its noise.

    Args:
        bracket: the exposures.

    Returns:
        B×3×H×W linear radiance, 1.0 at saturation of the shortest frame.
    """
    index = bracket.reference
    return to_radiance(bracket.frames[index], bracket.times[index], bracket.encoding, bracket.gamma)


def weighted_merge(bracket: ExposureStack) -> Tensor:
    """Weighted average of the frames' radiances: the classic merge for a tripod (see :func:`merge_frames`).

    Args:
        bracket: the exposures.

    Returns:
        B×3×H×W linear radiance, 1.0 at saturation of the shortest frame.
    """
    return merge_frames(bracket.frames, bracket.times, bracket.encoding, bracket.gamma)


def exposure_fusion(bracket: ExposureStack) -> Tensor:
    """Mertens exposure fusion of the frames as a display shows them (see :func:`fuse_frames`).

    Args:
        bracket: the exposures.

    Returns:
        B×3×H×W display-encoded picture in [0, 1]. It is not radiance and has no exposure.
    """
    if bracket.encoding == "linear":
        return fuse_frames([encode(frame, "gamma", bracket.gamma) for frame in bracket.frames])
    return fuse_frames(bracket.frames)


def merge_weights(
    encoded: Tensor | Sequence[Tensor],
    times: Tensor | Sequence[float],
    fade: tuple[float, float] = SATURATION_FADE,
) -> Tensor:
    r"""How much each frame's radiance counts in the weighted merge: exposure time × trust near saturation.

    Photon noise makes the variance of a frame's radiance :math:`\propto 1 / t`, so :math:`w = t` is the inverse
    variance. Trust falls smoothly from 1 to 0 over ``fade``. The shortest frame keeps all of its trust: what saturates
    even there is known no better, and the weights never sum to zero.

    Debevec and Malik, "Recovering High Dynamic Range Radiance Maps from Photographs", SIGGRAPH 1997, with the noise
    model in place of their hat function (Hasinoff et al., "Noise-Optimal Capture", CVPR 2010).

    Args:
        encoded: N frames, each B×C×H×W, encoded with 1.0 at saturation; a tensor N×B×C×H×W or a sequence.
        times: relative exposure times, shape (N,) or one row per sample (B, N), in any order.
        fade: encoded values where trust begins to fall and where it has vanished.

    Returns:
        Weights N×B×C×H×W, not normalised.

    Raises:
        ShapeError: if frames and times do not match.
        ArgumentError: unless 0 <= fade[0] < fade[1].

    Example:
        >>> weights = merge_weights(torch.tensor([0.5, 0.95, 1.0]).view(3, 1, 1, 1, 1), [1.0, 4.0, 16.0])
        >>> weights.flatten()
        tensor([1.0000, 1.6680, 0.0000])
    """
    columns = _times_per_frame(encoded, times)
    shortest = torch.stack(columns).amin(0)
    return torch.stack(
        [
            time * torch.where(time == shortest, 1.0, _trust(frame, fade))
            for frame, time in zip(encoded, columns, strict=True)
        ]
    )


def merge_frames(
    frames: Tensor | Sequence[Tensor],
    times: Tensor | Sequence[float],
    encoding: str = "gamma",
    gamma: Scalar = GAMMA,
    fade: tuple[float, float] = SATURATION_FADE,
) -> Tensor:
    r"""Weighted merge :math:`\sum_i w_i X_i / \sum_i w_i` of the radiances, with :func:`merge_weights`.

    Args:
        frames: N encoded frames, each B×C×H×W.
        times: relative exposure times, shape (N,) or (B, N).
        encoding: ``"gamma"``, ``"srgb"`` or ``"linear"``.
        gamma: exponent of the ``gamma`` encoding.
        fade: where trust in a value near saturation begins and ends to fall.

    Returns:
        B×C×H×W linear radiance in the unit of the frame with time 1.

    Raises:
        ShapeError: if frames and times do not match.
        ArgumentError: for an unknown encoding, gamma or fade.

    Example:
        >>> frames = [torch.full((1, 3, 2, 2), value) for value in (0.1, 0.4, 1.0)]
        >>> merge_frames(frames, [1.0, 4.0, 16.0], encoding="linear").unique()
        tensor([0.1000])
    """
    columns = _times_per_frame(frames, times)
    shortest = torch.stack(columns).amin(0)

    def merge_rows(*rows: Tensor) -> Tensor:
        # w·X = t·trust·L/t: the exposure time cancels from the numerator.
        light, weight = rows[0].new_zeros(()), rows[0].new_zeros(())
        for frame, time in zip(rows, columns, strict=True):
            trust = torch.where(time == shortest, 1.0, _trust(frame, fade))
            light = light + trust * linearize(frame, encoding, gamma)
            weight = weight + trust * time
        return light / weight

    return in_strips(merge_rows, *frames)


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
    _check_frames(frames)
    for name, exponent in (("contrast", contrast), ("saturation", saturation), ("exposedness", exposedness)):
        if not exponent >= 0:
            raise ArgumentError(name, "an exponent of at least 0", exponent)
    quality = [_visual_quality(frame, contrast, saturation, exposedness) for frame in frames]
    total = sum(quality[1:], quality[0])
    # Pyramids are linear and the weights sum to one, so Σ w·I = I_last + Σ w·(I − I_last), level by level:
    # the last frame needs neither a pyramid nor a weight, a third of the work for three frames.
    last = frames[-1]
    if len(frames) == 1:
        return last.clamp(0.0, 1.0)
    blended = _blend([frame - last for frame in frames[:-1]], [value / total for value in quality[:-1]])
    return (last + blended).clamp(0.0, 1.0)


def _trust(encoded: Tensor, fade: tuple[float, float]) -> Tensor:
    """1 below the fade, 0 above it, a smooth step between."""
    start, end = fade
    if not 0 <= start < end:
        raise ArgumentError("fade", "(start, end) with 0 <= start < end", fade, "Use (0.90, 0.99).")
    return smoothstep(encoded, end, start)


def _visual_quality(frame: Tensor, contrast: float, saturation: float, exposedness: float) -> Tensor:
    """The product of Mertens' three measures for one frame, B×1×H×W, never quite zero."""
    # The floor decides where a measure says nothing, as saturation does for grey pixels: the other measures then count.
    floor = 1e-6
    red, green, blue = frame.unbind(1)
    quality = torch.ones_like(red)
    if contrast > 0:
        quality = quality * (_laplacian(0.299 * red + 0.587 * green + 0.114 * blue).abs() + floor) ** contrast
    if saturation > 0:
        mean = (red + green + blue) / 3
        variance = ((red - mean) ** 2 + (green - mean) ** 2 + (blue - mean) ** 2) / 3
        quality = quality * (variance + floor**2) ** (saturation / 2)
    if exposedness > 0:
        distance = (red - 0.5) ** 2 + (green - 0.5) ** 2 + (blue - 0.5) ** 2
        quality = quality * torch.exp(distance * (-exposedness / (2 * 0.2**2)))
    return quality.unsqueeze(1)


def _laplacian(grey: Tensor) -> Tensor:
    """Four neighbours minus four times the centre, mirrored at the border; B×H×W."""

    def along(axis: int) -> Tensor:
        before, after = _neighbours(grey, axis)
        return before + after

    return along(-1) + along(-2) - 4 * grey


def _neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """``x`` shifted by one either way along ``axis``, mirrored about the border pixel (alone, it mirrors itself)."""
    size = x.shape[axis]
    inner = min(1, size - 1)
    before = torch.cat([x.narrow(axis, inner, 1), x.narrow(axis, 0, size - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1 - inner, 1)], axis)
    return before, after


def _blend(images: list[Tensor], weights: list[Tensor]) -> Tensor:
    """Σ weights × images, band by band: the fine bands locally, the coarse ones broadly.

    The pyramid is that of Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983, five binomial taps.
    """
    height, width = images[0].shape[-2:]
    if min(height, width) < 2:
        return _weighted_sum(images, weights)
    coarse_images, coarse_weights = [_halve(image) for image in images], [_halve(weight) for weight in weights]
    details = [image - _double(coarse, height, width) for image, coarse in zip(images, coarse_images, strict=True)]
    return _weighted_sum(details, weights) + _double(_blend(coarse_images, coarse_weights), height, width)


def _weighted_sum(images: list[Tensor], weights: list[Tensor]) -> Tensor:
    total = weights[0] * images[0]
    for image, weight in zip(images[1:], weights[1:], strict=True):
        total = torch.addcmul(total, weight, image)
    return total


def _halve(x: Tensor) -> Tensor:
    """Binomial blur [1 4 6 4 1] / 16 along rows and columns, then every second pixel; an odd size rounds up."""
    for axis in (-2, -1):  # rows first: columns, the slower axis to pick from, then have half the work
        size = x.shape[axis]
        even, odd = _every_second(x, axis, 0), _every_second(x, axis, 1)
        if size == 1:
            continue
        count = even.shape[axis]
        # Mirroring x about its border pixels, seen from the even and the odd samples.
        even_before = torch.cat([even.narrow(axis, min(1, count - 1), 1), even.narrow(axis, 0, count - 1)], axis)
        last_even = even.narrow(axis, count - 1 - size % 2, 1)
        even_after = torch.cat([even.narrow(axis, 1, count - 1), last_even], axis)
        odd_before = torch.cat([odd.narrow(axis, 0, 1), odd.narrow(axis, 0, count - 1)], axis)
        odd_after = torch.cat([odd, odd.narrow(axis, count - 2, 1)], axis) if size % 2 else odd
        # In place from the first sum on: fresh memory costs more than the arithmetic.
        x = (odd_before + odd_after).mul_(4 / 16).add_(even, alpha=6 / 16)
        x = x.add_(even_before, alpha=1 / 16).add_(even_after, alpha=1 / 16)
    return x


def _double(x: Tensor, height: int, width: int) -> Tensor:
    """The interpolation that belongs to :func:`_halve`, cut to ``height`` × ``width``."""
    for axis, size in ((-1, width), (-2, height)):  # columns first, for the same reason
        count = x.shape[axis]
        before = torch.cat([x.narrow(axis, min(1, count - 1), 1), x.narrow(axis, 0, count - 1)], axis)
        after = torch.cat([x.narrow(axis, 1, count - 1), x.narrow(axis, count - 1, 1)], axis)
        even = (before + after).mul_(1 / 8).add_(x, alpha=6 / 8)
        odd = (x + after).mul_(1 / 2)
        # Stacked right behind their own axis the two interleave: even, odd, even, odd.
        x = torch.stack([even, odd], x.ndim + axis + 1).flatten(x.ndim + axis, x.ndim + axis + 1).narrow(axis, 0, size)
    return x


def _every_second(x: Tensor, axis: int, start: int) -> Tensor:
    return (x[..., start::2, :] if axis == -2 else x[..., start::2]).contiguous()


def _check_frames(frames: Tensor | Sequence[Tensor], channels: int | None = 3) -> None:
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


def _times_per_frame(frames: Tensor | Sequence[Tensor], times: Tensor | Sequence[float]) -> list[Tensor]:
    """One time per frame that broadcasts with it: a number, or B×1×1×1 where samples differ."""
    _check_frames(frames, channels=None)
    first, count = frames[0], len(frames)
    table = torch.as_tensor(times).to(first)
    if tuple(table.shape) not in {(count,), (len(first), count)}:
        raise ShapeError("times", f"shape ({count},) or ({len(first)}, {count})", tuple(table.shape), "One per frame.")
    return [time.reshape(-1, 1, 1, 1) for time in table.unbind(-1)]
