"""Pixels of any kind of array or tensor as encoded B×3×H×W tensors in [0, 1]."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from afunet_core.errors import ArgumentError, BracketError, ShapeError

_SUSPICIOUS_MAXIMA = {2**bits - 1: bits for bits in (10, 12, 14)}
_OVERSHOOT = 1.5  # resampling overshoots 1.0 a little; a display-encoded float beyond this was never scaled to [0, 1]

_CONVERT = "Convert the frame to floats in [0, 1] or unsigned integers."
_LAYOUT = "Arrays are H×W, H×W×3 or, with alpha, H×W×2 or H×W×4, tensors H×W, C×H×W or B×C×H×W with 1 or 3 channels."
_TO_CALLER = 5  # stack levels from a warning here to the caller of ``Bracket``


@dataclass(frozen=True)
class PixelFormat:
    """Relation of stored numbers to light."""

    encoding: str = "gamma"  # ``"gamma"``, ``"srgb"`` or ``"linear"``
    # significant bits of integer data (12 for 12-bit data in uint16), or of counts held in floats; ``None`` takes the
    # size of the integer type, and takes floats as scaled to [0, 1]
    bit_depth: int | None = None
    # stored value of no light, in the units of the data; a tensor B×C×H×W where it differs from pixel to pixel (a dark
    # frame)
    black_level: float | Tensor = 0.0
    # stored value of saturation, where it is not the largest number of the type or bit depth
    white_level: float | None = None

    @property
    def black(self) -> float:
        """The black level as one number: the median of a dark frame."""
        return float(self.black_level.median()) if isinstance(self.black_level, Tensor) else self.black_level


class _Stored(NamedTuple):
    """The numbers of one frame as they came, B×C×H×W, and the bits of their type if that is an unsigned integer."""

    pixels: Tensor
    bits: int | None


def to_encoded_frames(
    frames: Sequence[Any], names: Sequence[str], pixel_format: PixelFormat
) -> tuple[list[Tensor], bool, float]:
    """Convert frames to B×3×H×W tensors in [0, 1]; tell if they were grey, and the stored value of saturation.

    Floating-point tensors keep their dtype, device and graph; everything else becomes float32. Values above saturation
    are clipped; NaN, infinities and negative values are replaced, with a warning that counts them. Linear frames from
    which a black level is taken keep what noise pushed below it: cutting that off would raise the mean of dark regions.
    """
    stored = [read_stored(frame, name) for frame, name in zip(frames, names, strict=True)]
    _check_alike(stored, names)
    _warn_of_unstated_bit_depth(stored, pixel_format)
    encoded = [_scale(frame, name, pixel_format) for frame, name in zip(stored, names, strict=True)]
    is_grey = all(frame.shape[1] == 1 for frame in encoded)
    frames_of_three = [frame.expand(-1, 3, -1, -1) if frame.shape[1] == 1 else frame for frame in encoded]
    return frames_of_three, is_grey, _white(stored[0], names[0], pixel_format)


def read_stored(frame: Any, name: str) -> _Stored:
    """Read the numbers of an array or tensor of any layout; ``name`` is for messages."""
    stored = _from_tensor(frame, name) if isinstance(frame, Tensor) else _from_array(frame, name)
    if 0 in stored.pixels.shape:
        raise ShapeError(name, "at least one pixel", tuple(np.shape(frame)), "The frame is empty.")
    return stored


def _from_tensor(frame: Tensor, name: str) -> _Stored:
    if frame.dtype == torch.bool or frame.is_complex():
        raise BracketError(name, "real numbers", frame.dtype, _CONVERT)
    pixels = frame[(None,) * (4 - frame.ndim)] if 2 <= frame.ndim <= 3 else frame
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise ShapeError(name, "a tensor B×3×H×W, B×1×H×W, C×H×W or H×W", tuple(frame.shape), _LAYOUT)
    if frame.is_floating_point():
        return _Stored(pixels, None)
    unsigned = not frame.dtype.is_signed
    return _Stored(pixels.to(torch.int64), torch.iinfo(frame.dtype).bits if unsigned else None)


def _from_array(frame: Any, name: str) -> _Stored:
    try:
        array = np.asarray(frame)
    except Exception as error:
        advice = f"It could not be turned into an array: {error}."
        raise BracketError(name, "an array or a tensor", type(frame).__name__, advice) from error
    if array.dtype.kind not in "uif":
        raise BracketError(name, "real numbers", f"{array.dtype} data", _CONVERT)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ShapeError(name, "an array H×W or H×W×1 to H×W×4", array.shape, _LAYOUT)
    colours = {1: 1, 2: 1}.get(array.shape[-1], 3)  # what comes after them is alpha
    channels_last = array[..., None] if array.ndim == 2 else array[..., :colours]
    kind, bits = array.dtype.kind, array.dtype.itemsize * 8
    holder = (
        np.float32 if kind == "f" else np.uint8 if array.dtype == np.uint8 else np.int32 if bits <= 16 else np.int64
    )
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, which is counted and replaced later
        channels_first = np.ascontiguousarray(channels_last.transpose(2, 0, 1), dtype=holder)
    if not channels_first.flags.writeable or np.shares_memory(channels_first, array):
        channels_first = channels_first.copy()  # the bracket must not change when its caller's array does
    return _Stored(torch.from_numpy(channels_first)[None], bits if kind == "u" else None)


def _check_alike(stored: Sequence[_Stored], names: Sequence[str]) -> None:
    first = stored[0].pixels
    for frame, name in zip(stored, names, strict=True):
        pixels = frame.pixels
        if pixels.shape[-2:] != first.shape[-2:]:
            advice = "All frames of a bracket need the same height and width; crop or resize them."
            raise ShapeError(name, f"{_size(first)} like {names[0]}", _size(pixels), advice)
        if pixels.shape[0] != first.shape[0]:
            advice = "Every frame needs the same batch size."
            raise ShapeError(name, f"a batch of {first.shape[0]} like {names[0]}", pixels.shape[0], advice)
        if pixels.device != first.device:
            raise BracketError(
                name, f"a tensor on {first.device} like {names[0]}", pixels.device, "Move it with .to()."
            )


def _size(pixels: Tensor) -> str:
    return f"{pixels.shape[-2]}×{pixels.shape[-1]} (height×width)"


def _warn_of_unstated_bit_depth(stored: Sequence[_Stored], pixel_format: PixelFormat) -> None:
    """10-, 12- and 14-bit data in uint16 give themselves away by where they saturate."""
    stated = pixel_format.bit_depth is not None or pixel_format.white_level is not None
    if stated or any(frame.bits != 16 for frame in stored):
        return
    largest = max(int(frame.pixels.max()) for frame in stored)
    if largest in _SUSPICIOUS_MAXIMA:
        bits = _SUSPICIOUS_MAXIMA[largest]
        message = (
            f"The largest value of these 16-bit frames is {largest}: if they hold {bits}-bit data, state bit_depth."
        )
        warnings.warn(message, UserWarning, stacklevel=_TO_CALLER)


def _scale(stored: _Stored, name: str, pixel_format: PixelFormat) -> Tensor:
    """Stored numbers to [0, 1]: black level off, saturation to 1.0, impossible values replaced."""
    pixels, bits = stored
    white = _white(stored, name, pixel_format)
    if pixels.is_floating_point():
        pixels = _sane(pixels, name)
        _check_scaled(pixels, name, white, pixel_format)
    else:
        if pixel_format.white_level is None and int(pixels.max()) > white:
            advice = "State the true bit_depth; data shifted to the top of the word need the full 16."
            raise BracketError(
                name, f"values up to {white:g} (bit_depth={pixel_format.bit_depth})", int(pixels.max()), advice
            )
        if bits is None:
            pixels = _sane(pixels, name)
        pixels = pixels.to(torch.float64 if white > 2**24 else torch.float32)
    pixels = _without_black(pixels, white, pixel_format)
    has_black = isinstance(pixel_format.black_level, Tensor) or pixel_format.black_level > 0
    lowest = -1.0 if has_black and pixel_format.encoding == "linear" else 0.0
    if float(pixels.detach().amin()) < lowest or float(pixels.detach().amax()) > 1.0:
        pixels = pixels.clamp(lowest, 1.0)
    return pixels if stored.pixels.is_floating_point() else pixels.to(torch.float32)


def _without_black(pixels: Tensor, white: float, pixel_format: PixelFormat) -> Tensor:
    """Stored numbers in units of saturation above black. What is saturated stays so, however dark its dark frame."""
    black, level = pixel_format.black_level, pixel_format.black
    if not level < white:
        raise ArgumentError("black_level", f"less than saturation ({white:g})", level)
    if isinstance(black, Tensor):
        return torch.where(pixels >= white, 1.0, (pixels - black.to(pixels)) / (white - level))
    if black:
        return (pixels - black) / (white - black)
    return pixels / white if white != 1.0 else pixels


def _white(stored: _Stored, name: str, pixel_format: PixelFormat) -> float:
    """The stored value of saturation."""
    depth, bits = pixel_format.bit_depth, stored.bits
    if pixel_format.white_level is not None:
        return pixel_format.white_level
    if stored.pixels.is_floating_point():
        return float(2**depth - 1) if depth else 1.0
    if depth is None and bits is None:
        advice = "Their type does not tell where they saturate: state bit_depth=, or convert to uint8 or uint16."
        raise BracketError(name, "unsigned integers or floats", "signed integers", advice)
    if depth is not None and bits is not None and depth > bits:
        raise BracketError(name, f"at most {bits} bits", f"bit_depth={depth}", "Leave it out.")
    return float(2 ** (depth or bits or 0) - 1)


def _sane(pixels: Tensor, name: str) -> Tensor:
    """NaN and negative values become 0, +infinity 1 (saturation after clipping); a warning says how many there were."""
    values = pixels.detach()
    counts = {
        "NaN": int(values.isnan().sum()),
        "infinite": int(values.isinf().sum()),
        "negative": int((values < 0).sum() - values.isneginf().sum()),
    }
    if not any(counts.values()):
        return pixels
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    message = f"{name}: {found} of {values.numel()} values; NaN and negative become 0, infinite becomes saturation."
    warnings.warn(message, UserWarning, stacklevel=_TO_CALLER)
    if not pixels.is_floating_point():
        return pixels.clamp(min=0)
    return pixels.nan_to_num(nan=0.0, neginf=0.0).clamp(min=0.0)


def _check_scaled(pixels: Tensor, name: str, white: float, pixel_format: PixelFormat) -> None:
    """Refuse display-encoded floats which were never scaled; warn of linear ones that are nearly all beyond
    saturation."""
    values = pixels.detach()
    finite_peak = float(torch.where(values < torch.finfo(values.dtype).max, values, 0.0).amax())
    if pixel_format.encoding != "linear" and finite_peak > _OVERSHOOT * white:
        advice = "Divide by the value of saturation (255 for 8 bits), state bit_depth=, or encoding='linear' if it is."
        raise BracketError(
            name, f"{pixel_format.encoding}-encoded values in [0, {white:g}]", f"{finite_peak:g}", advice
        )
    if pixel_format.encoding == "linear" and float((values > white).float().mean()) > 0.5:
        message = (
            f"{name}: most values are beyond saturation ({white:g}). Divide the frames by the value of saturation."
        )
        warnings.warn(message, UserWarning, stacklevel=_TO_CALLER)
