"""Motion compensation: what moved in an outer frame is brought to where the reference shows it.

Registration undoes the motion of the camera. What people, leaves and cars did remains, up to tens of pixels, which is
as far as the network reaches. Here dense motion is found for each outer frame and followed where it explains a
contradiction: only where the frame disagreed with the reference, or belongs to something that did; only where motion
there and back agree; and only where the frame then agrees better. Everything else stays as it was recorded, so a scene
at rest is left alone bit for bit. What is wrongly followed, and what became visible only in one frame, is left to the
network, which judges these frames as it judges all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.camera.saturation import CLIPPED
from afunet_core.motion.consistency import spread_over
from afunet_core.motion.ghosts import ghost_map
from afunet_core.motion.optical_flow import flow_inconsistency, optical_flow
from afunet_core.ops.box_filter import window_mean
from afunet_core.ops.strips import enlarged_rows, row_strips
from afunet_core.ops.warp import sample
from afunet_core.radiometry import encode, expose, linearize

__all__ = ["follow_motion"]

# Motion is found, and judged, on frames reduced to at most this many pixels; 1500×1000 is halved once.
WORKING_PIXELS = 0.45e6
STRIP_PIXELS = 1 << 18  # of large frames this many pixels are moved at a time
CUBIC_REACH = 2  # pixels that cubic interpolation looks beyond a position
MOVING = 0.7  # pixels of motion from which something counts as moving
MISSED = 1.0  # pixels by which motion there and back may miss its start,
MISSED_SHARE = 0.1  # and the share of the motion that is added to them
REACHED = 0.2  # value of the ghost map, and of what spreads from it, from which something is followed
MOST = 0.5  # share of a neighbourhood whose motion must be consistent
RISE = 0.02  # the ghost map may not rise by more than this where something is followed


@torch.no_grad()
def follow_motion(
    stack: ExposureStack, check: Callable[[], None] = lambda: None
) -> tuple[list[Tensor], list[list[float]]]:
    """Move what moved in the outer frames to where the reference shows it.

    Args:
        stack: two or more registered frames; a :class:`~afunet_core.bracket.bracket.Bracket` is one.
        check: called several times a second; it raises when the caller no longer wants the frames.

    Returns:
        The frames, encoded as they came, those where nothing was followed being the same tensors; and for each sample
        of the batch, for each frame, the share of its pixels that were moved, in [0, 1].

    Example:
        >>> frames = tuple(torch.full((1, 3, 32, 32), value) for value in (0.1, 0.4))
        >>> times = torch.tensor([1.0, 4.0])
        >>> same, shares = follow_motion(ExposureStack(frames, times, encoding="linear", reference=1))
        >>> same[0] is frames[0], shares
        (True, [[0.0, 0.0]])
    """
    frames = list(stack.frames)
    check()
    shares = [[0.0] * len(frames) for _ in range(frames[0].shape[0])]
    small = stack.reduced(WORKING_PIXELS)
    for number, share in enumerate(shares):
        check()
        one = small.with_frames([frame[number : number + 1] for frame in small.frames])
        for index, (flow, followed) in _motions(one, check).items():
            share[index] = float(followed.mean())
            if frames[index] is stack.frames[index]:
                frames[index] = frames[index].clone()
            _move(stack, index, number, flow, followed, frames[index][number], check)
    return frames, shares


def _motions(small: ExposureStack, check: Callable[[], None]) -> dict[int, tuple[Tensor, Tensor]]:
    """For each frame that disagrees with the reference and can follow it: motion 1×2×h×w and where, 1×1×h×w."""
    ghosts = {index: _ghosts(small, index) for index in range(len(small.frames)) if index != small.reference}
    ghosts = {index: ghost for index, ghost in ghosts.items() if bool((ghost > REACHED).any())}
    if not ghosts:
        return {}
    # Both ways of all frames in one batch.
    here, there = (torch.cat(shown) for shown in zip(*(_at_one_exposure(small, i) for i in ghosts), strict=True))
    check()
    ways = optical_flow(torch.cat((here, there)), torch.cat((there, here)))
    check()
    forward, backward = ways.chunk(2)
    missed = flow_inconsistency(forward, backward)
    found = {}
    for row, (index, ghost) in enumerate(ghosts.items()):
        flow = forward[row : row + 1]
        length = torch.hypot(flow[:, :1], flow[:, 1:])
        reached = _reached(ghost, (length > MOVING).to(ghost))
        consistent = window_mean((missed[row : row + 1] < MISSED + MISSED_SHARE * length).to(ghost), 5) > MOST
        candidate = (reached & consistent).to(ghost)
        if not bool(candidate.any()):
            continue
        moved = small.frames[index].clone()
        _move(small, index, 0, flow, candidate, moved[0], check)
        better = window_mean(_ghosts(small, index, moved), 5) <= window_mean(ghost, 5) + RISE
        followed = window_mean(candidate * better, 3)
        if bool((followed > 0).any()):
            found[index] = flow, followed
    return found


def _reached(ghost: Tensor, moving: Tensor) -> Tensor:
    """Mask a contradiction and what moves together with it; found at half the size, for speed."""
    size = ghost.shape[-2:]
    ghost, moving = (F.max_pool2d(mask, 2, ceil_mode=True) for mask in (ghost, moving))
    spread = F.interpolate(spread_over(ghost, moving), scale_factor=2.0)
    return spread[..., : size[0], : size[1]] > REACHED


def _ghosts(small: ExposureStack, index: int, frame: Tensor | None = None) -> Tensor:
    """Ghost map 1×1×h×w of the reference and one frame, or what is to stand in for that frame."""
    shown = small.frames[index] if frame is None else frame
    pair = (shown, small.frames[small.reference])
    times = small.times[[index, small.reference]]
    return torch.from_numpy(ghost_map(replace(small, frames=pair, times=times, reference=1))).to(shown)[None, None]


def _at_one_exposure(small: ExposureStack, index: int) -> tuple[Tensor, ...]:
    """Brightness of the reference and of a frame as the longer of both exposures would show it, clipped alike."""
    time = max(float(small.times[index]), float(small.times[small.reference]))
    lights = (small.radiance(i).mean(1, keepdim=True) for i in (small.reference, index))
    return tuple(expose(light, time).clamp(max=CLIPPED) / CLIPPED for light in lights)


def _move(
    stack: ExposureStack,
    index: int,
    number: int,
    flow: Tensor,
    followed: Tensor,
    result: Tensor,
    check: Callable[[], None],
) -> None:
    """Put into a copy C×H×W of one frame what it shows after its motion, where that is followed; in strips of rows."""
    frame = stack.frames[index][number]
    height, width = frame.shape[-2:]
    flat = result.view(len(result), -1)
    for strip in row_strips(height, width, STRIP_PIXELS):
        check()
        share = enlarged_rows(followed, strip, height, width).flatten()
        place = share.nonzero()[:, 0]
        if not len(place):
            continue
        shift = enlarged_rows(flow, strip, height, width)[0].flatten(1)[:, place]
        y = place.div(width, rounding_mode="floor")
        goal_x = (place - y * width + shift[0] * (width / flow.shape[-1])).clamp_(0, width - 1)
        goal_y = (y + strip.start + shift[1] * (height / flow.shape[-2])).clamp_(0, height - 1)
        shown = _sampled(frame, goal_x, goal_y, stack)
        goal = place + strip.start * width
        flat[:, goal] = torch.lerp(flat[:, goal], shown, share[place].to(frame))


def _sampled(frame: Tensor, x: Tensor, y: Tensor, stack: ExposureStack) -> Tensor:
    """A C×H×W frame at points between its pixels, resampled in linear light, encoded: C×N."""
    first = max(int(y.min()) - CUBIC_REACH, 0)
    rows = frame[:, first : int(y.max()) + CUBIC_REACH + 1]
    light = linearize(rows[None].to(x), stack.encoding, stack.gamma)
    found = sample(light, torch.stack((x, y - first), dim=-1)[None, None])
    return encode(found.clamp(0, 1), stack.encoding, stack.gamma)[0, :, 0].to(frame)
