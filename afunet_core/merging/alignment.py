"""Alignment of a bracket before it is merged: registration, crop, and compensation of drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.drift import Drift, compensate_drift, estimate_drift
from afunet_core.camera.noise import ORDINARY_CAMERA, NoiseModel, estimate_noise
from afunet_core.errors import ArgumentError
from afunet_core.merging.options import MergeOptions
from afunet_core.motion.rest import disagreement
from afunet_core.registration.align import common_area, covered_areas
from afunet_core.registration.frames import Registration, register
from afunet_core.utils.progress import ProgressReporter

# The registration's mode for each choice of ``align``.
REGISTRATION_MODES = {"auto": "auto", "on": "on", "camera": "auto", "off": "off"}
# Deviations from which it does not matter how far two frames disagree: something moved, or is badly off.
LARGEST_DISAGREEMENT = 4.0
NOTHING = 0.02  # mean squared deviation that says nothing
# Ratio of mean squared deviations, before and after, up to which a warp is needless. Measured: false ones of tripods
# had 0.8 to 1.07, true ones of a hand 1.14 to 3; between lie motions of half a pixel, which are forgiven anyway.
LEAST_GAIN = 1.12
SURE_GAIN = 1.6  # the same where another frame of the bracket did not move
# Ratio of the shares of a frame that agree with the reference, after registration and before, from which nothing else
# is asked. Measured: needless warps of tripods had 1.01 to 1.24.
BEYOND_DOUBT = 2.0
# Fraction of saturation; clipped black looks free of noise, and a weight of one over nothing would follow.
LEAST_READ_NOISE = 2e-4


@dataclass(frozen=True)
class AlignedBracket:
    """A bracket whose frames lie over each other."""

    bracket: Bracket  # all frames, registered, cropped and with their drift divided out
    full_shape: tuple[int, int]  # height and width before the crop
    registrations: Sequence[Registration] = ()  # what was found about each frame
    # top, left, height and width of what the crop left; ``None`` where nothing was cropped
    area: tuple[int, int, int, int] | None = None
    # changes of exposure and white balance that were divided out; ``None`` where they were not estimated
    drifts: Sequence[Drift] | None = None

    @property
    def was_warped(self) -> bool:
        """True if a frame had to be moved."""
        return any(entry.decision == "warped" for entry in self.registrations)

    def covered(self) -> dict[int, Tensor]:
        """Return where warped frames have content of their own: a mask B×1×H×W for each of them."""
        top, left, height, width = self.area or (0, 0, *self.full_shape)
        masks = covered_areas(list(self.registrations), len(self.bracket), *self.full_shape)
        return {index: mask[..., top : top + height, left : left + width] for index, mask in masks.items()}


@torch.no_grad()
def align_frames(bracket: Bracket, options: MergeOptions, reporter: ProgressReporter) -> AlignedBracket:
    """Register the frames onto the reference, crop them if asked to, and divide out drift if asked to."""
    mode = REGISTRATION_MODES[options.align]
    aligned, registrations = register(bracket, mode, on_progress=reporter.report, should_cancel=reporter.cancelled)
    if mode == "auto" and bracket.batch_size == 1:
        aligned, registrations = undo_needless(bracket, aligned, registrations)
    area = drifts = None
    if options.border == "crop":
        area = common_area(registrations, *bracket.shape)
        if 0 in area[2:]:
            raise ArgumentError("border", "frames that share an area", "none", "Use border='fill' or align='off'.")
        aligned = aligned.crop(*area)
    if options.drift == "auto":
        drifts = estimate_drift(aligned)
        aligned = compensate_drift(aligned, drifts)
    return AlignedBracket(aligned, bracket.shape, registrations, area, drifts)


def undo_needless(
    bracket: Bracket, aligned: Bracket, registrations: Sequence[Registration]
) -> tuple[Bracket, list[Registration]]:
    """Put frames back that agree with the reference as well where they were taken.

    A tone curve that is not exact, or a specimen without texture, is easily taken for motion; and what is not
    resampled stays sharp.
    """
    gains = {}
    for index, entry in enumerate(registrations):
        if entry.decision == "warped" and 1 - entry.residual_after < BEYOND_DOUBT * (1 - entry.residual_before):
            before, after = (
                float(disagreement(stack, index).square().clamp(max=LARGEST_DISAGREEMENT**2).mean())
                for stack in (bracket, aligned)
            )
            gains[index] = before / (after + NOTHING)
    if not gains or min(gains.values()) > LEAST_GAIN:
        return aligned, list(registrations)
    # A camera on a tripod takes all frames from one place: where one warp is needless, the others must be sure.
    frames, entries = list(aligned.frames), list(registrations)
    for index in (index for index, gain in gains.items() if gain < SURE_GAIN):
        frames[index] = bracket.frames[index]
        entries[index] = replace(
            entries[index],
            decision="identity",
            homography=torch.eye(3, dtype=torch.float64),
            overlap=1.0,
            reason="it agrees with the reference as well where it was taken",
        )
    return aligned.with_frames(frames), entries


@dataclass(frozen=True)
class CameraNoise:
    """The camera's noise during one merge: as given, or estimated once, when a step first needs it."""

    bracket: Bracket  # all frames, aligned
    given: NoiseModel | None = None  # what the caller knows

    @cached_property
    def model(self) -> NoiseModel | None:
        """The noise given or estimated; ``None`` where the frames do not tell it."""
        return self.given or estimate_noise(self.bracket)

    @cached_property
    def dependable(self) -> NoiseModel:
        """The same, or that of an ordinary camera; never without read noise."""
        noise = self.model or ORDINARY_CAMERA
        return NoiseModel(noise.gain, max(noise.read_noise, LEAST_READ_NOISE))


def camera_noise(aligned: AlignedBracket, options: MergeOptions) -> CameraNoise:
    """Return the noise that the options give, else that of the aligned frames."""
    noise = options.noise
    if isinstance(noise, tuple):
        noise = NoiseModel.from_counts(*noise, scale=aligned.bracket.scale)
    return CameraNoise(aligned.bracket, noise if isinstance(noise, NoiseModel) else None)
