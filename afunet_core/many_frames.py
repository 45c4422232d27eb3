r"""Brackets of two, or of four to nine frames, for a network that takes three.

The network sees three frames: the reference, chosen for what is well exposed and sharp, and the frames nearest to two
stops either side. With two frames the missing side is the reference once more. What the network makes of them is the
picture that every frame, seen or not, is held against: where a frame agrees within the noise it joins in the mean with
one over its variance; where it disagrees, something moved, and it has no say. A shorter frame adds range (where the
three are clipped, anything at least as bright agrees), a longer one takes noise from the shadows, and where nothing
agrees the picture stands alone. See ``docs/decisions/0003-any-number-of-frames.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.agreement import (
    HALO,
    agreement,
    consistent_short_frame,
    contradiction,
    spread_over,
    unsaturated,
)
from afunet_core.bracket import Bracket
from afunet_core.errors import BracketError
from afunet_core.noise import NoiseModel, estimate_noise
from afunet_core.radiometry import encode, linearize
from afunet_core.smoothstep import smoothstep
from afunet_core.strips import in_haloed_strips

__all__ = [
    "Combination",
    "FramePlan",
    "choose_reference",
    "combine_frames",
    "dependable_noise",
    "guess_unrecorded",
    "plan_frames",
]

OUTER_STOPS = 2.0
"""Stops from the reference to the outer frames: the network's training saw mostly these."""

PICTURE_SHARE = 0.1
"""What the network's picture counts beside the frames it was made of: they are more precise wherever they agree."""

WIDEST_STOPS = 4.0
"""Stops from the reference within which the network is asked to guess what nothing recorded: as far as it learned."""

REGISTERED_WITHIN = 0.1
"""Pixels by which a warped frame may be off or blurred: what it says along edges counts the less."""

AT_LIMIT = (0.85, 0.95)
"""Radiance over the limit of the shortest frame seen from which it begins to be taken for clipped, and is."""

CONTEXT = 48
"""Pixels around what is guessed that the network sees as well."""

_LEAST_READ_NOISE = 2e-4
_DARK, _BRIGHT = 0.08, 0.92
_SHARPER, _NEARLY_AS_WELL = 1.25, 0.85


@dataclass(frozen=True)
class FramePlan:
    """Which frames the network sees, and which join afterwards; indices into ``bracket.frames``.

    Attributes:
        reference: the frame the result is aligned to.
        three: under, reference and over; the missing side of two frames repeats the reference.
        joining: frames held against the network's picture and averaged with it afterwards.
        missing: ``"shorter"`` or ``"longer"``, the side that repeats the reference, or ``None``.
        wider: the same three with a shorter first one, where there is one; the network sees them where no frame that
            agrees recorded how bright it is.
    """

    reference: int
    three: tuple[int, int, int]
    joining: tuple[int, ...]
    missing: str | None = None
    wider: tuple[int, int, int] | None = None

    def network_bracket(self, bracket: Bracket) -> Bracket:
        """The three frames, as a bracket whose times are relative to the first of them."""
        return bracket.select(self.three, reference=1)

    def consistent_bracket(self, bracket: Bracket, noise: NoiseModel | None = None) -> Bracket:
        """The same three, but where the short one contradicts the clipped reference, what another short frame shows.

        Args:
            bracket: all frames, registered.
            noise: of the camera; estimated where ``None``.
        """
        under = self.three[0]
        others = [i for i in self.joining if i != under and bracket.times[i] < bracket.times[self.reference]]
        three = self.network_bracket(bracket)
        if under == self.reference or not others:
            return three
        noise = dependable_noise(bracket, noise)
        mended = consistent_short_frame(bracket, under, self.reference, others, noise)
        return three if mended is bracket.frames[under] else three.with_frames([mended, *three.frames[1:]])


