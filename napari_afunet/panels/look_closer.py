"""Looking closer at a result: comparisons, maps, regions from other frames, and the stages of the network."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_afunet.display.compare import COMPARISONS
from napari_afunet.layers.features import QUANTITIES
from napari_afunet.layers.overlays import BRUSH, LEGENDS
from napari_afunet.panels.layout import let_shrink, panel_form, reveal

_TIPS = {
    "reference": "Before and after: the reference frame in the place of the result.",
    "side by side": "The reference frame and the result, moved and zoomed together.",
    "frames": "All frames and the result, moved and zoomed together.",
    "stages": "What was aligned: the shorter side, the reference and the longer side of the chosen stage.",
}
_MAPS = {
    "ghost": ("Show ghosts", "Overlay where the frames disagree, because something moved."),
    "source": ("Show sources", "Overlay which frame each pixel came from, or how much the network decided."),
}

# mode of napari's shapes → what the user reads
_TOOLS = {
    BRUSH: ("Brush", "Paint over the result, zoomed in for a finer brush"),
    "add_rectangle": ("Rectangle", "Drag a rectangle over the result"),
    "add_polygon_lasso": ("Freehand", "Drag around a region of the result"),
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


class LookCloserPanel(QWidget):
    """Maps over the result, and regions taken from other frames."""

    map_wanted = Signal(str, bool)  # name; show it
    regions_wanted = Signal(int, str)  # frame, counted from 0; tool
    undo_wanted = Signal()
    tidy_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, QPushButton] = {}
        maps = QGridLayout()
        for index, (name, (text, tip)) in enumerate(_MAPS.items()):
            button = self.buttons[name] = QPushButton(text)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.clicked.connect(lambda checked, name=name: self.map_wanted.emit(name, checked))
            maps.addWidget(button, 0, index)
        self.legend = QLabel()
        self.legend.setAccessibleName("Legend of the map")
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        self.legend.setVisible(False)
        self.frame_box = QComboBox()
        self.frame_box.setAccessibleName("Frame that a region is taken from")
        self.frame_box.setToolTip("Where something moved the result shows the reference's moment: choose another's.")
        let_shrink(self.frame_box)
        self.tools = {mode: QPushButton(text) for mode, (text, _) in _TOOLS.items()}
        for mode, button in self.tools.items():
            button.setToolTip(f"{_TOOLS[mode][1]}: it is taken from the frame chosen, at once.")
            button.clicked.connect(lambda _, mode=mode: self.regions_wanted.emit(self.frame_box.currentIndex(), mode))
        self.undo_button = QPushButton("Undo")
        self.undo_button.setAccessibleName("Undo the last region")
        self.undo_button.setToolTip("Take the last region back.")
        self.tidy_button = QPushButton("Remove extra layers")
        self.tidy_button.setToolTip("Remove previews, maps, stages and regions; results and frames stay.")
        self.reason_label = QLabel()
        self.reason_label.setAccessibleName("Why no region can be taken")
        self.reason_label.setWordWrap(True)
        regions = QGridLayout()
        regions.setVerticalSpacing(3)
        regions.addWidget(QLabel("Take from"), 0, 0)
        regions.addWidget(self.frame_box, 0, 1, 1, 3)
        for column, button in enumerate((*self.tools.values(), self.undo_button)):
            regions.addWidget(button, 1, column)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(maps)
        layout.addWidget(self.legend)
        layout.addLayout(regions)
        layout.addWidget(self.reason_label)
        layout.addWidget(self.tidy_button)
        self.undo_button.clicked.connect(self.undo_wanted)
        self.tidy_button.clicked.connect(self.tidy_wanted)
        self.set_frames([])

    def set_frames(self, names: Sequence[str], reason: str = "") -> None:
        """Offer the frames of a result; none where there is no result, and no regions for a reason."""
        self.frame_box.clear()
        self.frame_box.addItems([f"frame {index + 1} · {name}" for index, name in enumerate(names)])
        for button in self.buttons.values():
            button.setEnabled(bool(names))
        self.reason_label.setText(reason)
        self.reason_label.setVisible(bool(reason))
        for widget in (self.frame_box, *self.tools.values(), self.undo_button):
            widget.setEnabled(bool(names) and not reason)

    def show_map(self, button: str, name: str = "") -> None:
        """Show that a map is shown (with its legend), or none for an empty name."""
        self.buttons[button].setChecked(bool(name))
        self.legend.setText(LEGENDS.get(name, ""))
        self.legend.setVisible(bool(name))
        if name:
            reveal(self.legend)


class FeaturesPanel(QWidget):
    """Choose a quantity; ``chosen(quantity, channel)`` says which."""

    chosen = Signal(str, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.quantity_box = QComboBox()
        for value, text in QUANTITIES.items():
            self.quantity_box.addItem(text, value)
        self.quantity_box.setToolTip("What the layers 'stages' show of the network's features, along the stage slider.")
        let_shrink(self.quantity_box)
        self.channel_box = QSpinBox()
        self.channel_box.setAccessibleName("Channel of the features")
        self.channel_box.setToolTip("Which channel of the features.")
        self.channel_box.setVisible(False)
        row = QHBoxLayout()
        row.addWidget(self.quantity_box, 1)
        row.addWidget(self.channel_box)
        form = panel_form()
        self.setLayout(form)
        form.addRow("Stages as", row)
        self.quantity_box.activated.connect(self._emit)
        self.channel_box.valueChanged.connect(self._emit)
        self.set_channels(0)

    def set_channels(self, count: int) -> None:
        """Set the number of channels of the features; 0 when there are none to look at."""
        self.setEnabled(count > 0)
        self.channel_box.blockSignals(True)
        self.channel_box.setRange(0, max(0, count - 1))
        self.channel_box.blockSignals(False)
        self.quantity_box.setCurrentIndex(0)
        self.channel_box.setVisible(False)

    def _emit(self) -> None:
        quantity = self.quantity_box.currentData()
        self.channel_box.setVisible(quantity == "channel")
        self.chosen.emit(quantity, self.channel_box.value())
