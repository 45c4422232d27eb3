"""Regions of a result that are taken from another frame: the tools to draw them with, and Undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_afunet.jobs.controller import MergeController
from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.layers.overlays import (
    TOOLS,
    draw_regions,
    find_regions,
    frame_ids,
    match_features,
    outline_strokes,
    region_layer,
    remove_last_region,
    show_taken_regions,
)
from napari_afunet.layers.result_layer import ResultId, find_result
from napari_afunet.layers.selection import MOST_FRAMES
from napari_afunet.panels.layout import let_shrink

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

_FINISHED = ("added", "removed", "changed")
_DELAY = 250  # milliseconds without a change after which regions are taken


class RegionTools(QWidget):
    """The frame to take from, and the tools; what is drawn in the layer of regions is what is taken."""

    def __init__(
        self, viewer: ViewerModel, controller: MergeController, uncovered: Callable[[], Outcome | None]
    ) -> None:
        super().__init__()
        self._viewer, self._controller = viewer, controller
        self._uncovered = uncovered  # the last merge, with nothing left in front of it
        self.frame_box = QComboBox()
        self.frame_box.setAccessibleName("Frame that a region is taken from")
        self.frame_box.setToolTip("Where something moved the result shows the reference's moment: choose another's.")
        let_shrink(self.frame_box)
        self.tools: dict[str, QPushButton] = {}
        for mode, (text, tip) in TOOLS.items():
            self.tools[mode] = button = QPushButton(text)
            button.setToolTip(f"{tip}: it is taken from the frame chosen, at once.")
            button.clicked.connect(lambda _, mode=mode: self._on_draw(mode))
        self.undo_button = QPushButton("Undo")
        self.undo_button.setAccessibleName("Undo the last region")
        self.undo_button.setToolTip("Take the last region back.")
        self.undo_button.clicked.connect(self._on_undo)
        self.reason_label = QLabel()
        self.reason_label.setAccessibleName("Why no region can be taken")
        self.reason_label.setWordWrap(True)
        frame, buttons, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        frame.addWidget(QLabel("Take from"))
        frame.addWidget(self.frame_box, 1)
        for button in (*self.tools.values(), self.undo_button):
            buttons.addWidget(button, 1)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(frame)
        column.addLayout(buttons)
        column.addWidget(self.reason_label)
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_DELAY)
        self._settled.timeout.connect(self._take)
        controller.merged.connect(self._offer)
        controller.merged.connect(self.refresh)
        controller.not_retaken.connect(self._show_taken)
        controller.ended.connect(self._settle)  # what was drawn while it ran
        self._is_drawing = False  # the mouse is down, or a shape waits for its next corner
        self._is_tool_new = False  # chosen, and nothing drawn with it yet

    def _offer(self, layers: Any = None) -> None:
        """Offer the frames of the last merge; say why where none can be taken."""
        outcome = self._controller.outcome
        names = [] if outcome is None else outcome.info.get("frames") or outcome.source.names
        reason = "" if outcome is None else _no_regions(outcome)
        self.frame_box.clear()
        self.frame_box.addItems([f"frame {index + 1} · {name}" for index, name in enumerate(names)])
        self.reason_label.setText(reason)
        self.reason_label.setVisible(bool(reason))
        for widget in (self.frame_box, *self.tools.values(), self.undo_button):
            widget.setEnabled(bool(names) and not reason)

    def refresh(self, layers: Any = None) -> None:
        """Follow the layer list: a layer of regions that is deleted takes its regions with it."""
        outcome = self._controller.outcome
        if outcome is None:
            self._offer()
        elif (layer := region_layer(self._viewer, ResultId.of_outcome(outcome))) is None:
            self._is_drawing = False
        else:
            self._follow(layer)
        self._settle()

    def _follow(self, layer: Shapes) -> None:
        """Listen to what is drawn there, once."""
        layer.events.data.disconnect(self._on_data)
        layer.events.data.connect(self._on_data)

    def drawn(self, layers: Sequence[Image]) -> tuple[Any, ...]:
        """Return the regions drawn over the result of these frames, shortest exposure first."""
        ids = [str(layer.unique_id) for layer in layers] if len(layers) > 1 else list(map(str, range(MOST_FRAMES)))
        return find_regions(region_layer(self._viewer, ResultId.of_frames(layers)), ids)

    def _on_draw(self, tool: str) -> None:
        outcome, frame = self._uncovered(), self.frame_box.currentIndex()
        if outcome is not None and frame >= 0:
            draw_regions(self._viewer, outcome, frame, tool)
            self._is_drawing, self._is_tool_new = False, True

    def _on_data(self, event: Any) -> None:
        self._is_drawing = event.action not in _FINISHED
        if not self._is_drawing:
            match_features(event.source)
        self._is_tool_new = self._is_tool_new and not self._is_drawing
        self._settle()

    def _settle(self, *args: object) -> None:
        """Take the regions after a moment without a change; what is being drawn is left alone until it is done."""
        if self._is_drawing:
            self._settled.stop()
        else:
            self._settled.start()

    def _show_taken(self) -> None:
        outcome = self._controller.outcome
        if outcome is not None:
            show_taken_regions(self._viewer, outcome)

    def _on_undo(self) -> None:
        outcome = self._controller.outcome
        if outcome is not None and (layer := region_layer(self._viewer, ResultId.of_outcome(outcome))):
            remove_last_region(layer)

    def _take(self) -> None:
        outcome = self._controller.outcome
        if outcome is None:
            return
        result = ResultId.of_outcome(outcome)
        layer = region_layer(self._viewer, result)
        if layer is not None:
            outline_strokes(layer)
        regions = find_regions(layer, frame_ids(outcome))
        if regions != self._controller.regions and find_result(self._viewer, result, "radiance") is not None:
            if layer is not None and str(layer.mode).startswith("add") and not self._is_tool_new:
                layer.mode = "pan_zoom"  # one press of the button draws one region
            self._controller.retake(regions)


def _no_regions(outcome: Outcome) -> str:
    """Return why no region of a result can be taken from another frame; nothing where one can."""
    if outcome.is_preview:
        return "Regions are taken in a result, not in a preview: press Merge."
    if outcome.linear:
        return ""
    return "Regions are taken in light, and exposure fusion gives none: choose another method."
