"""Ward's median threshold bitmaps: how far exposures are shifted against each other, found in milliseconds.

The classical alignment for brackets, here as a baseline that needs no other library. It knows whole pixels and
translations only: a turn of a tenth of a degree is beyond it, and so are sub-pixel shifts.
:mod:`afunet_core.registration` finds those, which takes ten times as long.

Ward, "Fast, Robust Image Registration for Compositing High Dynamic Range Photographs from Hand-Held Exposures",
Journal of Graphics Tools 8(2), 2003.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from afunet_core.baselines import ExposureStack, merge_frames
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.mertens import check_frames

__all__ = ["median_threshold_merge", "median_threshold_shifts", "shift_frame"]

GREY = (54 / 256, 183 / 256, 19 / 256)
"""Ward's weights of red, green and blue."""
MEDIAN_SAMPLES = 1 << 15
"""The median is that of about as many pixels, on a regular grid."""
SMALLEST_SIDE = 16
"""Pyramids end before a side is shorter than this."""
STRIP_PIXELS = 1 << 16

_LEAST_DISTANCE = 1e-6
_ONES = 0x0101010101010101
_LANES = 255  # bytes of 1 that can be added without a carry into the next byte


def median_threshold_shifts(
    frames: Tensor | Sequence[Tensor], reference: int = 0, *, max_bits: int = 6, exclude: float = 4 / 255
) -> Tensor:
    """How many pixels each frame has to be moved to lie on the reference.

    Each frame becomes a bitmap of what is brighter than its median, which a change of exposure leaves as it is; pixels
    close to the median are left out. From the coarsest level of a pyramid to the finest, the shift of at most one pixel
    of that level is chosen by which the fewest pixels differ.

    Args:
        frames: N frames, each B×1×H×W or B×3×H×W, encoded in [0, 1].
        reference: index of the frame to lie on.
        max_bits: levels of the pyramid; shifts of less than ``2 ** max_bits`` pixels are found.
        exclude: distance from the median up to which a pixel is left out.

    Returns:
        N×B×2 int64: to the right, down. :func:`shift_frame` applies them.

    Raises:
        ShapeError: unless there is at least one frame, all B×1×H×W or B×3×H×W and alike.
        ArgumentError: for a reference that is not there, no level, or a negative distance.

    Example:
        >>> reference = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
        >>> moved = shift_frame(reference, torch.tensor([[5, -3]])) ** 0.5
        >>> median_threshold_shifts([reference, moved]).tolist()
        [[[0, 0]], [[-5, 3]]]
    """
    check_frames(frames, channels=None)
    if frames[0].shape[1] not in (1, 3):
        raise ShapeError("frames", "1 or 3 channels", frames[0].shape[1], "Convert them to grey or RGB.")
    if not -len(frames) <= reference < len(frames):
        raise ArgumentError("reference", f"an index from 0 to {len(frames) - 1}", reference)
    if max_bits < 1:
        raise ArgumentError("max_bits", "at least 1 level", max_bits)
    if not exclude >= 0:
        raise ArgumentError("exclude", "a distance of at least 0", exclude)
    reference %= len(frames)
    shifts = torch.zeros(len(frames), frames[0].shape[0], 2, dtype=torch.int64)
    with torch.no_grad():
        for sample in range(frames[0].shape[0]):
            target = _bitmaps(frames[reference][sample], max_bits, exclude)
            for index, frame in enumerate(frames):
                if index != reference:
                    moving = _bitmaps(frame[sample], max_bits, exclude)
                    shifts[index, sample] = torch.tensor(_coarse_to_fine(moving, target))
    return shifts


# kornia's translate interpolates: 3e-5 off on 1000×1504, and 7 times as long.
def shift_frame(frame: Tensor, shift: Tensor | Sequence[int]) -> Tensor:
    """Move a frame by whole pixels; what comes into view repeats the border.

    Args:
        frame: B×C×H×W.
        shift: to the right and down, (2,), or B×2 with one for each sample.

    Returns:
        The moved frame, B×C×H×W.

    Raises:
        ShapeError: unless the frame is B×C×H×W and there is a shift for each sample.

    Example:
        >>> shift_frame(torch.arange(4.0).view(1, 1, 1, 4), (1, 0)).flatten()
        tensor([0., 0., 1., 2.])
    """
    if frame.ndim != 4:
        raise ShapeError("frame", "B×C×H×W", tuple(frame.shape))
    table = torch.as_tensor(shift)
    if table.shape not in ((2,), (len(frame), 2)):
        raise ShapeError("shift", f"(2,) or ({len(frame)}, 2)", tuple(table.shape), "Right and down, in pixels.")
    height, width = frame.shape[-2:]
    moved = torch.empty_like(frame)
    for sample, room, (right, down) in zip(frame, moved, table.expand(len(frame), 2).tolist(), strict=True):
        right, down = (max(1 - size, min(int(by), size - 1)) for by, size in ((right, width), (down, height)))
        top, bottom, left, end = max(down, 0), height + min(down, 0), max(right, 0), width + min(right, 0)
        room[:, top:bottom, left:end] = sample[:, top - down : bottom - down, left - right : end - right]
        seen = room[:, top:bottom]
        seen[..., :left], seen[..., end:] = seen[..., left : left + 1], seen[..., end - 1 : end]
        room[:, :top], room[:, bottom:] = room[:, top : top + 1], room[:, bottom - 1 : bottom]
    return moved


