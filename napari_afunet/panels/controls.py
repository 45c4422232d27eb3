"""Merge and what belongs to it: the button, progress, forecast, the summary of the last merge, and warnings."""

import time
from collections.abc import Sequence

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_afunet.jobs.summary import duration
from napari_afunet.panels.layout import make_label

IDLE, RUNNING, CANCELLING = "Merge", "Cancel", "Cancelling …"
STEPS = 1000
_HEIGHT = 38
_TELLING = 0.05  # share that must be done before the time left is said
_LABELS = ("Status", "Summary of the last merge", "Warnings")


class ControlsPanel(QWidget):
    """Merge, which becomes Cancel while something runs."""

    def __init__(self, save_button: QPushButton, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._begun = 0.0
        self.merge_button = QPushButton()
        self.merge_button.setObjectName("merge")
        self.merge_button.setToolTip("Merge the frames into one HDR image.")
        font = self.merge_button.font()
        font.setPointSizeF(font.pointSizeF() * 1.25)
        font.setBold(True)
        self.merge_button.setFont(font)
        self.save_button = save_button
        self.preview_button = QPushButton("Preview")
        self.preview_button.setToolTip(
            "Merge only what the canvas shows, coarsely, into layers of its own.\n"
            "The network looks at the whole image, so the full merge differs a little."
        )
        self._set_mode(IDLE, "Merge the bracket")
        self.progress_bar = QProgressBar()
        self.progress_bar.setAccessibleName("Progress of the merge")
        self.progress_bar.setRange(0, STEPS)
        self.progress_bar.setTextVisible(False)
        self.progress_bar.setFixedHeight(8)
        self.status_label, self.summary_label, self.warnings_label = map(make_label, _LABELS)
        self.status_label.setMinimumHeight(self.status_label.fontMetrics().height() + 4)
        self.summary_label.setVisible(False)
        self.warnings_label.setVisible(False)
        # Of one colour in any theme.
        self.warnings_label.setStyleSheet("QLabel { border-left: 3px solid #e0a030; padding-left: 4px; }")
        buttons = QHBoxLayout()
        for button, share in ((self.merge_button, 3), (self.save_button, 1), (self.preview_button, 1)):
            button.setMinimumHeight(_HEIGHT)
            buttons.addWidget(button, share)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(buttons)
        for part in (self.progress_bar, self.status_label, self.summary_label, self.warnings_label):
            column.addWidget(part)

    def show_status(self, text: str) -> None:
        """Show one or two sentences on how things are."""
        self.status_label.setText(text)

    def show_warnings(self, warnings: Sequence[str]) -> None:
        """Show these warnings in place of the last ones."""
        self.warnings_label.setText("\n".join(f"⚠ {warning}" for warning in warnings))
        self.warnings_label.setVisible(bool(warnings))

    def show_summary(self, text: str, warnings: Sequence[str]) -> None:
        """Show what happened in a merge, and its warnings; the summary stays until the next one."""
        self.show_warnings(warnings)
        self.summary_label.setText(text)
        self.summary_label.setVisible(bool(text))

    def show_progress(self, fraction: float, message: str) -> None:
        """Show the share that is done, what is being done, and the time left."""
        self.progress_bar.setValue(round(fraction * STEPS))
        passed = time.monotonic() - self._begun
        if self._begun and _TELLING < fraction < 1 and passed > 2:
            message = f"{message}, about {duration(passed * (1 - fraction) / fraction)} left"
        self.show_status(message)

    def show_running(self) -> None:
        """Offer to cancel what runs."""
        self._begun = time.monotonic()
        self._set_mode(RUNNING, "Cancel the merge")
        self.show_progress(0.0, "Starting …")

    def show_cancelling(self) -> None:
        """Show that what runs was asked to stop."""
        self.merge_button.setText(CANCELLING)
        self.merge_button.setEnabled(False)

    def show_idle(self, fraction: float, message: str) -> None:
        """Offer the next merge."""
        self._begun = 0.0
        self._set_mode(IDLE, "Merge the bracket")
        self.show_progress(fraction, message)

    def _set_mode(self, text: str, name: str) -> None:
        self.merge_button.setText(text)
        self.merge_button.setAccessibleName(name)
        self.merge_button.setEnabled(True)
        self.preview_button.setEnabled(text == IDLE)
