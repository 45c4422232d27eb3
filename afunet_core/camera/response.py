"""The response of a camera: from the values it stores to light, estimated from a bracket, kept in a small file.

A bracket shows every point of a scene at known ratios of exposure, so the curve that makes all frames agree can be
found from it (Debevec and Malik, "Recovering High Dynamic Range Radiance Maps from Photographs", SIGGRAPH 1997). Here
the unknown is how the logarithm of the curve departs from the usual gamma, which is smooth even in the shadows; places
that moved are found by their residuals and lose their say.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.errors import ArgumentError, ImageFileError
from afunet_core.radiometry import GAMMA

__all__ = ["ResponseCurve", "estimate_response", "load_response"]

LEVELS = 256  # values of a curve that is saved
_KNOTS = 48  # values of the curve that are estimated
_SMOOTHNESS = 30.0  # weight of the curvature of its departure from the gamma
_RECORDED = (0.05, 0.98)  # encoded values that are used; wider than elsewhere, see `saturation`
_PIXELS = 4000  # pixels looked at, about
_ROUNDS = 8  # reweighted least squares
_TOLERANCE = 0.05  # residual, in natural logarithms of exposure, from which a value is taken for something that moved


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
        return self._per_channel(encoded, lambda values, row: interpolate(values, row.to(values)))

    def encode(self, light: Tensor) -> Tensor:
        """The stored values of linear light in [0, 1]: the inverse of calling the curve."""

        def inverse(values: Tensor, row: Tensor) -> Tensor:
            known = row.to(values)
            index = torch.searchsorted(known, values.detach().contiguous()).clamp(1, len(row) - 1)
            low, high = known[index - 1], known[index]
            return ((index - 1) + (values - low) / (high - low)) / (len(row) - 1)

        return self._per_channel(light.clamp(0.0, 1.0), inverse)

    def _per_channel(self, image: Tensor, function: Any) -> Tensor:
        if len(self.light) == 1:
            return function(image, self.light[0])
        if image.ndim != 4 or image.shape[1] != 3:
            raise ArgumentError("image", "B×3×H×W for a curve of three channels", tuple(image.shape))
        return torch.stack([function(image[:, c], row) for c, row in enumerate(self.light)], dim=1)

    def save(self, path: str | Path) -> None:
        """Write a small JSON file, or CSV (stored value, then light of each channel) by the name's ending.

        Raises:
            ImageFileError: the file cannot be written.
        """
        path = Path(path)
        rows = [[float(f"{value:.9g}") for value in row] for row in self.light.tolist()]
        try:
            if path.suffix.lower() == ".csv":
                with path.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.writer(file)
                    writer.writerow(["value", "light"] if len(rows) == 1 else ["value", "red", "green", "blue"])
                    count = len(rows[0]) - 1
                    writer.writerows([i / count, *values] for i, values in enumerate(zip(*rows, strict=True)))
            else:
                path.write_text(json.dumps({"afunet": "response", "source": self.source, "light": rows}) + "\n")
        except OSError as error:
            raise ImageFileError(f"{path}: cannot be written: {error.strerror or error}.") from error


def load_response(path: str | Path) -> ResponseCurve:
    """A curve from a file that :meth:`ResponseCurve.save` wrote.

    Raises:
        ImageFileError: the file is missing, or holds no response curve.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            table = [[float(word) for word in row] for row in list(csv.reader(text.splitlines()))[1:] if row]
            light = torch.tensor(table, dtype=torch.float64).mT[1:]
        else:
            light = torch.tensor(json.loads(text)["light"], dtype=torch.float64)
        return ResponseCurve(light, source=path.name)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        advice = "Write one with ResponseCurve.save() or `afunet response`."
        raise ImageFileError(f"{path}: holds no response curve. {advice}") from error


@torch.no_grad()
def estimate_response(
    frames: Sequence[Tensor], times: Sequence[float] | Tensor, *, shared: bool = False, smoothness: float = _SMOOTHNESS
) -> ResponseCurve:
    """The curve under which the frames of a bracket agree.

    Args:
        frames: two or more, B×3×H×W, as stored, in [0, 1]; registered if the camera moved.
        times: exposure times in any unit.
        shared: one curve for all channels.
        smoothness: how strongly departures from gamma 2.2 are held smooth; from 3 to 300 it hardly matters.

    Returns:
        A strictly rising curve of 256 values, 1 at saturation. Only its shape can be known: what lies beyond the
        largest value that is recorded unsaturated is extrapolated.

    Raises:
        ArgumentError: too few pixels are recorded by two frames, or the times do not fit the frames.

    Example:
        >>> light = torch.rand(1, 3, 64, 64).repeat_interleave(4, -1).repeat_interleave(4, -2) ** 3
        >>> curve = estimate_response([(light * t).clamp(0, 1) ** (1 / 2.0) for t in (0.25, 0.5, 1.0)], (1, 2, 4))
        >>> abs(float(curve(torch.full((1, 3, 1, 1), 0.5))[0, 0]) - 0.25) < 0.01
        True
    """
    seconds = [float(t) for t in times]
    if len(seconds) != len(frames) or len(frames) < 2:
        raise ArgumentError("times", f"one for each of two or more frames ({len(frames)})", len(seconds))
    is_grey = all(frame.shape[1] == 1 or bool((frame[:, :1] == frame).all()) for frame in frames)
    single = [_flat_samples([frame[:, c : c + 1].double() for frame in frames]) for c in range(1 if is_grey else 3)]
    log_times = torch.tensor(seconds, dtype=torch.float64).log()
    rows = [_solve(samples, log_times, smoothness) for samples in ([torch.cat(single)] if shared else single)]
    return ResponseCurve(torch.stack(rows), source="estimated")


