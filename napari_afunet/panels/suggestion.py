"""One line that suggests frames as the bracket; hidden while there is nothing to suggest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QWidget

from napari_afunet.panels.layout import reveal

if TYPE_CHECKING:
    from napari.layers import Image


class BracketSuggestion(QWidget):
    """Says which frames came together, with a button to use them and one to decline; ``taken(layers)`` when used."""

    taken = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layers: list[Image] = []
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.use_button = QPushButton("Use as bracket")
        self.use_button.setToolTip("Choose these frames, shortest exposure first, in place of those below.")
        self.decline_button = QToolButton()
        self.decline_button.setText("✕")
        self.decline_button.setAccessibleName("Decline the suggestion")
        self.decline_button.setToolTip("Keep the frames that are chosen below.")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.label, 1)
        row.addWidget(self.use_button)
        row.addWidget(self.decline_button)
        self.use_button.clicked.connect(self._take)
        self.decline_button.clicked.connect(self.withdraw)
        self.withdraw()

    def suggest(self, layers: Sequence[Image]) -> None:
        """Suggest these, in place of what was suggested before."""
        self.layers = list(layers)
        self.label.setText(f"{len(layers)} frames came together: “{layers[0].name}” to “{layers[-1].name}”.")
        self.setVisible(True)
        reveal(self)

    def withdraw(self) -> None:
        """Suggest nothing any more."""
        self.layers = []
        self.setVisible(False)

    def _take(self) -> None:
        layers = self.layers
        self.withdraw()
        self.taken.emit(layers)
