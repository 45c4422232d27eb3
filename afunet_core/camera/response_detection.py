"""Detection of a tone curve from the brightness of the frames alone, registered or not.

A camera's picture style bends the tones: its frames then disagree with their exposures by half a stop and more, one way
in the shadows and the other in the highlights. Frames by hand cannot be compared pixel by pixel before they are
registered, but their pixels can be compared in order of brightness: the tenth part of a scene that is darkest is the
same tenth in every frame (Grossberg and Nayar, "Determining the Camera Response from Images: What Is Knowable?",
PAMI 2003).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from afunet_core.camera.response import ResponseCurve, estimate_response
from afunet_core.camera.saturation import BRIGHT, DARK
from afunet_core.errors import ArgumentError
from afunet_core.radiometry import GAMMA, Scalar, linearize

__all__ = ["detect_response", "tone_departure"]

_RANKS = 4096
"""Ranks of brightness that are compared."""
_SAMPLES = 2**18
"""Pixels looked at, about."""
_ENOUGH = 0.025
"""Share of the ranks that a quarter of the recorded ones must exceed."""
_SUSPECT = 0.5
"""Stops from which a tone curve is suspected. Frames encoded with an exact gamma stay below 0.3, whatever moved; two
cameras' JPEGs showed 1.0 and 1.3."""
_EXPLAINED = 0.3
"""Share of them that may remain with the curve that is found."""

Light = Callable[[Tensor], Tensor]


@torch.no_grad()
def detect_response(
    frames: Sequence[Tensor], times: Sequence[float] | Tensor, encoding: str = "gamma", gamma: Scalar = GAMMA
) -> ResponseCurve | None:
    """Detect the tone curve of the camera, one for all channels, where the frames show one.

    Args:
        frames: two or more, B×3×H×W, as stored, in [0, 1], shortest first; they need not be registered.
        times: exposure times in any unit.
        encoding: what the frames are said to be; linear ones have no tone curve.
        gamma: of ``encoding="gamma"``.

    Returns:
        The curve, or ``None`` where the encoding explains the frames, or where no curve explains them better.

    Example:
        >>> light = torch.rand(1, 3, 64, 64) ** 3
        >>> exact = [(light * t).clamp(0, 1) ** (1 / 2.2) for t in (0.25, 0.5, 1.0)]
        >>> detect_response(exact, (1, 2, 4)) is None
        True
        >>> bent = [value * value * (3 - 2 * value) for value in exact]
        >>> curve = detect_response(bent, (1, 2, 4))
        >>> curve.source
        'detected'
    """
    if encoding == "linear":
        return None
    before = tone_departure(frames, times, lambda value: linearize(value, encoding, gamma))
    if abs(before) < _SUSPECT:
        return None
    try:
        curve = estimate_response([_ranked(frame) for frame in frames], times, shared=True)
    except ArgumentError:  # too little that two frames record
        return None
    if abs(tone_departure(frames, times, curve)) > _EXPLAINED * abs(before):
        return None
    return ResponseCurve(curve.light, source="detected")


@torch.no_grad()
def tone_departure(frames: Sequence[Tensor], times: Sequence[float] | Tensor, light: Light) -> float:
    """Measure by how many stops neighbouring frames disagree more in bright than in dark parts.

    Args:
        frames: two or more, B×3×H×W, as stored, in [0, 1], shortest first.
        times: exposure times in any unit.
        light: from stored values to light.

    Returns:
        The median over the pairs of frames; 0 where light follows exposure, and where the frames share nothing.

    Example:
        >>> values = torch.linspace(0.01, 0.5, 10000).view(1, 1, 100, 100).expand(1, 3, 100, 100)
        >>> round(tone_departure([values, values * 2], (1, 2), lambda value: value), 3)
        0.0
    """
    ranked = [_ranked(frame)[0, :, 0] for frame in frames]  # each channel by itself: grey is bent where one is clipped
    found = []
    for (a, b), (shorter, longer) in zip(pairwise(ranked), pairwise(map(float, times)), strict=True):
        for values, brighter in zip(a, b, strict=True):
            recorded = (values > DARK) & (brighter < BRIGHT)
            quarter = int(recorded.sum()) // 4
            if shorter < longer and quarter > _ENOUGH * len(values):
                ratio = (light(brighter[recorded]) / light(values[recorded])).log2()
                found.append(ratio[-quarter:].median() - ratio[:quarter].median())
    return float(torch.stack(found).median()) if found else 0.0


def _ranked(frame: Tensor) -> Tensor:
    """The values of every channel in order of brightness, B·C samples become 1×C×1×`_RANKS`."""
    step = max(1, int((frame[:, :1].numel() / _SAMPLES) ** 0.5))
    values = frame[..., ::step, ::step].double().transpose(0, 1).flatten(1).sort(dim=1).values
    ranks = torch.linspace(0, values.shape[1] - 1, min(_RANKS, values.shape[1])).round().long()
    return values[:, ranks][None, :, None]
