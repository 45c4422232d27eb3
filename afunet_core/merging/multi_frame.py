"""Joining of all frames of a bracket of two, or of four to nine, for a network that takes three.

Every frame is held against the network's picture: where it agrees within the noise it joins in the mean with one over
its variance; where it disagrees, something moved, and its weight is zero. A shorter frame adds range, a longer one
takes noise from the shadows. See ``docs/decisions/0003-any-number-of-frames.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel
from afunet_core.camera.saturation import unsaturated
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.frame_selection import FrameSelection
from afunet_core.motion.consistency import agreement, samples
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import enlarged_rows, row_strips
from afunet_core.radiometry import encode, linearize

# Weight of the network's picture over that of the frames it was made of: they are more precise wherever they agree.
PRIOR_SHARE = 0.1
# Radiance over the limit of the shortest frame seen from which it begins to be taken for clipped, and is.
AT_LIMIT = (0.85, 0.95)
# Precision of the frames that agree over that which the network's frames should have: below it, and where the reference
# is clipped, no frame bears out what the network shows.
UNSUPPORTED = (0.02, 0.1)
UNSUPPORTED_SHARE = 0.5  # weight of a second guess beside what no frame bears out: neither is the better one

_NOTHING: Mapping[int, Tensor] = MappingProxyType({})


class Combination(NamedTuple):
    """The mean of the network's picture and the frames that agree with it."""

    image: Tensor  # B×3×H×W radiance, 1.0 at saturation of the bracket's shortest frame
    # B×1×H×W in [0, 1], the weight of a second guess of the network: 1 where the picture is at the limit of what the
    # network saw, and no shorter frame that agrees tells how bright it is, because something stands before it there; a
    # half where the reference is clipped and no frame bears out what the network shows
    unrecorded: Tensor
    # B×1×H×W in [0, 1], the share of the network's picture; the rest is a mean of recorded values
    network_share: Tensor


def join_frames(
    estimate: Estimate, aligned: AlignedBracket, frames: FrameSelection, noise: CameraNoise, check: Callable[[], None]
) -> Estimate:
    """Let all frames join that agree with the network's estimate."""
    image, covered = estimate.image.cpu(), aligned.covered()
    combined = combine_frames(image, aligned.bracket, frames, noise.dependable, covered, check)
    return replace(estimate, guessed=0.0, **combined._asdict())


@torch.no_grad()
def combine_frames(
    image: Tensor,
    bracket: Bracket,
    frames: FrameSelection,
    noise: NoiseModel,
    covered: Mapping[int, Tensor] = _NOTHING,
    check: Callable[[], None] = lambda: None,
) -> Combination:
    """Hold every frame against the network's picture, in the bracket's unit, and average what agrees with it.

    ``covered`` tells for each frame that registration moved where it has content of its own, B×1×H×W. Elsewhere its
    weight is zero, for what stands in is the reference again.
    """
    small = bracket.with_frames([samples(frame) for frame in bracket.frames])
    areas = {index: samples(area) for index, area in covered.items()}
    agreed = _combine_rows(samples(image), small, frames, noise, areas, check)[1]
    height, width = bracket.shape
    combined = image.new_empty(len(image), 5, height, width)
    for rows in row_strips(height, width):
        part = bracket.with_frames([frame[..., rows, :] for frame in bracket.frames])
        areas = {index: area[..., rows, :] for index, area in covered.items()}
        known = {index: enlarged_rows(found, rows, height, width) for index, found in agreed.items()}
        combined[..., rows, :] = _combine_rows(image[..., rows, :], part, frames, noise, areas, check, known)[0]
    return Combination(*combined.split((3, 1, 1), 1))


def _combine_rows(
    image: Tensor,
    bracket: Bracket,
    frames: FrameSelection,
    noise: NoiseModel,
    covered: Mapping[int, Tensor],
    check: Callable[[], None],
    known: Mapping[int, Tensor] = _NOTHING,
) -> tuple[Tensor, dict[int, Tensor]]:
    """Do :func:`combine_frames` for some rows, unless it is ``known`` where frames agree; return that, too."""
    times = [float(t) for t in bracket.times]
    seen = [times[i] for i in sorted(set(frames.three))]
    precision = precision_of(image, seen, noise, bracket)
    # The network may have looked at the reference alone: a frame must not be distrusted for the reference's noise.
    variance = 1 / precision_of(image, [time for time in seen if time <= times[frames.reference]], noise, bracket)
    prior, agreed = image, dict[int, Tensor]()
    ceiling = torch.full_like(prior, 1.0 / seen[0])  # at which the shortest frame the network saw saturates
    everywhere = torch.ones_like(prior[:1, :1], dtype=torch.bool)
    total, weight = torch.zeros_like(prior), torch.zeros_like(prior)
    for index in sorted(frames.joining, key=times.__getitem__, reverse=True):  # the longest first
        check()
        encoded, time = bracket.frames[index].to(prior), times[index]
        radiance = linearize(encoded, bracket.encoding, bracket.gamma) / time
        trust = unsaturated(encoded) if time > times[0] else torch.ones_like(prior)
        own_variance = noise.variance(prior * time) / time**2
        trust = trust * covered[index] if index in covered else trust
        share = trust / own_variance
        if index != frames.reference:  # which shows what is to be shown
            found = known.get(index)
            found = agreement(prior, radiance, variance + own_variance, ceiling, trust) if found is None else found
            agreed[index], share = found, share * found
            if time < seen[0]:
                # Where the network's frames are clipped, those that are shorter still must agree among themselves.
                update = (prior > 0.9 * ceiling) & (found > 0.5) & covered.get(index, everywhere)
                prior = torch.where(update, radiance, prior)
                variance = torch.where(update, own_variance, variance)
                ceiling = torch.where(update, 1.0 / time, ceiling)
        total, weight = total + share * radiance, weight + share
    # Where frames drop out, the picture also gets the weight that they lost: the network knew more than what is left.
    prior_weight = PRIOR_SHARE * precision + (precision - weight).clamp_min(0.0)
    combined = (total + prior_weight * prior) / (weight + prior_weight)
    network_share = (prior_weight / (weight + prior_weight)).mean(1, keepdim=True)
    at_limit = smoothstep(prior / ceiling, *AT_LIMIT) * (ceiling * times[0] < 0.99)
    clipped = 1 - unsaturated(bracket.frames[frames.reference].to(image))
    unsupported = smoothstep(weight / (weight + precision), UNSUPPORTED[1], UNSUPPORTED[0]) * clipped
    unrecorded = torch.maximum(at_limit, UNSUPPORTED_SHARE * unsupported).amax(1, keepdim=True)
    return torch.cat((combined, unrecorded, network_share), 1), agreed


def precision_of(image: Tensor, times: list[float], noise: NoiseModel, bracket: Bracket) -> Tensor:
    """Return how well frames of these times determine the picture: little where all of them are clipped."""
    precision = torch.zeros_like(image)
    for time in times:
        expected = encode((image * time).clamp(0.0, 1.0), bracket.encoding, bracket.gamma)
        precision = precision + unsaturated(expected) * time**2 / noise.variance(image * time)
    floor = 1e-3 * times[0] ** 2 / noise.variance(torch.ones_like(image[:1, :1, :1, :1]))
    return precision + floor
