"""Hermite smoothstep 3t² − 2t³."""

from __future__ import annotations

from torch import Tensor


def smoothstep(value: Tensor, start: float, end: float) -> Tensor:
    """Rise from 0 at ``start`` to 1 at ``end`` with a cubic between; ``start`` may be the larger one, for a step down.

    Example:
        >>> import torch
        >>> smoothstep(torch.tensor([0.0, 0.5, 1.0, 2.0]), 0.0, 1.0)
        tensor([0.0000, 0.5000, 1.0000, 1.0000])
    """
    share = ((value - start) / (end - start)).clamp(0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
