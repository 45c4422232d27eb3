"""Errors a user can act on: each names the argument, what was expected, what was found, and what to do."""

from __future__ import annotations

__all__ = [
    "AFUNetError",
    "ArgumentError",
    "BracketError",
    "CheckpointError",
    "DependencyError",
    "ExposureError",
    "ImageFileError",
    "MergeCancelled",
    "ShapeError",
    "TensorTypeError",
]


class AFUNetError(Exception):
    """Base of every error raised on purpose by this package."""


class ArgumentError(AFUNetError, ValueError):
    """A value that cannot be used.

    Args:
        argument: the name of the offending argument as the caller wrote it.
        expected: what would have been accepted.
        actual: what was given.
        advice: what the caller can do about it.

    Example:
        >>> print(ArgumentError("mu", "a number above 0", -1.0, "Use 5000, the value of the field."))
        mu: expected a number above 0, got -1.0. Use 5000, the value of the field.
    """

    def __init__(self, argument: str, expected: str, actual: object, advice: str = "") -> None:
        self.argument, self.expected, self.actual, self.advice = argument, expected, actual, advice
        super().__init__(f"{argument}: expected {expected}, got {actual}. {advice}".rstrip())


class ShapeError(ArgumentError):
    """A tensor or array of the wrong shape."""


class TensorTypeError(ArgumentError, TypeError):
    """A value of the wrong type where a floating-point tensor is needed: an array, None, a tensor of integers."""


class BracketError(ArgumentError):
    """Frames that do not make a bracket."""


class ExposureError(BracketError):
    """Exposures that are missing, impossible, or contradict the brightness of the frames."""


class CheckpointError(AFUNetError, ValueError):
    """A weights file that is not an AFUNet checkpoint, is damaged, or would execute code."""


class ImageFileError(AFUNetError, OSError):
    """An image file that cannot be read or written."""


class DependencyError(AFUNetError, ImportError):
    """An optional dependency that is not installed; the message names the extra to install."""


class MergeCancelled(AFUNetError):
    """The caller asked for the merge to stop."""
