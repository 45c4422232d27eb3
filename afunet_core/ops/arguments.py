"""Checks of arguments that the operators share; all of them work on symbols, so that compiled code can change values.

Looking into a tensor would wait for its device and break tracing. So only plain numbers are checked against a range,
and tensors only for their type and shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from afunet_core.errors import ArgumentError, ShapeError, TensorTypeError

# A number, a 0-d tensor, one value per sample (B,), or a tensor with as many axes as the image.
Scalar: TypeAlias = "float | Tensor"


def check_tensor(name: str, value: object) -> None:
    """Refuse anything but a floating-point tensor."""
    if not isinstance(value, Tensor):
        advice = "Convert an array with torch.from_numpy(array).float()." if hasattr(value, "__array__") else ""
        raise TensorTypeError(name, "a floating-point tensor", f"a {type(value).__name__}", advice)
    if not value.is_floating_point():
        advice = "Scale counts to 1.0 at saturation first, for example image.float() / 255."
        raise TensorTypeError(name, "a floating-point tensor", value.dtype, advice)


def check_batch(name: str, value: object) -> None:
    """Refuse anything but a floating-point tensor B×C×H×W."""
    check_tensor(name, value)
    assert isinstance(value, Tensor)
    if value.ndim != 4:
        raise ShapeError(name, "B×C×H×W", tuple(value.shape))


def check_frames(frames: Any, count: int | None = None, channels: int | None = 3) -> None:
    """Refuse anything but ``count`` frames (any number if ``None``) of one shape, B×``channels``×H×W."""
    if isinstance(frames, str) or not hasattr(frames, "__len__") or not hasattr(frames, "__getitem__"):
        raise TensorTypeError("frames", "a sequence of floating-point tensors", f"a {type(frames).__name__}")
    if len(frames) != count if count else len(frames) == 0:
        expected = f"{count} frames (under, normal, over)" if count else "at least one frame"
        raise ShapeError("frames", expected, len(frames), "Choose the frames of the bracket.")
    for index in range(len(frames)):
        check_tensor(f"frames[{index}]", frames[index])
    shape = frames[0].shape
    for index, frame in enumerate(frames):
        if frame.ndim != 4 or frame.shape != shape or (channels is not None and frame.shape[1] != channels):
            expected = f"B×{channels or 'C'}×H×W like the other frames"
            raise ShapeError(f"frames[{index}]", expected, tuple(frame.shape), "Match the sizes.")


def check_positive(name: str, value: object, advice: str = "") -> None:
    """Refuse a number that is not above 0 and finite, and anything that is neither number nor floating tensor."""
    _check_number(name, value, lambda number: number > 0, "a finite number above 0", advice)


def check_not_negative(name: str, value: object) -> None:
    """Refuse a number below 0 or not finite, and anything that is neither number nor floating tensor."""
    _check_number(name, value, lambda number: number >= 0, "a finite number of at least 0")


def check_finite(name: str, value: object, expected: str = "a finite number") -> None:
    """Refuse a number that is not finite, and anything that is neither number nor floating tensor."""
    _check_number(name, value, lambda number: -math.inf < number, expected)


def _check_number(name: str, value: Any, allows: Callable[[Any], bool], expected: str, advice: str = "") -> None:
    if isinstance(value, Tensor):
        check_tensor(name, value)
    elif not (is_number(value) and allows(value) and value < math.inf):
        raise ArgumentError(name, expected, value if isinstance(value, (int, float)) else repr(value), advice)


def per_sample(name: str, value: Scalar, image: Tensor) -> Scalar:
    """Shape a parameter to broadcast over ``image``: one value per sample (B,) becomes B×1×1×1, of its dtype."""
    if not isinstance(value, Tensor):
        return value
    value = value.to(image)
    if value.ndim != 1 or image.ndim < 2:
        return value
    if value.shape[0] not in (1, image.shape[0]):
        raise ShapeError(name, f"one value, or one for each of {image.shape[0]} samples", tuple(value.shape))
    return value.reshape(-1, *[1] * (image.ndim - 1))


def per_result(name: str, value: Scalar, image: Tensor) -> Scalar:
    """Shape a parameter to broadcast over results of one number a sample, (B,)."""
    shaped = per_sample(name, value, image)
    return shaped.flatten() if isinstance(shaped, Tensor) else shaped


def visible(values: Tensor) -> bool:
    """Return True if values can be looked at: on a CPU, not traced, not fake, not inside vmap."""
    if values.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return type(values) in (Tensor, nn.Parameter) and not torch._C._functorch.is_functorch_wrapped_tensor(values)


def hold(module: nn.Module, **values: Any) -> None:
    """Set parameters of an operator on its module: a Parameter trains with it, another tensor moves with it."""
    for name, value in values.items():
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            module.register_buffer(name, value)
        else:
            setattr(module, name, value)


def is_number(value: object) -> bool:
    """Return True for anything that stands for one number."""
    # NumPy's own numbers and symbols of torch.compile have __float__; so has an array, which is refused with its type.
    # A tuple of types, since the compiler of older PyTorch knows no union of them.
    return isinstance(value, (int, float)) or (hasattr(value, "__float__") and not hasattr(value, "__len__"))
