"""What can be said about a bracket before merging it: lost highlights, wrong exposures, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_afunet.inputs import BracketSource
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from napari_afunet.job import Outcome

__all__ = ["bracket_warnings", "estimated_seconds", "measure_speed", "remember_speed", "result_warnings"]

_SAMPLE = 200  # pixels along each side of the grid that is looked at
_DEFAULT = ("default", "auto")  # model and device of the trial
_speeds: dict[tuple[Any, ...], float] = {}  # seconds a megapixel, of merges in this session
_TRIAL = 3  # the trial merge is of the demonstration bracket, so many times smaller


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
    """How long a merge takes, by one like it made in this session, else by the trial of the default; or ``None``."""
    speed = _speeds.get(_kind(settings))
    if speed is None and settings.method in ("auto", "afunet") and (settings.model, settings.device) == _DEFAULT:
        speed = _speeds.get(_DEFAULT)
    return None if not speed else speed * _megapixels(source)


def measure_speed(should_stop: Callable[[], bool]) -> None:
    """Merge a small bracket, once a session, so that the first forecast is more than a guess; for the background."""
    from afunet_core import Bracket, merge
    from afunet_core.data.demo import demo_bracket
    from afunet_core.errors import AFUNetError

    if _DEFAULT in _speeds:
        return
    _speeds[_DEFAULT] = 0.0  # nobody else need try
    frames, ev, truth = demo_bracket(reduction=_TRIAL)
    try:
        begin = time.perf_counter()
        merge(Bracket(frames, ev=ev), stages=True, should_cancel=should_stop)
        _speeds[_DEFAULT] = (time.perf_counter() - begin) / (truth.shape[0] * truth.shape[1] / 1e6)
    except (AFUNetError, OSError, RuntimeError):
        del _speeds[_DEFAULT]


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
