"""Tone mapping fast enough to follow a slider: every value of a picture is looked up instead of computed.

A picture is prepared once: each value becomes the number of its step on a logarithmic scale of light, 512 steps to the
factor of two. An operator at an exposure is then a table with one entry a step, made by the operators of
:mod:`~afunet_core.tonemap` themselves. What depends on luminance moves the steps of all channels by the same number.
"""

from __future__ import annotations

import numpy as np
import torch

from afunet_core.errors import ShapeError
from afunet_core.radiometry import linearize
from afunet_core.tonemap import tone_map

__all__ = ["LivePicture"]

_STEPS = 512
_DARKEST, _BRIGHTEST = -40, 24
"""Powers of two; less is black, more is as bright."""
_FIRST = 1 << 14
"""The code of black. Room on both sides lets luminance move codes by 32 powers of two without a wrap-around."""
_COUNT = (_BRIGHTEST - _DARKEST) * _STEPS
_BY_LUMINANCE = frozenset({"reinhard"})
_LUMINANCE = np.array((0.2126, 0.7152, 0.0722), np.float32)  # ITU-R BT.709, linear light


class LivePicture:
    """Radiance prepared for display at any exposure with any operator.

    Args:
        radiance: ``H×W×3`` or ``H×W`` linear light. What is no number or negative is black; further channels are
            ignored.

    Raises:
        ShapeError: for another layout.

    Example:
        >>> picture = LivePicture(np.full((2, 3, 3), 0.0625, np.float32))
        >>> picture.render("reinhard").shape, int(picture.render("reinhard")[0, 0, 0])
        ((2, 3, 3), 188)
    """

    def __init__(self, radiance: np.ndarray) -> None:
        if radiance.ndim not in (2, 3) or (radiance.ndim == 3 and radiance.shape[2] < 3):
            raise ShapeError("radiance", "H×W×3 or H×W", radiance.shape)
        planes = [radiance] if radiance.ndim == 2 else [radiance[..., channel] for channel in range(3)]
        light = [_light(plane) for plane in planes]
        self._codes = [_code(plane) for plane in light]
        self._luminance = self._codes[0]
        if len(light) == 3:
            self._luminance = _code(sum(weight * plane for weight, plane in zip(_LUMINANCE, light, strict=True)))

    def render(self, operator: str = "reinhard", ev: float = 0.0) -> np.ndarray:
        """The picture in 8 bits, within one step of what :func:`~afunet_core.tonemap.tone_map` gives.

        Where exposed light exceeds 30000 that function limits it, and Reinhard's colours differ by a few steps more.

        Args:
            operator: one of :data:`afunet_core.tonemap.OPERATORS`.
            ev: exposure in stops.

        Returns:
            uint8 ``H×W×3``, or ``H×W`` for greyscale.

        Raises:
            ArgumentError: for an unknown operator or an exposure that is no finite number.
        """
        by_luminance = operator in _BY_LUMINANCE and len(self._codes) == 3
        table = _table("exposure" if by_luminance else operator, 0.0 if by_luminance else ev)
        moved = _luminance_shift(operator, ev)[self._luminance] if by_luminance else None
        channels = [table[codes if moved is None else codes + moved] for codes in self._codes]
        if len(channels) == 1:
            return channels[0]
        picture = np.empty((*channels[0].shape, 3), np.uint8)
        for index, channel in enumerate(channels):
            picture[..., index] = channel
        return picture


def _light(plane: np.ndarray) -> np.ndarray:
    plane = np.ascontiguousarray(plane, np.float32)
    return np.fmin(np.fmax(plane, np.float32(0)), np.float32(2.0**_BRIGHTEST))  # fmax takes NaN for the smaller


def _code(light: np.ndarray) -> np.ndarray:
    """uint16; the darkest step, for black, is ``_FIRST``."""
    step = np.log2(np.maximum(light, np.float32(2.0**_DARKEST)))
    step -= _DARKEST
    step *= _STEPS
    step += _FIRST + 0.5
    return np.minimum(step, _FIRST + _COUNT - 1).astype(np.uint16)


def _steps() -> torch.Tensor:
    """The light of every step, the first of them black."""
    light = torch.exp2(torch.arange(_COUNT, dtype=torch.float64) / _STEPS + _DARKEST)
    light[0] = 0.0
    return light


def _table(operator: str, ev: float) -> np.ndarray:
    """8-bit display value of every code, those that luminance moved below black or above the brightest included."""
    with torch.inference_mode():
        shown = tone_map(_steps().view(1, 1, 1, -1), operator, ev=ev).flatten()
    table = np.zeros(1 << 16, np.uint8)
    table[_FIRST : _FIRST + _COUNT] = shown.mul(255).round().numpy()
    table[_FIRST + _COUNT :] = table[_FIRST + _COUNT - 1]
    return table


def _luminance_shift(operator: str, ev: float) -> np.ndarray:
    """By how many steps a luminance moves the codes of its channels, before the encoding of the screen.

    Read off a faint channel beside a bright one that makes the luminance: the operator scales both alike, and the faint
    one stays far from white.
    """
    light = _steps()
    light[0] = light[1]
    faint = light * 2.0**-40
    others = float(_LUMINANCE[1] + _LUMINANCE[2])
    bright = (light - others * faint) / float(_LUMINANCE[0])
    with torch.inference_mode():
        shown = tone_map(torch.stack([bright, faint, faint]).view(1, 3, 1, -1), operator, ev=ev)[0, 1, 0]
        scale = linearize(shown, "srgb") / faint
    steps = (scale.log2() * _STEPS).round().clamp(-_FIRST, _FIRST)
    shift = np.zeros(1 << 16, np.uint16)
    shift[_FIRST : _FIRST + _COUNT] = steps.to(torch.int64).numpy().astype(np.uint16)  # negative steps wrap, and back
    return shift
