"""Whether frames show the same thing at a place, and what stands in for a short frame that does not.

A frame that saturates says only "at least this bright". So two frames agree where their radiances lie within the noise
of each other, and also where one of them is at its limit and the other at least as bright.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.baselines.weighted import SATURATION_FADE
from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel
from afunet_core.ops.box_filter import window_max, window_mean, window_min
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import in_haloed_strips
from afunet_core.radiometry import expose, linearize

__all__ = ["HALO", "agreement", "consistent_short_frame", "contradiction", "spread_over", "unsaturated"]

# Deviations, in standard deviations, at which a frame begins to be doubted and at which it has no say.
_DOUBT, _REJECT = 2.0, 4.0
# Exposure times, camera curves and the network are never exact; a scene at rest disagrees by a few percent.
_RELATIVE_ERROR = 0.04
_WINDOW = 5
HALO = 8
"""Rows beyond a strip that change nothing in it: more than the windows and the margins of this module reach."""
# Things move as wholes: a contradiction spreads over what differs around it, this far at this size of the picture.
_SPREAD, _SPREAD_SIDE, _FADE, _CLEARLY = 32, 512, 0.95, 0.1


def agreement(image: Tensor, radiance: Tensor, variance: Tensor, ceiling: Tensor | float, trust: Tensor) -> Tensor:
    """Whether a frame shows what a picture shows; a small window and the channels decide together.

    Args:
        image: B×C×H×W radiance of the picture.
        radiance: B×C×H×W of the frame, in the same unit.
        variance: of their difference, B×C×H×W.
        ceiling: the most that the picture can say, a number or broadcastable: where it is that bright, anything at
            least as bright agrees.
        trust: B×C×H×W, 1 where the frame records the scene, 0 where it is saturated and its value does not count.

    Returns:
        B×1×H×W: 1 where they agree, 0 where something moved.

    Example:
        >>> image, one = torch.full((1, 3, 8, 8), 0.5), torch.ones(1, 3, 8, 8)
        >>> [round(float(agreement(image, image * k, 1e-4 * one, 0.5, one).mean()), 2) for k in (0.5, 1.0, 3.0)]
        [0.0, 1.0, 1.0]
    """
    at_limit = image > 0.9 * ceiling
    gap = torch.where(at_limit, (radiance - 0.9 * ceiling).clamp(max=0.0), radiance - image)
    inexact = (_RELATIVE_ERROR * torch.minimum(image, radiance)).square()
    counted = window_mean(trust, _WINDOW).clamp(min=1e-3)
    pixelwise = window_mean(trust * gap.square() / (variance + inexact), _WINDOW) / counted
    # The mean over the window shows differences that hide in the noise of single pixels.
    together = (window_mean(trust * gap, _WINDOW) / counted).square()
    together = together / (window_mean(trust * (variance / _WINDOW**2 + inexact), _WINDOW) / counted + 1e-12)
    deviation = torch.maximum(pixelwise, together * (counted > 0.1)).mean(1, keepdim=True).sqrt()
    return 1.0 - smoothstep(deviation, _DOUBT, _REJECT)


def unsaturated(encoded: Tensor) -> Tensor:
    """1 below the fade to saturation, 0 above it.

    Example:
        >>> unsaturated(torch.tensor([0.5, 1.0]))
        tensor([1., 0.])
    """
    start, end = SATURATION_FADE
    return smoothstep(encoded, end, start)


def contradiction(
    bracket: Bracket, frame: Tensor, time: float, noise: NoiseModel, reference: int
) -> tuple[Tensor, Tensor]:
    """Where the reference is clipped, and where a shorter frame is too dark for that.

    Args:
        bracket: holds the reference.
        frame: B×3×H×W, the shorter frame, encoded as those of the bracket.
        time: its exposure time, in the unit of ``bracket.times``.
        noise: of the camera.
        reference: index of the reference.

    Returns:
        Both B×1×H×W in [0, 1]. Where the reference is not clipped it shows what there is, and nothing contradicts it.
    """
    clipped = window_max(1 - unsaturated(bracket.frames[reference]).amin(1, keepdim=True), 5)
    limit = float(bracket.times[reference])
    shown = linearize(frame, bracket.encoding, bracket.gamma) / time
    wrong = 1 - agreement(
        bracket.radiance(reference), shown, _variance_between(bracket.radiance(reference), shown, time, noise),
        1 / limit, unsaturated(frame),
    )  # fmt: skip
    return clipped, window_max(wrong, 5) * clipped


@torch.no_grad()
def consistent_short_frame(
    bracket: Bracket, under: int, reference: int, others: Sequence[int], noise: NoiseModel
) -> Tensor:
    """The short frame for the network, without what contradicts the reference where another frame does not.

    Where the reference is clipped, the short frame is all the network has to go by. Somebody in dark clothes who walks
    through that frame there contradicts the reference, which saw at least its own limit; the network notices and has
    to invent. If another short frame agrees with the reference, it shows what was there. A contradiction spreads over
    what differs between both frames around it, so that a walker leaves with his white shirt, which alone could well
    have been there. Where no recorded value agrees, one that is saturated but contradicts nothing is the next best: it
    says that it was at least that bright.

    Args:
        bracket: all frames, registered.
        under: index of the short frame.
        reference: index of the reference, longer than the short frame.
        others: frames that may stand in, shorter than the reference.
        noise: of the camera.

    Returns:
        B×3×H×W encoded like the frame; the frame itself where nothing stands in.
    """
    times = [float(t) for t in bracket.times]

    def held_against_the_reference(*frames: Tensor) -> Tensor:
        part = bracket.with_frames(frames)
        return torch.cat(contradiction(part, frames[under], times[under], noise, reference), 1)

    clipped, wrong = in_haloed_strips(held_against_the_reference, HALO, *bracket.frames).split(1, 1)
    if not others or not bool((wrong > 0.5).any()):
        return bracket.frames[under]
    shares = {}
    for index in others:
        shorter, longer = sorted((index, under), key=times.__getitem__)

        def held_against_each_other(
            clipped: Tensor, *frames: Tensor, index: int = index, shorter: int = shorter, longer: int = longer
        ) -> Tensor:
            part = bracket.with_frames(frames)
            dim, bright = part.radiance(shorter), part.radiance(longer)
            spread = _variance_between(bright, dim, times[shorter], noise)
            agreed = agreement(bright, dim, spread, 1 / times[longer], unsaturated(frames[shorter]))
            theirs = contradiction(part, frames[index], times[index], noise, reference)[1]
            return torch.cat(((1 - agreed) * clipped, theirs), 1)

        masks = in_haloed_strips(held_against_each_other, HALO, clipped, *bracket.frames)
        differs, their_wrong = masks.split(1, 1)
        # Where things of both frames meet, each takes what is nearer to it.
        mine, theirs = spread_over(wrong, differs), spread_over(their_wrong, differs)
        shares[index] = ((mine - theirs) / _CLEARLY).clamp(0.0, 1.0)
    by_nearness = sorted(others, key=lambda index: abs(bracket.ev[index] - bracket.ev[under]))
    by_time = sorted(others, key=times.__getitem__)

    def filled(shares: Tensor, *frames: Tensor) -> Tensor:
        part, share_of = bracket.with_frames(frames), dict(zip(others, shares.split(1, 1), strict=True))
        light, wanted = part.radiance(under), shares.amax(1, keepdim=True)
        for index in by_nearness:
            recorded = window_min(unsaturated(frames[index]).amin(1, keepdim=True), 5)
            share = torch.minimum(share_of[index] * recorded, wanted)
            light, wanted = torch.lerp(light, part.radiance(index), share), wanted * (1 - share)
        for index in by_time:
            share = torch.minimum(share_of[index], wanted)
            at_least = torch.maximum(light, part.radiance(index))
            light, wanted = torch.lerp(light, at_least, share), wanted * (1 - share)
        return expose(light, bracket.times[under], bracket.encoding, bracket.gamma).to(frames[under])

    return in_haloed_strips(filled, HALO, torch.cat([shares[index] for index in others], 1), *bracket.frames)


def _variance_between(picture: Tensor, shown: Tensor, time: float, noise: NoiseModel) -> Tensor:
    """Of the difference between a picture that has little noise and a frame, whichever is the brighter."""
    return (noise.variance(picture * time) + noise.variance(shown * time)) / time**2


def spread_over(wrong: Tensor, differs: Tensor) -> Tensor:
    """What is wrong, and, fading with distance, what differs and is connected with it: things move as wholes.

    Args:
        wrong: B×1×H×W in [0, 1].
        differs: likewise.

    Example:
        >>> wrong, differs = torch.zeros(2, 1, 1, 9, 40)
        >>> wrong[..., 4, 0], differs[..., 4, :20] = 1.0, 1.0
        >>> reached = spread_over(wrong, differs)[0, 0, 4]
        >>> bool(reached[15] > 0.3), float(reached[30])
        (True, 0.0)
    """
    height, width = wrong.shape[-2:]
    step = max(1, max(height, width) // _SPREAD_SIDE)
    small, mask = (F.max_pool2d(x, step, ceil_mode=True) for x in (wrong, window_max(differs, 3)))
    for _ in range(_SPREAD):
        small = torch.maximum(small, torch.minimum(_FADE * window_max(small, 3), mask))
    reached = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    return torch.maximum(wrong, torch.minimum(reached, window_max(differs, 5)))
