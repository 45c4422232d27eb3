"""The merge of a scene in which something moved: the network on three frames that were made consistent for it."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.saturation import unsaturated
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.frame_selection import FrameSelection
from afunet_core.merging.inference import Network
from afunet_core.merging.multi_frame import UNSUPPORTED_SHARE, short_frame_reliability
from afunet_core.merging.options import MergeOptions
from afunet_core.merging.static_scene import denoise_classic
from afunet_core.merging.working_scale import finer_scale, where_needed
from afunet_core.motion.compensation import follow_motion
from afunet_core.motion.consistency import samples
from afunet_core.motion.short_frame import consistent_short_frame
from afunet_core.ops.box_filter import block_mean, window_max, window_mean, window_min
from afunet_core.ops.strips import enlarged_rows, row_strips
from afunet_core.radiometry import encode, linearize

FOLLOWING = ("auto", "on")  # choices of ``align`` that also follow what moved on its own
MENDED = 0.02  # encoded difference from which a pixel of the short frame counts as replaced
CERTAIN = 0.99  # share of recorded values from which the network's answer does not matter
FADE = 9  # width of the window over which the network's answer goes over into the classical merge, reduced pixels
STRIP_PIXELS = 1 << 18  # pixels that are put together at a time

GUESSED_AT = 4  # factor by which frames of large pictures are reduced at least for a guess: it has no detail to lose

CONTEXT = 48  # pixels around what is guessed that the network sees as well


def merge_moving(
    aligned: AlignedBracket,
    frames: FrameSelection,
    noise: CameraNoise,
    network: Network,
    options: MergeOptions,
    recorded: Tensor | None = None,
) -> Estimate:
    """Merge by the network, after the short frame was mended and what moved was followed.

    In large pictures it is asked only about what moved, which ``recorded``, B×1×H×W in [0, 1], says if it is known.
    """
    bracket, under = aligned.bracket, frames.three[0]
    three, mended = consistent_three(bracket, frames, noise), 0.0
    if three.frames[0] is not bracket.frames[under]:
        difference = (three.frames[0] - bracket.frames[under]).abs().amax(1)
        mended = float(difference.gt(MENDED).float().mean())
    followed, taken = None, three.frames[0]
    if options.align in FOLLOWING:
        three, followed = _follow(three, network)
    unit = float(bracket.times[under])
    if network.scale == 1:
        estimate = network.estimate(three, unit)
    else:
        where = where_needed(three, network.reporter.check) if recorded is None else recorded < CERTAIN
        if options.working_scale == "auto":
            network = replace(network, scale=finer_scale(network.scale, three, where))
        estimate = network.estimate(three, unit, where)
        estimate = estimate if recorded is not None else _static_elsewhere(estimate, three, where, noise, taken)
    return replace(estimate, at_rest=False, short_frame_mended=mended, followed=followed)


def consistent_three(bracket: Bracket, frames: FrameSelection, noise: CameraNoise) -> Bracket:
    """Return the network's three frames, the short one mended where it contradicts the clipped reference."""
    under, reference = frames.three[0], frames.reference
    others = [i for i in frames.joining if i != under and bracket.times[i] < bracket.times[reference]]
    three = frames.for_network(bracket)
    if under == reference or not others:
        return three
    mended = consistent_short_frame(bracket, under, reference, others, noise.dependable)
    return three if mended is bracket.frames[under] else three.with_frames([mended, *three.frames[1:]])


