"""What a photographer had before networks: the reference frame alone, the weighted merge, exposure fusion.

They are the rows every table needs for comparison, and the weighted merge is the best there is where nothing moves.
The functions named after a method take a bracket; ``merge_frames`` and ``fuse_frames`` do the same for bare tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from afunet_core.baselines.mertens import check_frames, fuse_frames
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import in_strips
from afunet_core.radiometry import GAMMA, Scalar, encode, linearize, to_radiance

__all__ = [
    "SATURATION_FADE",
    "exposure_fusion",
    "fuse_frames",
    "merge_frames",
    "merge_weights",
    "reference_only",
    "weighted_merge",
]

# Encoded values between which a longer frame loses our trust: JPEG and noise blur the exact clipping point.
SATURATION_FADE = (0.90, 0.99)


class ExposureStack(Protocol):
    """The part of a :class:`~afunet_core.bracket.bracket.Bracket` that merging needs."""

    @property
    def frames(self) -> tuple[Tensor, ...]: ...
    @property
    def times(self) -> Tensor: ...
    @property
    def encoding(self) -> str: ...
    @property
    def gamma(self) -> Scalar: ...
    @property
    def reference(self) -> int: ...


def reference_only(bracket: ExposureStack) -> Tensor:
    """Radiance of the reference frame alone: no ghosts, clipped highlights, all of its noise.

    Args:
        bracket: the exposures.

    Returns:
        B×3×H×W linear radiance, 1.0 at saturation of the shortest frame.
    """
    index = bracket.reference
    return to_radiance(bracket.frames[index], bracket.times[index], bracket.encoding, bracket.gamma)


def weighted_merge(bracket: ExposureStack) -> Tensor:
    """Weighted average of the frames' radiances: the classic merge for a tripod (see :func:`merge_frames`).

    Args:
        bracket: the exposures.

    Returns:
        B×3×H×W linear radiance, 1.0 at saturation of the shortest frame.
    """
    return merge_frames(bracket.frames, bracket.times, bracket.encoding, bracket.gamma)


def exposure_fusion(bracket: ExposureStack) -> Tensor:
    """Mertens exposure fusion of the frames as a display shows them (see :func:`fuse_frames`).

    Args:
        bracket: the exposures.

    Returns:
        B×3×H×W display-encoded picture in [0, 1]. It is not radiance and has no exposure.
    """
    if bracket.encoding == "linear":
        return fuse_frames([encode(frame, "gamma", bracket.gamma) for frame in bracket.frames])
    return fuse_frames(bracket.frames)


def merge_weights(
    encoded: Tensor | Sequence[Tensor],
    times: Tensor | Sequence[float],
    fade: tuple[float, float] = SATURATION_FADE,
) -> Tensor:
    r"""How much each frame's radiance counts in the weighted merge: exposure time × trust near saturation.

    Photon noise makes the variance of a frame's radiance :math:`\propto 1 / t`, so :math:`w = t` is the inverse
    variance. Trust falls smoothly from 1 to 0 over ``fade``. The shortest frame keeps all of its trust: what saturates
    even there is known no better, and the weights never sum to zero.

    Debevec and Malik, "Recovering High Dynamic Range Radiance Maps from Photographs", SIGGRAPH 1997, with the noise
    model in place of their hat function (Hasinoff et al., "Noise-Optimal Capture", CVPR 2010).

    Args:
        encoded: N frames, each B×C×H×W, encoded with 1.0 at saturation; a tensor N×B×C×H×W or a sequence.
        times: relative exposure times, shape (N,) or one row per sample (B, N), in any order.
        fade: encoded values where trust begins to fall and where it has vanished.

    Returns:
        Weights N×B×C×H×W, not normalised.

    Raises:
        ShapeError: if frames and times do not match.
        ArgumentError: unless 0 <= fade[0] < fade[1].

    Example:
        >>> weights = merge_weights(torch.tensor([0.5, 0.95, 1.0]).view(3, 1, 1, 1, 1), [1.0, 4.0, 16.0])
        >>> weights.flatten()
        tensor([1.0000, 1.6680, 0.0000])
    """
    columns = _times_per_frame(encoded, times)
    shortest = torch.stack(columns).amin(0)
    return torch.stack(
        [
            time * torch.where(time == shortest, 1.0, _trust(frame, fade))
            for frame, time in zip(encoded, columns, strict=True)
        ]
    )


def merge_frames(
    frames: Tensor | Sequence[Tensor],
    times: Tensor | Sequence[float],
    encoding: str = "gamma",
    gamma: Scalar = GAMMA,
    fade: tuple[float, float] = SATURATION_FADE,
) -> Tensor:
    r"""Weighted merge :math:`\sum_i w_i X_i / \sum_i w_i` of the radiances, with :func:`merge_weights`.

    Args:
        frames: N encoded frames, each B×C×H×W.
        times: relative exposure times, shape (N,) or (B, N).
        encoding: ``"gamma"``, ``"srgb"`` or ``"linear"``.
        gamma: exponent of the ``gamma`` encoding.
        fade: where trust in a value near saturation begins and ends to fall.

    Returns:
        B×C×H×W linear radiance in the unit of the frame with time 1.

    Raises:
        ShapeError: if frames and times do not match.
        ArgumentError: for an unknown encoding, gamma or fade.

    Example:
        >>> frames = [torch.full((1, 3, 2, 2), value) for value in (0.1, 0.4, 1.0)]
        >>> merge_frames(frames, [1.0, 4.0, 16.0], encoding="linear").unique()
        tensor([0.1000])
    """
    columns = _times_per_frame(frames, times)
    shortest = torch.stack(columns).amin(0)

    def merge_rows(*rows: Tensor) -> Tensor:
        # w·X = t·trust·L/t: the exposure time cancels from the numerator.
        light, weight = rows[0].new_zeros(()), rows[0].new_zeros(())
        for frame, time in zip(rows, columns, strict=True):
            trust = torch.where(time == shortest, 1.0, _trust(frame, fade))
            light = light + trust * linearize(frame, encoding, gamma)
            weight = weight + trust * time
        return light / weight

    return in_strips(merge_rows, *frames)


def _trust(encoded: Tensor, fade: tuple[float, float]) -> Tensor:
    """1 below the fade, 0 above it, a smooth step between."""
    start, end = fade
    if not 0 <= start < end:
        raise ArgumentError("fade", "(start, end) with 0 <= start < end", fade, "Use (0.90, 0.99).")
    return smoothstep(encoded, end, start)


def _times_per_frame(frames: Tensor | Sequence[Tensor], times: Tensor | Sequence[float]) -> list[Tensor]:
    """One time per frame that broadcasts with it: a number, or B×1×1×1 where samples differ."""
    check_frames(frames, channels=None)
    first, count = frames[0], len(frames)
    table = torch.as_tensor(times).to(first)
    if tuple(table.shape) not in {(count,), (len(first), count)}:
        raise ShapeError("times", f"shape ({count},) or ({len(first)}, {count})", tuple(table.shape), "One per frame.")
    return [time.reshape(-1, 1, 1, 1) for time in table.unbind(-1)]
