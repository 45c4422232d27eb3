"""Drift between the frames of a bracket: light, aperture and white balance that changed beside exposure time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from afunet_core.camera.saturation import BRIGHT, DARK
from afunet_core.radiometry import encode, linearize

if TYPE_CHECKING:
    from afunet_core.bracket.bracket import Bracket

_ENOUGH = 500  # pixels that two frames must both record
_SAMPLES = 2**18  # pixels looked at, about
_LARGEST = 0.5  # stops. More is no drift but a wrong exposure, or a scene that changed.
# Stops between dark and bright parts. What depends on brightness is a tone curve or an offset, and no drift.
_UNEVEN = 0.08
DIVIDED_OUT = "divided out"
_NOTICEABLE = 0.01  # stops; less than a wheel of shutter times is off by is left alone


@dataclass(frozen=True)
class Drift:
    """Drift of one frame."""

    name: str  # the frame
    # red, green and blue: how much brighter it came out than its exposure promises, against the reference
    stops: tuple[float, float, float]
    compensated: bool  # whether it was divided out
    reason: str  # the decision in words

    @property
    def exposure(self) -> float:
        """The part common to all channels, in stops."""
        return sum(self.stops) / 3

    def as_dict(self) -> dict[str, object]:
        """Plain values, for provenance."""
        return {**vars(self), "stops": list(self.stops), "exposure": self.exposure}


@torch.no_grad()
def estimate_drift(bracket: Bracket) -> list[Drift]:
    """Compare every frame with the next towards the reference, where both record the scene.

    For each channel the median of the logarithm of the ratio is taken: things that move, up to half of the picture, do
    not matter. Frames are compared with their neighbours, which share more of the scene with them than the reference
    does, and the ratios added up.

    Args:
        bracket: registered, if the camera moved.

    Returns:
        One entry a frame, in the order of ``bracket.frames``.

    Example:
        >>> from afunet_core.bracket.bracket import Bracket
        >>> light = torch.rand(1, 3, 64, 64) * 0.2 + 0.02
        >>> bracket = Bracket([light, light * 2 * 1.1, light * 4], ev=(0, 1, 2), encoding="linear", reference=0)
        >>> [round(2 ** drift.exposure, 3) for drift in estimate_drift(bracket)]
        [1.0, 1.1, 1.0]
    """
    found: dict[int, Tensor | None] = {bracket.reference: torch.zeros(4, dtype=torch.float64)}
    for step in (-1, 1):
        last = -1 if step < 0 else len(bracket)
        for index in range(bracket.reference + step, last, step):
            before, ratio = found[index - step], _stops_between(bracket, index, index - step)
            found[index] = None if before is None or ratio is None else before + ratio
    return [_decide(bracket, index, found[index]) for index in range(len(bracket))]


def compensate_drift(bracket: Bracket, drifts: list[Drift]) -> Bracket:
    """Divide the drift out of the frames, in linear light. What is saturated stays so.

    Args:
        bracket: the frames that ``drifts`` were estimated on.
        drifts: from :func:`estimate_drift`.

    Returns:
        A bracket whose metadata tell what was done; the same one where there is nothing to do.
    """
    if not any(drift.compensated for drift in drifts):
        return bracket
    frames = []
    for frame, drift in zip(bracket.frames, drifts, strict=True):
        if drift.compensated:
            factor = frame.new_tensor(drift.stops).exp2().view(1, 3, 1, 1)
            light = linearize(frame, bracket.encoding, bracket.gamma)
            corrected = encode((light / factor).clamp(max=1.0), bracket.encoding, bracket.gamma)
            # Towards saturation the correction fades out: 1 means "at least this bright" and must remain 1.
            fade = ((frame.detach() - BRIGHT) / (1 - BRIGHT)).clamp(0.0, 1.0)
            frame = torch.lerp(corrected, frame, fade)
        frames.append(frame)
    compensated = bracket.with_frames(frames)
    compensated.metadata["drift"] = [drift.as_dict() for drift in drifts]
    return compensated


def _stops_between(bracket: Bracket, index: int, other: int) -> Tensor | None:
    """Median stops, by channel, by which a frame is brighter than another; and how dark and bright parts differ."""
    height, width = bracket.shape
    step = max(1, int((height * width * bracket.batch_size / _SAMPLES) ** 0.5))
    a, b = (bracket.frames[i][..., ::step, ::step].double() for i in (index, other))
    light = [linearize(x, bracket.encoding, bracket.gamma) for x in (a, b)]
    stops, uneven = [], []
    for channel in range(3):
        x, y = a[:, channel], b[:, channel]
        recorded = (torch.minimum(x, y) > DARK) & (torch.maximum(x, y) < BRIGHT)
        if int(recorded.sum()) < _ENOUGH:
            return None
        ratio = (light[0][:, channel][recorded] / light[1][:, channel][recorded]).log2()
        level = (x + y)[recorded]
        bright = level > level.median()
        if 0 < int(bright.sum()) < len(ratio):
            uneven.append((ratio[bright].median() - ratio[~bright].median()).abs())
        stops.append(ratio.median() - (bracket.times[index] / bracket.times[other]).log2())
    return torch.stack([*stops, torch.stack(uneven).mean() if uneven else ratio.new_zeros(())])


def _decide(bracket: Bracket, index: int, stops: Tensor | None) -> Drift:
    *values, uneven = (0.0,) * 4 if stops is None else stops.tolist()
    largest = max(map(abs, values))
    if stops is None:
        reason = "too few pixels are recorded in neighbouring frames"
    elif index == bracket.reference:
        reason = "the reference frame"
    elif largest > _LARGEST:
        reason = f"more than {_LARGEST} stops: a wrong exposure, a tone curve (response='estimate'), or another scene"
    elif largest < _NOTICEABLE:
        reason = "as bright as its exposure promises"
    elif uneven > _UNEVEN:
        reason = "it depends on brightness: a tone curve (response='estimate') or black level"
    else:
        reason = DIVIDED_OUT
    return Drift(bracket.names[index], (values[0], values[1], values[2]), reason == DIVIDED_OUT, reason)
