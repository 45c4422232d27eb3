"""Brackets of two, or of four to nine frames, for a network that takes three.

What the network makes of three of them (:mod:`~afunet_core.merging.frame_selection`) is the picture that every frame,
seen or not,
is held against: where a frame agrees within the noise it joins in the mean with one over its variance; where it
disagrees, something moved, and it has no say. A shorter frame adds range (where the three are clipped, anything at
least as bright agrees), a longer one takes noise from the shadows, and where nothing agrees the picture stands alone.
See ``docs/decisions/0003-any-number-of-frames.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel, dependable_noise
from afunet_core.merging.frame_selection import FramePlan
from afunet_core.motion.consistency import HALO, agreement, contradiction, spread_over, unsaturated
from afunet_core.ops.box_filter import window_max
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import in_haloed_strips
from afunet_core.radiometry import encode, linearize

__all__ = ["Combination", "combine_frames", "guess_unrecorded"]

PICTURE_SHARE = 0.1
"""What the network's picture counts beside the frames it was made of: they are more precise wherever they agree."""

REGISTERED_WITHIN = 0.1
"""Pixels by which a warped frame may be off or blurred: what it says along edges counts the less."""

AT_LIMIT = (0.85, 0.95)
"""Radiance over the limit of the shortest frame seen from which it begins to be taken for clipped, and is."""

ALONE = (0.02, 0.1)
"""Share of what the frames should know that those which agree do: below it, and where the reference is clipped, the
network invented what it shows."""

INVENTED = 0.5
"""What a second guess counts beside such an invention: neither is the better one."""

CONTEXT = 48
"""Pixels around what is guessed that the network sees as well."""

_NOTHING: Mapping[int, Tensor] = MappingProxyType({})


class Combination(NamedTuple):
    """What the frames and the network's picture make together.

    Attributes:
        image: B×3×H×W radiance, 1.0 at saturation of the bracket's shortest frame.
        unrecorded: B×1×H×W in [0, 1], what a second guess of the network counts: 1 where the picture is at the limit of
            what the network saw, and no shorter frame that agrees tells how bright it is, because something stands
            before it there; a half where the reference is clipped and no frame bears out what the network shows.
        invented: B×1×H×W in [0, 1], the share of the network's picture; the rest is a mean of what frames recorded.
    """

    image: Tensor
    unrecorded: Tensor
    invented: Tensor


@torch.no_grad()
def combine_frames(
    image: Tensor,
    bracket: Bracket,
    plan: FramePlan,
    noise: NoiseModel | None = None,
    three: Bracket | None = None,
    covered: Mapping[int, Tensor] = _NOTHING,
) -> Combination:
    """Hold every frame against the network's picture and average what agrees with it.

    Args:
        image: B×3×H×W radiance that the network made of ``plan.three``, in the unit of the bracket's shortest frame.
        bracket: all frames, registered.
        plan: what the network saw.
        noise: of the camera; estimated where ``None``.
        three: the bracket the network saw, where a frame of it was mended; by default those of ``plan``.
        covered: for each frame that registration moved, B×1×H×W, where it has content of its own. Elsewhere it has no
            say, for what stands in is the reference again; and it is uncertain along edges.

    Returns:
        The radiance in the same unit, and where nothing recorded it.
    """
    noise = dependable_noise(bracket, noise)
    short = (three or plan.network_bracket(bracket)).frames[0].to(image)
    sound = _where_the_short_frame_is_sound(image, short, bracket, plan, noise)

    def rows(image: Tensor, short: Tensor, sound: Tensor, *more: Tensor) -> Tensor:
        part = bracket.with_frames(more[: len(bracket)])
        areas = dict(zip(covered, more[len(bracket) :], strict=True))
        return torch.cat(_combine_rows(image, short, sound, part, plan, noise, areas), 1)

    combined = in_haloed_strips(rows, HALO, image, short, sound, *bracket.frames, *covered.values())
    return Combination(*combined.split((3, 1, 1), 1))


