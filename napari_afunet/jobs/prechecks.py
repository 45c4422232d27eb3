"""Checks before a merge: lost highlights, wrong exposures, the time it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_afunet.jobs.summary import duration
from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from napari_afunet.jobs.merge_job import Outcome

__all__ = ["bit_depth_hint", "black_level_hint", "bracket_warnings", "forecast", "remember_speed"]

_SAMPLE = 200
"""Pixels along each side of the grid that is looked at."""
_OFFSET = 0.003
"""Share of white from which on the darkest value is an offset: sCMOS cameras have 100 of 65535 or of 4095 counts."""
_LONG = 60
"""Seconds from which on a merge is worth advice."""
_GIGABYTE = 1024**3
_MUCH_MEMORY = 0.5 * _GIGABYTE
"""Memory from which on it is told."""
_speeds: dict[tuple[Any, ...], float] = {}
"""Seconds a megapixel of merges in this session, by kind."""


def bracket_warnings(source: BracketSource, settings: MergeSettings) -> list[str]:
    """Sentences about what no merge can mend; only frames that are in memory are looked at."""
    pixels = _samples(source)
    exposures = settings.ev or settings.times
    if exposures is None or not pixels or source.frames[0].dtype.kind not in "uf":
        return []
    order = np.argsort(exposures)
    warnings = []
    white = _saturation(source.frames[0].dtype, settings.bit_depth)
    lost = float(np.mean(pixels[order[0]] >= white))
    if lost > 0.01:
        name = source.names[order[0]]
        warnings.append(f"{lost:.0%} of “{name}”, the shortest frame, is saturated: those highlights are lost.")
    brightness = [float(np.mean(pixels[index])) for index in order]
    for darker, brighter in zip(range(len(order) - 1), range(1, len(order)), strict=True):
        if brightness[darker] > 1.02 * brightness[brighter]:
            names = source.names[order[darker]], source.names[order[brighter]]
            warnings.append(f"“{names[0]}” is brighter than “{names[1]}” but should be darker: check the exposures.")
    return warnings


def bit_depth_hint(source: BracketSource, settings: MergeSettings) -> int | None:
    """Return the bits that 16-bit data seem to use, if they are fewer and the settings do not say so."""
    pixels = _samples(source)
    if settings.bit_depth is not None or not pixels or source.frames[0].dtype != np.uint16:
        return None
    largest = max(float(values.max()) for values in pixels)
    bits = next((bits for bits in (10, 12, 14) if largest < 2**bits), None)
    return bits if bits is not None and largest > 2 ** (bits - 2) else None


def black_level_hint(source: BracketSource, settings: MergeSettings) -> float | None:
    """Return the darkest value of linear counts, if it lies so high that it must be an offset of the camera's."""
    pixels = _samples(source)
    if settings.encoding != "linear" or settings.black_level != 0 or not pixels:
        return None
    if source.frames[0].dtype.kind != "u" or (settings.ev is None and settings.times is None):
        return None
    shortest = pixels[int(np.argmin(settings.ev or settings.times or ()))]
    darkest = float(np.percentile(shortest, 0.1))
    white = _saturation(source.frames[0].dtype, settings.bit_depth or bit_depth_hint(source, settings))
    return darkest if darkest > _OFFSET * white else None


def forecast(source: BracketSource, settings: MergeSettings) -> str:
    """Return how long a merge takes and what memory it needs, with advice where that is much.

    The time is that of the last merge like it in this session; before there was one it is not told.
    """
    memory = _memory(source)
    text = f"about {memory / _GIGABYTE:.1f} GB of memory" if memory > _MUCH_MEMORY else ""
    speed = _speeds.get(_kind(settings))
    if not speed:
        return text
    seconds = speed * _megapixels(source)
    advice = ""
    if seconds > _LONG and settings.method in ("auto", "afunet") and settings.model != "compact":
        advice = "; the model “compact” or a smaller “Preview” is faster"
    return f"about {duration(seconds)}{', ' * bool(text)}{text}{advice}"


def _memory(source: BracketSource) -> float:
    """Return the bytes that a merge of one plane needs beside the network: frames, aligned frames and result."""
    height, width = source.shape
    return height * width * 3 * 4 * (2 * len(source.frames) + 3)


def remember_speed(outcome: Outcome, seconds: float) -> None:
    """Learn from a merge that is done; small ones say little."""
    if _megapixels(outcome.source) >= 0.05:
        _speeds[_kind(outcome.settings)] = seconds / _megapixels(outcome.source)


def _kind(settings: MergeSettings) -> tuple[Any, ...]:
    return settings.method, settings.align, settings.model, settings.device, settings.precision, settings.stages


def _megapixels(source: BracketSource) -> float:
    height, width = source.shape
    return source.plane_count * height * width / 1e6


def _samples(source: BracketSource) -> list[np.ndarray]:
    """Return a grid of every frame's pixels; none where a frame is not in memory."""
    samples = [_sample(frame, source) for frame in source.frames]
    return [sample for sample in samples if sample is not None] if all(sample is not None for sample in samples) else []


def _sample(frame: Any, source: BracketSource) -> np.ndarray | None:
    """A coarse grid of the middle plane's pixels; for colours the brightest channel, the first to saturate."""
    if not isinstance(frame, np.ndarray):
        return None
    plane = frame[tuple(size // 2 for size in source.planes)]
    rows, columns = (max(1, size // _SAMPLE) for size in plane.shape[:2])
    grid = plane[::rows, ::columns].astype(np.float32)
    return grid if grid.ndim == 2 else grid[..., :3].max(-1)


def _saturation(dtype: np.dtype, bit_depth: int | None) -> float:
    if bit_depth is not None:
        return float(2**bit_depth - 1)
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
