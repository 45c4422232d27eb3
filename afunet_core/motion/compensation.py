"""Things that moved between the frames, brought to where the reference shows them, before the network looks.

Registration undoes the motion of the camera. What people, leaves and cars did remains, up to tens of pixels, which is
as far as the network reaches. Here dense motion is found for each outer frame and followed where it explains a
contradiction: only where the frame disagreed with the reference, or belongs to something that did; only where motion
there and back agree; and only where the frame then agrees better. Everything else stays as it was recorded, so a scene
at rest is left alone bit for bit. What is wrongly followed, and what became visible only in one frame, is left to the
network, which judges these frames as it judges all.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.baselines.weighted import ExposureStack
from afunet_core.errors import MergeCancelled
from afunet_core.motion.consistency import spread_over
from afunet_core.motion.ghosts import ghost_map
from afunet_core.motion.optical_flow import flow_inconsistency, optical_flow
from afunet_core.ops.box_filter import block_mean, window_mean
from afunet_core.radiometry import encode, expose, linearize, to_radiance
from afunet_core.registration.frames import reduction
from afunet_core.utils.progress import ShouldCancel

__all__ = ["follow_motion"]

WORKING_PIXELS = 0.45e6
"""Motion is found, and judged, on frames reduced to at most this many pixels; 1500×1000 is halved once."""
STRIP_PIXELS = 1 << 18
"""Of large frames this many pixels are moved at a time."""
_CUBIC_REACH = 2
# Encoded values from which a frame says only "at least this bright".
_CLIPPED = 0.97
# Pixels: motion from which something counts as moving; and how far a way there and back may miss, with its share of
# the motion.
_MOVING, _MISSED, _MISSED_SHARE = 0.7, 1.0, 0.1
# A contradiction reaches this far into what moves; most of a neighbourhood must be consistent; and the ghost map may
# not rise.
_REACHED, _MOST, _RISE = 0.2, 0.5, 0.02


@torch.no_grad()
def follow_motion(
    stack: ExposureStack, should_cancel: ShouldCancel | None = None
) -> tuple[list[Tensor], list[list[float]]]:
    """Move what moved in the outer frames to where the reference shows it.

    Args:
        stack: two or more registered frames; a :class:`~afunet_core.bracket.bracket.Bracket` is one.
        should_cancel: asked before and while each frame is moved.

    Returns:
        The frames, encoded as they came, those where nothing was followed being the same tensors; and for each sample
        of the batch, for each frame, the share of its pixels that were moved, in [0, 1].

    Raises:
        MergeCancelled: after ``should_cancel`` returned true.

    Example:
        >>> from types import SimpleNamespace
        >>> frames = tuple(torch.full((1, 3, 32, 32), value) for value in (0.1, 0.4))
        >>> times = torch.tensor([1.0, 4.0])
        >>> still = SimpleNamespace(frames=frames, times=times, encoding="linear", gamma=2.2, reference=1)
        >>> same, shares = follow_motion(still)
        >>> same[0] is frames[0], shares
        (True, [[0.0, 0.0]])
    """
    frames = list(stack.frames)
    shares = [[0.0] * len(frames) for _ in range(frames[0].shape[0])]

    def check() -> None:
        if should_cancel is not None and should_cancel():
            raise MergeCancelled("Following the motion was cancelled.")

    for sample, share in enumerate(shares):
        check()
        for index, (flow, followed) in _motions(stack, sample, check).items():
            share[index] = float(followed.mean())
            if frames[index] is stack.frames[index]:
                frames[index] = frames[index].clone()
            _move(stack, index, sample, flow, followed, frames[index][sample], check)
    return frames, shares


def _motions(stack: ExposureStack, sample: int, check: Callable[[], None]) -> dict[int, tuple[Tensor, Tensor]]:
    """For each frame that disagrees with the reference and can follow it: motion 1×2×h×w and where, 1×1×h×w."""
    small = _reduced(stack, sample)
    check()
    doubts = {index: _doubt(small, index) for index in range(len(small.frames)) if index != small.reference}
    doubts = {index: doubt for index, doubt in doubts.items() if bool((doubt > _REACHED).any())}
    if not doubts:
        return {}
    # Both ways of all frames in one batch.
    pairs = [_at_one_exposure(small, index) for index in doubts]
    here, there = torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])
    check()
    ways = optical_flow(torch.cat((here, there)), torch.cat((there, here)))
    check()
    forward, backward = ways.chunk(2)
    missed = flow_inconsistency(forward, backward)
    found = {}
    for place, (index, doubt) in enumerate(doubts.items()):
        flow = forward[place : place + 1]
        length = torch.hypot(flow[:, :1], flow[:, 1:])
        reached = _reached(doubt, (length > _MOVING).to(doubt))
        consistent = window_mean((missed[place : place + 1] < _MISSED + _MISSED_SHARE * length).to(doubt), 5) > _MOST
        candidate = (reached & consistent).to(doubt)
        if not bool(candidate.any()):
            continue
        moved = small.frames[index].clone()
        _move(small, index, 0, flow, candidate, moved[0], check)
        better = window_mean(_doubt(small, index, moved), 5) <= window_mean(doubt, 5) + _RISE
        followed = window_mean(candidate * better, 3)
        if bool((followed > 0).any()):
            found[index] = flow, followed
    return found


def _reached(doubt: Tensor, moving: Tensor) -> Tensor:
    """Where a contradiction is, or what moves together with one; found at half the size, for speed."""
    size = doubt.shape[-2:]
    doubt, moving = (F.max_pool2d(mask, 2, ceil_mode=True) for mask in (doubt, moving))
    spread = F.interpolate(spread_over(doubt, moving), scale_factor=2.0)
    return spread[..., : size[0], : size[1]] > _REACHED


def _reduced(stack: ExposureStack, sample: int) -> SimpleNamespace:
    """The sample's frames, averaged down to the working size."""
    height, width = stack.frames[0].shape[-2:]
    factor = reduction(height, width, WORKING_PIXELS)
    small = [block_mean(frame[sample : sample + 1].float(), factor) for frame in stack.frames]
    return SimpleNamespace(
        frames=small, times=stack.times, encoding=stack.encoding, gamma=stack.gamma, reference=stack.reference
    )