def median_threshold_merge(bracket: ExposureStack) -> Tensor:
    """Frames shifted onto the reference by whole pixels, then the weighted merge: the classic for hand-held brackets.

    Args:
        bracket: the exposures.

    Returns:
        B×3×H×W linear radiance, 1.0 at saturation of the shortest frame.
    """
    shifts = median_threshold_shifts(bracket.frames, bracket.reference)
    frames = [
        shift_frame(frame, shift) if bool(shift.any()) else frame
        for frame, shift in zip(bracket.frames, shifts, strict=True)
    ]
    return merge_frames(frames, bracket.times, bracket.encoding, bracket.gamma)


def _bitmaps(frame: Tensor, levels: int, exclude: float) -> list[Tensor]:
    """One int8 for each pixel of each level, finest first: −1 below the median, 1 above it, 0 close to it."""
    height, width = frame.shape[-2:]
    step = max(1, round((height * width / MEDIAN_SAMPLES) ** 0.5))
    median = float(_grey(frame[:, step // 2 :: step, step // 2 :: step]).median())
    # In units of the distance that counts, converting to integers tells all three cases apart: a sixth of the time of
    # two comparisons.
    scale = 1 / max(exclude, _LEAST_DISTANCE)

    def code(contrast: Tensor) -> Tensor:
        return contrast.clamp(-1, 1).to(torch.int8)

    finest = torch.empty(height, width, dtype=torch.int8, device=frame.device)
    coarse = frame.new_empty(height // 2, width // 2)
    rows = height if frame.device.type != "cpu" else max(2, STRIP_PIXELS // width // 2 * 2)
    for top in range(0, height, rows):
        contrast = _grey(frame[:, top : top + rows], scale).sub_(median * scale)
        finest[top : top + rows] = code(contrast)
        coarse[top // 2 : top // 2 + contrast.shape[0] // 2] = _halve(contrast)
    bitmaps = [finest]
    while len(bitmaps) < levels and min(coarse.shape) >= SMALLEST_SIDE:
        bitmaps.append(code(coarse))
        coarse = _halve(coarse)
    return bitmaps


# kornia's rgb_to_grayscale takes 1.3 times as long.
def _grey(frame: Tensor, scale: float = 1.0) -> Tensor:
    """C×H×W → H×W, new, times a scale."""
    if frame.shape[0] == 1:
        return frame[0] * scale
    red, green, blue = frame
    red_share, green_share, blue_share = (share * scale for share in GREY)
    return (green * green_share).add_(red, alpha=red_share).add_(blue, alpha=blue_share)


def _halve(grey: Tensor) -> Tensor:
    """Means of 2×2 pixels; an odd last row or column is left out."""
    height, width = (size // 2 * 2 for size in grey.shape)
    rows = grey[0:height:2] + grey[1:height:2]
    return (rows[:, 0:width:2] + rows[:, 1:width:2]).mul_(0.25)


def _coarse_to_fine(moving: list[Tensor], target: list[Tensor]) -> tuple[int, int]:
    """The shift, right and down, that leaves the fewest differences."""
    right = down = 0
    for one, other in zip(reversed(moving), reversed(target), strict=True):
        right, down = 2 * right, 2 * down
        near = [(right + x, down + y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        height, width = one.shape
        room = one.new_zeros(-(-height // _LANES) * _LANES, -(-width // 8) * 8)
        shares = [_differences(one, other, *shift, room) for shift in near]
        # Of equals the smallest shift: a picture without contrast stays where it is.
        right, down = min(zip(shares, map(_length, near), near, strict=True))[2]
    return right, down


def _length(shift: tuple[int, int]) -> int:
    return shift[0] ** 2 + shift[1] ** 2


def _differences(moving: Tensor, target: Tensor, right: int, down: int, room: Tensor) -> float:
    """Share of the pixels seen by both that differ; ``room`` is overwritten."""
    height, width = moving.shape
    rows, columns = height - abs(down), width - abs(right)
    if rows <= 0 or columns <= 0:
        return 1.0
    one = moving[max(-down, 0) :, max(-right, 0) :][:rows, :columns]
    other = target[max(down, 0) :, max(right, 0) :][:rows, :columns]
    room[rows:], room[:, columns:] = 0, 0
    torch.mul(one, other, out=room[:rows, :columns])
    # Differences are −1: eight bytes at a time one bit of each is kept and added up, over so many rows that no byte
    # overflows. Many times as fast as counting.
    words = room.clamp_(max=0).view(torch.int64).bitwise_and_(_ONES)
    lanes = words.view(-1, _LANES, words.shape[1]).sum(1)
    return int(lanes.view(torch.uint8).sum(dtype=torch.int64)) / (rows * columns)
