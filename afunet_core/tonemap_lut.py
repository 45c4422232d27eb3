"""Tone mapping by lookup tables, fast enough to follow a slider.

A picture is prepared once: each value becomes the number of its step on a logarithmic scale of light, 512 steps to a
stop. An operator at an exposure is then a table with one entry a step, made by :mod:`~afunet_core.tonemap` itself.
Reinhard's operator depends on luminance; for it only the encoding of the display, the slow part, is a table.
"""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
import torch

from afunet_core.errors import ShapeError
from afunet_core.radiometry import encode
from afunet_core.tonemap import reinhard_linear, tone_map

STEPS = 512  # steps to a stop: the values of one step differ by 0.14 %, less than an 8-bit display can show
DARKEST, BRIGHTEST = -40, 24  # powers of two; less is black, more is as bright
COUNT = (BRIGHTEST - DARKEST) * STEPS


class LivePicture:
    """Radiance H×W×3 or H×W for display at any exposure with any operator; NaN and negative values are black."""

    def __init__(self, radiance: np.ndarray) -> None:
        if radiance.ndim not in (2, 3) or (radiance.ndim == 3 and radiance.shape[2] < 3):
            raise ShapeError("radiance", "H×W×3 or H×W", radiance.shape)
        planes = radiance[None] if radiance.ndim == 2 else np.moveaxis(radiance[..., :3], -1, 0)
        light = np.fmax(np.ascontiguousarray(planes, np.float32), np.float32(0))  # fmax takes NaN for the smaller
        self._light = np.minimum(light, np.float32(2.0**BRIGHTEST), out=light)

    def render(self, operator: str = "reinhard", ev: float = 0.0) -> np.ndarray:
        """Show the picture in 8 bits, within one step of :func:`~afunet_core.tonemap.tone_map`."""
        if operator == "reinhard" and len(self._light) == 3:
            with torch.inference_mode():
                linear = reinhard_linear(torch.from_numpy(self._light)[None], ev)[0].mul_(65535).round_()
            table, entries = _srgb_table(), linear.numpy().astype(np.uint16)
        else:
            table, entries = _table(operator, ev), self._steps
        if len(entries) == 1:
            return table[entries[0]]
        picture = np.empty((*entries.shape[1:], 3), np.uint8)
        for channel in range(3):
            picture[..., channel] = table[entries[channel]]
        return picture

    @cached_property
    def _steps(self) -> np.ndarray:
        """The step of each value, uint16; 0 is black."""
        step = np.log2(np.maximum(self._light, np.float32(2.0**DARKEST)))
        step -= DARKEST
        step *= STEPS
        step += 0.5
        return np.minimum(step, COUNT - 1).astype(np.uint16)


def _table(operator: str, ev: float) -> np.ndarray:
    """8-bit display value of every step."""
    light = torch.exp2(torch.arange(COUNT, dtype=torch.float64) / STEPS + DARKEST)
    light[0] = 0.0
    with torch.inference_mode():
        shown = tone_map(light.view(1, 1, 1, -1), operator, ev=ev).flatten()
    return shown.mul(255).round().numpy().astype(np.uint8)


@cache
def _srgb_table() -> np.ndarray:
    """8-bit display value of 16-bit linear light; one step of it is a twentieth of a display value near black."""
    with torch.inference_mode():
        return encode(torch.linspace(0, 1, 1 << 16, dtype=torch.float64), "srgb").mul(255).round().numpy().astype("u1")