def _doubt(small: SimpleNamespace, index: int, frame: Tensor | None = None) -> Tensor:
    """How sure it is that a frame, or what is to stand in for it, contradicts the reference: 1×1×h×w in [0, 1]."""
    shown = small.frames[index] if frame is None else frame
    pair = SimpleNamespace(**{**vars(small), "frames": (shown, small.frames[small.reference]), "reference": 1})
    pair.times = [small.times[index], small.times[small.reference]]
    return torch.from_numpy(ghost_map(pair)).to(shown)[None, None]


def _at_one_exposure(small: SimpleNamespace, index: int) -> tuple[Tensor, Tensor]:
    """Brightness of the reference and of a frame as the longer of both exposures would show it, clipped alike."""
    time = max(float(small.times[index]), float(small.times[small.reference]))
    shown = []
    for i in (small.reference, index):
        light = to_radiance(small.frames[i], float(small.times[i]), small.encoding, small.gamma).mean(1, keepdim=True)
        shown.append(expose(light, time).clamp(max=_CLIPPED) / _CLIPPED)
    return shown[0], shown[1]


def _move(
    stack: ExposureStack,
    index: int,
    sample: int,
    flow: Tensor,
    followed: Tensor,
    result: Tensor,
    check: Callable[[], None],
) -> None:
    """Put into a copy C×H×W of one frame what it shows after its motion, where that is followed; in strips of rows."""
    frame = stack.frames[index][sample]
    height, width = frame.shape[-2:]
    flat = result.view(len(result), -1)
    step = max(1, STRIP_PIXELS // width)
    for top in range(0, height, step):
        check()
        rows = torch.arange(top, min(top + step, height), device=flow.device)
        share = _enlarged(followed, rows, height, width)[0].flatten()
        place = share.nonzero()[:, 0]
        if not len(place):
            continue
        shift = _enlarged(flow, rows, height, width).flatten(1)[:, place]
        y = place.div(width, rounding_mode="floor") + top
        goal_x = (place - (y - top) * width + shift[0] * (width / flow.shape[-1])).clamp_(0, width - 1)
        goal_y = (y + shift[1] * (height / flow.shape[-2])).clamp_(0, height - 1)
        shown = _sampled(frame, goal_x, goal_y, stack)
        place += top * width
        flat[:, place] = torch.lerp(flat[:, place], shown, share[place - top * width].to(frame))


def _enlarged(small: Tensor, rows: Tensor, height: int, width: int) -> Tensor:
    """Some rows of a 1×C×h×w map at full size, C×rows×W: what ``F.interpolate`` makes of the whole map there."""
    last = small.shape[-2] - 1
    y = ((rows + 0.5) * (small.shape[-2] / height) - 0.5).clamp_(0, last)
    above = y.long()
    share = (y - above).to(small)[:, None]
    between = torch.lerp(small[..., above, :], small[..., (above + 1).clamp_(max=last), :], share)
    return F.interpolate(between, size=(len(rows), width), mode="bilinear", align_corners=False)[0]


def _sampled(frame: Tensor, x: Tensor, y: Tensor, stack: ExposureStack) -> Tensor:
    """A C×H×W frame at points between its pixels, resampled in linear light (bicubic), encoded: C×N."""
    first = max(int(y.min()) - _CUBIC_REACH, 0)
    slab = frame[:, first : int(y.max()) + _CUBIC_REACH + 1]
    light = linearize(slab[None].to(x), stack.encoding, stack.gamma)
    x, y = x[None, None], (y - first)[None, None]
    found = kornia.geometry.remap(light, x, y, "bicubic", "border", align_corners=True)
    return encode(found.clamp(0, 1), stack.encoding, stack.gamma)[0, :, 0].to(frame)
