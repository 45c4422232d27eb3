"""Controller of one running merge or batch, from its start to the layers it leaves."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_afunet.display.tone_view import DisplaySettings
from napari_afunet.jobs.merge_job import Outcome, Step
from napari_afunet.jobs.prechecks import remember_speed, result_warnings
from napari_afunet.jobs.worker import BracketDone, Failed, MergeWorker, batch_worker, merge_worker
from napari_afunet.layers.results import add_result_layers
from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["MergeController"]

logger = logging.getLogger(__name__)

KEPT_FEATURES = 1024**3
"""Bytes of features that are kept for inspection after a merge."""


class MergeController(QObject):
    """Starts workers, follows them, and shows what they bring.

    Signals:
        started: something runs.
        progressed: fraction and message.
        merged: role → layer, when a result is in the viewer.
        ended: fraction done and a sentence, when nothing runs any more.
    """

    started = Signal()
    progressed = Signal(float, str)
    merged = Signal(object)
    ended = Signal(float, str)

    def __init__(self, viewer: ViewerModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.worker: MergeWorker | None = None
        self.outcome: Outcome | None = None
        self._display = DisplaySettings()
        self._begun = 0.0
        self._failure = ""
        self._batch: list[BracketDone] = []

    def merge(self, source: BracketSource, settings: MergeSettings, display: DisplaySettings) -> None:
        """Merge, and show the result as ``display`` says."""
        self._display = display
        self._start(merge_worker(source, settings))

    def merge_folders(self, root: str, output: str, settings: MergeSettings, group: bool = False) -> None:
        """Merge every bracket folder at or below ``root``, or the brackets among its pictures, into ``output``."""
        self._start(batch_worker(root, output, settings, group))

    def cancel(self) -> None:
        """Ask the worker to stop; it does within a second."""
        if self.worker is not None:
            self.worker.quit()

    def _start(self, worker: MergeWorker) -> None:
        self.worker = worker
        self._begun, self._failure, self._batch = time.monotonic(), "", []
        self.started.emit()
        worker.progressed.connect(self._on_progress)
        worker.yielded.connect(self._on_yield)
        worker.finished.connect(self._on_finished)
        worker.start()

    # -------------------------------------------------------------------------------------------- the worker reports

    def _on_progress(self, fraction: float, message: str) -> None:
        if self.worker is not None and not self.worker.abort_requested:
            self.progressed.emit(fraction, message)

    def _on_yield(self, event: Step | BracketDone | Failed) -> None:
        if self.worker is None or self.worker.abort_requested:
            return
        if isinstance(event, Failed):
            self._failure = event.message
            show_error(event.message)
        elif isinstance(event, BracketDone):
            self._batch.append(event)
        elif event.done == event.total:
            self._show(event.outcome)

    def _on_finished(self) -> None:
        if self.worker is None:
            return  # the result is shown, and the run over
        if self.worker.abort_requested:
            self._end(0.0, "Cancelled. Nothing was changed." if not self._batch else self._summary())
        elif self._batch:
            failed = any(done.status == "failed" for done in self._batch)
            (show_warning if failed else show_info)(self._summary())
            self._end(1.0, self._summary())
        else:
            self._end(0.0, self._failure)

    def _summary(self) -> str:
        """Return a summary of the batch."""
        bad = [done for done in self._batch if done.status == "failed"]
        count = {status: sum(done.status == status for done in self._batch) for status in ("merged", "skipped")}
        text = f"{count['merged']} of {self._batch[0].total} brackets merged"
        text += f", {count['skipped']} were there already." if count["skipped"] else "."
        single = [f"In no bracket: {done.message}." for done in self._batch if done.status == "single"]
        return "\n".join([text, *(f"⚠ {done.name}: {done.message}" for done in bad), *single])

    def _end(self, fraction: float, message: str) -> None:
        self.worker = None
        self.ended.emit(fraction, message)

    # -------------------------------------------------------------------------------------------- showing the result

    def _show(self, outcome: Outcome) -> None:
        self.outcome = outcome
        seconds = time.monotonic() - self._begun
        remember_speed(outcome, seconds)
        _limit_features(outcome)
        try:
            layers = add_result_layers(self._viewer, outcome, self._display)
        except Exception as error:  # the result is not lost: it stays in ``outcome``
            logger.info("unexpected error while showing a result", exc_info=True)
            message = f"The result could not be shown ({type(error).__name__}: {error}). Please report this."
            show_error(message)
            self._end(0.0, message)
            return
        for warning in [*outcome.warnings, *result_warnings(outcome)]:
            show_warning(warning)
        self.merged.emit(layers)
        device = outcome.info.get("device", "")
        self._end(1.0, f"Merged in {seconds:.1f} s" + (f" on {device}." if device else "."))


def _limit_features(outcome: Outcome) -> None:
    """Of large images only the coloured views stay: the features themselves may take gigabytes."""
    result = outcome.result
    if result is None or not result.stages:
        return
    if sum(array.nbytes for stage in result.stages for array in stage) > KEPT_FEATURES:
        result.stages, result.maps = None, {}  # maps are made from features; what is shown of them is in the outcome