def _combine_rows(
    image: Tensor,
    short: Tensor,
    sound: Tensor,
    bracket: Bracket,
    plan: FramePlan,
    noise: NoiseModel,
    covered: Mapping[int, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`combine_frames` for some rows; ``sound`` tells where the short frame is what frames are held against."""
    times = [float(t) for t in bracket.times]
    seen = [times[i] for i in sorted(set(plan.three))]
    known = _precision(image, seen, noise, bracket)
    # The network may have looked at the reference alone: a frame must not be doubted for the reference's noise.
    doubt = 1 / _precision(image, [time for time in seen if time <= times[plan.reference]], noise, bracket)
    radiance, time = linearize(short, bracket.encoding, bracket.gamma) / seen[0], seen[0]
    sound = sound * unsaturated(short)
    judge = torch.lerp(image, radiance, sound)
    doubt = torch.lerp(doubt, noise.variance(radiance * time) / time**2, sound)
    steepness = _squared_slope(judge) if covered else torch.zeros_like(judge)
    ceiling = torch.full_like(image, 1.0 / seen[0])  # radiance at which the shortest frame the network saw saturates
    everywhere = torch.ones_like(image[:1, :1], dtype=torch.bool)
    total, weight = torch.zeros_like(image), torch.zeros_like(image)
    for index in sorted(plan.joining, key=times.__getitem__, reverse=True):
        encoded, time = bracket.frames[index].to(image), times[index]
        radiance = linearize(encoded, bracket.encoding, bracket.gamma) / time
        trust = unsaturated(encoded) if time > times[0] else torch.ones_like(image)
        variance = noise.variance(judge * time) / time**2
        if index in covered:
            trust = trust * covered[index]
            variance = variance + REGISTERED_WITHIN**2 * steepness
        share = trust / variance
        if index != plan.reference:  # which shows what is to be shown
            agreed = agreement(judge, radiance, doubt + variance, ceiling, trust)
            share = share * agreed
            if time < seen[0]:
                # Where the network's frames are clipped, those that are shorter still must agree among themselves.
                learned = (judge > 0.9 * ceiling) & (agreed > 0.5) & covered.get(index, everywhere)
                judge, doubt = torch.where(learned, radiance, judge), torch.where(learned, variance, doubt)
                ceiling = torch.where(learned, 1.0 / time, ceiling)
        total, weight = total + share * radiance, weight + share
    # Where frames drop out, the picture also has the say that they lost: the network knew more than what is left.
    say = PICTURE_SHARE * known + (known - weight).clamp_min(0.0)
    combined = (total + say * judge) / (weight + say)
    invented = (say / (weight + say) * (1 - sound)).mean(1, keepdim=True)
    at_limit = smoothstep(judge / ceiling, *AT_LIMIT) * (ceiling * times[0] < 0.99)
    clipped = 1 - unsaturated(bracket.frames[plan.reference].to(image))
    alone = smoothstep(weight / (weight + known), ALONE[1], ALONE[0]) * clipped
    return combined, torch.maximum(at_limit, INVENTED * alone).amax(1, keepdim=True), invented


def _where_the_short_frame_is_sound(
    image: Tensor, short: Tensor, bracket: Bracket, plan: FramePlan, noise: NoiseModel
) -> Tensor:
    """B×1×H×W: where frames are better held against the short frame than against the network's picture.

    Where the reference is clipped the network had nothing but the short frame. If that contradicts nothing, what the
    network made of it is no better.
    """
    if plan.three[0] == plan.reference:
        return torch.zeros_like(image[:, :1])
    seen = [float(bracket.times[i]) for i in plan.three[:2]]

    def rows(image: Tensor, short: Tensor, *frames: Tensor) -> Tensor:
        part, time = bracket.with_frames(frames), seen[0]
        radiance = linearize(short, bracket.encoding, bracket.gamma) / time
        variance = noise.variance(radiance * time) / time**2 + 1 / _precision(image, seen, noise, part)
        clipped, wrong = contradiction(part, short, time, noise, plan.reference)
        differs = (1 - agreement(image, radiance, variance, 1 / time, unsaturated(short))) * clipped
        return torch.cat((clipped, wrong, differs), 1)

    clipped, wrong, differs = in_haloed_strips(rows, HALO, image, short, *bracket.frames).split(1, 1)
    return clipped * (1 - spread_over(wrong, differs))


@torch.no_grad()
def guess_unrecorded(
    found: Combination, bracket: Bracket, plan: FramePlan, network: Callable[[Bracket], Tensor]
) -> Tensor:
    """Ask the network once more, with a shorter frame, how bright it is where nothing recorded it.

    It sees only the rectangle that needs it. A guess may be brighter than what is certain, never darker.

    Args:
        found: from :func:`combine_frames`.
        bracket: all frames, registered.
        plan: with ``wider``.
        network: makes of three frames radiance in the unit of the first of them.

    Returns:
        B×3×H×W radiance, ``found.image`` itself where nothing is to be guessed.
    """
    if plan.wider is None or not bool((found.unrecorded > INVENTED / 2).any()):
        return found.image
    top, left, height, width = _rectangle(found.unrecorded > 0, CONTEXT)
    guess = network(bracket.select(plan.wider, reference=1).crop(top, left, height, width))
    image = found.image.clone()
    window = image[..., top : top + height, left : left + width]
    share = found.unrecorded[..., top : top + height, left : left + width]
    window += share * (guess.to(image) / float(bracket.times[plan.wider[0]]) - window).clamp(min=0.0)
    return image


def _rectangle(mask: Tensor, margin: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of what holds all of a mask B×1×H×W, and a margin around it."""
    spans = []
    for axis, size in ((-1, mask.shape[-2]), (-2, mask.shape[-1])):
        held = mask.any(axis).flatten(0, -2).any(0).nonzero()
        first, last = max(0, int(held[0]) - margin), min(size, int(held[-1]) + 1 + margin)
        spans.append((first, last - first))
    (top, height), (left, width) = spans
    return top, left, height, width


def _squared_slope(image: Tensor) -> Tensor:
    """Of the steepest edge in the 3×3 pixels around each, per pixel squared."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return window_max(across.square() + down.square(), 3)


def _precision(image: Tensor, times: list[float], noise: NoiseModel, bracket: Bracket) -> Tensor:
    """How well the frames that the network saw determine its picture: little where all of them are clipped."""
    precision = torch.zeros_like(image)
    for time in times:
        expected = encode((image * time).clamp(0.0, 1.0), bracket.encoding, bracket.gamma)
        precision = precision + unsaturated(expected) * time**2 / noise.variance(image * time)
    floor = 1e-3 * times[0] ** 2 / noise.variance(torch.ones_like(image[:1, :1, :1, :1]))
    return precision + floor
