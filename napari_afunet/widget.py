"""The dock widget: it shows settings, starts the worker, and hands results to the layers. It computes nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
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
from napari_afunet.inputs import BracketSource
from napari_afunet.job import Outcome, Step
from napari_afunet.layers import show_outcome
from napari_afunet.panels.bracket import BracketPanel
from napari_afunet.panels.display import DisplayPanel
from napari_afunet.panels.settings import SettingsPanel
from napari_afunet.session import as_script
from napari_afunet.settings import MergeSettings
from napari_afunet.worker import Failed, MergeWorker, start_merge

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["MergeWidget"]

IDLE, RUNNING, CANCELLING = "Merge", "Cancel", "Cancelling …"
STEPS = 1000
MINIMUM_WIDTH = 360


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

        self.bracket = BracketPanel(napari_viewer)
        self.options = SettingsPanel(MergeSettings.from_preferences())
        self.display = DisplayPanel(napari_viewer)
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
        self.script_button = QPushButton("Copy as script")
        self.script_button.setToolTip(
            "Python that repeats this merge, to paste into a script, a notebook or the console."
        )
        self._build()

        self.merge_button.clicked.connect(self._on_button)
        self.script_button.clicked.connect(self.copy_script)
        self.bracket.changed.connect(self._update)
        self.bracket.frames_changed.connect(self._adopt_encoding)
        self.options.changed.connect(self._update)
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.connect(self._on_layers)
        self._adopt_encoding()
        self._update()

    def _build(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 6, 6, 6)
        column.addWidget(_group("Exposure bracket", self.bracket))
        column.addWidget(_group("Merging", self.options))
        column.addWidget(self.merge_button)
        column.addWidget(self.progress_bar)
        column.addWidget(self.status_label)
        column.addWidget(_group("Display", self.display))
        row = QHBoxLayout()
        row.addWidget(self.script_button)
        column.addLayout(row)
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

    def _start(self, source: BracketSource, settings: MergeSettings) -> None:
        self._started = time.monotonic()
        self.merge_button.setText(RUNNING)
        self.progress_bar.setValue(0)
        self._say("Starting …")
        self.worker = start_merge(
            source, settings, progressed=self._on_progress, yielded=self._on_yield, finished=self._on_finished
        )

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
            self._show(event.outcome)

    def _show(self, outcome: Outcome) -> None:
        layers = show_outcome(self._viewer, outcome, self.display.settings())
        self.display.refresh()
        self.display.choose(layers["radiance"])
        for warning in outcome.warnings:
            show_warning(warning)
        seconds = time.monotonic() - self._started
        device = outcome.info.get("device", "")
        self._say(f"Merged in {seconds:.1f} s" + (f" on {device}." if device else "."))
        self.progress_bar.setValue(STEPS)

    def _on_finished(self) -> None:
        cancelled = self.worker is not None and self.worker.abort_requested
        self.worker = None
        self.merge_button.setText(IDLE)
        self.merge_button.setEnabled(True)
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
            problem = self.bracket.problem()
            self._say(problem or "Ready.")

    def _say(self, text: str) -> None:
        self.status_label.setText(text)


def _group(title: str, content: QWidget) -> QGroupBox:
    group = QGroupBox(title)
    layout = QVBoxLayout(group)
    layout.setContentsMargins(8, 8, 8, 8)
    layout.addWidget(content)
    return group
