"""Exposure stack: registered frames of one scene with their exposure times, as merging and motion analysis take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from afunet_core.errors import ShapeError
from afunet_core.ops.arguments import check_tensor
from afunet_core.radiometry import GAMMA, Scalar, to_radiance

__all__ = ["ExposureStack", "check_frames"]


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


def check_frames(frames: Tensor | Sequence[Tensor], channels: int | None = 3) -> None:
    """Refuse anything but frames of one shape, B×``channels``×H×W.

    Raises:
        TensorTypeError: for anything but floating-point tensors.
        ShapeError: naming the frame.
    """
    if len(frames) == 0:
        raise ShapeError("frames", "at least one frame", 0)
    for index, frame in enumerate(frames):
        check_tensor(f"frames[{index}]", frame)
    shape = frames[0].shape
    for index, frame in enumerate(frames):
        if frame.ndim != 4 or frame.shape != shape or (channels is not None and frame.shape[1] != channels):
            expected = f"B×{channels or 'C'}×H×W like the other frames"
            raise ShapeError(f"frames[{index}]", expected, tuple(frame.shape), "Match the sizes.")
