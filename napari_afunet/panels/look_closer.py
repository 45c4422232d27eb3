"""Buttons that show more of a merge: ghosts, sources, features; and that take regions from other frames."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_afunet.layers.maps import LEGENDS

__all__ = ["LookCloserPanel"]

_MAPS = {
    "ghost": ("Show ghosts", "Overlay where the frames disagree, because something moved."),
    "source": ("Show sources", "Overlay which frame each pixel came from, or how much the network decided."),
}


class LookCloserPanel(QWidget):
    """Maps over the result, and regions taken from other frames.

    Attributes:
        buttons: of the maps, by name; pressed while a map is shown.
        frame_box: the frame that a region is taken from.
        map_wanted: name, and True to show it.
        regions_wanted: the frame, counted from 0, that a region is to be drawn for.
    """

    map_wanted = Signal(str, bool)
    regions_wanted = Signal(int)
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
        self.frame_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.frame_box.setMinimumContentsLength(8)
        self.frame_box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.draw_button = QPushButton("Draw region")
        self.draw_button.setToolTip("Drag a rectangle over the result: it is taken from the frame chosen, at once.")
        self.undo_button = QPushButton("Undo")
        self.undo_button.setAccessibleName("Undo the last region")
        self.undo_button.setToolTip("Take the last region back.")
        self.tidy_button = QPushButton("Remove extra layers")
        self.tidy_button.setToolTip("Remove previews, maps, stages and regions; results and frames stay.")
        regions = QHBoxLayout()
        regions.addWidget(QLabel("Take from"))
        for widget in (self.frame_box, self.draw_button, self.undo_button):
            regions.addWidget(widget, int(widget is self.frame_box))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(maps)
        layout.addWidget(self.legend)
        layout.addLayout(regions)
        layout.addWidget(self.tidy_button)
        self.draw_button.clicked.connect(lambda: self.regions_wanted.emit(self.frame_box.currentIndex()))
        self.undo_button.clicked.connect(self.undo_wanted)
        self.tidy_button.clicked.connect(self.tidy_wanted)
        self.set_frames([])

    def set_frames(self, names: Sequence[str], can_take_regions: bool = True) -> None:
        """Offer the frames of a result; none where there is no result."""
        self.frame_box.clear()
        self.frame_box.addItems([f"frame {index + 1} · {name}" for index, name in enumerate(names)])
        for button in self.buttons.values():
            button.setEnabled(bool(names))
        for widget in (self.frame_box, self.draw_button, self.undo_button):
            widget.setEnabled(bool(names) and can_take_regions)

    def show_map(self, button: str, name: str = "") -> None:
        """Show that a map is shown (with its legend), or none for an empty name."""
        self.buttons[button].setChecked(bool(name))
        self.legend.setText(LEGENDS.get(name, ""))
        self.legend.setVisible(bool(name))
