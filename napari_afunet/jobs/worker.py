"""Work in threads, and what runs there: batches and the search for brackets."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QThreadPool, QTimer, Signal

from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from afunet_core.merging.batch import MergeJob

logger = logging.getLogger(__name__)

# Seconds between reports: every one redraws the window, which takes 30 ms from the merge where there is no GPU.
_REPORT_INTERVAL = 0.1


class Run(QObject):
    """One merge or batch under way, as its thread knows it; it goes with its owner, and stops then."""

    progressed = Signal(float, str)  # fraction, message
    bracket_done = Signal(object)  # outcome of a bracket of a batch

    def __init__(self, owner: QObject | None = None) -> None:
        super().__init__(owner)
        self.stop = threading.Event()  # once set, the core stops at its next step, well within a second
        self.destroyed.connect(self.stop.set)
        self._reported = 0.0

    def report(self, fraction: float, message: str) -> None:
        """Emit progress, not too often."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_INTERVAL or fraction in (0.0, 1.0):
            self._reported = now
            self.progressed.emit(fraction, message)


class _Answer(QObject):
    """Answer of a thread, told in the window's own; it goes with its owner, and nobody is told then."""

    ready = Signal(object, object)  # value, error

    def __init__(self, owner: QObject, done: Callable[[Any], None], failed: Callable[[Exception], None] | None) -> None:
        super().__init__(owner)
        self._done, self._failed = done, failed
        self.ready.connect(self._tell)

    def _tell(self, value: Any, error: Exception | None) -> None:
        self.deleteLater()
        if error is None:
            self._done(value)
        elif self._failed is not None:
            self._failed(error)


def run_in_background(
    owner: QObject,
    function: Callable[..., Any],
    *arguments: Any,
    done: Callable[[Any], None],
    failed: Callable[[Exception], None] | None = None,
) -> None:
    """Call a function in a thread; ``done`` gets its value, ``failed`` (or the log) its error, in the window's own.

    Once ``owner`` is deleted nobody waits for the answer. napari's own workers would keep all of this for ever.
    """
    answer = _Answer(owner, done, failed)

    def attempt() -> None:
        try:
            outcome: tuple[Any, Exception | None] = function(*arguments), None
        except Exception as error:
            logger.info("error in the background", exc_info=True)
            outcome = None, error
        with suppress(RuntimeError):  # the owner is gone
            answer.ready.emit(*outcome)

    QThreadPool.globalInstance().start(attempt)


def call_later(owner: QObject, function: Callable[[], None], milliseconds: int = 0) -> QTimer:
    """Return a timer that calls a function once, so long after it was last started."""
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(function)
    return timer


def merge_folders(root: str, output: str, settings: MergeSettings, group: bool, run: Run) -> str:
    """Merge one bracket after the other, going on past a bad one; return a summary."""
    from afunet_core.errors import MergeCancelled
    from afunet_core.merging.batch import run_batch

    run.report(0.0, "Looking for brackets")
    jobs, single = _batch_jobs(root, output, settings, group)
    numbers = {job.name: number for number, job in enumerate(jobs)}

    def progress(name: str, done: int, total: int, message: str) -> None:
        run.report((numbers[name] + done / max(total, 1)) / len(jobs), f"{name}: {message}")

    count: Counter[str] = Counter()
    try:
        for outcome in run_batch(jobs, on_progress=lambda name: partial(progress, name), should_cancel=run.stop.is_set):
            count[outcome.status] += 1
            run.bracket_done.emit(outcome)
    except MergeCancelled:
        if not count:
            raise
    text = f"{count['merged']} of {len(jobs)} brackets merged"
    text += f", {count['skipped']} were there already" if count["skipped"] else ""
    text += f", {count['failed']} failed." if count["failed"] else "."
    more = f" and {len(single) - 4} more" if len(single) > 4 else ""
    return text + (f"\nIn no bracket: {', '.join(path.name for path in single[:4])}{more}." if single else "")


def find_brackets(root: str, settings: MergeSettings, group: bool = False) -> list[tuple[str, list[str]]]:
    """Return names and files of the brackets that a batch would merge, without merging them."""
    from afunet_core.bracket.folders import list_bracket_folder

    jobs, _ = _batch_jobs(root, root, settings, group)
    return [(job.name, [str(file) for file in job.files or list_bracket_folder(job.folder or root)]) for job in jobs]


def _batch_jobs(root: str, output: str, settings: MergeSettings, group: bool) -> tuple[list[MergeJob], list[Any]]:
    """Return the jobs, and the pictures that belong to no bracket."""
    from afunet_core.merging.batch import MergeJob, folder_jobs, group_jobs

    # A photograph's encoding is read from its file; a sensor's cannot be, so a choice of "linear" is kept.
    encoding = settings.encoding if settings.encoding != "gamma" else "auto"
    bracket = settings.bracket_arguments() | {"encoding": encoding, "ev": None, "times": None, "reference": None}
    bracket["channel"] = settings.channel
    options = {key: value for key, value in settings.merge_arguments().items() if key != "stages"}
    template = MergeJob("", "", bracket=bracket, merge=options)
    suffix = ".tif" if settings.method == "mertens" else ".exr"
    if group:
        return group_jobs([root], output, template, suffix)
    return folder_jobs([root], output, template, suffix), []
