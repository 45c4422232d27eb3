"""Forecast of a merge: time, memory, and advice where that is much."""

import json
from statistics import median

from afunet_core.merging.options import MergeOptions
from afunet_core.utils.options import options_of
from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.jobs.summary import duration
from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings, preferences

_LONG = 60  # seconds from which on a merge is worth advice
_GIGABYTE = 1024**3
_MUCH_MEMORY = 0.5 * _GIGABYTE  # memory from which on it is told
_LEAST = 0.05  # megapixels from which on a merge says something about the pace of a computer
_MOST_KINDS = 30  # kinds of merges whose pace is remembered

# kind → seconds of any merge, and for each megapixel of a frame: docs/performance.md, three frames, one core
_CPU = {
    "full": (3.8, 0.68),
    "compact": (2.9, 0.61),
    "full, full scale": (3.8, 5.4),
    "compact, full scale": (2.9, 2.1),
    "weighted": (1.6, 0.19),
    "mertens": (0.4, 0.08),
}
_GPU = (1.5, 0.024)  # of every kind on a GPU: docs/performance.md


def forecast(source: BracketSource, settings: MergeSettings, on_gpu: bool = False) -> str:
    """Return how long a merge takes and what memory it needs, with advice where that is much.

    The time is a documented one times the pace of this computer in former merges, a first estimate before one like it.
    """
    paces = _paces()
    known = paces.get(_kind(settings, on_gpu))
    seconds = _documented(source, settings, on_gpu) * (known or median([*paces.values()] or [1.0]))
    text = f"{'about' if known else 'roughly'} {duration(seconds)}{'' if known else ' (a first estimate)'}"
    height, width = source.shape
    memory = height * width * 3 * 4 * (2 * len(source.frames) + 1)  # of a plane: 1.9 GB for three of 24 megapixels
    text += f", {memory / _GIGABYTE:.1f} GB of memory" if memory > _MUCH_MEMORY else ""
    return text + (f". {_advice(settings, on_gpu)}" if seconds > _LONG else "")


def _advice(settings: MergeSettings, on_gpu: bool) -> str:
    if settings.working_scale == "full" and settings.method in ("auto", "afunet"):
        scale = options_of(MergeOptions)["working_scale"]
        return f"“{scale.label}: {scale.choices['auto']}” is faster; “Preview” shows a part at once"
    if settings.method in ("auto", "afunet"):
        return "If nothing moved, the method “Weighted average” is faster; “Preview” shows a part at once"
    return "“Preview” shows a part at once"


def _documented(source: BracketSource, settings: MergeSettings, on_gpu: bool) -> float:
    """Return the seconds on the machine of the documentation."""
    fixed, pace = _GPU if on_gpu and settings.method != "mertens" else _CPU[_documented_kind(settings)]
    height, width = source.shape
    return source.plane_count * (fixed + pace * len(source.frames) * height * width / 1e6)


def _documented_kind(settings: MergeSettings) -> str:
    if settings.method in _CPU:
        return settings.method
    scale = ", full scale" if settings.working_scale == "full" else ""
    return ("compact" if settings.model == "compact" else "full") + scale


def remember_pace(outcome: Outcome, seconds: float) -> None:
    """Learn from a merge that is done, now and for later sessions; small ones say little."""
    source, on_gpu = outcome.source, str(outcome.info.get("device", "cpu")) != "cpu"
    height, width = source.shape
    stored = getattr(preferences(), "forecast", None)
    if height * width / 1e6 < _LEAST or stored is None:
        return
    paces, kind = _paces(), _kind(outcome.settings, on_gpu)
    paces.pop(kind, None)
    paces[kind] = round(seconds / _documented(source, outcome.settings, on_gpu), 3)
    stored.paces = json.dumps(dict([*paces.items()][-_MOST_KINDS:]))


def _kind(settings: MergeSettings, on_gpu: bool) -> str:
    return _documented_kind(settings) + " gpu" * on_gpu + " stages" * settings.stages


def _paces() -> dict[str, float]:
    """Return kind → pace of this computer beside the documented one, from napari's preferences."""
    stored = getattr(preferences(), "forecast", None)
    try:
        paces = json.loads(stored.paces) if stored is not None else {}
        return {str(kind): float(pace) for kind, pace in paces.items()}
    except (ValueError, AttributeError, TypeError):  # edited by hand
        return {}
