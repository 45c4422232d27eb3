"""Hermite smoothstep 3t² − 2t³."""

from __future__ import annotations

from torch import Tensor


def smoothstep(value: Tensor, start: float, end: float) -> Tensor:
    """Rise from 0 at ``start`` to 1 at ``end``, cubic between; ``start`` may be the larger one, for a step down."""
    share = ((value - start) / (end - start)).clamp(0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