def _static_elsewhere(estimate: Estimate, three: Bracket, where: Tensor, noise: CameraNoise, short: Tensor) -> Estimate:
    """Let the classical merge, denoised, stand where the network was not needed or guessed what ``short`` recorded."""
    classic = denoise_classic(three, noise.model)
    if classic is None:
        return estimate
    share = window_mean(window_max(where, FADE), FADE)
    selection = FrameSelection(three.reference, (0, 1, 2))
    known = short_frame_reliability(estimate.image * estimate.unit, short, three, selection, noise.dependable)
    small, short = three.with_frames([samples(frame) for frame in three.frames]), samples(short)
    # What was moved in the short frame is never exact.
    moved = (small.frames[0] - short).abs().amax(1, keepdim=True).gt(0).to(short)
    moved = window_mean(window_max(moved, 3 * FADE), FADE)
    # Both other frames are white there: one that still shows a colour may show what moved.
    white = torch.minimum(*(1 - unsaturated(small.frames[i]).amax(1, keepdim=True) for i in (small.reference, 2)))
    recorded = (1 - moved) * window_mean(window_min(white, FADE), FADE)
    height, width = three.shape
    for rows in row_strips(height, width, STRIP_PIXELS):
        kept = 1 - known[..., rows, :] * enlarged_rows(recorded, rows, height, width)
        part = enlarged_rows(share, rows, height, width) * kept
        estimate.image[..., rows, :] = torch.lerp(
            classic[..., rows, :] / estimate.unit, estimate.image[..., rows, :], part
        )
    return estimate


def _follow(three: Bracket, network: Network) -> tuple[Bracket, dict[str, float]]:
    """Move what moved on its own to where the reference shows it; also return the share of each outer frame moved."""
    moved, shares = follow_motion(three, network.reporter.check)
    outer = [i for i in range(len(three)) if i != three.reference]
    return three.with_frames(moved), {three.names[i]: sum(share[i] for share in shares) / len(shares) for i in outer}


def guess_unrecorded(estimate: Estimate, bracket: Bracket, frames: FrameSelection, network: Network) -> Estimate:
    """Ask the network once more, with a shorter frame, how bright it is where nothing recorded it.

    It sees only the rectangle that needs it, of large pictures only windows. A guess may be brighter than what is
    certain, never darker.

    Args:
        estimate: in which all frames joined.
        bracket: all frames, registered.
        frames: with ``wider``, the three frames to ask with.
        network: to ask.
    """
    if estimate.unrecorded is None or frames.wider is None:
        return estimate
    area = unrecorded_area(estimate.unrecorded, frames)
    if area is None:
        return estimate
    wider = bracket.select(frames.wider, reference=1).crop(*area)
    top, left, height, width = area
    where = None
    if network.scale > 1:
        where = estimate.unrecorded[..., top : top + height, left : left + width]
        wider = _reduced(wider, max(network.scale, GUESSED_AT))
    network = replace(network, keep_stages=False, scale=1)
    guess = network.estimate(wider, float(bracket.times[frames.wider[0]]), where).image
    guess = F.interpolate(guess, size=(height, width), mode="bilinear")
    image = brightened(estimate.image, guess, estimate.unrecorded, area)
    brighter = (image > estimate.image).any(1)
    return replace(estimate, image=image, guessed=float(brighter.float().mean()))


def _reduced(bracket: Bracket, factor: int) -> Bracket:
    """Average frames in linear light; less than a block at the lower and right border is left out."""
    reduced = [block_mean(linearize(frame, bracket.encoding, bracket.gamma), factor) for frame in bracket.frames]
    return bracket.with_frames([encode(light, bracket.encoding, bracket.gamma) for light in reduced])


def unrecorded_area(unrecorded: Tensor, frames: FrameSelection) -> tuple[int, int, int, int] | None:
    """Return top, left, height and width of what is worth asking once more, with context; ``None`` if nothing is."""
    if frames.wider is None or not bool((unrecorded > UNSUPPORTED_SHARE / 2).any()):
        return None
    spans = []
    for axis, size in ((-1, unrecorded.shape[-2]), (-2, unrecorded.shape[-1])):
        held = (unrecorded > 0).any(axis).flatten(0, -2).any(0).nonzero()
        first, last = max(0, int(held[0]) - CONTEXT), min(size, int(held[-1]) + 1 + CONTEXT)
        spans.append((first, last - first))
    (top, height), (left, width) = spans
    return top, left, height, width


def brightened(image: Tensor, guess: Tensor, weight: Tensor, area: tuple[int, int, int, int]) -> Tensor:
    """Return the image, within the area as bright as the guess where that is brighter and has the weight."""
    top, left, height, width = area
    image = image.clone()
    window = image[..., top : top + height, left : left + width]
    share = weight[..., top : top + height, left : left + width]
    window += share * (guess.to(image) - window).clamp(min=0.0)
    return image
