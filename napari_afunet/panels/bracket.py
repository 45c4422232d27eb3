"""The frames of the bracket and their exposures: found, and editable."""

from collections.abc import Sequence

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_afunet.layers.exposures import layer_exposure
from napari_afunet.layers.selection import (
    MOST_FRAMES,
    candidate_layers,
    full_resolution,
    guess_layers,
    knows_exposures,
)
from napari_afunet.layers.source import BracketSource, bracket_source, stack_source
from napari_afunet.panels.frame_table import EV, FrameTable
from napari_afunet.panels.layout import fill_rows, make_box, make_button

EMPTY = "Open the frames of a bracket, drop the pictures here, or try File › Open Sample › AFUNet HDR."


class BracketPanel(QWidget):
    """Frames and exposures."""

    changed = Signal()  # frames or exposures
    frames_changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._candidates: list[Image] = []
        self._chosen_by_user = False
        self.table = FrameTable()
        self.layer_boxes, self.exposure_edits = self.table.layer_boxes, self.table.exposure_edits
        self.unit_box = self.table.unit_box
        tip = "A stack whose first axis holds the exposures can be merged too."
        self.kind_box = make_box("Kind of frames", tip, {False: "One layer per frame", True: "Planes of one layer"})
        tip = "Choose the frames anew: by exposure metadata, else by brightness.\n"
        tip += "Select layers in the layer list first to use exactly these."
        self.guess_button = make_button("Find again", tip, self.find_frames)
        self.reference_box = make_box(
            "Reference frame",
            "The frame that others are aligned to, and whose moment the result shows.\n"
            "Automatic: the one that is best exposed and sharp, mostly the middle one.",
        )
        self.add_button = make_button("+ frame", "", lambda: self._on_count(+1))
        self.remove_button = make_button("− frame", "", lambda: self._on_count(-1))
        tip = "Choose the picture files of one bracket, or drop them on this panel."
        self.open_button = make_button("Open frames…", tip, name="Open frames")
        self.newer_button = make_button("", "", lambda: self.set_layers(self._newer()))
        tip = "Fill in −2, 0, +2 …, the darkest frame first."
        self.spacing_button = make_button("2 EV apart", tip, lambda: self.space_exposures(2.0))
        tip = "Estimate the exposures from the brightness of the pictures."
        self.estimate_button = make_button("Estimate", tip)
        self._empty, self._unknown = QLabel("or drop pictures here"), QWidget()
        fill_rows(self._unknown, (QLabel("Exposures unknown:"), self.spacing_button, self.estimate_button))
        for button in (self.guess_button, self.remove_button, self.add_button):
            button.setFlat(True)
        reference = QLabel("Reference"), self.reference_box, self.remove_button, self.add_button
        top = self.open_button, self._empty, self.kind_box, self.guess_button
        fill_rows(self, top, self.newer_button, self.table, self._unknown, reference)
        self.reference_box.activated.connect(self.changed)
        self.kind_box.activated.connect(self._on_kind)
        self.table.changed.connect(self._on_exposures)
        self.table.layers_changed.connect(self._on_layers)
        self._show([])
        self.refresh()

    @property
    def is_stack(self) -> bool:
        """True if the frames are planes of one layer."""
        return self.kind_box.currentIndex() == 1

    def layers(self) -> list[Image]:
        """Return the chosen layers, fewer than rows while some are not chosen."""
        return self.table.layers()

    def source(self) -> BracketSource:
        """Return the pixels."""
        layers = self.layers()
        return stack_source(layers[0]) if self.is_stack and layers else bracket_source(layers)

    def exposures(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """Return ``(ev, None)`` or ``(None, seconds)``; ``(None, None)`` while one is not known."""
        values = self.table.values()
        return (values, None) if self.unit_box.currentText() == EV else (None, values)

    def reference(self) -> int | None:
        """Return the row of the reference frame, or ``None`` when the merge is to choose."""
        return self.reference_box.currentIndex() - 1 if self.reference_box.currentIndex() > 0 else None

    def problem(self) -> str:
        """Return why merging cannot start, or an empty string."""
        if not self._candidates:
            return EMPTY
        layers = self.layers()
        if len(layers) < (1 if self.is_stack else self.table.count):
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

    def refresh(self) -> None:
        """Follow the layer list: keep what was chosen or typed, else choose."""
        chosen, candidates = self.layers(), candidate_layers(self._viewer.layers)
        if candidates == self._candidates:  # a result came or went, or a layer has a new name
            self.table.show_names()
            self._offer_references()
            return
        self._candidates = candidates
        left = [layer for layer in chosen if layer in candidates]
        kept = self._chosen_by_user or self.table.has_typed()
        if kept and len(left) >= (1 if self.is_stack else 2):
            self._show(left)
        else:
            self._chosen_by_user = False
            self._guess(())

    def find_frames(self) -> None:
        """Choose anew: the selected layers if they are several, else as if the user had chosen nothing."""
        self._chosen_by_user = False
        self._guess(self._viewer.layers.selection)

    def set_layers(self, layers: Sequence[Image]) -> None:
        """Choose these layers, as the user would; of files that a merge wrote none is a frame."""
        layers = [layer for layer in layers if layer in self._candidates]
        self._chosen_by_user = True
        self.kind_box.setCurrentIndex(1 if len(layers) == 1 else 0)
        self._show(layers)

    def space_exposures(self, step: float) -> None:
        """Type exposures that are so many EV apart, the darkest frame first."""
        middle = self.table.count // 2
        self.table.type_values([step * (index - middle) for index in range(self.table.count)], EV)

    def warnings(self) -> list[str]:
        """Return sentences on layers that are left out, though they look like frames."""
        layers = self.layers()
        if self.is_stack or self._chosen_by_user or not layers:
            return []
        said, shape = [], full_resolution(layers[0]).shape
        alike = sum(full_resolution(layer).shape == shape for layer in self._candidates)
        if alike > len(layers) == MOST_FRAMES:
            said.append(f"The last {MOST_FRAMES} of {alike} layers are taken. Select others and press “Find again”.")
        beside = self._candidates[min(map(self._candidates.index, layers)) :]
        names = [each.name for each in beside if each not in layers and layer_exposure(each).value is not None]
        if names:
            advice = "All frames need one size, and all be colour or all be grey."
            said.append(f"Not taken: {', '.join(names)}. {advice}")
        return said

    def _newer(self) -> list[Image]:
        """Return a bracket that was opened after the one chosen by the user; an empty list where there is none."""
        layers = self.layers()
        newest = max((self._candidates.index(layer) for layer in layers), default=len(self._candidates))
        found = guess_layers(self._candidates[newest + 1 :])
        return found if len(found) > 1 and knows_exposures(found) else []

    def _guess(self, selected: Sequence[Image] | object) -> None:
        chosen = guess_layers(self._viewer.layers, selected)  # type: ignore[arg-type]
        self.kind_box.setCurrentIndex(1 if len(chosen) == 1 else 0)
        self._show(chosen)

    def _show(self, layers: Sequence[Image], count: int = 0) -> None:
        """Show these layers in as many rows, or in so many; a stack in a row for each of its planes."""
        if self.is_stack and layers:
            count = full_resolution(layers[0]).shape[0]
        self.table.is_stack = self.is_stack
        self.table.show_candidates(self._candidates, min(max(count or len(layers) or 3, 2), MOST_FRAMES), layers)
        self._on_frames()

    def _on_frames(self) -> None:
        self._offer_references()
        self.frames_changed.emit()
        self._on_exposures()

    def _offer_references(self) -> None:
        """Offer one entry a row; the frame that is chosen stays while its row or its layer does."""
        chosen, layers = self.reference_box.currentData(), self.layers()
        self.reference_box.clear()
        self.reference_box.addItem("automatic")
        for row in range(self.table.count):
            layer = layers[row] if not self.is_stack and row < len(layers) else None
            name = f" · {layer.name}" if layer is not None else ""
            self.reference_box.addItem(f"frame {row + 1}{name}", row if layer is None else str(layer.unique_id))
        self.reference_box.setCurrentIndex(max(0, self.reference_box.findData(chosen)) if chosen is not None else 0)

    def _show_state(self) -> None:
        """Show the buttons that help in the present state, and no others."""
        complete = bool(self.layers()) and len(self.layers()) == (1 if self.is_stack else self.table.count)
        self._empty.setVisible(not self._candidates)
        self.open_button.setText("Open…" if self._candidates else "Open frames…")
        for widget in (self.kind_box, self.guess_button):
            widget.setVisible(bool(self._candidates))
        self.table.setEnabled(bool(self._candidates))
        newer = self._newer()
        self.newer_button.setText(f"Use the {len(newer)} new frames as bracket")
        self.newer_button.setToolTip(", ".join(layer.name for layer in newer))
        self.newer_button.setVisible(bool(newer))
        self._unknown.setVisible(complete and self.table.values() is None)
        self.add_button.setVisible(not self.is_stack and self.table.count < MOST_FRAMES)
        self.remove_button.setVisible(not self.is_stack and self.table.count > 2)

    def _on_exposures(self) -> None:
        self._show_state()
        self.changed.emit()

    def _on_layers(self) -> None:
        self._chosen_by_user = True
        if self.is_stack and self.layers():
            self._show(self.layers())
        else:
            self._on_frames()

    def _on_kind(self) -> None:
        self._chosen_by_user = True
        self._show(self.layers()[:1] if self.is_stack else self.layers(), 3)

    def _on_count(self, change: int) -> None:
        self._chosen_by_user = True
        count = self.table.count + change
        self._show(self.layers()[:count], count)
