"""Repair of the short frame: another short frame stands in where it contradicts the clipped reference.

Where the reference is clipped, the network has only the short frame to go by. If that frame is darker there than the
reference allows, something moved in front, and the network would have to invent what lies behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel
from afunet_core.camera.saturation import unsaturated
from afunet_core.motion.consistency import HALO, agreement, contradiction, samples, spread_over, variance_between
from afunet_core.ops.box_filter import window_min
from afunet_core.ops.strips import in_haloed_strips
from afunet_core.radiometry import expose

__all__ = ["consistent_short_frame"]

# Difference of two contradictions, in [0, 1], from which the less contradicted frame replaces the other wholly.
CLEARLY = 0.1


@torch.no_grad()
def consistent_short_frame(
    bracket: Bracket, under: int, reference: int, others: Sequence[int], noise: NoiseModel
) -> Tensor:
    """Replace what contradicts the reference in the short frame by what another frame shows there.

    A region grows from the contradictions over all pixels in which both short frames differ, because a moving object
    leaves as a whole, with those of its parts that would not contradict anything alone. Where no recorded value
    agrees, one that is saturated but contradicts nothing is the next best: it says that it was at least that bright.

    Args:
        bracket: all frames, registered.
        under: index of the short frame.
        reference: index of the reference, longer than the short frame.
        others: frames that may stand in, shorter than the reference.
        noise: of the camera.

    Returns:
        B×3×H×W encoded like the frame; the frame itself where nothing stands in.
    """

    small = bracket.with_frames([samples(frame) for frame in bracket.frames])
    clipped, wrong = contradiction(small, small.frames[under], float(small.times[under]), noise, reference)
    if not others or not bool((wrong > 0.5).any()):
        return bracket.frames[under]
    shares = torch.cat([_share(small, (under, index, reference), clipped, wrong, noise) for index in others], 1)

    def filled(shares: Tensor, *frames: Tensor) -> Tensor:
        if not bool(shares.any()):
            return frames[under]
        return _fill(bracket.with_frames(frames), under, dict(zip(others, shares.split(1, 1), strict=True)))

    return in_haloed_strips(filled, HALO, F.interpolate(shares, size=bracket.shape, mode="bilinear"), *bracket.frames)


def _share(bracket: Bracket, which: tuple[int, int, int], clipped: Tensor, wrong: Tensor, noise: NoiseModel) -> Tensor:
    """The share, B×1×H×W, of a frame that stands in where the short one is ``wrong`` and the reference ``clipped``."""
    under, index, reference = which
    times = [float(time) for time in bracket.times]
    shorter, longer = sorted((index, under), key=times.__getitem__)
    dim, bright = bracket.radiance(shorter), bracket.radiance(longer)
    variance = variance_between(bright, dim, times[shorter], noise)
    differs = (1 - agreement(bright, dim, variance, 1 / times[longer], unsaturated(bracket.frames[shorter]))) * clipped
    their_wrong = contradiction(bracket, bracket.frames[index], times[index], noise, reference)[1]
    # Where things of both frames meet, each takes what is nearer to it.
    mine, theirs = spread_over(wrong, differs), spread_over(their_wrong, differs)
    return ((mine - theirs) / CLEARLY).clamp(0.0, 1.0)


def _fill(bracket: Bracket, under: int, shares: dict[int, Tensor]) -> Tensor:
    """The short frame with its share of every other: first of what is recorded, then of what is "at least"."""
    light, wanted = bracket.radiance(under), torch.cat(list(shares.values()), 1).amax(1, keepdim=True)
    for index in sorted(shares, key=lambda index: abs(bracket.ev[index] - bracket.ev[under])):
        recorded = window_min(unsaturated(bracket.frames[index]).amin(1, keepdim=True), 5)
        share = torch.minimum(shares[index] * recorded, wanted)
        light, wanted = torch.lerp(light, bracket.radiance(index), share), wanted * (1 - share)
    for index in sorted(shares, key=lambda index: float(bracket.times[index])):
        share = torch.minimum(shares[index], wanted)
        at_least = torch.maximum(light, bracket.radiance(index))
        light, wanted = torch.lerp(light, at_least, share), wanted * (1 - share)
    return expose(light, bracket.times[under], bracket.encoding, bracket.gamma).to(bracket.frames[under])
