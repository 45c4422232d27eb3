"""Exposures as a user states them, in stops or seconds, to relative light."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from afunet_core.errors import ExposureError

HOW_TO_STATE = "Give ev=(-2, 0, 2), in stops, or times=(1/100, 1/25, 1/6), in seconds, one a frame."
# Stops between the shortest and the longest frame: 1/100,000 s to 3 hours. Beyond, single precision overflows.
WIDEST_SPAN = 40.0


def relative_exposure(
    ev: Sequence[float] | Tensor | None, times: Sequence[float] | Tensor | None, names: Sequence[str]
) -> Tensor:
    """Convert stops or seconds to the relative exposure of every frame, (N,) float64."""
    if ev is not None and times is not None:
        raise ExposureError("ev, times", "one of them", "both", "Give exposures in stops or in seconds.")
    if ev is None and times is None:
        raise ExposureError("ev", "the exposure of every frame", "none", HOW_TO_STATE)
    argument, given = ("ev", ev) if times is None else ("times", times)
    try:
        device = given.device if isinstance(given, Tensor) else "cpu"
        values = torch.as_tensor(given, dtype=torch.float64, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ExposureError(argument, "one number a frame", repr(given), HOW_TO_STATE) from error
    if values.shape != (len(names),):
        raise ExposureError(argument, f"{len(names)} values, one a frame", f"shape {tuple(values.shape)}", HOW_TO_STATE)
    light = values.exp2() if argument == "ev" else values
    for name, value, amount in zip(names, values.tolist(), light.tolist(), strict=True):
        if not (math.isfinite(amount) and amount > 0):
            expected = "a finite number" if argument == "ev" else "a finite number of seconds above 0"
            raise ExposureError(argument, f"{expected} for {name!r}", value, HOW_TO_STATE)
    span = math.log2(max(light.tolist())) - math.log2(min(light.tolist()))
    if span > WIDEST_SPAN:
        advice = "No bracket spans as much: check units and decimal points. " + HOW_TO_STATE
        raise ExposureError(argument, f"exposures within {WIDEST_SPAN:g} EV of each other", f"{span:.4g} EV", advice)
    ordered = sorted(zip(light.tolist(), names, strict=True))
    same = [(a, b) for (x, a), (y, b) in pairwise(ordered) if math.isclose(x, y, rel_tol=1e-3)]
    if len(same) == len(names) - 1:
        raise ExposureError("exposures", "different exposures", "the same for all frames", HOW_TO_STATE)
    for first, second in same:
        warnings.warn(f"{first!r} and {second!r} have the same exposure.", UserWarning, stacklevel=3)
    return light
