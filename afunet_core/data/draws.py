"""Random numbers as plain Python floats, from ranges as a configuration states them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["Range", "log_uniform", "tensor", "uniform", "uniform_array"]

Range = tuple[float, float]


def uniform(rng: np.random.Generator, interval: Range) -> float:
    """One value, uniform in the interval."""
    return float(rng.uniform(interval[0], interval[1]))


def uniform_array(rng: np.random.Generator, interval: Range, *shape: int) -> np.ndarray:
    """An array of values, uniform in the interval."""
    return rng.uniform(interval[0], interval[1], shape)


def log_uniform(rng: np.random.Generator, interval: Range) -> float:
    """One value, uniform in its logarithm; plainly uniform where the interval starts at zero.

    Example:
        >>> 1.0 <= log_uniform(np.random.default_rng(0), (1.0, 100.0)) <= 100.0
        True
    """
    low, high = interval
    if low <= 0:
        return uniform(rng, interval)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def tensor(values: np.ndarray) -> Tensor:
    """A float32 tensor of a NumPy array."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
