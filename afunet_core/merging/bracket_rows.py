"""A bracket as the network's input, made a few rows at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket

__all__ = ["BracketRows"]


class BracketRows:
    """What :meth:`Bracket.to_tensor` returns, row by row: 72 bytes a pixel that are never held all at once.

    Args:
        bracket: with a shorter and a longer neighbour of its reference.

    Raises:
        BracketError: there are not three frames around the reference.

    Example:
        >>> frames = [torch.full((1, 3, 6, 5), value) for value in (0.1, 0.2, 0.4)]
        >>> rows = BracketRows(Bracket(frames, ev=(0, 1, 2), encoding="linear"))
        >>> rows.shape, tuple(rows.rows(0, 2, 4).shape)
        ((1, 18, 6, 5), (18, 2, 5))
    """

    def __init__(self, bracket: Bracket) -> None:
        self.bracket = bracket.triplet()
        self.shape: tuple[int, ...] = (self.bracket.batch_size, 18, *self.bracket.shape)
        self.device: torch.device = self.bracket.frames[0].device

    def rows(self, index: int, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` of one sample, ``18×rows×W``."""
        frames = [frame[index : index + 1, :, start:stop] for frame in self.bracket.frames]
        return self.bracket.with_frames(frames).to_tensor()[0]

    def times(self, index: int) -> Tensor:
        """The exposure times, which a tensor's reader has to estimate from all of it."""
        return self.bracket.times