def _flat_samples(frames: Sequence[Tensor]) -> Tensor:
    """Mean values, M×N, of small even patches of all brightnesses: noise and quantisation average out."""
    height, width = frames[0].shape[-2:]
    size = 3 if min(height, width) >= 48 else 1
    stack = torch.stack([frame[:, 0] for frame in frames], 1)
    means = F.avg_pool2d(stack, size)
    ranges = F.max_pool2d(stack, size) + F.max_pool2d(-stack, size)
    values = means.transpose(0, 1).flatten(1).T
    uneven = ranges.amax(1).flatten()
    recorded = (((values > _RECORDED[0]) & (values < _RECORDED[1])).sum(1)) >= 2
    values, uneven = values[recorded], uneven[recorded]
    if len(values) > 4 * _PIXELS // 10:
        even = uneven <= uneven.kthvalue(max(1, int(0.6 * len(uneven)))).values
        values = values[even]
    # As many from every brightness, in a fixed order: the sky must not outvote the shadows.
    order = values.mean(1).argsort()
    bins = (values.mean(1)[order] * 64).long()
    rank = torch.arange(len(order)) - torch.searchsorted(bins, bins)
    count = torch.bincount(bins, minlength=65)[bins]
    stride = (count // (_PIXELS // 64)).clamp(min=1)
    return values[order[rank % stride == 0]]


def _solve(values: Tensor, log_times: Tensor, smoothness: float) -> Tensor:
    """The light at `LEVELS` values from samples M×N: weighted least squares for log light, repeated without outliers.

    The radiance of every sample is eliminated: its best value is the weighted mean over its frames.
    """
    if len(values) < 2 * _KNOTS:
        advice = "Use frames closer in exposure, or give the curve of the camera."
        raise ArgumentError("frames", "pixels that two frames record unsaturated", f"{len(values)} of them", advice)
    recorded = (values > _RECORDED[0]) & (values < _RECORDED[1])
    hat = torch.where(recorded, torch.minimum(values, 1 - values), 0.0)
    position = values.clamp(0, 1) * (_KNOTS - 1)
    left = position.floor().clamp(max=_KNOTS - 2).long()
    share = (position - left)[..., None]
    basis = F.one_hot(left, _KNOTS) * (1 - share) + F.one_hot(left + 1, _KNOTS) * share
    target = GAMMA * values.clamp(min=1e-3).log() - log_times
    # Frames a fixed ratio apart cannot tell a curve from one with ripples of that period in log light: smoothness must.
    # Real curves turn fast in the shadows only, so the change of bending counts in proportion to the value.
    bend = torch.eye(_KNOTS, dtype=values.dtype).diff(n=3, dim=0)
    bend = bend * torch.linspace(0.03, 0.97, len(bend), dtype=values.dtype)[:, None]
    weight, departure = hat, torch.zeros(_KNOTS, dtype=values.dtype)
    for _ in range(_ROUNDS):
        total = weight.sum(1, keepdim=True).clamp(min=1e-12)
        centred = basis - (weight[..., None] * basis).sum(1, keepdim=True) / total[..., None]
        aim = target - (weight * target).sum(1, keepdim=True) / total
        weighted = (weight[..., None] * centred).flatten(0, 1)
        normal = weighted.T @ centred.flatten(0, 1)
        scale = float(normal.diagonal().mean())
        # The departure at mid-grey is held: a common factor of light cannot be known.
        regular = smoothness * scale * (bend.T @ bend)
        regular[_KNOTS // 2, _KNOTS // 2] += scale
        regular = regular + 1e-9 * scale * torch.eye(_KNOTS, dtype=values.dtype)
        departure = torch.linalg.solve(normal + regular, -weighted.T @ aim.flatten())
        residual = (centred @ departure) + aim
        spread = max(_TOLERANCE, 2.0 * float(residual[weight > 0].abs().median()))
        weight = hat / (1 + (residual / spread).square()).square()
    return _rising(departure)


def _rising(departure: Tensor) -> Tensor:
    """From the departure at the knots to a strictly rising curve from 0 to 1."""
    grid = torch.linspace(0, 1, LEVELS, dtype=departure.dtype)
    curve = interpolate(grid, departure)
    light = torch.where(grid > 0, grid.clamp(min=1e-9) ** GAMMA * curve.exp(), 0.0)
    least = 1e-7 * torch.arange(LEVELS, dtype=light.dtype) * light[-1]
    light = light.cummax(0).values + least
    return (light - light[0]) / (light[-1] - light[0])


def interpolate(values: Tensor, table: Tensor) -> Tensor:
    """Look values up in a table evenly spaced over [0, 1], linear in between; differentiable.

    Example:
        >>> interpolate(torch.tensor([0.25, 2.0]), torch.tensor([0.0, 1.0, 4.0]))
        tensor([0.5000, 4.0000])
    """
    position = values.clamp(0.0, 1.0) * (len(table) - 1)
    left = position.detach().floor().clamp(max=len(table) - 2).long()
    return torch.lerp(table[left], table[left + 1], position - left)


def curve_from(response: Any, frames: Sequence[Tensor], times: Sequence[float]) -> ResponseCurve:
    """A curve in whichever way the caller states it: itself, a file, or ``"estimate"``.

    Raises:
        ArgumentError: for anything else.
    """
    if isinstance(response, ResponseCurve):
        return response
    if response == "estimate":
        return estimate_response(frames, times)
    if isinstance(response, str | Path):
        return load_response(response)
    raise ArgumentError("response", "a ResponseCurve, a file, 'estimate' or 'auto'", repr(response))
