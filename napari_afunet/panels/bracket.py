"""The frames of the bracket and their exposures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_afunet.layers.exposures import common_exposures, layer_exposure, parse_exposure, stack_exposures
from napari_afunet.layers.selection import candidate_layers, full_resolution, guess_layers, guess_stack
from napari_afunet.layers.source import BracketSource, bracket_source, stack_source

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["BracketPanel", "format_exposure"]

EV, SECONDS = "EV", "seconds"
MOST_FRAMES = 9
_CHOOSE = "choose a layer …"
_AUTOMATIC = "automatic"


def format_exposure(value: float, unit: str) -> str:
    """As photographers write it, and so that reading it back gives the same exposure.

    Example:
        >>> format_exposure(0.01, "seconds"), format_exposure(2.0, "EV"), format_exposure(0.0004, "seconds")
        ('1/100', '+2', '1/2500')
    """
    if unit == EV:
        return f"{value:+.4g}" if value else "0"
    if 0 < value < 0.3:
        whole = round(1 / value)
        if abs(value * whole - 1) < 1e-6:
            return f"1/{whole}"
    return f"{value:.7g}"


class BracketPanel(QWidget):
    """Frames and exposures, found by itself and editable.

    Attributes:
        layer_boxes: one combo box a frame (the first only, when the frames are planes of one layer).
        exposure_edits: one text field a frame.
        unit_box: EV or seconds.
        reference_box: which of the frames is the reference.
        changed: emitted after every change of frames or exposures.
    """

    changed = Signal()
    frames_changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._candidates: list[Image] = []
        self._chosen_by_user = False
        self._typed: WeakKeyDictionary[Image, dict[int, str]] = WeakKeyDictionary()

        self.kind_box = QComboBox()
        self.kind_box.addItems(["One layer per frame", "Planes of one layer"])
        self.kind_box.setToolTip("A stack whose first axis holds the exposures can be merged too.")
        self.unit_box = QComboBox()
        self.unit_box.addItems([EV, SECONDS])
        self.unit_box.setToolTip("EV: stops, only differences count. Seconds: 1/100, 0.04, 400 ms.")
        self.guess_button = QToolButton()
        self.guess_button.setText("Find again")
        self.guess_button.setToolTip(
            "Choose the frames anew: by exposure metadata, else by brightness.\nSelect three layers first to use these."
        )

        top = QHBoxLayout()
        top.addWidget(self.kind_box, 1)
        top.addWidget(self.guess_button)
        self._grid = QGridLayout()
        self._grid.setColumnStretch(0, 1)
        self._grid.addWidget(QLabel("Frame, shortest first"), 0, 0)
        self._grid.addWidget(self.unit_box, 0, 1)
        self.reference_box = QComboBox()
        self.reference_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.reference_box.setMinimumContentsLength(8)
        self.reference_box.setToolTip(
            "The frame that others are aligned to, and whose moment the result shows.\n"
            "Automatic: the one that is best exposed and sharp, mostly the middle one."
        )
        self.layer_boxes: list[QComboBox] = []
        self.exposure_edits: list[QLineEdit] = []
        self.add_button = QPushButton("+ frame")
        self.remove_button = QPushButton("− frame")
        for button in (self.add_button, self.remove_button):
            button.setFlat(True)
        buttons = QHBoxLayout()
        buttons.addWidget(QLabel("Reference"))
        buttons.addWidget(self.reference_box, 1)
        buttons.addWidget(self.remove_button)
        buttons.addWidget(self.add_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(top)
        layout.addLayout(self._grid)
        layout.addLayout(buttons)

        self._set_rows(3)
        self.reference_box.activated.connect(self.changed)
        self.kind_box.activated.connect(self._on_kind)
        self.unit_box.currentTextChanged.connect(self._on_unit)
        self.guess_button.clicked.connect(self.find_frames)
        self.add_button.clicked.connect(lambda: self._on_count(+1))
        self.remove_button.clicked.connect(lambda: self._on_count(-1))
        self.refresh()

    # -------------------------------------------------------------------------------------------- what the widget asks

    @property
    def is_stack(self) -> bool:
        """True if the frames are planes of one layer."""
        return self.kind_box.currentIndex() == 1

    def layers(self) -> list[Image]:
        """The chosen layers, fewer than rows while some are not chosen."""
        boxes = self.layer_boxes[:1] if self.is_stack else self.layer_boxes
        return [self._candidates[box.currentIndex() - 1] for box in boxes if box.currentIndex() > 0]

    def source(self) -> BracketSource:
        """The pixels.

        Raises:
            BracketError, ShapeError: when the layers do not go together.
        """
        layers = self.layers()
        return stack_source(layers[0]) if self.is_stack and layers else bracket_source(layers)

    def exposures(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """``(ev, None)`` or ``(None, seconds)``; ``(None, None)`` while a field is empty or not a number."""
        values = tuple(parse_exposure(edit.text()) for edit in self.exposure_edits)
        if any(value is None for value in values):
            return None, None
        numbers = tuple(float(value) for value in values if value is not None)
        return (numbers, None) if self.unit_box.currentText() == EV else (None, numbers)

    def reference(self) -> int | None:
        """Row of the reference frame, or ``None`` when the merge is to choose."""
        return self.reference_box.currentIndex() - 1 if self.reference_box.currentIndex() > 0 else None

    def problem(self) -> str:
        """Why merging cannot start, or an empty string."""
        if not self._candidates:
            return "Open the frames of a bracket, or try File › Open Sample › AFUNet HDR."
        layers = self.layers()
        if len(layers) < (1 if self.is_stack else len(self.layer_boxes)):
            return "Choose a layer for every frame."
        if len({id(layer) for layer in layers}) < len(layers):
            return "The same layer is chosen twice."
        ev, times = self.exposures()
        if ev is None and times is None:
            return f"Type the exposure of every frame, in {self.unit_box.currentText()}."
        if times is not None and min(times) <= 0:
            return "Exposure times must be above zero."
        if len(set(ev or times or ())) == 1:
            return "All exposures are equal: that is not a bracket."
        return ""

    # -------------------------------------------------------------------------------------------- following the viewer

    def refresh(self) -> None:
        """The layer list changed: offer what is there, keep what was chosen, else choose."""
        chosen, candidates = self.layers(), candidate_layers(self._viewer.layers)
        if candidates == self._candidates:
            return  # a result came or went
        self._candidates = candidates
        complete = len(chosen) == (1 if self.is_stack else len(self.layer_boxes))
        if self._chosen_by_user and complete and all(layer in self._candidates for layer in chosen):
            self._show_layers(chosen)
        else:
            self._guess()

    def show_names(self) -> None:
        """A layer was renamed."""
        for box in self.layer_boxes:
            for index, layer in enumerate(self._candidates):
                box.setItemText(index + 1, layer.name)

    def find_frames(self) -> None:
        """Choose anew, as if the user had chosen nothing."""
        self._chosen_by_user = False
        self._typed.clear()
        self._guess()

    def _guess(self) -> None:
        chosen = guess_layers(self._viewer.layers, self._viewer.layers.selection)
        stack = None if chosen else guess_stack(self._viewer.layers)
        self.kind_box.setCurrentIndex(1 if stack is not None else 0)
        if stack is not None:
            self._set_rows(full_resolution(stack).shape[0])
            self._show_layers([stack])
        else:
            self._set_rows(max(3, len(chosen)))
            self._show_layers(chosen)

    def set_layers(self, layers: Sequence[Image]) -> None:
        """Choose these layers, as the user would."""
        self._chosen_by_user = True
        self.kind_box.setCurrentIndex(1 if len(layers) == 1 else 0)
        self._set_rows(full_resolution(layers[0]).shape[0] if len(layers) == 1 else len(layers))
        self._show_layers(layers)

    # -------------------------------------------------------------------------------------------- rows

    def _set_rows(self, count: int) -> None:
        count = min(max(count, 2), MOST_FRAMES)
        while len(self.exposure_edits) > count:
            for widgets in (self.layer_boxes, self.exposure_edits):
                widget = widgets.pop()
                self._grid.removeWidget(widget)
                widget.deleteLater()
        while len(self.exposure_edits) < count:
            self._add_row(len(self.exposure_edits))
        for index, box in enumerate(self.layer_boxes):
            box.setVisible(not self.is_stack or index == 0)
        self._offer_references(count)
        self.add_button.setVisible(not self.is_stack and count < MOST_FRAMES)
        self.remove_button.setVisible(not self.is_stack and count > 2)

    def _offer_references(self, count: int) -> None:
        """One entry a row; what is chosen stays while its row does."""
        chosen = self.reference_box.currentIndex()
        self.reference_box.clear()
        self.reference_box.addItem(_AUTOMATIC)
        self.reference_box.addItems([f"frame {row + 1}" for row in range(count)])
        self.reference_box.setCurrentIndex(chosen if 0 < chosen <= count else 0)

    def _add_row(self, index: int) -> None:
        box = QComboBox()
        box.setObjectName(f"frame_{index}")
        box.setMinimumContentsLength(8)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        box.activated.connect(self._on_layer)
        self._fill(box)
        edit = QLineEdit()
        edit.setObjectName(f"exposure_{index}")
        edit.setPlaceholderText("exposure?")
        edit.setMinimumWidth(86)
        edit.setMaximumWidth(110)
        edit.setToolTip("Exposure of this frame: EV (−2, 0, +2) or seconds (1/100, 0.04, 400 ms).")
        edit.textEdited.connect(lambda text, i=index: self._on_typed(i, text))
        self._grid.addWidget(box, index + 1, 0)
        self._grid.addWidget(edit, index + 1, 1)
        self.layer_boxes.append(box)
        self.exposure_edits.append(edit)

    def _fill(self, box: QComboBox) -> None:
        box.clear()
        box.addItem(_CHOOSE)
        for layer in self._candidates:
            box.addItem(layer.name)

    def _show_layers(self, layers: Sequence[Image]) -> None:
        for index, box in enumerate(self.layer_boxes):
            self._fill(box)
            if index < len(layers):
                box.setCurrentIndex(self._candidates.index(layers[index]) + 1)
                box.setToolTip(layers[index].name)
        self._show_exposures()
        self.frames_changed.emit()
        self.changed.emit()

    def _show_exposures(self) -> None:
        """Show what the user typed for these layers, else what is known about them."""
        layers = self.layers()
        count = len(self.exposure_edits)
        known = (
            stack_exposures(layers[0], count) if self.is_stack and layers else [layer_exposure(lay) for lay in layers]
        )
        ev, times = common_exposures(known) if len(known) == count else (None, None)
        if ev is not None or times is not None:
            self.unit_box.blockSignals(True)
            self.unit_box.setCurrentText(EV if ev is not None else SECONDS)
            self.unit_box.blockSignals(False)
        values = ev or times or (None,) * count
        for index, (edit, value) in enumerate(zip(self.exposure_edits, values, strict=True)):
            layer = layers[0] if self.is_stack and layers else layers[index] if index < len(layers) else None
            typed = self._typed.get(layer, {}).get(0 if not self.is_stack else index) if layer is not None else None
            text = format_exposure(value, self.unit_box.currentText()) if value is not None else ""
            edit.setText(typed if typed is not None else text)
            if index < len(known) and known[index].origin:
                edit.setToolTip(f"From {known[index].origin}. Type to change.")

    # -------------------------------------------------------------------------------------------- the user acts

    def _on_layer(self) -> None:
        self._chosen_by_user = True
        if self.is_stack and self.layers():
            self._set_rows(full_resolution(self.layers()[0]).shape[0])
        self._show_exposures()
        self.frames_changed.emit()
        self.changed.emit()

    def _on_kind(self) -> None:
        self._chosen_by_user = True
        layers = self.layers()
        self._set_rows(full_resolution(layers[0]).shape[0] if self.is_stack and layers else 3)
        self._on_layer()

    def _on_count(self, change: int) -> None:
        self._chosen_by_user = True
        self._set_rows(len(self.exposure_edits) + change)
        self._show_exposures()
        self.changed.emit()

    def _on_typed(self, index: int, text: str) -> None:
        layers = self.layers()
        if self.is_stack and layers:
            self._typed.setdefault(layers[0], {})[index] = text
        elif index < len(layers):
            self._typed.setdefault(layers[index], {})[0] = text
        self.changed.emit()

    def _on_unit(self, unit: str) -> None:
        """Convert what stands in the fields: the exposures stay the same."""
        values = [parse_exposure(edit.text()) for edit in self.exposure_edits]
        if all(value is not None for value in values):
            numbers = [float(value) for value in values if value is not None]
            if unit == SECONDS:
                numbers = [2.0**value for value in numbers]
            elif min(numbers) > 0:
                middle = sorted(numbers)[len(numbers) // 2]
                numbers = [math.log2(value / middle) for value in numbers]
            for index, (edit, value) in enumerate(zip(self.exposure_edits, numbers, strict=True)):
                edit.setText(format_exposure(value, unit))
                self._on_typed(index, edit.text())
        self.changed.emit()