def plan_frames(bracket: Bracket, everything: bool = True) -> FramePlan:
    """Choose the reference, unless the caller did, and the outer frames for the network.

    Args:
        bracket: two or more frames.
        everything: let frames join afterwards; three frames, which the network weighs itself, never do.

    Raises:
        BracketError: a chosen reference has only frames of its own exposure beside it.

    Example:
        >>> frames = [torch.full((1, 3, 8, 8), min(1.0, 0.02 * 2.0**k) ** (1 / 2.2)) for k in range(7)]
        >>> plan = plan_frames(Bracket(frames, ev=range(7), reference=3))
        >>> plan.three, plan.joining
        ((1, 3, 5), (0, 1, 2, 3, 4, 5, 6))
    """
    reference = bracket.reference if bracket.reference_given else choose_reference(bracket)
    stops = [float(value - bracket.ev[reference]) for value in bracket.ev]
    shorter = [i for i, value in enumerate(stops) if value < -0.01]
    longer = [i for i, value in enumerate(stops) if value > 0.01]
    if not shorter and not longer:
        raise BracketError("reference", "a frame with others of different exposure", repr(bracket.names[reference]))
    under = min(shorter, key=lambda i: abs(stops[i] + OUTER_STOPS), default=reference)
    over = min(longer, key=lambda i: abs(stops[i] - OUTER_STOPS), default=reference)
    three = (under, reference, over)
    missing = None if shorter and longer else "longer" if shorter else "shorter"
    joining = tuple(range(len(bracket))) if everything and (len(bracket) > 3 or missing) else ()
    shortest = min((i for i in shorter if -stops[i] <= WIDEST_STOPS + 0.1), key=stops.__getitem__, default=under)
    wider = (shortest, reference, over) if joining and stops[shortest] < stops[under] else None
    return FramePlan(reference, three, joining, missing, wider)


