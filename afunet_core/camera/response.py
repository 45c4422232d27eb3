"""The response of a camera: from the values it stores to light, kept in a small file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from afunet_core.errors import ArgumentError, ImageFileError


@dataclass(frozen=True)
class ResponseCurve:
    """Light as a function of the stored value.

    Raises:
        ArgumentError: unless there are one or three rows of finite numbers that rise strictly from 0 to 1.

    Example:
        >>> curve = ResponseCurve(torch.linspace(0, 1, 256)[None] ** 2.2)
        >>> round(float(curve(torch.tensor(0.5))), 3)
        0.218
    """

    # C×N, for each channel (one for all, or red, green, blue) the linear light at N values evenly spaced from 0 to 1;
    # rises from 0 to 1
    light: Tensor
    source: str = "given"  # where it came from, for provenance

    def __post_init__(self) -> None:
        light = torch.as_tensor(self.light, dtype=torch.float64)
        if light.ndim != 2 or light.shape[0] not in (1, 3) or light.shape[1] < 2:
            raise ArgumentError("light", "one or three rows of at least 2 values", f"shape {tuple(light.shape)}")
        ends = torch.stack([light[:, 0], light[:, -1] - 1]).abs().max()
        if not (bool(torch.isfinite(light).all()) and bool((light.diff(dim=1) > 0).all()) and float(ends) < 1e-6):
            advice = "Divide by the last value; where a curve is flat, no light can be told from a value."
            raise ArgumentError("light", "finite values that rise strictly from 0 to 1", "others", advice)
        object.__setattr__(self, "light", light)

    def __call__(self, encoded: Tensor) -> Tensor:
        """Linear light of stored values in [0, 1], B×C×H×W (or any shape for a curve of one row); differentiable."""
        if len(self.light) == 1:
            return interpolate(encoded, self.light[0].to(encoded))
        if encoded.ndim != 4 or encoded.shape[1] != 3:
            raise ArgumentError("image", "B×3×H×W for a curve of three channels", tuple(encoded.shape))
        return torch.stack([interpolate(encoded[:, c], row.to(encoded)) for c, row in enumerate(self.light)], dim=1)

    def save(self, path: str | Path) -> None:
        """Write a small JSON file.

        Raises:
            ImageFileError: the file cannot be written.
        """
        rows = [[float(f"{value:.9g}") for value in row] for row in self.light.tolist()]
        try:
            Path(path).write_text(json.dumps({"afunet": "response", "source": self.source, "light": rows}) + "\n")
        except OSError as error:
            raise ImageFileError(f"{path}: cannot be written: {error.strerror or error}.") from error


def load_response(path: str | Path) -> ResponseCurve:
    """A curve from a file that :meth:`ResponseCurve.save` wrote.

    Raises:
        ImageFileError: the file is missing, or holds no response curve.
    """
    try:
        light = torch.tensor(json.loads(Path(path).read_text(encoding="utf-8-sig"))["light"], dtype=torch.float64)
        return ResponseCurve(light, source=Path(path).name)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        advice = "Write one with ResponseCurve.save() or `afunet response`."
        raise ImageFileError(f"{path}: holds no response curve. {advice}") from error


def interpolate(values: Tensor, table: Tensor) -> Tensor:
    """Look values up in a table evenly spaced over [0, 1], linear in between; differentiable.

    Example:
        >>> interpolate(torch.tensor([0.25, 2.0]), torch.tensor([0.0, 1.0, 4.0]))
        tensor([0.5000, 4.0000])
    """
    position = values.clamp(0.0, 1.0) * (len(table) - 1)
    left = position.detach().floor().clamp(max=len(table) - 2).long()
    return torch.lerp(table[left], table[left + 1], position - left)
