"""The merge in a background thread: progress, partial results, cancel, and errors as sentences."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.QtCore import Signal
from superqt.utils._qthreading import GeneratorWorkerSignals

from napari_afunet.inputs import BracketSource
from napari_afunet.job import Step, merge_source
from napari_afunet.settings import MergeSettings

__all__ = ["BracketDone", "Failed", "MergeWorker", "start_batch", "start_merge"]

logger = logging.getLogger(__name__)

_REPORT_INTERVAL = 0.1  # seconds; every report redraws the window, and without a GPU that takes 30 ms from the merge


@dataclass(frozen=True)
class Failed:
    """The merge cannot go on; ``message`` says why and what to do."""

    message: str


@dataclass(frozen=True)
class BracketDone:
    """One bracket of a batch: ``status`` is merged, skipped or failed, ``message`` says why.

    The last one may be ``single``: its message names the pictures that belong to no bracket.
    """

    done: int
    total: int
    name: str
    status: str
    message: str


class MergeSignals(GeneratorWorkerSignals):
    """The signals of a generator worker, and progress within one plane."""

    progressed = Signal(float, str)


class MergeWorker(GeneratorWorker):
    """A worker that reports from within a plane, and whose :meth:`quit` reaches into one."""

    def __init__(self, func: Any, *args: Any) -> None:
        self._cancelled = threading.Event()
        self._reported = 0.0
        super().__init__(func, *args, self.report, self._cancelled.is_set, SignalsClass=MergeSignals)

    def report(self, fraction: float, message: str) -> None:
        """Called from the merging thread; the signal carries it over to the view's."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_INTERVAL or fraction in (0.0, 1.0):
            self._reported = now
            self.signals.progressed.emit(fraction, message)

    def quit(self) -> None:
        """Stop at the next step of the core, well within a second."""
        self._cancelled.set()
        super().quit()


def start_merge(source: BracketSource, settings: MergeSettings, **connect: Callable[..., None]) -> MergeWorker:
    """Start merging in a thread.

    Args:
        source: the pixels, detached from their layers.
        settings: everything else.
        connect: signal → slot: ``progressed(fraction, message)``, ``yielded(Step | Failed)``, ``finished()``.
    """
    return create_worker(
        merge_in_thread, source, settings, _worker_class=MergeWorker, _connect=connect, _start_thread=True
    )


def merge_in_thread(
    source: BracketSource,
    settings: MergeSettings,
    report: Callable[[float, str], None],
    is_cancelled: Callable[[], bool],
) -> Iterator[Step | Failed]:
    """The steps of the job, with every error turned into something the user can act on."""
    from afunet_core.errors import AFUNetError, MergeCancelled

    try:
        report(0.0, "Loading")
        for step in merge_source(source, settings, report, is_cancelled):
            if is_cancelled():
                return
            if step.done == step.total:
                _prepare_display(step)
            yield step
    except MergeCancelled:
        return
    except AFUNetError as error:
        yield Failed(str(error))
    except MemoryError:
        yield Failed("Not enough memory for this merge. Set a memory budget, or switch off the alignment stages.")
    except Exception as error:
        logger.info("unexpected error while merging", exc_info=True)
        yield Failed(f"The merge stopped unexpectedly ({type(error).__name__}: {error}). Please report this.")


def _prepare_display(step: Step) -> None:
    """What the first drawing of the result would otherwise compute in the window's own thread."""
    from napari_afunet.display import prepare

    outcome = step.outcome
    if outcome.linear and outcome.settings.tone_mapped and not outcome.source.planes:
        prepare(outcome.radiance)


def start_batch(
    root: str, output: str, settings: MergeSettings, group: bool = False, **connect: Callable[..., None]
) -> MergeWorker:
    """Merge every bracket folder at or below ``root``, or with ``group`` the brackets among the pictures in it.

    Yields :class:`BracketDone` or :class:`Failed`.
    """
    return create_worker(
        batch_in_thread, root, output, settings, group, _worker_class=MergeWorker, _connect=connect, _start_thread=True
    )


def batch_in_thread(
    root: str,
    output: str,
    settings: MergeSettings,
    group: bool,
    report: Callable[[float, str], None],
    is_cancelled: Callable[[], bool],
) -> Iterator[BracketDone | Failed]:
    """One bracket after the other, going on past a bad one; exposures come from the files."""
    from afunet_core.errors import AFUNetError, MergeCancelled
    from afunet_core.merging.batch import MergeJob, folder_jobs, group_jobs, run_batch

    try:
        report(0.0, "Looking for brackets")
        # A photograph's encoding is read from its file; a sensor's cannot be, so a choice of "linear" is kept.
        encoding = settings.encoding if settings.encoding != "gamma" else "auto"
        bracket = settings.bracket_arguments() | {"encoding": encoding, "ev": None, "times": None, "reference": None}
        bracket["channel"] = settings.channel
        options = {key: value for key, value in settings.core_arguments().items() if key != "stages"}
        template = MergeJob("", "", bracket=bracket, merge=options)
        suffix = ".tif" if settings.method == "mertens" else ".exr"
        if group:
            jobs, single = group_jobs([root], output, template, suffix)
        else:
            jobs, single = folder_jobs([root], output, template, suffix), []
        numbers = {job.name: number for number, job in enumerate(jobs)}

        def progress_of(name: str) -> Callable[[int, int, str], None]:
            def on_progress(done: int, total: int, message: str) -> None:
                if is_cancelled():
                    raise MergeCancelled("cancelled")
                report((numbers[name] + done / max(total, 1)) / len(jobs), f"{name}: {message}")

            return on_progress

        for outcome in run_batch(jobs, on_progress=progress_of):
            yield BracketDone(numbers[outcome.name] + 1, len(jobs), outcome.name, outcome.status, outcome.message)
        if single:
            names = [path.name for path in single]
            yield BracketDone(len(jobs), len(jobs), "", "single", _listed(names))
    except MergeCancelled:
        return
    except AFUNetError as error:
        yield Failed(str(error))
    except Exception as error:
        logger.info("unexpected error in a batch", exc_info=True)
        yield Failed(f"The batch stopped unexpectedly ({type(error).__name__}: {error}). Please report this.")


def _listed(names: list[str], most: int = 4) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
