"""The dock widget: it shows settings, starts the worker, and hands results to the layers. It computes nothing."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from afunet_core.errors import AFUNetError
from napari_afunet.advice import bracket_warnings, estimated_seconds, remember_speed
from napari_afunet.compare import show_reference, show_result
from napari_afunet.inputs import BracketSource
from napari_afunet.inspecting import channel_count, show_quantity
from napari_afunet.job import Outcome, Step
from napari_afunet.layers import show_outcome
from napari_afunet.machine import Machine, look_around
from napari_afunet.panels.bracket import BracketPanel
from napari_afunet.panels.display import DisplayPanel
from napari_afunet.panels.inspect import InspectPanel
from napari_afunet.panels.settings import SettingsPanel
from napari_afunet.preview import visible_part
from napari_afunet.session import as_script
from napari_afunet.settings import MergeSettings
from napari_afunet.worker import BracketDone, Failed, MergeWorker, start_batch, start_merge

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["MergeWidget"]

logger = logging.getLogger(__name__)

IDLE, RUNNING, CANCELLING = "Merge", "Cancel", "Cancelling …"
STEPS = 1000
MINIMUM_WIDTH = 360
KEPT_FEATURES = 1024**3  # bytes of features that are kept for inspection after a merge


class MergeWidget(QWidget):
    """Merge the frames of a bracket into one HDR image.

    Attributes:
        bracket: the frames and their exposures.
        options: everything else that decides the result.
        display: how HDR layers look.
        merge_button: Merge, and Cancel while merging.
        worker: the merge under way, or ``None``.
        outcome: of the last merge.
    """

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self.worker: MergeWorker | None = None
        self.outcome: Outcome | None = None
        self._started = 0.0
        self._warnings: list[str] = []
        self._bad_brackets: list[str] = []

        self.bracket = BracketPanel(napari_viewer)
        self.options = SettingsPanel(MergeSettings.from_preferences())
        self.display = DisplayPanel(napari_viewer)
        self.inspect = InspectPanel()
        self.merge_button = QPushButton(IDLE)
        self.merge_button.setObjectName("merge")
        self.merge_button.setMinimumHeight(38)
        font = self.merge_button.font()
        font.setPointSizeF(font.pointSizeF() * 1.25)
        font.setBold(True)
        self.merge_button.setFont(font)
        self.progress_bar = QProgressBar()
        self.progress_bar.setRange(0, STEPS)
        self.progress_bar.setTextVisible(False)
        self.progress_bar.setFixedHeight(8)
        self.status_label = QLabel()
        self.status_label.setWordWrap(True)
        self.status_label.setMinimumHeight(2 * self.status_label.fontMetrics().height() + 4)
        self.status_label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.preview_button = QPushButton("Preview")
        self.preview_button.setMinimumHeight(38)
        self.preview_button.setToolTip(
            "Merge only what the canvas shows, coarsely.\n"
            "The network looks at the whole image, so the full merge differs a little."
        )
        self.badge_label = QLabel("…")
        self.badge_label.setToolTip("What ‘auto’ uses on this computer.")
        self.compare_button = QPushButton("Show reference frame")
        self.compare_button.setCheckable(True)
        self.compare_button.setToolTip("Before and after: the reference frame in the place of the result.")
        self.batch_button = QPushButton("Merge folders …")
        self.batch_button.setToolTip("Merge every bracket folder below a folder into OpenEXR files.")
        self.script_button = QPushButton("Copy as script")
        self.script_button.setToolTip(
            "Python that repeats this merge, to paste into a script, a notebook or the console."
        )
        self._build()

        self.merge_button.clicked.connect(self._on_button)
        self.preview_button.clicked.connect(self.preview)
        self.compare_button.toggled.connect(self._on_compare)
        self.batch_button.clicked.connect(self._on_batch_button)
        self.script_button.clicked.connect(self.copy_script)
        self.inspect.chosen.connect(self._on_inspect)
        self.bracket.changed.connect(self._update)
        self.bracket.frames_changed.connect(self._adopt_encoding)
        self.options.changed.connect(self._update)
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.connect(self._on_layers)
        self._adopt_encoding()
        self._update()
        create_worker(look_around, _connect={"returned": self._on_machine}, _ignore_errors=True)

    def _build(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 6, 6, 6)
        column.addWidget(_group("Exposure bracket", self.bracket))
        column.addWidget(_group("Merging", self.options))
        buttons = QHBoxLayout()
        buttons.addWidget(self.merge_button, 3)
        buttons.addWidget(self.preview_button, 1)
        column.addLayout(buttons)
        column.addWidget(self.progress_bar)
        column.addWidget(self.status_label)
        column.addWidget(_group("Display", self.display, self.compare_button))
        column.addWidget(_group("Inspect", self.inspect))
        row = QHBoxLayout()
        row.addWidget(self.script_button)
        row.addWidget(self.batch_button)
        column.addLayout(row)
        column.addWidget(self.badge_label)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidget(inside)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)
        needed = inside.minimumSizeHint().width() + area.verticalScrollBar().sizeHint().width()
        self.setMinimumWidth(max(needed, MINIMUM_WIDTH))

    # -------------------------------------------------------------------------------------------- merging

    def settings(self) -> MergeSettings:
        """What the view shows now, exposures included."""
        ev, times = self.bracket.exposures()
        return self.options.settings().replace(ev=ev, times=times)

    def merge(self) -> None:
        """Start merging; what is wrong with the settings becomes a notification."""
        if self.worker is not None:
            return
        problem = self.bracket.problem()
        if problem:
            show_warning(problem)
            return
        try:
            source = self.bracket.source()
        except AFUNetError as error:
            show_error(str(error))
            return
        self._start(source, self.settings())

    def cancel(self) -> None:
        """Ask the merge to stop; it does within a second."""
        if self.worker is not None:
            self.merge_button.setText(CANCELLING)
            self.merge_button.setEnabled(False)
            self.worker.quit()

    def preview(self) -> None:
        """Merge what the canvas shows, fast."""
        if self.worker is not None:
            return
        problem = self.bracket.problem()
        if problem:
            show_warning(problem)
            return
        try:
            source = self.bracket.source()
        except AFUNetError as error:
            show_error(str(error))
            return
        layers = self.bracket.layers()
        if self.bracket.is_stack:
            show_info("Previews need one layer per frame; the whole stack is merged instead.")
        else:
            source = visible_part(self._viewer, layers[len(layers) // 2], source)
        self._start(source, self.settings().replace(stages=False, ghost_map=False))

    def merge_folders(self, root: str, output: str) -> None:
        """Merge every bracket folder at or below ``root`` into OpenEXR files in ``output``."""
        if self.worker is None:
            self._begin()
            self._bad_brackets = []
            self.worker = start_batch(
                root,
                output,
                self.settings(),
                progressed=self._on_progress,
                yielded=self._on_bracket,
                finished=self._on_finished,
            )

    def _start(self, source: BracketSource, settings: MergeSettings) -> None:
        self._begin()
        self.worker = start_merge(
            source, settings, progressed=self._on_progress, yielded=self._on_yield, finished=self._on_finished
        )

    def _begin(self) -> None:
        self._started = time.monotonic()
        self.compare_button.setChecked(False)
        self.merge_button.setText(RUNNING)
        self.preview_button.setEnabled(False)
        self.batch_button.setEnabled(False)
        self.progress_bar.setValue(0)
        self._say("Starting …")

    def _on_button(self) -> None:
        if self.worker is None:
            self.merge()
        else:
            self.cancel()

    def _on_progress(self, fraction: float, message: str) -> None:
        if self.worker is None or self.worker.abort_requested:
            return
        self.progress_bar.setValue(round(fraction * STEPS))
        self._say(message)

    def _on_yield(self, event: Step | Failed) -> None:
        if self.worker is None or self.worker.abort_requested:
            return
        if isinstance(event, Failed):
            self._say(event.message)
            show_error(event.message)
            return
        self.outcome = event.outcome
        if event.done == event.total:
            try:
                self._show(event.outcome)
            except Exception as error:  # the result is not lost: it stays in self.outcome
                logger.info("unexpected error while showing a result", exc_info=True)
                show_error(f"The result could not be shown ({type(error).__name__}: {error}). Please report this.")

    def _show(self, outcome: Outcome) -> None:
        seconds = time.monotonic() - self._started
        remember_speed(outcome, seconds)
        self._limit_features(outcome)
        layers = show_outcome(self._viewer, outcome, self.display.settings())
        self.inspect.set_channels(0 if outcome.source.planes else channel_count(outcome))
        self.display.refresh()
        self.display.choose(layers["radiance"])
        for warning in outcome.warnings:
            show_warning(warning)
        device = outcome.info.get("device", "")
        self._say(f"Merged in {seconds:.1f} s" + (f" on {device}." if device else "."))
        self.progress_bar.setValue(STEPS)

    def _on_finished(self) -> None:
        cancelled = self.worker is not None and self.worker.abort_requested
        self.worker = None
        self.merge_button.setText(IDLE)
        self.merge_button.setEnabled(True)
        self.preview_button.setEnabled(True)
        self.batch_button.setEnabled(True)
        if cancelled:
            self.progress_bar.setValue(0)
            self._say("Cancelled. Nothing was changed.")

    # -------------------------------------------------------------------------------------------- around it

    def copy_script(self) -> str:
        """Put Python for this merge on the clipboard, and return it."""
        try:
            source = self.bracket.source()
        except AFUNetError as error:
            show_error(str(error))
            return ""
        script = as_script(source, [layer.name for layer in self.bracket.layers()], self.settings())
        QApplication.clipboard().setText(script)
        show_info("The script is on the clipboard.")
        return script

    def _on_layers(self) -> None:
        self.bracket.refresh()
        self.display.refresh()

    def _adopt_encoding(self) -> None:
        """Take the encoding that the chosen layers state about themselves."""
        stated = {layer.metadata.get("encoding") for layer in self.bracket.layers()}
        if len(stated) == 1 and (index := self.options.encoding_box.findData(stated.pop())) >= 0:
            self.options.encoding_box.setCurrentIndex(index)

    def _update(self) -> None:
        if self.worker is None:
            self._say(self.bracket.problem() or self._forecast())

    def _forecast(self) -> str:
        """What can be said before merging: warnings, and the time it takes where that is known."""
        try:
            source = self.bracket.source()
        except AFUNetError as error:
            return str(error)
        settings = self.settings()
        seconds = estimated_seconds(source, settings)
        ready = "Ready." if seconds is None else f"Ready: about {max(1, round(seconds))} s."
        return "\n".join([ready, *(f"⚠ {warning}" for warning in bracket_warnings(source, settings))])

    def _on_bracket(self, event: BracketDone | Failed) -> None:
        """One bracket of a batch is done."""
        if isinstance(event, Failed):
            self._say(event.message)
            show_error(event.message)
            return
        if event.status == "failed":
            self._bad_brackets.append(f"{event.name}: {event.message}")
        if event.done == event.total:
            bad = self._bad_brackets
            self._say(f"{event.total - len(bad)} of {event.total} brackets merged." + "".join(f"\n⚠ {b}" for b in bad))
            self.progress_bar.setValue(STEPS)
            (show_warning if bad else show_info)(self.status_label.text())

    def _on_batch_button(self) -> None:
        root = QFileDialog.getExistingDirectory(self, "Folder with bracket folders")
        output = QFileDialog.getExistingDirectory(self, "Folder for the merged images", root) if root else ""
        if output:
            self.merge_folders(root, output)

    def _on_compare(self, checked: bool) -> None:
        if not checked:
            show_result(self._viewer)
        elif not show_reference(self._viewer):
            self.compare_button.setChecked(False)
            show_info("There is nothing to compare yet: merge first, and keep the frames' layers.")

    def _on_inspect(self, quantity: str, channel: int) -> None:
        if self.outcome is not None:
            show_quantity(self._viewer, self.outcome, quantity, channel)

    def _on_machine(self, machine: Machine) -> None:
        self.badge_label.setText(machine.badge)
        self.options.set_devices(list(machine.devices))
        self.options.set_models(list(machine.models))

    def _limit_features(self, outcome: Outcome) -> None:
        """Of large images only the coloured views stay: the features themselves may take gigabytes."""
        stages = outcome.result.stages if outcome.result is not None else None
        if outcome.result is not None and stages:
            size = sum(array.nbytes for stage in stages for array in stage)
            if size > KEPT_FEATURES:
                outcome.result.stages = None

    def _say(self, text: str) -> None:
        self.status_label.setText(text)


def _group(title: str, *contents: QWidget) -> QGroupBox:
    group = QGroupBox(title)
    layout = QVBoxLayout(group)
    layout.setContentsMargins(8, 8, 8, 8)
    for content in contents:
        layout.addWidget(content)
    return group
