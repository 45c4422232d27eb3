"""Table of the frames of a bracket: one row a frame, shortest first, with its exposure.

An exposure that a person typed stays with its layer, in the unit it was typed in, whatever happens to other layers.
"""

import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QLineEdit, QWidget

from afunet_core.io.exposure import parse_exposure
from napari_afunet.layers.exposures import common_exposures, layer_exposure, stack_exposures
from napari_afunet.panels.layout import ControlGuard, make_box

EV, SECONDS = "EV", "seconds"
_CHOOSE = "choose a layer …"


def format_exposure(value: float, unit: str) -> str:
    """Return an exposure as photographers write it, so that reading it back gives the same.

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


class FrameTable(QWidget):
    """Layers and exposures of the frames."""

    layers_changed = Signal()
    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.is_stack = False
        self._guard = ControlGuard(self)
        self._candidates: list[Image] = []
        self._typed: WeakKeyDictionary[Image, dict[int, tuple[str, str]]] = WeakKeyDictionary()
        self.layer_boxes: list[QComboBox] = []
        self.exposure_edits: list[QLineEdit] = []
        self.unit_box = QComboBox()
        self.unit_box.addItems([EV, SECONDS])
        self.unit_box.setAccessibleName("Unit of the exposures")
        self.unit_box.setToolTip("EV: stops, only differences count. Seconds: 1/100, 0.04, 400 ms.")
        self.unit_box.currentTextChanged.connect(self._on_unit)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(0, 1)
        self._grid.addWidget(QLabel("Frame, shortest first"), 0, 0)
        self._grid.addWidget(self.unit_box, 0, 1)

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.exposure_edits)

    def layers(self) -> list[Image]:
        """Return the chosen layers, fewer than rows while some are not chosen."""
        chosen = [self._layer_in(box) for box in (self.layer_boxes[:1] if self.is_stack else self.layer_boxes)]
        return [layer for layer in chosen if layer is not None]

    def _layer_in(self, box: QComboBox) -> Image | None:
        return self._candidates[box.currentIndex() - 1] if box.currentIndex() > 0 else None

    def _choose_in(self, box: QComboBox, layer: Image) -> None:
        box.setCurrentIndex(self._candidates.index(layer) + 1)
        box.setToolTip(layer.name)

    def values(self) -> tuple[float, ...] | None:
        """Return the exposures in the unit shown, or ``None`` while a field is empty or not a number."""
        values = [parse_exposure(edit.text()) for edit in self.exposure_edits]
        return None if None in values else tuple(float(value) for value in values if value is not None)

    def has_typed(self) -> bool:
        """Return True if a person typed an exposure of the layers shown."""
        return any(self._typed.get(layer) for layer in self.layers())

    def type_values(self, values: Sequence[float], unit: str) -> None:
        """Fill the fields in, as a person would."""
        self._set_unit(unit)
        for index, value in enumerate(values):
            text = format_exposure(value, unit)
            self.exposure_edits[index].setText(text)
            self._remember(index, text)
        self.sort_rows()
        self.changed.emit()

    def show_candidates(self, candidates: Sequence[Image], count: int, chosen: Sequence[Image]) -> None:
        """Show a number of rows with these layers to choose from, and these chosen."""
        self._candidates = list(candidates)
        while self.count > count:
            for widgets in (self.layer_boxes, self.exposure_edits):
                widget = widgets.pop()
                self._grid.removeWidget(widget)
                widget.deleteLater()
        while self.count < count:
            self._add_row(self.count)
        for index, box in enumerate(self.layer_boxes):
            box.setVisible(not self.is_stack or index == 0)
            box.clear()
            box.addItems([_CHOOSE, *(layer.name for layer in self._candidates)])
            if index < len(chosen):
                self._choose_in(box, chosen[index])
        self.show_exposures()

    def show_names(self) -> None:
        """Show the names of the layers anew."""
        for box in self.layer_boxes:
            for index, layer in enumerate(self._candidates):
                box.setItemText(index + 1, layer.name)

    def show_exposures(self) -> None:
        """Show what the user typed for these layers, else what is known about them."""
        layers = self.layers()
        known = [layer_exposure(layer) for layer in layers]
        if self.is_stack and layers:
            known = stack_exposures(layers[0], self.count)
        typed = [self._typed_in(index).get(index * self.is_stack) for index in range(self.count)]
        ev, times = common_exposures(known) if len(known) == self.count else (None, None)
        units = [entry[1] for entry in typed if entry is not None]
        if units:
            self._set_unit(units[0])
        elif ev is not None or times is not None:
            self._set_unit(EV if ev is not None else SECONDS)
        unit = self.unit_box.currentText()
        values = ev if unit == EV else times
        for index, edit in enumerate(self.exposure_edits):
            entry, value = typed[index], values[index] if values is not None else None
            text = format_exposure(value, unit) if value is not None else ""
            edit.setText(entry[0] if entry is not None else text)
            origin = known[index].origin if index < len(known) else ""
            if entry is None and origin:
                edit.setToolTip(f"From {origin}. Type to change.")

    def sort_rows(self) -> None:
        """Put the shortest exposure first."""
        values, layers = self.values(), self.layers()
        if self.is_stack or values is None or len(layers) < self.count or list(values) == sorted(values):
            return
        ordered = [layer for _, layer in sorted(zip(values, layers, strict=True), key=lambda pair: pair[0])]
        texts = {layer: edit.text() for layer, edit in zip(layers, self.exposure_edits, strict=True)}
        for box, edit, layer in zip(self.layer_boxes, self.exposure_edits, ordered, strict=True):
            self._choose_in(box, layer)
            edit.setText(texts[layer])
        self.layers_changed.emit()

    def _typed_in(self, row: int) -> dict[int, tuple[str, str]]:
        """Return what was typed for the layer of a row, by plane (of an image 0): text and unit."""
        layer = self._layer_in(self.layer_boxes[0 if self.is_stack else row])
        return {} if layer is None else self._typed.setdefault(layer, {})

    def _remember(self, row: int, text: str) -> None:
        self._typed_in(row)[row * self.is_stack] = text, self.unit_box.currentText()

    def _add_row(self, index: int) -> None:
        box = make_box(f"Layer of frame {index + 1}", "")
        box.setObjectName(f"frame_{index}")
        box.activated.connect(lambda _: self._on_layer())
        edit = QLineEdit()
        edit.setObjectName(f"exposure_{index}")
        edit.setAccessibleName(f"Exposure of frame {index + 1}")
        edit.setPlaceholderText("exposure?")
        edit.setMinimumWidth(86)
        edit.setMaximumWidth(110)
        edit.setToolTip("Exposure of this frame: EV (−2, 0, +2) or seconds (1/100, 0.04, 400 ms).")
        edit.textEdited.connect(lambda text: self._on_typed(self.exposure_edits.index(edit), text))
        edit.editingFinished.connect(self.sort_rows)
        self._grid.addWidget(box, index + 1, 0)
        self._grid.addWidget(edit, index + 1, 1)
        self._guard.protect(box)
        QWidget.setTabOrder(self.exposure_edits[index - 1] if index else self.unit_box, box)
        QWidget.setTabOrder(box, edit)
        self.layer_boxes.append(box)
        self.exposure_edits.append(edit)

    def _set_unit(self, unit: str) -> None:
        self.unit_box.blockSignals(True)
        self.unit_box.setCurrentText(unit)
        self.unit_box.blockSignals(False)

    def _on_layer(self) -> None:
        self.show_exposures()
        self.sort_rows()
        self.layers_changed.emit()

    def _on_typed(self, index: int, text: str) -> None:
        self._remember(index, text)
        self.changed.emit()

    def _on_unit(self, unit: str) -> None:
        """Convert what stands in the fields: the exposures stay the same."""
        numbers = [parse_exposure(edit.text()) for edit in self.exposure_edits]
        values = [number for number in numbers if number is not None]
        if values and len(values) == len(numbers) and (unit == SECONDS or min(values) > 0):
            middle = sorted(values)[len(values) // 2]
            converted = [2.0**value if unit == SECONDS else math.log2(value / middle) for value in values]
            for index, (edit, value) in enumerate(zip(self.exposure_edits, converted, strict=True)):
                edit.setText(format_exposure(value, unit))
                self._remember(index, edit.text())
        self.changed.emit()