@torch.no_grad()
def choose_reference(bracket: Bracket) -> int:
    """The frame that records most of the scene between shadows and saturation, or a sharper one nearly as good.

    Of three frames and more, the shortest and the longest are not considered: they lack a neighbour.

    Example:
        >>> frames = [torch.full((1, 3, 8, 8), value) for value in (0.02, 0.06, 0.3, 0.99, 1.0)]
        >>> choose_reference(Bracket(frames, ev=(0, 3, 8, 12, 14), override=True))
        2
    """
    candidates = range(len(bracket))[1:-1] or range(len(bracket))
    if len(candidates) == 1:
        return candidates[0]
    step = max(1, max(bracket.shape) // 512)
    small = [F.avg_pool2d(frame.float(), step) if step > 1 else frame.float() for frame in bracket.frames]
    recorded = [((frame > _DARK) & (frame < _BRIGHT)).all(1, keepdim=True) for frame in small]
    shares = [float(mask.float().mean()) for mask in recorded]
    best = max(candidates, key=lambda i: (shares[i], -abs(i - len(bracket) // 2)))
    chosen, gain = best, _SHARPER
    for other in candidates:
        if other != best and shares[other] >= _NEARLY_AS_WELL * shares[best]:
            sharper = _relative_sharpness(bracket, small, recorded[best] & recorded[other], other, best)
            if sharper > gain:
                chosen, gain = other, sharper
    return chosen


def _relative_sharpness(bracket: Bracket, small: list[Tensor], mask: Tensor, first: int, second: int) -> float:
    """Energy of the gradients of the first frame over that of the second, in radiance, where both record the scene."""
    energies = []
    for index in (first, second):
        radiance = linearize(small[index], bracket.encoding, bracket.gamma) / float(bracket.times[index])
        grey = F.avg_pool2d(radiance.mean(1, keepdim=True), 2, stride=1) * 1.0  # noise must not pass for sharpness
        slope = grey.diff(dim=-1)[..., 1:, :].square() + grey.diff(dim=-2)[..., 1:].square()
        energies.append(float((slope * mask[..., 2:, 2:]).sum()))
    return (energies[0] + 1e-12) / (energies[1] + 1e-12)


def dependable_noise(bracket: Bracket, noise: NoiseModel | None = None) -> NoiseModel:
    """The noise of the camera: that given, else that which the bracket shows, else that of an ordinary camera.

    Example:
        >>> dependable_noise(Bracket([torch.full((1, 3, 8, 8), v) for v in (0.2, 0.4)], ev=(0, 2)))
        NoiseModel(gain=0.0002, read_noise=0.002)
    """
    noise = noise or estimate_noise(bracket) or NoiseModel(2e-4, 2e-3)
    # Black that is clipped looks free of noise; a weight of one over nothing would follow.
    return NoiseModel(noise.gain, max(noise.read_noise, _LEAST_READ_NOISE))


class Combination(NamedTuple):
    """What the frames and the network's picture make together.

    Attributes:
        image: B×3×H×W radiance, 1.0 at saturation of the bracket's shortest frame.
        unrecorded: B×1×H×W in [0, 1], 1 where the picture is at the limit of what the network saw, and no shorter
            frame that agrees tells how bright it is: something stands before it there.
    """

    image: Tensor
    unrecorded: Tensor


@torch.no_grad()
def combine_frames(
    image: Tensor,
    bracket: Bracket,
    plan: FramePlan,
    noise: NoiseModel | None = None,
    three: Bracket | None = None,
    warped: Sequence[int] = (),
) -> Combination:
    """Hold every frame against the network's picture and average what agrees with it.

    Args:
        image: B×3×H×W radiance that the network made of ``plan.three``, in the unit of the bracket's shortest frame.
        bracket: all frames, registered.
        plan: what the network saw.
        noise: of the camera; estimated where ``None``.
        three: the bracket the network saw, where a frame of it was mended; by default those of ``plan``.
        warped: frames that registration moved, which are uncertain along edges.

    Returns:
        The radiance in the same unit, and where nothing recorded it.
    """
    noise = dependable_noise(bracket, noise)
    short = (three or plan.network_bracket(bracket)).frames[0].to(image)
    sound = _where_the_short_frame_is_sound(image, short, bracket, plan, noise)

    def rows(image: Tensor, short: Tensor, sound: Tensor, *frames: Tensor) -> Tensor:
        part = bracket.with_frames(frames)
        return torch.cat(_combine_rows(image, short, sound, part, plan, noise, warped), 1)

    combined = in_haloed_strips(rows, HALO, image, short, sound, *bracket.frames)
    return Combination(combined[:, :3], combined[:, 3:])


def _combine_rows(
    image: Tensor,
    short: Tensor,
    sound: Tensor,
    bracket: Bracket,
    plan: FramePlan,
    noise: NoiseModel,
    warped: Sequence[int],
) -> tuple[Tensor, Tensor]:
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
    steepness = _squared_slope(judge) if warped else None
    ceiling = torch.full_like(image, 1.0 / seen[0])  # radiance at which the shortest frame the network saw saturates
    total, weight = torch.zeros_like(image), torch.zeros_like(image)
    for index in sorted(plan.joining, key=times.__getitem__, reverse=True):
        encoded, time = bracket.frames[index].to(image), times[index]
        radiance = linearize(encoded, bracket.encoding, bracket.gamma) / time
        trust = unsaturated(encoded) if time > times[0] else torch.ones_like(image)
        variance = noise.variance(judge * time) / time**2
        if index in warped and steepness is not None:
            variance = variance + REGISTERED_WITHIN**2 * steepness
        share = trust / variance
        if index != plan.reference:  # which shows what is to be shown
            agreed = agreement(judge, radiance, doubt + variance, ceiling, trust)
            share = share * agreed
            if time < seen[0]:
                # Where the network's frames are clipped, those that are shorter still must agree among themselves.
                learned = (judge > 0.9 * ceiling) & (agreed > 0.5)
                judge, doubt = torch.where(learned, radiance, judge), torch.where(learned, variance, doubt)
                ceiling = torch.where(learned, 1.0 / time, ceiling)
        total, weight = total + share * radiance, weight + share
    # Where frames drop out, the picture also has the say that they lost: the network knew more than what is left.
    say = PICTURE_SHARE * known + (known - weight).clamp_min(0.0)
    combined = (total + say * judge) / (weight + say)
    at_limit = smoothstep(judge / ceiling, *AT_LIMIT) * (ceiling * times[0] < 0.99)
    return combined, at_limit.amax(1, keepdim=True)


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
    if plan.wider is None or not bool((found.unrecorded > 0.5).any()):
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
    return F.max_pool2d(across.square() + down.square(), 3, 1, 1)


def _precision(image: Tensor, times: list[float], noise: NoiseModel, bracket: Bracket) -> Tensor:
    """How well the frames that the network saw determine its picture: little where all of them are clipped."""
    precision = torch.zeros_like(image)
    for time in times:
        expected = encode((image * time).clamp(0.0, 1.0), bracket.encoding, bracket.gamma)
        precision = precision + unsaturated(expected) * time**2 / noise.variance(image * time)
    floor = 1e-3 * times[0] ** 2 / noise.variance(torch.ones_like(image[:1, :1, :1, :1]))
    return precision + floor
