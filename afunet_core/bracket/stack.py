"""Exposure stack: registered frames of one scene with their exposure times, as merging and motion analysis take it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from afunet_core.ops.box_filter import block_mean, reduction
from afunet_core.radiometry import GAMMA, Scalar, to_radiance


@dataclass(frozen=True, eq=False)
class ExposureStack:
    """Frames of one size and what is needed to read them as radiance.

    :class:`~afunet_core.bracket.bracket.Bracket` is one that checks and sorts what it is given.

    Attributes:
        frames: N encoded tensors B×3×H×W in [0, 1], 1.0 at saturation.
        times: (N,), exposure times, the shortest as 1.
        encoding: ``"gamma"``, ``"srgb"`` or ``"linear"``.
        gamma: exponent of the ``gamma`` encoding.
        reference: index of the frame that the others are compared with and the result is aligned to.

    Example:
        >>> import torch
        >>> frames = tuple(torch.full((1, 3, 2, 2), value) for value in (0.1, 0.4))
        >>> stack = ExposureStack(frames, torch.tensor([1.0, 4.0]), encoding="linear", reference=1)
        >>> stack.radiance(1).unique()
        tensor([0.1000])
    """

    frames: tuple[Tensor, ...]
    times: Tensor
    encoding: str = "gamma"
    gamma: Scalar = GAMMA
    reference: int = 0

    def radiance(self, index: int) -> Tensor:
        """Linear light of one frame, B×3×H×W, 1.0 = saturation of the shortest frame."""
        return to_radiance(self.frames[index], self.times[index], self.encoding, self.gamma)

    def with_frames(self, frames: Sequence[Tensor]) -> ExposureStack:
        """The same exposures with other pixels, such as some rows of each frame."""
        return replace(self, frames=tuple(frames))

    def reduced(self, pixels: float) -> ExposureStack:
        """The stack with its frames averaged down to at most so many pixels."""
        height, width = self.frames[0].shape[-2:]
        factor = reduction(height, width, pixels)
        small = tuple(block_mean(frame.float(), factor) for frame in self.frames)
        return ExposureStack(small, self.times, self.encoding, self.gamma, self.reference)


def mean_radiance(linear: Sequence[Tensor], shares: Iterable[Tensor], times: Sequence[float]) -> Tensor:
    """Average the radiance of linear frames, weighted by share and exposure time, which cancels from the numerator."""
    light = weight = linear[0].new_zeros(())
    for value, share, time in zip(linear, shares, times, strict=True):
        light, weight = light + share * value, weight + share * time
    return light / weight
