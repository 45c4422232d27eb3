"""Classical merges into radiance: the reference frame alone, and the weighted mean.

Every table of results compares with them, and the weighted merge is hard to beat where nothing moves. The functions
named after a method take a bracket; :func:`merge_frames` does the same for bare tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.camera.saturation import SATURATION_FADE, unsaturated
from afunet_core.ops.arguments import check_frames
from afunet_core.ops.strips import in_strips
from afunet_core.radiometry import GAMMA, Scalar, exposure_times, linearize, to_radiance

__all__ = ["SATURATION_FADE", "merge_frames", "merge_weights", "reference_only", "weighted_merge"]


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


def merge_weights(encoded: Tensor | Sequence[Tensor], times: Tensor | Sequence[float]) -> Tensor:
    r"""Weights of the weighted merge: exposure time × a fade to 0 near saturation.

    Photon noise makes the variance of a frame's radiance :math:`\propto 1 / t`, so :math:`w = t` is the inverse
    variance. The second factor falls smoothly from 1 to 0 over :data:`SATURATION_FADE`. The shortest frame keeps its
    whole weight: what saturates even there is known no better, and the weights never sum to zero.

    Debevec and Malik, "Recovering High Dynamic Range Radiance Maps from Photographs", SIGGRAPH 1997, with the noise
    model in place of their hat function (Hasinoff et al., "Noise-Optimal Capture", CVPR 2010).

    Args:
        encoded: N frames, each B×C×H×W, encoded with 1.0 at saturation; a tensor N×B×C×H×W or a sequence.
        times: relative exposure times, shape (N,) or one row per sample (B, N), in any order.

    Returns:
        Weights N×B×C×H×W, not normalised.

    Raises:
        ShapeError: if frames and times do not match.
        ArgumentError: for a time that is not above 0.

    Example:
        >>> weights = merge_weights(torch.tensor([0.5, 0.95, 1.0]).view(3, 1, 1, 1, 1), [1.0, 4.0, 16.0])
        >>> weights.flatten()
        tensor([1.0000, 1.6680, 0.0000])
    """
    columns = _times_per_frame(encoded, times)
    shortest = torch.stack(columns).amin(0)
    return torch.stack(
        [
            time * torch.where(time == shortest, 1.0, unsaturated(frame))
            for frame, time in zip(encoded, columns, strict=True)
        ]
    )


def merge_frames(
    frames: Tensor | Sequence[Tensor],
    times: Tensor | Sequence[float],
    encoding: str = "gamma",
    gamma: Scalar = GAMMA,
) -> Tensor:
    r"""Weighted merge :math:`\sum_i w_i X_i / \sum_i w_i` of the radiances, with :func:`merge_weights`.

    Args:
        frames: N encoded frames, each B×C×H×W.
        times: relative exposure times, shape (N,) or (B, N).
        encoding: ``"gamma"``, ``"srgb"`` or ``"linear"``.
        gamma: exponent of the ``gamma`` encoding.

    Returns:
        B×C×H×W linear radiance in the unit of the frame with time 1.

    Raises:
        ShapeError: if frames and times do not match.
        ArgumentError: for an unknown encoding or gamma.

    Example:
        >>> frames = [torch.full((1, 3, 2, 2), value) for value in (0.1, 0.4, 1.0)]
        >>> merge_frames(frames, [1.0, 4.0, 16.0], encoding="linear").unique()
        tensor([0.1000])
    """
    columns = _times_per_frame(frames, times)
    shortest = torch.stack(columns).amin(0)

    def merge_rows(*rows: Tensor) -> Tensor:
        # w·X = t·share·L/t: the exposure time cancels from the numerator.
        light, weight = rows[0].new_zeros(()), rows[0].new_zeros(())
        for frame, time in zip(rows, columns, strict=True):
            share = torch.where(time == shortest, 1.0, unsaturated(frame))
            light = light + share * linearize(frame, encoding, gamma)
            weight = weight + share * time
        return light / weight

    return in_strips(merge_rows, *frames)


def _times_per_frame(frames: Tensor | Sequence[Tensor], times: Tensor | Sequence[float]) -> list[Tensor]:
    """One time per frame that broadcasts with it: a number, or B×1×1×1 where samples differ."""
    check_frames(frames, channels=None)
    table = exposure_times(times, frames[0], len(frames)).to(frames[0])
    return [time.reshape(-1, 1, 1, 1) for time in table.unbind(-1)]
