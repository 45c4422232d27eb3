"""Checks before a merge: lost highlights, wrong exposures, the time it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from napari_afunet.jobs.merge_job import Outcome

__all__ = ["bracket_warnings", "estimated_seconds", "remember_speed", "result_warnings"]

_SAMPLE = 200  # pixels along each side of the grid that is looked at
_speeds: dict[tuple[Any, ...], float] = {}  # seconds a megapixel, of merges in this session


def bracket_warnings(source: BracketSource, settings: MergeSettings) -> list[str]:
    """Sentences about what no merge can mend; only frames that are in memory are looked at."""
    samples = [_sample(frame, source) for frame in source.frames]
    exposures = settings.ev or settings.times
    if exposures is None or any(sample is None for sample in samples) or source.frames[0].dtype.kind not in "uf":
        return []
    pixels = [sample for sample in samples if sample is not None]
    order = np.argsort(exposures)
    warnings = []
    white = _saturation(source.frames[0].dtype, settings.bit_depth, pixels)
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


def estimated_seconds(source: BracketSource, settings: MergeSettings) -> float | None:
    """Return how long a merge takes, by the last one like it in this session; ``None`` before there was one."""
    speed = _speeds.get(_kind(settings))
    return None if not speed else speed * _megapixels(source)


def remember_speed(outcome: Outcome, seconds: float) -> None:
    """Learn from a merge that is done; small ones say little."""
    if _megapixels(outcome.source) >= 0.05:
        _speeds[_kind(outcome.settings)] = seconds / _megapixels(outcome.source)


def result_warnings(outcome: Outcome) -> list[str]:
    """Sentences about what the merge found wrong: frames that could not be brought onto the reference."""
    sentences = []
    for entry in outcome.info.get("registration") or []:
        if entry["decision"] == "refused" and outcome.settings.align != "off":
            sentences.append(
                f"“{entry['name']}” could not be aligned: {entry['reason']}. "
                "Where it differs from the reference, the result follows the reference; look at the ghost map."
            )
    return sentences


def _kind(settings: MergeSettings) -> tuple[Any, ...]:
    return settings.method, settings.align, settings.model, settings.device, settings.precision, settings.stages


def _megapixels(source: BracketSource) -> float:
    height, width = source.shape
    return source.plane_count * height * width / 1e6


def _sample(frame: Any, source: BracketSource) -> np.ndarray | None:
    """A coarse grid of the middle plane's pixels; for colours the brightest channel, the first to saturate."""
    if not isinstance(frame, np.ndarray):
        return None
    plane = frame[tuple(size // 2 for size in source.planes)]
    rows, columns = (max(1, size // _SAMPLE) for size in plane.shape[:2])
    grid = plane[::rows, ::columns].astype(np.float32)
    return grid if grid.ndim == 2 else grid[..., :3].max(-1)


def _saturation(dtype: np.dtype, bit_depth: int | None, pixels: list[np.ndarray]) -> float:
    if bit_depth is not None:
        return float(2**bit_depth - 1)
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
