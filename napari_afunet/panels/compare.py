"""One button for each way to look at the result beside what it was made from."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from napari_afunet.display.compare import COMPARISONS

__all__ = ["ComparePanel"]

_TIPS = {
    "reference": "Before and after: the reference frame in the place of the result.",
    "side by side": "The reference frame and the result, moved and zoomed together.",
    "frames": "All frames and the result, moved and zoomed together.",
    "stages": "What was aligned: the shorter side, the reference and the longer side of the chosen stage.",
}


class ComparePanel(QWidget):
    """Buttons that stay down while their comparison is shown; ``chosen(name)`` has an empty name when none is."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        for index, (name, text) in enumerate(COMPARISONS.items()):
            button = QPushButton(text)
            button.setCheckable(True)
            button.setToolTip(_TIPS[name])
            button.clicked.connect(lambda checked, name=name: self._on_click(name, checked))
            grid.addWidget(button, *divmod(index, 2))
            self.buttons[name] = button

    def show_chosen(self, name: str) -> None:
        """Show this button as pressed; none for an empty name."""
        for each, button in self.buttons.items():
            button.setChecked(each == name)

    def _on_click(self, name: str, checked: bool) -> None:
        self.show_chosen(name if checked else "")
        self.chosen.emit(name if checked else "")
