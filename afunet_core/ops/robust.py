"""Robust statistics."""

from __future__ import annotations

from torch import Tensor

# 1 / Φ⁻¹(3/4): turns the median absolute deviation of normal values into their standard deviation.
MAD_TO_SIGMA = 1.4826


def median_deviation(deviations: Tensor) -> Tensor:
    """Standard deviation of normal values from deviations along the last axis; outliers hardly count, NaN is left out.

    Example:
        >>> import torch
        >>> round(float(median_deviation(torch.tensor([-1.0, 0.0, 1.0, float("nan"), 1000.0]))), 4)
        1.4826
    """
    return MAD_TO_SIGMA * deviations.abs().nanmedian(-1).values
