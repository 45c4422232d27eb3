"""One merge or batch at a time, from its start to the layers it leaves; it speaks in signals and sentences."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QObject, QTimer, Signal

from napari_afunet.advice import remember_speed
from napari_afunet.display import DisplaySettings
from napari_afunet.inputs import BracketSource
from napari_afunet.job import Outcome, Step
from napari_afunet.layers import show_step_by_step
from napari_afunet.settings import MergeSettings
from napari_afunet.worker import BracketDone, Failed, MergeWorker, start_batch, start_merge

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["Run"]

logger = logging.getLogger(__name__)

_BETWEEN_LAYERS = 5  # ms in which the window draws and answers
KEPT_FEATURES = 1024**3  # bytes of features that are kept for inspection after a merge


class Run(QObject):
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

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.worker: MergeWorker | None = None
        self.outcome: Outcome | None = None
        self._display = DisplaySettings()
        self._begun = self._seconds = 0.0
        self._failure = ""
        self._batch: list[BracketDone] = []
        self._layers: dict[str, Image] = {}
        self._steps: Iterator[dict[str, Image]] | None = None
        self._timer = QTimer(self)  # a child: it dies with the window, and nothing is shown after that
        self._timer.setInterval(_BETWEEN_LAYERS)
        self._timer.timeout.connect(self._show_next)

    def merge(self, source: BracketSource, settings: MergeSettings, display: DisplaySettings) -> None:
        """Merge, and show the result as ``display`` says."""
        self._begin()
        self._display = display
        self.worker = start_merge(
            source, settings, progressed=self._on_progress, yielded=self._on_yield, finished=self._on_finished
        )

    def merge_folders(self, root: str, output: str, settings: MergeSettings) -> None:
        """Merge every bracket folder at or below ``root`` into files in ``output``."""
        self._begin()
        self.worker = start_batch(
            root, output, settings, progressed=self._on_progress, yielded=self._on_yield, finished=self._on_finished
        )

    def cancel(self) -> None:
        """Ask the worker to stop; it does within a second."""
        if self.worker is not None:
            self.worker.quit()

    def _begin(self) -> None:
        self._begun = time.monotonic()
        self._failure, self._batch, self._steps = "", [], None
        self.started.emit()

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
        if self.worker is None or self._timer.isActive():
            return  # the result is on its way to the layers, and the run ends when it is there
        if self.worker.abort_requested:
            self._end(0.0, "Cancelled. Nothing was changed." if not self._batch else self._summary())
        elif self._failure:
            self._end(0.0, self._failure)
        elif self._batch:
            failed = any(done.status == "failed" for done in self._batch)
            (show_warning if failed else show_info)(self._summary())
            self._end(1.0, self._summary())

    def _summary(self) -> str:
        """What became of a batch."""
        bad = [done for done in self._batch if done.status == "failed"]
        skipped = sum(done.status == "skipped" for done in self._batch)
        merged = len(self._batch) - len(bad) - skipped
        text = f"{merged} of {self._batch[0].total} brackets merged"
        text += f", {skipped} were there already." if skipped else "."
        return "\n".join([text, *(f"⚠ {done.name}: {done.message}" for done in bad)])

    def _end(self, fraction: float, message: str) -> None:
        self.worker, self._steps = None, None
        self.ended.emit(fraction, message)

    # -------------------------------------------------------------------------------------------- showing the result

    def _show(self, outcome: Outcome) -> None:
        """Show one layer at a time, so that the window answers in between."""
        self.outcome = outcome
        self._seconds = time.monotonic() - self._begun
        remember_speed(outcome, self._seconds)
        _limit_features(outcome)
        self.progressed.emit(1.0, "Showing the result")
        self._steps = show_step_by_step(self._viewer, outcome, self._display)
        self._timer.start()

    def _show_next(self) -> None:
        try:
            layers = next(self._steps, None) if self._steps is not None else None
        except Exception as error:  # the result is not lost: it stays in self.outcome
            logger.info("unexpected error while showing a result", exc_info=True)
            message = f"The result could not be shown ({type(error).__name__}: {error}). Please report this."
            self._timer.stop()
            show_error(message)
            self._end(0.0, message)
            return
        if layers is not None:
            self._layers = layers
            return
        self._timer.stop()
        outcome = self.outcome
        assert outcome is not None, "nothing is shown without an outcome"
        for warning in outcome.warnings:
            show_warning(warning)
        self.merged.emit(self._layers)
        device = outcome.info.get("device", "")
        self._end(1.0, f"Merged in {self._seconds:.1f} s" + (f" on {device}." if device else "."))


def _limit_features(outcome: Outcome) -> None:
    """Of large images only the coloured views stay: the features themselves may take gigabytes."""
    result = outcome.result
    if result is None or not result.stages:
        return
    if sum(array.nbytes for stage in result.stages for array in stage) > KEPT_FEATURES:
        result.stages, result.maps = None, {}  # maps are made from features; what is shown of them is in the outcome
