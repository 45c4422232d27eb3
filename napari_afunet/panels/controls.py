"""The big button, the progress bar and the line of text below it."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

__all__ = ["ControlsPanel"]

IDLE, RUNNING, CANCELLING = "Merge", "Cancel", "Cancelling …"
STEPS = 1000
_HEIGHT = 38


class ControlsPanel(QWidget):
    """Merge, which becomes Cancel while something runs."""

    merge_wanted = Signal()
    preview_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.merge_button = QPushButton(IDLE)
        self.merge_button.setObjectName("merge")
        self.merge_button.setMinimumHeight(_HEIGHT)
        font = self.merge_button.font()
        font.setPointSizeF(font.pointSizeF() * 1.25)
        font.setBold(True)
        self.merge_button.setFont(font)
        self.preview_button = QPushButton("Preview")
        self.preview_button.setMinimumHeight(_HEIGHT)
        self.preview_button.setToolTip(
            "Merge only what the canvas shows, coarsely.\n"
            "The network looks at the whole image, so the full merge differs a little."
        )
        self.progress_bar = QProgressBar()
        self.progress_bar.setRange(0, STEPS)
        self.progress_bar.setTextVisible(False)
        self.progress_bar.setFixedHeight(8)
        self.status_label = QLabel()
        self.status_label.setWordWrap(True)
        self.status_label.setMinimumHeight(2 * self.status_label.fontMetrics().height() + 4)
        self.status_label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.status_label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

        buttons = QHBoxLayout()
        buttons.addWidget(self.merge_button, 3)
        buttons.addWidget(self.preview_button, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(buttons)
        column.addWidget(self.progress_bar)
        column.addWidget(self.status_label)
        self.merge_button.clicked.connect(self._on_click)
        self.preview_button.clicked.connect(self.preview_wanted)

    def say(self, text: str) -> None:
        """One or two sentences on how things are."""
        self.status_label.setText(text)

    def show_progress(self, fraction: float, message: str) -> None:
        """Show the share that is done and what is being done."""
        self.progress_bar.setValue(round(fraction * STEPS))
        self.say(message)

    def show_running(self) -> None:
        """Something runs that can be cancelled."""
        self.merge_button.setText(RUNNING)
        self.merge_button.setEnabled(True)
        self.preview_button.setEnabled(False)
        self.show_progress(0.0, "Starting …")

    def show_cancelling(self) -> None:
        """It was asked to stop."""
        self.merge_button.setText(CANCELLING)
        self.merge_button.setEnabled(False)

    def show_idle(self, fraction: float, message: str) -> None:
        """Ready for the next merge."""
        self.merge_button.setText(IDLE)
        self.merge_button.setEnabled(True)
        self.preview_button.setEnabled(True)
        self.show_progress(fraction, message)

    def _on_click(self) -> None:
        (self.merge_wanted if self.merge_button.text() == IDLE else self.cancel_wanted).emit()
