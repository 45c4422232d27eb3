"""Places at rest: what frames recorded there stands, and the network decides elsewhere.

Where a place did not move, a recorded value beats an imagined one. So the mean of the frames that agree with the
reference takes the place of the network's picture where its outer frames are at rest, with a smooth transition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.bracket.stack import mean_radiance
from afunet_core.camera.saturation import unsaturated
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.frame_selection import FrameSelection
from afunet_core.motion.rest import BLURRED, rest_map
from afunet_core.motion.shadows import darkest_light
from afunet_core.ops.box_filter import window_mean, window_min
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import in_strips
from afunet_core.radiometry import GAMMA, linearize

# Encoded value of the longest frame, in units of the darkest that can be told, from which it is not all noise.
SHOWN = (0.5, 1.5)
NEARLY_ALL = 0.998  # share of the picture that must be at rest for the network not to be asked,
# and the same where what is missing is the border of frames that were warped, or where the frames contradict their
# exposures and a share of less than the second certainly moved: frames lose their say there, and the reference stands.
MOST, NEXT_TO_NOTHING = 0.85, 0.002
DOUBTED = 0.5  # certainty of rest from which a frame of a scene at rest has its whole say
# Stops by which frames disagree at most tones, from which they are not what they are said to be, and a network trained
# on exact frames takes the difference for motion.
UNFIT = 0.3


@dataclass(frozen=True)
class Recorded:
    """Places at rest."""

    frames: Sequence[int]  # indices of the frames that take part
    rest: Sequence[Tensor]  # of each of these frames, B×1×H×W in [0, 1]
    share: Tensor  # B×1×H×W in [0, 1], where the frames decide
    is_camera: bool = False  # what the network's frames do not agree in is the camera's doing, or a border

    @property
    def everywhere(self) -> bool:
        """Nothing moved anywhere."""
        return float(self.share.mean()) > (MOST if self.is_camera else NEARLY_ALL)


def find_recorded(
    aligned: AlignedBracket, frames: FrameSelection, noise: CameraNoise, check: Callable[[], None] = lambda: None
) -> Recorded:
    """Compare every frame that takes part with the reference."""
    bracket = aligned.bracket.with_reference(frames.reference)
    model = None if is_calibrated(bracket) else noise.dependable
    covered = aligned.covered()
    rest, still, certain = dict[int, Tensor](), 1.0, 0.0  # of the network's worst frame
    for index in sorted(set(frames.joining or frames.three)):
        check()
        found, moved = rest_map(bracket, index, model)
        if index in frames.three:
            still, certain = min(still, float(found.mean())), max(certain, moved)
        rest[index] = found * covered[index].to(found) if index in covered else found
    sides = []
    for outer, sign in ((frames.three[0], -1), (frames.three[2], 1)):
        # At rest is the outer frame of a side, or one that reaches as far and records the place.
        side = rest[outer]
        for index, other in rest.items():
            check()
            if float(bracket.times[index] - bracket.times[outer]) * sign > 0:
                shown = window_min(unsaturated(bracket.frames[index]).amin(1, keepdim=True), BLURRED)
                side = torch.maximum(side, other * window_mean(shown, BLURRED))
        sides.append(side)
    is_camera = still > NEARLY_ALL or (contradicts_exposures(bracket) and certain < NEXT_TO_NOTHING)
    return Recorded(list(rest), list(rest.values()), torch.minimum(*sides), is_camera)


def is_calibrated(bracket: Bracket) -> bool:
    """Return True if a camera's tone curve, found in the frames or stated, was undone: none is exact."""
    return bool(bracket.metadata.get("response"))


def is_inexact(bracket: Bracket) -> bool:
    """Return True if the frames were not what they were taken for, whether or not it could be undone."""
    return is_calibrated(bracket) or contradicts_exposures(bracket)


def contradicts_exposures(bracket: Bracket) -> bool:
    """Return True if frames disagree with their exposures at most tones, whatever curve is undone."""
    found = bracket.metadata.get("calibration") or {}
    return (found.get("disagreement_after_stops") or 0.0) > UNFIT


def keep_recorded(
    estimate: Estimate, bracket: Bracket, recorded: Recorded, noise: CameraNoise, check: Callable[[], None]
) -> Estimate:
    """Let recorded values take the network's place where nothing moved."""
    mean = recorded_mean(bracket, recorded, noise, check)
    image = in_strips(torch.lerp, estimate.image.to(mean), mean, recorded.share.to(mean), check=check)
    return replace(estimate, image=image, rest=recorded.share)


def merge_recorded(
    bracket: Bracket, frames: FrameSelection, recorded: Recorded, noise: CameraNoise, check: Callable[[], None]
) -> Estimate:
    """Merge a scene in which nothing moved, without the network."""
    # Doubt about a scene at rest is mostly the camera's: only what certainly differs loses its say.
    sure = replace(recorded, rest=[smoothstep(rest, 0.0, DOUBTED) for rest in recorded.rest])
    image = recorded_mean(bracket, sure, noise, check)
    three, unit = frames.for_network(bracket), float(bracket.times[frames.three[0]])
    return Estimate.of_classic(image, three=three, unit=unit, at_rest=True, rest=recorded.share)


def recorded_mean(bracket: Bracket, recorded: Recorded, noise: CameraNoise | None, check: Callable[[], None]) -> Tensor:
    """Average the frames, each as far as it is at rest, unsaturated and not too dark, in the bracket's unit."""
    times = [float(bracket.times[index]) for index in recorded.frames]
    model = None if noise is None or is_calibrated(bracket) else noise.model
    count, offset = len(times), darkest_light(bracket)

    def rows(*parts: Tensor) -> Tensor:
        frames, rests = parts[:count], parts[count:]
        says = [
            (unsaturated(frame) if number else torch.ones_like(frame)) * (rest + 1e-6)
            for number, (frame, rest) in enumerate(zip(frames, rests, strict=True))
        ]
        linear = [linearize(frame, bracket.encoding, bracket.gamma) for frame in frames]
        if offset > 0:
            says = [say * sure for say, sure in zip(says, _sure(linear, says, times, offset), strict=True)]
        mean = mean_radiance(linear, says, times)
        if model is None:
            return mean
        # One over the variance, as in merge_with_variance; one time cancels.
        precise = [say * t / model.variance(mean * t).clamp(min=1e-10) for say, t in zip(says, times, strict=True)]
        return mean_radiance(linear, precise, times)

    return in_strips(rows, *(bracket.frames[index] for index in recorded.frames), *recorded.rest, check=check)


def _sure(linear: Sequence[Tensor], says: Sequence[Tensor], times: Sequence[float], offset: float) -> list[Tensor]:
    """Share to which dark values can be believed: light may be off as much as where the curve begins to be known.

    Each value tells that itself, unless all are so dark that what is brightest is only the noisiest: then the light
    that is expected does.
    """
    rough = mean_radiance(linear, [say * time for say, time in zip(says, times, strict=True)], times)
    own, expected = (
        [light.square() / (light.square() + offset**2) for light in lights]
        for lights in (linear, [(rough * time).clamp(min=1e-3 * offset) for time in times])
    )
    shown = smoothstep((rough * times[-1] / offset).clamp(min=0) ** (1 / GAMMA), *SHOWN)
    return [torch.lerp(guess, value.clamp(min=1e-3), shown) for guess, value in zip(expected, own, strict=True)]
