"""Random numbers as plain Python floats, from ranges as a configuration states them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Range", "log_uniform", "per_entry", "select", "tensor", "uniform", "uniform_array"]

Range = tuple[float, float]


def uniform(rng: np.random.Generator, interval: Range) -> float:
    """One value, uniform in the interval."""
    return float(rng.uniform(interval[0], interval[1]))


def uniform_array(rng: np.random.Generator, interval: Range, *shape: int) -> np.ndarray:
    """An array of values, uniform in the interval."""
    return rng.uniform(interval[0], interval[1], shape)


def log_uniform(rng: np.random.Generator, interval: Range) -> float:
    """One value, uniform in its logarithm; plainly uniform where the interval starts at zero."""
    low, high = interval
    if low <= 0:
        return uniform(rng, interval)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def tensor(values: np.ndarray) -> Tensor:
    """A float32 tensor of a NumPy array."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def per_entry(values: Iterable[float], like: Tensor) -> Tensor:
    """One value for each entry of the first axis of a tensor, ready to be combined with it: N×1×…, its type and device.

    Example:
        >>> per_entry([1, 2], torch.zeros(2, 3, 4)).shape
        torch.Size([2, 1, 1])
    """
    return torch.tensor(list(values), dtype=like.dtype).to(like.device).reshape(-1, *[1] * (like.ndim - 1))


def select(places: Sequence[int], device: torch.device | str = "cpu") -> slice | Tensor:
    """The index of some places along an axis: a slice, which copies nothing, where they are evenly spaced.

    Example:
        >>> select([0, 2]), select([3, 4, 5]), select([0, 1, 3])
        (slice(0, 3, 2), slice(3, 6, 1), tensor([0, 1, 3]))
    """
    step = places[1] - places[0] if len(places) > 1 else 1
    if list(places) == list(range(places[0], places[-1] + 1, step)):
        return slice(places[0], places[-1] + 1, step)
    return torch.tensor(places).to(device)
