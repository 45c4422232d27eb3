"""Controller of one running merge or batch, from its start to the layers it leaves."""

import logging
import time
from collections.abc import Callable, Generator
from typing import Any

from napari.components import ViewerModel
from napari.utils import progress
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from afunet_core.errors import AFUNetError, MergeCancelled
from napari_afunet.display.tone_view import DisplaySettings, prepare
from napari_afunet.jobs.forecast import remember_pace
from napari_afunet.jobs.merge_job import Outcome, merge_source, with_regions
from napari_afunet.jobs.summary import in_widget_words, result_warnings, what_happened
from napari_afunet.jobs.worker import Run, call_later, merge_folders, run_in_background
from napari_afunet.layers.result_layer import Result
from napari_afunet.layers.results import add_in_steps, update_result
from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings

logger = logging.getLogger(__name__)

CANCELLED = "Cancelled. Nothing was changed."
STEPS = 1000  # steps of the bar in napari's activity dock
_PAUSE = 1  # milliseconds between two layers of a result
KEPT_FEATURES = 1024**3  # bytes of features that are kept for inspection after a merge


class MergeController(QObject):
    """Starts what runs in the background, follows it, and shows what it brings."""

    started = Signal()
    progressed = Signal(float, str)  # fraction, message
    merged = Signal(object)  # role → layer, when a result is in the viewer
    bracket_done = Signal(object)  # of a batch
    retaking = Signal()  # a plane of a stack is merged again, until ``ended``
    not_retaken = Signal()  # regions drawn are not in the result: it failed, or was cancelled
    summarised = Signal(str, object)  # what happened in one line, warnings
    ended = Signal(float, str)  # fraction done, sentence: nothing runs any more

    def __init__(self, viewer: ViewerModel, display: Callable[[], DisplaySettings], parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._display = viewer, display
        self.run: Run | None = None  # under way
        self.outcome: Outcome | None = None  # a preview only where there is no merge of the same frames
        self.preview: Outcome | None = None
        self._retaking: tuple[tuple[Any, ...], Run] | None = None  # regions that are just being taken
        self._begun = 0.0
        self._activity: progress | None = None
        self._showing: Generator[None, None, str] | None = None  # a result, layer by layer
        self._next_layer = call_later(self, self._show_next, _PAUSE)  # meanwhile the window draws and answers

    def merge(self, source: BracketSource, settings: MergeSettings) -> None:
        """Merge, and show the result."""
        self._start("Merging", _merge, source, settings)

    def merge_folders(self, root: str, output: str, settings: MergeSettings, group: bool = False) -> None:
        """Merge every bracket folder at or below ``root``, or the brackets among its pictures, into ``output``."""
        self._start("Merging files", merge_folders, root, output, settings, group)

    def cancel(self) -> None:
        """Ask what runs to stop; it does within a second."""
        if self.run is not None:
            self.run.stop.set()
        elif self._retaking is not None:
            self._retaking[1].stop.set()

    @property
    def is_retaking_plane(self) -> bool:
        """True while a plane of a stack is merged again for a region."""
        return self._retaking is not None and self.outcome is not None and bool(self.outcome.source.planes)

    @property
    def regions(self) -> tuple[Any, ...]:
        """Regions of the last result from other frames, those included that are just being taken."""
        if self._retaking is not None:
            return self._retaking[0]
        return () if self.outcome is None else self.outcome.settings.regions

    def retake(self, regions: tuple[Any, ...]) -> None:
        """Take regions of the last result from other frames, and show it anew; an older wish is forgotten."""
        outcome = self.outcome
        if outcome is None or outcome.result is None or self.run is not None:
            return
        self._stop_retaking()
        run = Run(self)
        self._retaking = wish = regions, run
        is_slow = bool(outcome.source.planes)  # a merge of its own
        if is_slow:
            run.progressed.connect(self.progressed)
            self.retaking.emit()

        def show(changed: Outcome) -> None:
            if self._retaking is not wish:
                return
            self._stop_retaking()
            vars(outcome).update(vars(changed))
            update_result(self._viewer, outcome, self._display())
            self.summarised.emit(what_happened(outcome), result_warnings(outcome))
            if is_slow:
                self.ended.emit(1.0, "Merged the plane again.")

        def failed(error: Exception) -> None:
            if self._retaking is not wish:
                return
            self._stop_retaking()
            self.not_retaken.emit()
            message = CANCELLED
            if not isinstance(error, MergeCancelled):
                message = in_widget_words(str(error))
                show_error(message)
            self.ended.emit(0.0, message)

        arguments = outcome, regions, run.report, run.stop.is_set
        run_in_background(self, with_regions, *arguments, done=show, failed=failed)

    def _stop_retaking(self) -> None:
        if self._retaking is not None:
            self._retaking[1].stop.set()
            self._retaking[1].deleteLater()
            self._retaking = None

    def _start(self, title: str, function: Callable[..., Outcome | str], *arguments: Any) -> None:
        self._stop_retaking()
        self.run = run = Run(self)
        run.progressed.connect(self._on_progress)
        run.bracket_done.connect(self.bracket_done)
        self._activity, self._begun = progress(total=STEPS, desc=title), time.monotonic()
        self.started.emit()

        def done(value: Outcome | str | Exception) -> None:
            if run is not self.run:
                return  # the panel was closed meanwhile
            if isinstance(value, str):
                self._end(0.0 if run.stop.is_set() else 1.0, value)
            elif isinstance(value, Exception) or run.stop.is_set():
                self._on_failed(value if isinstance(value, Exception) else MergeCancelled())
            else:
                self._show(value)

        run_in_background(self, function, *arguments, run, done=done, failed=done)

    def _on_progress(self, fraction: float, message: str) -> None:
        if self.run is not None and not self.run.stop.is_set():
            self.progressed.emit(fraction, message)
            if self._activity is not None:
                self._activity.update(round(fraction * STEPS) - self._activity.n)

    def _on_failed(self, error: Exception) -> None:
        """End with a sentence on what went wrong."""
        if isinstance(error, MergeCancelled):
            self._end(0.0, CANCELLED)
            return
        message = f"The merge stopped unexpectedly ({type(error).__name__}: {error}). Please report this."
        if isinstance(error, MemoryError):
            message = "Not enough memory for this merge. Set a memory budget, or switch off the alignment stages."
        elif isinstance(error, AFUNetError):
            message = in_widget_words(str(error))
        show_error(message)
        self._end(0.0, message)

    def _end(self, fraction: float, message: str) -> None:
        if self.run is not None:
            self.run.destroyed.disconnect()  # its result asks it to stop when regions are taken: it must not
            self.run.deleteLater()
            self.run = None
        if self._activity is not None:
            self._activity.close()
            self._activity = None
        self.ended.emit(fraction, message)

    def abandon(self) -> None:
        """Stop what runs and forget it: the panel is closed."""
        self._next_layer.stop()
        self._showing = None
        self._stop_retaking()
        if self.run is not None:
            self.run.stop.set()
            self._end(0.0, CANCELLED)
        self.outcome = self.preview = None

    def remove_preview(self) -> None:
        """Remove the preview: it is out of date, or the result is there."""
        preview, self.preview = self.preview, None
        if preview is not None:
            self.outcome = None if self.outcome is preview else self.outcome
            Result.of_outcome(self._viewer, preview).remove()

    def _show(self, outcome: Outcome) -> None:
        _limit_features(outcome)
        if outcome.is_preview:
            self.preview = outcome
        last = self.outcome
        if not outcome.is_preview or last is None or last.is_preview or last.source.layers != outcome.source.layers:
            self.outcome = outcome
        self._showing = self._show_in_steps(outcome)
        self._show_next()

    def _show_next(self) -> None:
        """Add the next layer of the result; the window draws and answers before the one after."""
        assert self._showing is not None
        try:
            next(self._showing)
            self._next_layer.start()
            return
        except StopIteration as end:
            self._end(1.0, end.value)
        except Exception as error:  # the result is not lost: it stays in ``outcome``
            logger.info("unexpected error while showing a result", exc_info=True)
            self._on_failed(error)
        self._showing = None

    def _show_in_steps(self, outcome: Outcome) -> Generator[None, None, str]:
        """Show a result layer by layer; return a sentence about the merge."""
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
        done = "Preview" if outcome.is_preview else "Merged"
        return f"{done} in {seconds:.1f} s" + (f" on {device}." if device else ".")


def _merge(source: BracketSource, settings: MergeSettings, run: Run) -> Outcome:
    run.report(0.0, "Loading")
    outcome = merge_source(source, settings, run.report, run.stop.is_set)
    if outcome.linear and settings.tone_mapped and not source.planes:
        prepare(outcome.radiance)  # or the first drawing does it, in the window's own thread
    return outcome


def _limit_features(outcome: Outcome) -> None:
    """Of large images only the coloured views stay: the features themselves may take gigabytes."""
    result = outcome.result
    if result is None or not result.stages:
        return
    if sum(array.nbytes for stage in result.stages for array in stage) > KEPT_FEATURES:
        result.stages, result.maps = None, {}  # maps are made from features; what is shown of them is in the outcome
