"""Random numbers as plain Python floats, from ranges as a configuration states them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

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
    """One value for each entry of a tensor's first axis, as N×1×… of its type and device."""
    return torch.tensor(list(values), dtype=like.dtype).to(like.device).reshape(-1, *[1] * (like.ndim - 1))


def select(places: Sequence[int], device: torch.device | str = "cpu") -> slice | Tensor:
    """The index of some places along an axis: a slice, which copies nothing, where they are evenly spaced."""
    step = places[1] - places[0] if len(places) > 1 else 1
    if list(places) == list(range(places[0], places[-1] + 1, step)):
        return slice(places[0], places[-1] + 1, step)
    return torch.tensor(places).to(device)
