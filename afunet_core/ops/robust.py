"""Robust statistics."""

from __future__ import annotations

from torch import Tensor

# 1 / Φ⁻¹(3/4): turns the median absolute deviation of normal values into their standard deviation.
MAD_TO_SIGMA = 1.4826


def median_deviation(deviations: Tensor) -> Tensor:
    """Standard deviation from deviations along the last axis, where outliers hardly count and NaN is left out."""
    return MAD_TO_SIGMA * deviations.abs().nanmedian(-1).values
