"""Tone mapping: linear radiance in, a display-encoded picture in [0, 1] out.

All operators are pure, differentiable and work on B×C×H×W (or any other shape with the channels third from the end) of
any floating dtype and device. ``ev`` brightens by ``2 ** ev`` before the curve, as the exposure dial of a camera does.
Every numeric parameter may be a number, a 0-d tensor, or one value per sample (B,), and gradients reach it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.ops.arguments import Scalar, check_finite, check_positive, check_tensor, hold, per_sample
from afunet_core.ops.strips import in_strips
from afunet_core.radiometry import GAMMA, MU, check_encoding, encode
from afunet_core.radiometry import mu_law as compress_mu

__all__ = ["OPERATORS", "PARAMETERS", "ToneMap", "automatic_ev", "exposure", "filmic", "mu_law", "reinhard", "tone_map"]

LUMINANCE = (0.2126, 0.7152, 0.0722)  # weights of red, green and blue in linear light (ITU-R BT.709)
# Exposed light beyond this is shown as this: the largest value whose square half precision can hold, nearly.
BRIGHTEST = 3e4
_MOST_STOPS = 100.0  # beyond it single precision ends


def mu_law(radiance: Tensor, ev: Scalar = 0.0, mu: Scalar = MU) -> Tensor:
    """Apply the μ-law of the HDR field, clipped at saturation: its papers show it and its -μ metrics measure it.

    Args:
        radiance: linear radiance, 1.0 at saturation of the shortest frame.
        ev: exposure correction in stops.
        mu: strength of the compression.

    Returns:
        Display-encoded picture in [0, 1]; μ-law values are shown as they are.

    Raises:
        ArgumentError: if ``ev`` is not finite or ``mu`` not above 0.

    Example:
        >>> mu_law(torch.tensor([0.0, 0.01, 4.0]))
        tensor([0.0000, 0.4616, 1.0000])
    """
    check_positive("mu", mu, "The field uses 5000.")
    return _in_strips(lambda x: compress_mu(_light(x, ev, 1.0).clamp(max=1.0), mu), radiance)


def reinhard(radiance: Tensor, ev: Scalar = 0.0, gain: Scalar = 16.0, white: Scalar = 1.0) -> Tensor:
    r"""Apply Reinhard's global operator with a white point, on luminance, so that colours keep their hue.

    Reinhard, Stark, Shirley and Ferwerda, "Photographic Tone Reproduction for Digital Images", SIGGRAPH 2002, equation
    4: :math:`L_d = L (1 + L / L_w^2) / (1 + L)`. Their scaling by the average of the picture is left to ``gain`` and
    :func:`automatic_ev`: a fixed scale keeps slices, crops and live previews alike.

    Args:
        radiance: linear radiance with 1 or 3 channels third from the end.
        ev: exposure correction in stops.
        gain: brings mid-tones to where the curve expects them; 16 is the longest exposure of a usual bracket.
        white: the radiance that is shown as white at ``ev = 0``; 1.0 is saturation of the shortest frame.

    Returns:
        Display-encoded (sRGB) picture in [0, 1].

    Raises:
        ShapeError: unless there are 1 or 3 channels.
        ArgumentError: if ``ev`` is not finite, or ``gain`` or ``white`` not above 0.

    Example:
        >>> reinhard(torch.full((1, 3, 2, 2), 0.0625)).mean()
        tensor(0.7366)
    """
    return _in_strips(lambda x: encode(reinhard_linear(x, ev, gain, white), "srgb"), radiance)


def reinhard_linear(radiance: Tensor, ev: Scalar = 0.0, gain: Scalar = 16.0, white: Scalar = 1.0) -> Tensor:
    """Apply :func:`reinhard` without the encoding of the display: linear light in [0, 1]."""
    check_positive("gain", gain)
    check_positive("white", white)
    _check_channels(radiance)
    light = _light(radiance, ev, gain)
    white_point = per_sample("gain", gain, radiance) * per_sample("white", white, radiance)
    luminance = _luminance(light)
    # L_d / L scales the channels, so that no luminance is ever divided by.
    return (light * ((1 + luminance / white_point**2) / (1 + luminance))).clamp(max=1.0)


def filmic(radiance: Tensor, ev: Scalar = 0.0, gain: Scalar = 8.0) -> Tensor:
    r"""Apply the ACES film curve as fitted by Narkowicz: gentle toe, straight middle, soft shoulder.

    Krzysztof Narkowicz, "ACES Filmic Tone Mapping Curve", 2015:
    :math:`y = x (2.51 x + 0.03) / (x (2.43 x + 0.59) + 0.14)`, per channel, so that highlights lose their colour as
    they do on film.

    Args:
        radiance: linear radiance.
        ev: exposure correction in stops.
        gain: brings mid-tones to where the curve expects them; with 8, radiance 1.0 is just white.

    Returns:
        Display-encoded (sRGB) picture in [0, 1].

    Raises:
        ArgumentError: if ``ev`` is not finite or ``gain`` not above 0.

    Example:
        >>> filmic(torch.tensor([0.0, 0.0225, 1.0]))
        tensor([0.0000, 0.5535, 1.0000])
    """
    check_positive("gain", gain)

    def curve(x: Tensor) -> Tensor:
        # Beyond this the curve is white; stopping there keeps its squares inside the range of half precision.
        light = _light(x, ev, gain).clamp(max=64.0)
        shown = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
        return encode(shown.clamp(max=1.0), "srgb")

    return _in_strips(curve, radiance)


def exposure(radiance: Tensor, ev: Scalar = 0.0, encoding: str = "srgb", gamma: Scalar = GAMMA) -> Tensor:
    """Show radiance as a camera does at this exposure: brighten, clip, encode, without compression.

    Args:
        radiance: linear radiance.
        ev: exposure correction in stops.
        encoding: ``"srgb"``, ``"gamma"`` or ``"linear"``.
        gamma: exponent of the ``gamma`` encoding.

    Returns:
        Display-encoded picture in [0, 1].

    Raises:
        ArgumentError: if ``ev`` is not finite or the encoding unknown.

    Example:
        >>> exposure(torch.tensor([0.1, 0.5]), ev=1.0, encoding="linear")
        tensor([0.2000, 1.0000])
    """
    check_encoding(encoding, gamma)
    return _in_strips(lambda x: encode(_light(x, ev, 1.0).clamp(max=1.0), encoding, gamma), radiance)


def automatic_ev(radiance: Tensor, key: float = 0.18, gain: float = 1.0) -> float:
    """Find the exposure correction that brings the log-average luminance to middle grey.

    Reinhard et al. 2002, equations 1 and 2.

    Args:
        radiance: linear radiance with 1 or 3 channels third from the end; NaN and Inf are left out.
        key: the grey to reach.
        gain: the gain of the operator the result is for.

    Returns:
        Stops to pass as ``ev``; 0 for a picture without light.

    Raises:
        ShapeError: unless there are 1 or 3 channels.
        ArgumentError: if ``key`` or ``gain`` is not above 0.

    Example:
        >>> round(automatic_ev(torch.full((1, 3, 4, 4), 0.09)), 3)
        1.0
    """
    check_positive("key", key)
    check_positive("gain", gain)
    check_tensor("radiance", radiance)
    _check_channels(radiance)
    luminance = _luminance(radiance.detach().double())
    lit = luminance[torch.isfinite(luminance) & (luminance > 0)]
    if lit.numel() == 0:
        return 0.0
    return math.log2(key / gain) - torch.log2(lit).mean().item()


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "mu_law": mu_law,
    "reinhard": reinhard,
    "filmic": filmic,
    "exposure": exposure,
}
"""Tone-mapping operators by name."""
PARAMETERS = {name: tuple(inspect.signature(operator).parameters)[2:] for name, operator in OPERATORS.items()}
"""The parameters of each operator beside ``radiance`` and ``ev``."""


def tone_map(radiance: Tensor, operator: str = "mu_law", ev: Scalar = 0.0, **parameters: Any) -> Tensor:
    """Make radiance visible with the operator of that name.

    Args:
        radiance: linear radiance, 1.0 at saturation of the shortest frame.
        operator: a key of ``OPERATORS``: ``"mu_law"``, ``"reinhard"``, ``"filmic"`` or ``"exposure"``.
        ev: exposure correction in stops.
        **parameters: further parameters of that operator.

    Returns:
        Display-encoded picture in [0, 1], shaped like ``radiance``.

    Raises:
        ArgumentError: for an unknown operator or a parameter it cannot use.

    Example:
        >>> tone_map(torch.full((1, 3, 2, 2), 0.01), "mu_law").mean()
        tensor(0.4616)
    """
    _check_operator(operator, parameters)
    return OPERATORS[operator](radiance, ev=ev, **parameters)


class ToneMap(nn.Module):
    """Module twin of :func:`tone_map`. Parameters given as ``nn.Parameter`` train, other tensors are buffers.

    Example:
        >>> ToneMap("exposure", ev=1.0, encoding="linear")(torch.tensor([0.1]))
        tensor([0.2000])
        >>> list(ToneMap("reinhard", ev=nn.Parameter(torch.tensor(0.0))).state_dict())
        ['ev']
    """

    ev: Scalar

    def __init__(self, operator: str = "mu_law", ev: Scalar = 0.0, **parameters: Any) -> None:
        super().__init__()
        _check_operator(operator, parameters)
        self.operator, self.given = operator, tuple(parameters)
        hold(self, ev=ev, **parameters)

    def forward(self, radiance: Tensor) -> Tensor:
        options = {name: getattr(self, name) for name in self.given}
        return OPERATORS[self.operator](radiance, self.ev, **options)

    def extra_repr(self) -> str:
        extra = "".join(f", {name}={getattr(self, name)!r}" for name in self.given)
        return f"operator={self.operator!r}, ev={self.ev}{extra}"


def _in_strips(curve: Callable[[Tensor], Tensor], radiance: Tensor) -> Tensor:
    """Apply a pixelwise curve in strips of rows; parameters per sample broadcast over any shape."""
    check_tensor("radiance", radiance)
    return curve(radiance) if radiance.ndim < 3 else in_strips(curve, radiance)


def _light(radiance: Tensor, ev: Scalar, gain: Scalar) -> Tensor:
    """Exposed light, at least 0; NaN is shown black, and infinity as the brightest value half precision can square."""
    check_finite("ev", ev, "a finite number of stops")
    if not isinstance(ev, Tensor) and abs(ev) > _MOST_STOPS:
        raise ArgumentError("ev", f"at most {_MOST_STOPS:g} stops", ev, "A camera's whole range is about 20.")
    scale = per_sample("gain", gain, radiance) * 2.0 ** per_sample("ev", ev, radiance)
    return (radiance * scale).nan_to_num(nan=0.0).clamp(0.0, BRIGHTEST)


def _luminance(light: Tensor) -> Tensor:
    """Luminance of linear light, keeping the channel axis; a single channel is its own."""
    if light.shape[-3] == 1:
        return light
    # kornia.color.rgb_to_grayscale wants its weights as a tensor, which would be copied to the device at every call.
    red, green, blue = (weight * light.narrow(-3, index, 1) for index, weight in enumerate(LUMINANCE))
    return red + green + blue


def _check_channels(radiance: Tensor) -> None:
    check_tensor("radiance", radiance)
    if radiance.ndim < 3 or radiance.shape[-3] not in (1, 3):
        raise ShapeError("radiance", "1 or 3 channels third from the end (B×C×H×W)", tuple(radiance.shape))


def _check_operator(operator: str, parameters: dict[str, Any]) -> None:
    if operator not in OPERATORS:
        raise ArgumentError("operator", f"one of {', '.join(OPERATORS)}", repr(operator))
    known = PARAMETERS[operator]
    for name in parameters:
        if name not in known:
            raise ArgumentError("parameters", f"{' or '.join(known)} for {operator}", name)
