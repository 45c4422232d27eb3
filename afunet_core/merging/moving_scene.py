"""The merge of a scene in which something moved: the network on three frames that were made consistent for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel
from afunet_core.camera.saturation import unsaturated
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.frame_selection import FrameSelection
from afunet_core.merging.inference import Network
from afunet_core.merging.multi_frame import UNSUPPORTED_SHARE, precision_of
from afunet_core.merging.options import MergeOptions
from afunet_core.merging.static_scene import denoise_classic
from afunet_core.merging.working_scale import finer_scale, where_needed
from afunet_core.motion.compensation import follow_motion
from afunet_core.motion.consistency import HALO, agreement, spread_over
from afunet_core.ops.box_filter import block_mean, window_max, window_mean, window_min
from afunet_core.ops.strips import enlarged_rows, in_haloed_strips, in_strips, row_strips
from afunet_core.radiometry import encode, linearize

FOLLOWING = ("auto", "on")  # choices of ``align`` that also follow what moved on its own
CERTAIN = 0.99  # share of recorded values from which the network's answer does not matter
FADE = 9  # width of the window over which the network's answer goes over into the classical merge, reduced pixels
STRIP_PIXELS = 1 << 18  # pixels that are put together at a time

GUESSED_AT = 4  # factor by which frames of large pictures are reduced at least for a guess: it has no detail to lose


def merge_moving(
    aligned: AlignedBracket,
    frames: FrameSelection,
    noise: CameraNoise,
    network: Network,
    options: MergeOptions,
    recorded: Tensor | None = None,
) -> Estimate:
    """Merge by the network, after what moved was followed.

    In large pictures it is asked only about what moved, which ``recorded``, B×1×H×W in [0, 1], says if it is known.
    """
    three = frames.for_network(aligned.bracket)
    followed, taken = None, three.frames[0]
    if options.align in FOLLOWING:
        moved, shares = follow_motion(three, network.reporter.check)
        # The share of each outer frame that was moved to where the reference shows it.
        followed = {three.names[i]: sum(share[i] for share in shares) / len(shares) for i in (0, 2)}
        three = three.with_frames(moved)
    unit = float(aligned.bracket.times[frames.three[0]])
    if network.scale == 1:
        estimate = network.estimate(three, unit)
    else:
        where = where_needed(three, network.reporter.check) if recorded is None else recorded < CERTAIN
        if options.working_scale == "auto":
            network = replace(network, scale=finer_scale(network.scale, three, where))
        estimate = network.estimate(three, unit, where)
        if recorded is None:
            estimate = _static_elsewhere(estimate, three, where, noise, taken, network.reporter.check)
    return replace(estimate, at_rest=False, followed=followed)


def _static_elsewhere(
    estimate: Estimate, three: Bracket, where: Tensor, noise: CameraNoise, short: Tensor, check: Callable[[], None]
) -> Estimate:
    """Let the classical merge, denoised, stand where the network was not needed or guessed what ``short`` recorded."""
    classic = denoise_classic(three, noise.model, check)
    if classic is None:
        return estimate
    share = window_mean(window_max(where, FADE), FADE)
    # What was moved in the short frame is never exact.
    changed = in_strips(lambda a, b: (a - b).abs().amax(1, keepdim=True).gt(0).to(a), three.frames[0], short)
    moved = window_mean(window_max(changed, 3 * FADE), FADE)
    known = _short_frame_reliability(estimate.image * estimate.unit, short, three, noise.dependable, check)
    # Both other frames are white there: one that still shows a colour may show what moved.
    white = in_strips(_both_white, three.frames[three.reference], three.frames[2])
    known = known * (1 - moved) * window_mean(window_min(white, FADE), FADE)
    height, width = three.shape
    for rows in row_strips(height, width, STRIP_PIXELS):
        check()
        part = enlarged_rows(share, rows, height, width) * (1 - known[..., rows, :])
        estimate.image[..., rows, :] = torch.lerp(
            classic[..., rows, :] / estimate.unit, estimate.image[..., rows, :], part
        )
    return estimate


def _both_white(frame: Tensor, other: Tensor) -> Tensor:
    return 1 - torch.maximum(unsaturated(frame), unsaturated(other)).amax(1, keepdim=True)


def _short_frame_reliability(
    image: Tensor, short: Tensor, three: Bracket, noise: NoiseModel, check: Callable[[], None]
) -> Tensor:
    """Return where the short frame is a better record than the network's picture, B×1×H×W.

    Where the reference is clipped the network had nothing but the short frame. If that does not look too dark for a
    clipped reference, what the network made of it is no better.
    """
    if float(three.times[three.reference]) == 1.0:
        return torch.zeros_like(image[:, :1])

    def rows(image: Tensor, short: Tensor, *frames: Tensor) -> Tensor:
        part = three.with_frames(frames)
        radiance = linearize(short, three.encoding, three.gamma)
        clipped = window_max(1 - unsaturated(part.frames[part.reference]).amin(1, keepdim=True), 5)
        picture, limit = part.radiance(part.reference), 1 / float(part.times[part.reference])
        variance = noise.variance(picture) + noise.variance(radiance)
        wrong = window_max(1 - agreement(picture, radiance, variance, limit, unsaturated(short)), 5) * clipped
        variance = noise.variance(radiance) + 1 / precision_of(image, three.times[:2].tolist(), noise, part)
        differs = (1 - agreement(image, radiance, variance, 1.0, unsaturated(short))) * clipped
        return torch.cat((clipped, wrong, differs), 1)

    clipped, wrong, differs = in_haloed_strips(rows, HALO, image, short, *three.frames, check=check).split(1, 1)
    return clipped * (1 - spread_over(wrong, differs))


def guess_unrecorded(estimate: Estimate, bracket: Bracket, frames: FrameSelection, network: Network) -> Estimate:
    """Ask the network once more, with a shorter frame, how bright it is where nothing recorded it, and only there.

    A guess may be brighter than what is certain, never darker. ``frames.wider`` is asked with.
    """
    share = estimate.unrecorded
    if share is None or frames.wider is None or not bool((share > UNSUPPORTED_SHARE / 2).any()):
        return estimate
    where = share if network.model.config.head == "anchored" else None
    wider = bracket.select(frames.wider, reference=1)
    if network.scale > 1:
        factor = min(max(network.scale, GUESSED_AT), 2 ** (min(wider.shape).bit_length() - 1))  # at least a block
        wider = wider.with_frames([_reduced(wider, frame, factor, network.reporter.check) for frame in wider.frames])
    network = replace(network, scale=1, keep_stages=False)
    guess = network.estimate(wider, float(bracket.times[frames.wider[0]]), where).image
    guess = F.interpolate(guess, size=bracket.shape, mode="bilinear")

    def brightened(image: Tensor, share: Tensor, guess: Tensor) -> Tensor:
        return image + share * (guess.to(image) - image).clamp(min=0.0)

    image = in_strips(brightened, estimate.image, share, guess, check=network.reporter.check)
    return replace(estimate, image=image, guessed=float((image > estimate.image).any(1).float().mean()))


def _reduced(wider: Bracket, frame: Tensor, factor: int, check: Callable[[], None]) -> Tensor:
    """Average a frame in linear light over blocks of ``factor`` × ``factor`` pixels, strip by strip."""
    lights = []
    for rows in row_strips(*wider.shape, STRIP_PIXELS, multiple=factor):
        check()
        lights.append(block_mean(linearize(frame[..., rows, :], wider.encoding, wider.gamma), factor))
    return encode(torch.cat(lights, -2), wider.encoding, wider.gamma)
