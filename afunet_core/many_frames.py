r"""Brackets of two, or of four to nine frames, for a network that takes three.

The network sees three frames: the reference, chosen for what is well exposed and sharp, and the frames nearest to two
stops either side. With two frames the missing side is the reference once more. What the network makes of them is the
picture that every frame, seen or not, is held against: where a frame agrees within the noise it joins in the mean with
one over its variance; where it disagrees, something moved, and it has no say. A shorter frame adds range (where the
three are clipped, anything at least as bright agrees), a longer one takes noise from the shadows, and where nothing
agrees the picture stands alone. See ``docs/decisions/0003-any-number-of-frames.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.agreement import agreement, consistent_short_frame, contradiction, spread_over, unsaturated
from afunet_core.bracket import Bracket
from afunet_core.errors import BracketError
from afunet_core.noise import NoiseModel, estimate_noise
from afunet_core.radiometry import encode, linearize

__all__ = ["FramePlan", "choose_reference", "combine_frames", "dependable_noise", "plan_frames"]

OUTER_STOPS = 2.0
"""Stops from the reference to the outer frames: the network's training saw mostly these."""

PICTURE_SHARE = 0.1
"""What the network's picture counts beside the frames it was made of: they are more precise wherever they agree."""

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
    """

    reference: int
    three: tuple[int, int, int]
    joining: tuple[int, ...]
    missing: str | None = None

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
    return FramePlan(reference, three, joining, missing)


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


@torch.no_grad()
def combine_frames(
    image: Tensor, bracket: Bracket, plan: FramePlan, noise: NoiseModel | None = None, three: Bracket | None = None
) -> Tensor:
    """Hold every frame against the network's picture and average what agrees with it.

    Args:
        image: B×3×H×W radiance that the network made of ``plan.three``, in the unit of the bracket's shortest frame.
        bracket: all frames, registered.
        plan: what the network saw.
        noise: of the camera; estimated where ``None``.
        three: the bracket the network saw, where a frame of it was mended; by default those of ``plan``.

    Returns:
        B×3×H×W radiance in the same unit.
    """
    noise = dependable_noise(bracket, noise)
    times = [float(t) for t in bracket.times]
    seen = [times[i] for i in sorted(set(plan.three))]
    known = _precision(image, seen, noise, bracket)
    # The network may have looked at the reference alone: a frame must not be doubted for the reference's noise.
    doubt = 1 / _precision(image, [time for time in seen if time <= times[plan.reference]], noise, bracket)
    judge = image
    if plan.three[0] != plan.reference:
        short = (three or plan.network_bracket(bracket)).frames[0].to(image)
        judge, doubt = _judged_by_the_short_frame(image, doubt, short, bracket, plan, noise)
    ceiling = torch.full_like(image, 1.0 / seen[0])  # radiance at which the shortest frame the network saw saturates
    total, weight = torch.zeros_like(image), torch.zeros_like(image)
    for index in sorted(plan.joining, key=times.__getitem__, reverse=True):
        encoded, time = bracket.frames[index].to(image), times[index]
        radiance = linearize(encoded, bracket.encoding, bracket.gamma) / time
        trust = unsaturated(encoded) if time > times[0] else torch.ones_like(image)
        variance = noise.variance(judge * time) / time**2
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
    return (total + PICTURE_SHARE * known * judge) / (weight + PICTURE_SHARE * known)


def _judged_by_the_short_frame(
    image: Tensor, doubt: Tensor, short: Tensor, bracket: Bracket, plan: FramePlan, noise: NoiseModel
) -> tuple[Tensor, Tensor]:
    """What frames are held against, and its variance.

    Where the reference is clipped the network had nothing but the short frame. If that contradicts nothing, what the
    network made of it is no better.
    """
    time = float(bracket.times[plan.three[0]])
    radiance = linearize(short, bracket.encoding, bracket.gamma) / time
    variance, trust = noise.variance(radiance * time) / time**2, unsaturated(short)
    clipped, wrong = contradiction(bracket, short, time, noise, plan.reference)
    differs = (1 - agreement(image, radiance, doubt + variance, 1 / time, trust)) * clipped
    sound = clipped * (1 - spread_over(wrong, differs)) * trust
    return torch.lerp(image, radiance, sound), torch.lerp(doubt, variance, sound)


def _precision(image: Tensor, times: list[float], noise: NoiseModel, bracket: Bracket) -> Tensor:
    """How well the frames that the network saw determine its picture: little where all of them are clipped."""
    precision = torch.zeros_like(image)
    for time in times:
        expected = encode((image * time).clamp(0.0, 1.0), bracket.encoding, bracket.gamma)
        precision = precision + unsaturated(expected) * time**2 / noise.variance(image * time)
    floor = 1e-3 * times[0] ** 2 / noise.variance(torch.ones_like(image[:1, :1, :1, :1]))
    return precision + floor
