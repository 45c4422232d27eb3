"""Registration of hand-held frames: outer frames are brought onto the reference before they are merged.

A homography is estimated on what both frames record (`features`): candidates by correlation at a coarse level, then
robust Gauss–Newton over finer levels (`search`, `gauss_newton`). A frame is resampled once, in linear light; one that
did not move stays as it is, bit for bit, and one whose motion is not certain is left alone with the reason
(`decision`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from afunet_core.camera.saturation import BRIGHT
from afunet_core.errors import ArgumentError, MergeCancelled
from afunet_core.ops.box_filter import block_mean, reduction
from afunet_core.ops.strips import row_strips
from afunet_core.ops.warp import STRIP_PIXELS
from afunet_core.radiometry import encode, to_radiance
from afunet_core.registration.align import align_frame
from afunet_core.registration.decision import Registration, chained, decide, refused, unmoved
from afunet_core.registration.features import common_signal, feature_pyramid, noise_level
from afunet_core.registration.homography import CentredFrame
from afunet_core.registration.search import coarse_to_fine
from afunet_core.utils.progress import OnProgress, ShouldCancel

if TYPE_CHECKING:
    from afunet_core.bracket.bracket import Bracket

__all__ = ["Registration", "register"]

# Most pixels of the finest level estimated on: 1500×1000 is halved once. Precision there is a few hundredths of a
# pixel, so that more would cost time and gain nothing.
WORKING_PIXELS = 0.45e6
SEARCH_SIDE = 256  # longer side of the coarsest level, pixels
# Radiance below this, in units of the shorter frame's saturation, is mostly noise and quantisation of 8 bits.
DARKEST = 0.002


def register(
    bracket: Bracket,
    mode: str = "auto",
    *,
    on_progress: OnProgress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> tuple[Bracket, list[Registration]]:
    """Warp the outer frames of a bracket onto its reference frame.

    A frame that shares too little with the reference, being many stops away, is found by way of a frame between them.
    What a warped frame does not cover is filled from the reference, at the frame's exposure.

    Args:
        bracket: frames of one size; its reference frame stays as it is.
        mode: ``"auto"`` warps a frame that moved when the transform is certain; ``"on"`` warps with the best
            transform found wherever there is one; ``"off"`` returns the bracket untouched.
        on_progress: called with ``(done, total, message)``, frames done and to do.
        should_cancel: asked several times a frame.

    Returns:
        The registered bracket (the same object when nothing was warped) and one :class:`Registration` for each frame
        in the order of ``bracket.frames``; batches list all frames of their first bracket, then of the next.

    Raises:
        ArgumentError: for an unknown mode.
        MergeCancelled: after ``should_cancel`` returned true.

    Example:
        >>> from afunet_core.bracket.bracket import Bracket
        >>> bracket = Bracket([torch.rand(1, 3, 40, 60) ** t for t in (2.0, 1.0, 0.5)], ev=(0, 2, 4), override=True)
        >>> same, found = register(bracket, "off")
        >>> same is bracket, [entry.decision for entry in found]
        (True, ['identity', 'identity', 'identity'])
    """
    if mode not in ("auto", "on", "off"):
        raise ArgumentError("mode", "auto, on or off", repr(mode))

    def check() -> None:
        if should_cancel is not None and should_cancel():
            raise MergeCancelled("The registration was cancelled.")

    found: list[Registration] = []
    samples: list[list[Tensor]] = []
    total, done = bracket.batch_size * (len(bracket) - 1), 0
    for sample in range(bracket.batch_size):
        one = bracket.with_frames([frame[sample : sample + 1] for frame in bracket.frames])
        known = {one.reference: unmoved(one.names[one.reference], "the reference frame")}
        # From the reference outwards, so that a frame may be found by way of those before it.
        for index in sorted(range(len(one)), key=lambda i: abs(i - bracket.reference))[1:]:
            if mode == "off":
                known[index] = unmoved(one.names[index], "registration is off")
                continue
            if on_progress is not None:
                on_progress(done, total, f"Registering frame {done + 1} of {total}")
            known[index] = _find(one, index, known, mode, check)
            done += 1
        found += [known[index] for index in range(len(one))]
        samples.append([_applied(one, index, known[index], check) for index in range(len(one))])
    warped = {i % len(bracket) for i, entry in enumerate(found) if entry.decision == "warped"}
    check()
    if not warped:
        return bracket, found
    columns = list(zip(*samples, strict=True))
    merged = [torch.cat(columns[i]) if i in warped else frame for i, frame in enumerate(bracket.frames)]
    return bracket.with_frames(merged), found


def _find(
    bracket: Bracket, index: int, known: Mapping[int, Registration], mode: str, check: Callable[[], None]
) -> Registration:
    """Register a frame with the reference, or, where that is not certain, by way of a frame between them."""
    direct = _register_pair(bracket, (index, bracket.reference), mode, check)
    if direct.certain:
        return direct
    between = range(*sorted((index, bracket.reference)))[1:]
    for via in sorted((i for i in between if known[i].certain), key=lambda i: abs(i - index)):
        step = _register_pair(bracket, (index, via), "auto", check)
        if step.certain:
            return chained(step, known[via], *bracket.shape)
    return direct


def _applied(bracket: Bracket, index: int, entry: Registration, check: Callable[[], None]) -> Tensor:
    """The frame itself, or warped."""
    frame, reference = bracket.frames[index], bracket.frames[bracket.reference]
    if entry.decision != "warped":
        return frame
    check()
    time, reference_time = (float(bracket.times[i]) for i in (index, bracket.reference))
    encoding, gamma = bracket.encoding, bracket.gamma
    return align_frame(frame, entry.homography, reference, time, reference_time, encoding, gamma, check)[0]


def _register_pair(bracket: Bracket, pair: tuple[int, int], mode: str, check: Callable[[], None]) -> Registration:
    """Estimate from one frame of a bracket to another, on reduced pictures: the full ones are looked at lightly."""
    times = [float(bracket.times[index]) for index in pair]
    name, gamma = bracket.names[pair[0]], float(bracket.gamma)
    ceiling, floor = BRIGHT / max(times), DARKEST / min(times)
    height, width = bracket.shape
    factor = reduction(height, width, WORKING_PIXELS)
    if min(height, width) // factor < 16:
        return refused(name, "the frames are too small to compare")
    if not ceiling > 2 * floor:
        return refused(name, "the frames have no range of brightness in common")
    signals = []
    with torch.no_grad():
        for index, time in zip(pair, times, strict=True):
            check()
            # Clipping must come before averaging; the average of gamma-encoded values scales with exposure as well as
            # that of linear ones does, and needs no power function on the full frame.
            top = float(encode(torch.tensor(ceiling * time, dtype=torch.float64), bracket.encoding, gamma))
            small = _clipped_and_reduced(bracket.frames[index], top, factor).to("cpu", torch.float32)
            signals.append(common_signal(to_radiance(small, time, bracket.encoding, gamma), floor, ceiling))
        check()
        noise = max(noise_level(signal) for signal in signals)
        moving, reference = (feature_pyramid(signal, noise, factor, SEARCH_SIDE) for signal in signals)
        frame = CentredFrame(height, width)
        evidence = coarse_to_fine(moving, reference, frame, check)
        if evidence is None:
            return refused(name, "too little texture in what both frames record")
        return decide(evidence, frame, mode, name)


def _clipped_and_reduced(frame: Tensor, top: float, factor: int) -> Tensor:
    """Means over ``factor×factor`` pixels of a frame held between 0 and ``top``; never a second frame in memory."""
    height, width = frame.shape[-2:]
    strips = row_strips(height // factor * factor, width, STRIP_PIXELS, multiple=factor)
    return torch.cat([block_mean(frame[..., rows, :].clamp(0.0, top), factor) for rows in strips], dim=-2)
