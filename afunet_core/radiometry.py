"""Conversion between encoded pictures, linear light and radiance.

Three quantities appear everywhere in this package:

- an *encoded* picture, as a file stores it, scaled so that 1.0 is saturation;
- *linear* light in the unit of its own frame, again 1.0 at saturation;
- *radiance*, linear light divided by the relative exposure time, so that all frames of a bracket share one unit in
  which the shortest frame saturates at 1.0.

Every function is pure, works for any floating dtype, device and leading shape, and is differentiable with respect to
each tensor it is given, exposure times, gamma and mu included; these may be numbers, 0-d tensors, or one value per
sample (B,). Each function has an ``nn.Module`` twin, which holds tensors given as parameters: an ``nn.Parameter``
trains, any other tensor is a buffer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor, nn

from afunet_core.errors import ArgumentError, ShapeError, TensorTypeError
from afunet_core.ops.arguments import (
    Scalar,
    check_frames,
    check_positive,
    check_tensor,
    hold,
    is_number,
    per_sample,
    visible,
)

__all__ = [
    "ENCODINGS",
    "GAMMA",
    "MU",
    "Encode",
    "Expose",
    "InverseMuLaw",
    "Linearize",
    "MuLaw",
    "Scalar",
    "ToRadiance",
    "encode",
    "expose",
    "exposure_times",
    "inverse_mu_law",
    "linearize",
    "mu_law",
    "network_input",
    "to_radiance",
]

ENCODINGS = ("gamma", "srgb", "linear")
GAMMA = 2.2
"""Exponent of the gamma encoding; published weights expect it."""
MU = 5000.0
"""Strength of the μ-law in the field (Kalantari and Ramamoorthi 2017)."""

_TIME_ADVICE = "Give the time relative to the shortest frame."
_MU_ADVICE = "The field uses 5000."

# IEC 61966-2-1: a short straight line near black, then a power curve. kornia.color has both ways, equal to the bit and
# as fast, but for three channels only; here any shape goes.
_SRGB_KNEE_ENCODED, _SRGB_KNEE_LINEAR = 0.04045, 0.0031308
_SRGB_SLOPE, _SRGB_OFFSET, _SRGB_POWER = 12.92, 0.055, 2.4


def linearize(image: Tensor, encoding: str = "gamma", gamma: Scalar = GAMMA) -> Tensor:
    r"""Turn an encoded picture into linear light; both are 1.0 at saturation.

    Args:
        image: encoded values of any shape, nominally in [0, 1]. Below zero there is no light: ``gamma`` maps negative
            values to 0, ``srgb`` continues its straight segment, ``linear`` returns its input.
        encoding: ``"gamma"`` (:math:`x^\gamma`), ``"srgb"`` (IEC 61966-2-1) or ``"linear"`` (sensors, microscopes).
        gamma: exponent of the ``gamma`` encoding: a number, a 0-d tensor, or one value per sample (B,).

    Returns:
        Linear light, shaped like ``image``.

    Raises:
        TensorTypeError: unless ``image`` is a floating-point tensor.
        ArgumentError: for an unknown encoding or a gamma that is not above 0.

    Example:
        >>> linearize(torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.0000, 0.2176, 1.0000])
    """
    check_tensor("image", image)
    check_encoding(encoding, gamma)
    if encoding == "linear":
        return image
    if encoding == "gamma":
        return _power(image, per_sample("gamma", gamma, image))
    line = image / _SRGB_SLOPE
    above = image > _SRGB_KNEE_ENCODED
    curve = ((torch.where(above, image, 1.0) + _SRGB_OFFSET) / (1 + _SRGB_OFFSET)) ** _SRGB_POWER
    return torch.where(above, curve, line)


def encode(linear: Tensor, encoding: str = "gamma", gamma: Scalar = GAMMA) -> Tensor:
    r"""Turn linear light into an encoded picture, the inverse of :func:`linearize`.

    The slope of :math:`x^{1/\gamma}` is infinite at 0; its gradient is defined as 0 there, so that a black pixel never
    turns a training step into NaN.

    Args:
        linear: linear light of any shape, 1.0 at saturation.
        encoding: ``"gamma"``, ``"srgb"`` or ``"linear"``.
        gamma: exponent of the ``gamma`` encoding: a number, a 0-d tensor, or one value per sample (B,).

    Returns:
        Encoded values, shaped like ``linear``. Nothing is clipped above 1.

    Raises:
        ArgumentError: for an unknown encoding or a gamma that is not above 0.

    Example:
        >>> encode(torch.tensor([0.0, 0.2176, 1.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    check_tensor("linear", linear)
    check_encoding(encoding, gamma)
    if encoding == "linear":
        return linear
    if encoding == "gamma":
        return _power(linear, 1.0 / per_sample("gamma", gamma, linear))
    line = linear * _SRGB_SLOPE
    above = linear > _SRGB_KNEE_LINEAR
    curve = (1 + _SRGB_OFFSET) * torch.where(above, linear, 1.0) ** (1 / _SRGB_POWER) - _SRGB_OFFSET
    return torch.where(above, curve, line)


def to_radiance(image: Tensor, time: Scalar, encoding: str = "gamma", gamma: Scalar = GAMMA) -> Tensor:
    """Compute the radiance of encoded frames: linear light divided by the relative exposure time.

    Args:
        image: encoded frame(s), B×C×H×W or any other shape.
        time: exposure time relative to the shortest frame: a number, a 0-d tensor, or one value per sample (B,).
        encoding: ``"gamma"``, ``"srgb"`` or ``"linear"``.
        gamma: exponent of the ``gamma`` encoding.

    Returns:
        Radiance in the unit of the frame with time 1, shaped like ``image``.

    Raises:
        ArgumentError: for an unknown encoding, or a time or gamma that is not above 0.

    Example:
        >>> to_radiance(torch.tensor([1.0]), time=4.0)
        tensor([0.2500])
    """
    check_positive("time", time, _TIME_ADVICE)
    return linearize(image, encoding, gamma) / per_sample("time", time, image)


def expose(radiance: Tensor, time: Scalar, encoding: str = "gamma", gamma: Scalar = GAMMA, clip: bool = True) -> Tensor:
    """Simulate the picture a camera takes of ``radiance``: the inverse of :func:`to_radiance` up to saturation.

    Args:
        radiance: linear radiance, 1.0 at saturation of the frame with time 1.
        time: relative exposure time, as in :func:`to_radiance`.
        encoding: ``"gamma"``, ``"srgb"`` or ``"linear"``.
        gamma: exponent of the ``gamma`` encoding.
        clip: saturate at 1 and cut negative light, as a sensor does.

    Returns:
        Encoded picture, shaped like ``radiance``; in [0, 1] with ``clip``.

    Raises:
        ArgumentError: for an unknown encoding, or a time or gamma that is not above 0.

    Example:
        >>> expose(torch.tensor([0.1, 0.5]), time=4.0, encoding="linear")
        tensor([0.4000, 1.0000])
    """
    check_tensor("radiance", radiance)
    check_positive("time", time, _TIME_ADVICE)
    light = radiance * per_sample("time", time, radiance)
    return encode(light.clamp(0.0, 1.0) if clip else light, encoding, gamma)


@overload
def mu_law(x: float, mu: float = MU) -> float: ...
@overload
def mu_law(x: Tensor, mu: Scalar = MU) -> Tensor: ...
def mu_law(x: float | Tensor, mu: Scalar = MU) -> float | Tensor:
    r"""Compress linear radiance with the μ-law, :math:`\log(1 + \mu x) / \log(1 + \mu)`.

    Kalantari and Ramamoorthi, "Deep High Dynamic Range Imaging of Dynamic Scenes", SIGGRAPH 2017, equation 4; losses
    and the -μ metrics of the field are computed in this domain. 0 and 1 map to themselves. Below 0 the curve goes on
    as its tangent, so that values and gradients stay finite for any input and the function stays invertible.

    Args:
        x: linear radiance, a tensor of any shape or a number.
        mu: strength of the compression, above 0: a number, a 0-d tensor, or one value per sample (B,).

    Returns:
        Compressed values: a tensor for a tensor, a ``float`` for a number.

    Raises:
        ArgumentError: if ``mu`` is not a finite number above 0.

    Example:
        >>> round(mu_law(0.5), 4)
        0.9186
        >>> mu_law(torch.tensor([0.0, 0.01, 1.0]))
        tensor([0.0000, 0.4616, 1.0000])
    """
    check_positive("mu", mu, _MU_ADVICE)
    if not isinstance(x, Tensor):
        _check_number("x", x)
        return (math.log1p(float(mu) * x) if x >= 0 else float(mu) * x) / math.log1p(float(mu))
    check_tensor("x", x)
    mu = per_sample("mu", mu, x)
    scale = torch.log1p(mu) if isinstance(mu, Tensor) else math.log1p(mu)
    return torch.where(x < 0, mu * x, torch.log1p(mu * x.clamp(min=0.0))) / scale


@overload
def inverse_mu_law(y: float, mu: float = MU) -> float: ...
@overload
def inverse_mu_law(y: Tensor, mu: Scalar = MU) -> Tensor: ...
def inverse_mu_law(y: float | Tensor, mu: Scalar = MU) -> float | Tensor:
    r"""Linear radiance from μ-law values, :math:`((1 + \mu)^y - 1) / \mu`; the inverse of :func:`mu_law`.

    Args:
        y: compressed values, a tensor of any shape or a number.
        mu: strength of the compression, above 0: a number, a 0-d tensor, or one value per sample (B,).

    Returns:
        Linear radiance: a tensor for a tensor, a ``float`` for a number.

    Raises:
        ArgumentError: if ``mu`` is not a finite number above 0.

    Example:
        >>> round(inverse_mu_law(mu_law(0.25)), 12)
        0.25
    """
    check_positive("mu", mu, _MU_ADVICE)
    if not isinstance(y, Tensor):
        _check_number("y", y)
        scale = math.log1p(float(mu))
        return (math.expm1(scale * y) if y >= 0 else scale * y) / float(mu)
    check_tensor("y", y)
    mu = per_sample("mu", mu, y)
    rate = torch.log1p(mu) if isinstance(mu, Tensor) else math.log1p(mu)
    return torch.where(y < 0, rate * y, torch.expm1(rate * y.clamp(min=0.0))) / mu


def network_input(
    frames: Sequence[Tensor], times: Tensor | Sequence[float], encoding: str = "gamma", gamma: Scalar = GAMMA
) -> Tensor:
    """Build the 18 channels AFUNet reads: per frame the radiance (3), then the gamma-encoded frame (3).

    Args:
        frames: under-, normally and over-exposed frame, each B×3×H×W, encoded, 1.0 at saturation.
        times: their relative exposure times, shape (3,) or one row per sample (B, 3).
        encoding: how the frames are encoded. Published weights expect gamma-encoded frames, so ``srgb`` and ``linear``
            ones are linearised and encoded again as ``linear ** (1 / gamma)``.
        gamma: exponent of the gamma encoding.

    Returns:
        B×18×H×W in the dtype and on the device of the frames.

    Raises:
        TensorTypeError: for frames that are not floating-point tensors.
        ShapeError: unless there are three B×3×H×W frames of one shape and three times (per sample).
        ArgumentError: for an unknown encoding, or for a time or gamma that is not above 0. Times in a tensor on an
            accelerator are not looked at: that would wait for the device.

    Example:
        >>> frames = [torch.full((1, 3, 8, 8), value) for value in (0.25, 0.5, 1.0)]
        >>> network_input(frames, torch.tensor([1.0, 4.0, 16.0])).shape
        torch.Size([1, 18, 8, 8])
    """
    check_encoding(encoding, gamma)
    check_frames(frames, 3)
    times = exposure_times(times, frames[0])
    channels: list[Tensor] = []
    for frame, time in zip(frames, times.unbind(-1), strict=True):
        linear = linearize(frame, encoding, gamma)
        encoded = frame if encoding == "gamma" else encode(linear, "gamma", gamma)
        channels += [linear / per_sample("times", time, frame), encoded]
    return torch.cat(channels, dim=1)


def exposure_times(times: Tensor | Sequence[float], frame: Tensor, count: int = 3) -> Tensor:
    """Check relative exposure times and bring them to the device of a B×C×H×W frame: (count,) or (B, count).

    Raises:
        ShapeError: for another shape.
        ArgumentError: for a time that is not a finite number above 0, where that can be seen without waiting.

    Example:
        >>> exposure_times([1, 4, 16], torch.zeros(2, 3, 4, 4))
        tensor([ 1.,  4., 16.])
    """
    if not isinstance(times, Tensor):
        if isinstance(times, str) or not hasattr(times, "__len__"):
            raise TensorTypeError("times", f"{count} exposure times", repr(times))
        times = torch.as_tensor(times, dtype=frame.dtype, device="cpu")
    if times.ndim not in (1, 2) or times.shape[-1] != count or (times.ndim == 2 and times.shape[0] != frame.shape[0]):
        expected = f"shape ({count},) or ({frame.shape[0]}, {count})"
        raise ShapeError("times", expected, tuple(times.shape), "Give one time per frame.")
    if visible(times) and not bool(((times > 0) & (times < math.inf)).all()):
        advice = "Exposure times are relative and above 0; from exposure values in stops they are 2 ** ev."
        raise ArgumentError("times", "finite numbers above 0", times.tolist(), advice)
    return times.to(frame.device)


class _Encoded(nn.Module):
    """Base of the modules with an encoding, which is checked once at construction."""

    gamma: Scalar

    def __init__(self, encoding: str = "gamma", gamma: Scalar = GAMMA) -> None:
        super().__init__()
        check_encoding(encoding, gamma)
        self.encoding = encoding
        hold(self, gamma=gamma)

    def extra_repr(self) -> str:
        return f"encoding={self.encoding!r}, gamma={self.gamma}"


class Linearize(_Encoded):
    """Module twin of :func:`linearize`.

    Example:
        >>> Linearize(encoding="linear")(torch.tensor([0.5]))
        tensor([0.5000])
    """

    def forward(self, image: Tensor) -> Tensor:
        return linearize(image, self.encoding, self.gamma)


class Encode(_Encoded):
    """Module twin of :func:`encode`.

    Example:
        >>> Encode()(torch.tensor([1.0]))
        tensor([1.])
    """

    def forward(self, linear: Tensor) -> Tensor:
        return encode(linear, self.encoding, self.gamma)


class ToRadiance(_Encoded):
    """Module twin of :func:`to_radiance`; the time is given with each picture.

    Example:
        >>> ToRadiance()(torch.tensor([1.0]), 4.0)
        tensor([0.2500])
    """

    def forward(self, image: Tensor, time: Scalar) -> Tensor:
        return to_radiance(image, time, self.encoding, self.gamma)


class Expose(_Encoded):
    """Module twin of :func:`expose`; the time is given with each picture.

    Example:
        >>> Expose(encoding="linear")(torch.tensor([0.1]), 4.0)
        tensor([0.4000])
    """

    def __init__(self, encoding: str = "gamma", gamma: Scalar = GAMMA, clip: bool = True) -> None:
        super().__init__(encoding, gamma)
        self.clip = clip

    def forward(self, radiance: Tensor, time: Scalar) -> Tensor:
        return expose(radiance, time, self.encoding, self.gamma, self.clip)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, clip={self.clip}"


class _MuCurve(nn.Module):
    """Base of both μ-law modules; their strength is checked once at construction."""

    mu: Scalar

    def __init__(self, mu: Scalar = MU) -> None:
        super().__init__()
        check_positive("mu", mu, _MU_ADVICE)
        hold(self, mu=mu)

    def extra_repr(self) -> str:
        return f"mu={self.mu}"


class MuLaw(_MuCurve):
    """Module twin of :func:`mu_law`.

    Example:
        >>> MuLaw()(torch.tensor([0.01]))
        tensor([0.4616])
    """

    def forward(self, x: Tensor) -> Tensor:
        return mu_law(x, self.mu)


class InverseMuLaw(_MuCurve):
    """Module twin of :func:`inverse_mu_law`.

    Example:
        >>> InverseMuLaw()(torch.tensor([1.0]))
        tensor([1.0000])
    """

    def forward(self, y: Tensor) -> Tensor:
        return inverse_mu_law(y, self.mu)


def check_encoding(encoding: str, gamma: Scalar = GAMMA) -> None:
    """Refuse an unknown encoding or a gamma that is not above 0.

    Raises:
        ArgumentError: naming the value.
    """
    if encoding not in ENCODINGS:
        raise ArgumentError("encoding", f"one of {', '.join(ENCODINGS)}", repr(encoding))
    check_positive("gamma", gamma, "Cameras use about 2.2.")


def _power(x: Tensor, exponent: Scalar) -> Tensor:
    """``max(x, 0) ** exponent`` with a gradient that is finite at 0, for the base and for the exponent."""
    if not isinstance(exponent, Tensor) and (exponent >= 1 or not torch.is_grad_enabled()):
        return x.clamp(min=0.0) ** exponent
    # An infinite slope times a zero incoming gradient is NaN, so the power must not see the zeros at all. NaN stays.
    dark = x <= 0
    return torch.where(dark, 0.0, torch.where(dark, 1.0, x) ** exponent)


def _check_number(name: str, value: object) -> None:
    if not is_number(value):
        raise TensorTypeError(name, "a floating-point tensor or a number", f"a {type(value).__name__}")
