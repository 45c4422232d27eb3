"""The thread that merges: progress, cancel, and errors as sentences."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import WorkerBase, WorkerBaseSignals, create_worker
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_afunet.display.tone_view import prepare
from napari_afunet.jobs.merge_job import Step, merge_source
from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings

logger = logging.getLogger(__name__)

# Seconds between reports: every one redraws the window, which takes 30 ms from the merge where there is no GPU.
_REPORT_INTERVAL = 0.1

ShouldCancel = Callable[[], bool]
Report = Callable[[float, str], None]


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


@dataclass(frozen=True)
class FoundBracket:
    """One bracket among files."""

    name: str
    files: tuple[str, ...]


class MergeSignals(WorkerBaseSignals):
    """The signals of a worker, and what it reports on its way."""

    progressed = Signal(float, str)
    yielded = Signal(object)


class MergeWorker(WorkerBase):
    """A worker that runs a generator of events, reports progress, and stops soon after :meth:`quit`.

    ``events(report, should_cancel)`` runs in the thread; what it yields is emitted as ``yielded``.
    """

    def __init__(self, events: Callable[[Report, ShouldCancel], Iterator[Any]]) -> None:
        super().__init__(SignalsClass=MergeSignals)
        self._events = events
        self._cancelled = threading.Event()
        self._reported = 0.0

    def work(self) -> None:
        """Emit every event; called by :meth:`start` in a thread."""
        for event in self._events(self.report, self._cancelled.is_set):
            if self._cancelled.is_set():
                return
            self.yielded.emit(event)

    def report(self, fraction: float, message: str) -> None:
        """Emit progress; called from the merging thread."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_INTERVAL or fraction in (0.0, 1.0):
            self._reported = now
            self.progressed.emit(fraction, message)

    def quit(self) -> None:
        """Stop at the next step of the core, well within a second."""
        self._cancelled.set()
        super().quit()


def run_in_background(
    owner: QObject,
    function: Callable[..., Any],
    *arguments: Any,
    done: Callable[[Any], None],
    failed: Callable[[Exception], None] | None = None,
) -> None:
    """Call a function in a thread; ``done`` gets its value, ``failed`` (or the log) its error, in the window's own.

    Once ``owner`` is deleted nobody waits for the answer.
    """

    def attempt() -> tuple[Any, Exception | None]:
        try:
            return function(*arguments), None
        except Exception as error:
            logger.info("error in the background", exc_info=True)
            return None, error

    def answer(outcome: tuple[Any, Exception | None]) -> None:
        value, error = outcome
        if not isalive(owner):
            return
        if error is None:
            done(value)
        elif failed is not None:
            failed(error)

    create_worker(attempt, _connect={"returned": answer})


def merge_events(
    source: BracketSource, settings: MergeSettings, report: Report, should_cancel: ShouldCancel
) -> Iterator[Step | Failed]:
    """Merge, yielding a step a plane; every error becomes something the user can act on."""
    from afunet_core.errors import AFUNetError, MergeCancelled

    try:
        report(0.0, "Loading")
        for step in merge_source(source, settings, report, should_cancel):
            outcome = step.outcome
            if step.done == step.total and outcome.linear and settings.tone_mapped and not outcome.source.planes:
                prepare(outcome.radiance)  # or the first drawing does it, in the window's own thread
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


def batch_events(
    root: str, output: str, settings: MergeSettings, group: bool, report: Report, should_cancel: ShouldCancel
) -> Iterator[BracketDone | Failed]:
    """Merge one bracket after the other, going on past a bad one."""
    from afunet_core.errors import AFUNetError, MergeCancelled
    from afunet_core.merging.batch import run_batch

    try:
        report(0.0, "Looking for brackets")
        jobs, single = _batch_jobs(root, output, settings, group)
        numbers = {job.name: number for number, job in enumerate(jobs)}

        def progress_of(name: str) -> Callable[[int, int, str], None]:
            def on_progress(done: int, total: int, message: str) -> None:
                report((numbers[name] + done / max(total, 1)) / len(jobs), f"{name}: {message}")

            return on_progress

        for outcome in run_batch(jobs, on_progress=progress_of, should_cancel=should_cancel):
            yield BracketDone(numbers[outcome.name] + 1, len(jobs), outcome.name, outcome.status, outcome.message)
        if single:
            yield BracketDone(len(jobs), len(jobs), "", "single", _listed([path.name for path in single]))
    except MergeCancelled:
        return
    except AFUNetError as error:
        yield Failed(str(error))
    except Exception as error:
        logger.info("unexpected error in a batch", exc_info=True)
        yield Failed(f"The batch stopped unexpectedly ({type(error).__name__}: {error}). Please report this.")


def find_brackets(root: str, settings: MergeSettings, group: bool = False) -> list[FoundBracket]:
    """Return the brackets that a batch would merge, without merging them; for the background."""
    from afunet_core.bracket.folders import list_bracket_folder

    found = []
    for job in _batch_jobs(root, root, settings, group)[0]:
        files = job.files or list_bracket_folder(job.folder)
        found.append(FoundBracket(job.name, tuple(str(file) for file in files)))
    return found


def _batch_jobs(root: str, output: str, settings: MergeSettings, group: bool) -> tuple[list[Any], list[Any]]:
    """Return the jobs, and the pictures that belong to no bracket."""
    from afunet_core.merging.batch import folder_jobs, group_jobs

    template, suffix = _batch_template(settings), ".tif" if settings.method == "mertens" else ".exr"
    if group:
        return group_jobs([root], output, template, suffix)
    return folder_jobs([root], output, template, suffix), []


def _batch_template(settings: MergeSettings) -> Any:
    """The job that every bracket of a batch is made from."""
    from afunet_core.merging.batch import MergeJob

    # A photograph's encoding is read from its file; a sensor's cannot be, so a choice of "linear" is kept.
    encoding = settings.encoding if settings.encoding != "gamma" else "auto"
    bracket = settings.bracket_arguments() | {"encoding": encoding, "ev": None, "times": None, "reference": None}
    bracket["channel"] = settings.channel
    options = {key: value for key, value in settings.merge_arguments().items() if key != "stages"}
    return MergeJob("", "", bracket=bracket, merge=options)


def _listed(names: list[str], most: int = 4) -> str:
    """Return a few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
