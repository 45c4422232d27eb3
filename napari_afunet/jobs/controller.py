"""Controller of one running merge or batch, from its start to the layers it leaves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils import progress
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_afunet.display.tone_view import DisplaySettings
from napari_afunet.jobs.forecast import remember_pace
from napari_afunet.jobs.merge_job import Outcome, Step, with_regions
from napari_afunet.jobs.summary import in_widget_words, result_warnings, what_happened
from napari_afunet.jobs.worker import (
    BracketDone,
    Failed,
    MergeWorker,
    batch_events,
    merge_events,
    run_in_background,
)
from napari_afunet.layers.results import add_in_steps, remove_preview, update_result
from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel

logger = logging.getLogger(__name__)

STEPS = 1000  # steps of the bar in napari's activity dock
_PAUSE = 1  # milliseconds between two layers of a result
KEPT_FEATURES = 1024**3  # bytes of features that are kept for inspection after a merge


def _quit_all(workers: list[MergeWorker], *_: object) -> None:
    for worker in workers:
        worker.quit()


class MergeController(QObject):
    """Starts workers, follows them, and shows what they bring."""

    started = Signal()
    progressed = Signal(float, str)  # fraction, message
    merged = Signal(object)  # role → layer, when a result is in the viewer
    bracket_done = Signal(object)  # of a batch
    summarised = Signal(str, object)  # what happened in one line, warnings
    ended = Signal(float, str)  # fraction done, sentence: nothing runs any more

    def __init__(self, viewer: ViewerModel, display: Callable[[], DisplaySettings], parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._display = viewer, display
        self.worker: MergeWorker | None = None
        self.outcome: Outcome | None = None  # a preview only where there is no merge of the same frames
        self.preview: Outcome | None = None
        self._begun = 0.0
        self._message = (0.0, "")
        self._batch: list[BracketDone] = []
        self._activity: progress | None = None
        self._showing: Iterator[None] | None = None  # a result, layer by layer
        self._has_finished = False
        self._next_layer = QTimer(self)  # between two layers the window draws and answers
        self._next_layer.setSingleShot(True)
        self._next_layer.timeout.connect(self._show_next)
        self._running: list[MergeWorker] = []
        running = self._running  # the controller itself is gone when its window is
        self.destroyed.connect(partial(_quit_all, running))

    def is_running(self) -> bool:
        """Return True while a merge or a batch runs."""
        return self.worker is not None

    def merge(self, source: BracketSource, settings: MergeSettings) -> None:
        """Merge, and show the result."""
        self._start(MergeWorker(partial(merge_events, source, settings)), "Merging")

    def merge_folders(self, root: str, output: str, settings: MergeSettings, group: bool = False) -> None:
        """Merge every bracket folder at or below ``root``, or the brackets among its pictures, into ``output``."""
        self._start(MergeWorker(partial(batch_events, root, output, settings, group)), "Merging files")

    def cancel(self) -> None:
        """Ask the worker to stop; it does within a second."""
        if self.worker is not None:
            self.worker.quit()

    def retake(self, regions: tuple[Any, ...]) -> None:
        """Take regions of the last result from other frames, and show it anew."""
        outcome = self.outcome
        if outcome is None or outcome.result is None or self.worker is not None:
            return
        if outcome.source.planes:
            self.progressed.emit(0.0, "Merging the plane again …")

        def show(changed: Outcome) -> None:
            if self.outcome is not outcome or self.worker is not None:
                return
            vars(outcome).update(vars(changed))
            if outcome.source.planes:
                self.progressed.emit(1.0, "Merged the plane again.")
            update_result(self._viewer, outcome, self._display())
            self.summarised.emit(what_happened(outcome), result_warnings(outcome))

        run_in_background(
            self, with_regions, outcome, regions, done=show, failed=lambda error: show_error(in_widget_words(str(error)))
        )

    def _start(self, worker: MergeWorker, title: str) -> None:
        self.worker = worker
        self._running[:] = [worker]
        self._activity = progress(total=STEPS, desc=title)
        self._begun, self._message, self._batch = time.monotonic(), (0.0, ""), []
        self._has_finished = False
        self.started.emit()
        worker.progressed.connect(self._on_progress)
        worker.yielded.connect(self._on_yield)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        worker.start()

    # -------------------------------------------------------------------------------------------- the worker reports

    def _on_progress(self, fraction: float, message: str) -> None:
        if self.worker is not None and not self.worker.abort_requested:
            self.progressed.emit(fraction, message)
            if self._activity is not None:
                self._activity.update(round(fraction * STEPS) - self._activity.n)

    def _on_yield(self, event: Step | BracketDone | Failed) -> None:
        if self.worker is None or self.worker.abort_requested:
            return
        if isinstance(event, Failed):
            self._fail(in_widget_words(event.message))
        elif isinstance(event, BracketDone):
            self._batch.append(event)
            self.bracket_done.emit(event)
        elif event.done == event.total:
            self._show(event.outcome)

    def _on_error(self, error: Exception) -> None:
        """Keep what the worker itself could not turn into a sentence."""
        logger.info("unexpected error in a worker", exc_info=error)
        self._fail(f"The merge stopped unexpectedly ({type(error).__name__}: {error}). Please report this.")

    def _fail(self, message: str) -> None:
        self._message = 0.0, message
        show_error(message)

    def _on_finished(self) -> None:
        """End the run, here only: of a worker that has finished no signal can come into the next one's run."""
        self._has_finished = True
        if self.worker is None or self._showing is not None:
            return  # the panel was closed meanwhile, or its result is being shown
        if self._batch:
            self._end(0.0 if self.worker.abort_requested else 1.0, self._summary())
        elif self.worker.abort_requested and not any(self._message):
            self._end(0.0, "Cancelled. Nothing was changed.")
        else:
            self._end(*self._message)

    def _summary(self) -> str:
        """Return a summary of the batch."""
        count = {kind: sum(done.status == kind for done in self._batch) for kind in ("merged", "skipped", "failed")}
        text = f"{count['merged']} of {self._batch[0].total} brackets merged"
        text += f", {count['skipped']} were there already" if count["skipped"] else ""
        text += f", {count['failed']} failed" if count["failed"] else ""
        single = [f"In no bracket: {done.message}." for done in self._batch if done.status == "single"]
        return "\n".join([f"{text}.", *single])

    def _end(self, fraction: float, message: str) -> None:
        self.worker = None
        self._running.clear()
        if self._activity is not None:
            self._activity.close()
            self._activity = None
        self.ended.emit(fraction, message)

    def abandon(self) -> None:
        """Stop what runs and forget it: the panel is closed."""
        self._next_layer.stop()
        self._showing = None
        if self.worker is not None:
            self.worker.quit()
            self._end(0.0, "Cancelled. Nothing was changed.")
        self.outcome = self.preview = None

    def remove_preview(self) -> None:
        """Remove the preview: it is out of date, or the result is there."""
        preview, self.preview = self.preview, None
        if preview is not None:
            self.outcome = None if self.outcome is preview else self.outcome
            remove_preview(self._viewer, preview)

    # -------------------------------------------------------------------------------------------- showing the result

    def _is_merged(self, source: BracketSource) -> bool:
        """Return True if the last merge was of the same frames."""
        last = self.outcome
        return last is not None and not last.is_preview and last.source.layers == source.layers

    def _show(self, outcome: Outcome) -> None:
        _limit_features(outcome)
        if outcome.is_preview:
            self.preview = outcome
        if not outcome.is_preview or not self._is_merged(outcome.source):
            self.outcome = outcome
        self._showing = self._show_in_steps(outcome)
        self._show_next()

    def _show_next(self) -> None:
        """Add the next layer of the result; the window draws and answers before the one after."""
        assert self._showing is not None
        try:
            next(self._showing)
            self._next_layer.start(_PAUSE)
            return
        except StopIteration:
            pass
        except Exception as error:  # the result is not lost: it stays in ``outcome``
            logger.info("unexpected error while showing a result", exc_info=True)
            self._fail(f"The result could not be shown ({type(error).__name__}: {error}). Please report this.")
        self._showing = None
        if self._has_finished:
            self._on_finished()

    def _show_in_steps(self, outcome: Outcome) -> Iterator[None]:
        for layers in add_in_steps(self._viewer, outcome, self._display):
            added = layers
            yield
        if not outcome.is_preview:
            self.remove_preview()
        self.merged.emit(added)
        seconds = time.monotonic() - self._begun
        remember_pace(outcome, seconds)
        self.summarised.emit(what_happened(outcome), result_warnings(outcome))
        device = outcome.info.get("device", "")
        self._message = 1.0, f"{_done(outcome)} in {seconds:.1f} s" + (f" on {device}." if device else ".")


def _done(outcome: Outcome) -> str:
    return "Preview" if outcome.is_preview else "Merged"


def _limit_features(outcome: Outcome) -> None:
    """Of large images only the coloured views stay: the features themselves may take gigabytes."""
    result = outcome.result
    if result is None or not result.stages:
        return
    if sum(array.nbytes for stage in result.stages for array in stage) > KEPT_FEATURES:
        result.stages, result.maps = None, {}  # maps are made from features; what is shown of them is in the outcome
