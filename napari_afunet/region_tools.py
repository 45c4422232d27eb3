"""Regions of a result that are taken from another frame: the tools to draw them with, and Undo."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from napari_afunet.jobs.controller import MergeController
from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.jobs.worker import call_later
from napari_afunet.layers.maps import REGIONS
from napari_afunet.layers.result_layer import Result, move_to_front
from napari_afunet.layers.selection import KEY, MOST_FRAMES
from napari_afunet.panels.layout import fill_rows, make_box, make_button, make_label

_FINISHED = ("added", "removed", "changed")
_DELAY = 250  # milliseconds without a change after which regions are taken
_SMALLEST = 2  # pixels along the shorter side of a shape that counts
_EDGE = 2  # pixels of the lines around regions
_BRUSH = 24  # pixels of the screen that a stroke is wide: zoomed in, the brush is finer
_STROKE = "add_path"
# mode of napari's shapes → what the user reads, tip
TOOLS = {
    _STROKE: ("Brush", "Paint over the result, zoomed in for a finer brush"),
    "add_rectangle": ("Rectangle", "Drag a rectangle over the result"),
    "add_polygon_lasso": ("Freehand", "Drag around a region of the result"),
}


class RegionTools(QWidget):
    """The frame to take from, and the tools; what is drawn in the layer of regions is what is taken."""

    def __init__(
        self, viewer: ViewerModel, controller: MergeController, uncovered: Callable[[], Outcome | None]
    ) -> None:
        super().__init__()
        self._viewer, self._controller = viewer, controller
        self._uncovered = uncovered  # the last merge, with nothing left in front of it
        tip = "Where something moved the result shows the reference's moment: choose another's."
        self.frame_box = make_box("Frame that a region is taken from", tip)
        self.tools: dict[str, QPushButton] = {}
        for mode, (text, tip) in TOOLS.items():
            tip += ": it is taken from the frame chosen, at once."
            self.tools[mode] = make_button(text, tip, lambda _, mode=mode: self._on_draw(mode))
        self.undo_button = make_button("Undo", "Take the last region back.", self._on_undo, "Undo the last region")
        self.reason_label = make_label("Why no region can be taken")
        buttons = (*self.tools.values(), self.undo_button)
        fill_rows(self, (QLabel("Take from"), self.frame_box), buttons, self.reason_label)
        self._settled = call_later(self, self._take, _DELAY)
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
        reason = ""
        if outcome is not None and outcome.is_preview:
            reason = "Regions are taken in a result, not in a preview: press Merge."
        elif outcome is not None and not outcome.linear:
            reason = "Regions are taken in light, and exposure fusion gives none: choose another method."
        self.frame_box.clear()
        self.frame_box.addItems([f"frame {index + 1} · {name}" for index, name in enumerate(names)])
        self.reason_label.setText(reason)
        self.reason_label.setVisible(bool(reason))
        for widget in (self.frame_box, *self.tools.values(), self.undo_button):
            widget.setEnabled(bool(names) and not reason)

    def _layer(self) -> Shapes | None:
        """Return the layer with the regions of the last merge."""
        outcome = self._controller.outcome
        return None if outcome is None else Result.of_outcome(self._viewer, outcome).find(REGIONS)

    def refresh(self, layers: Any = None) -> None:
        """Follow the layer list: a layer of regions that is deleted takes its regions with it."""
        if self._controller.outcome is None:
            self._offer()
        elif (layer := self._layer()) is None:
            self._is_drawing = False
        else:  # listen to what is drawn there, once
            layer.events.data.disconnect(self._on_data)
            layer.events.data.connect(self._on_data)
        self._settle()

    def drawn(self, layers: Sequence[Image]) -> tuple[Any, ...]:
        """Return the regions drawn over the result of these frames, shortest exposure first."""
        ids = [str(layer.unique_id) for layer in layers] if len(layers) > 1 else list(map(str, range(MOST_FRAMES)))
        return find_regions(Result.of_frames(self._viewer, layers).find(REGIONS), ids)

    def _on_draw(self, tool: str) -> None:
        """Let the user draw over the result with a tool: that is taken from the frame chosen."""
        outcome, frame = self._uncovered(), self.frame_box.currentIndex()
        if outcome is None or frame < 0:
            return
        layer = self._layer() or self._add_layer(outcome)
        layer.visible = True
        move_to_front(self._viewer, layer)
        layer.feature_defaults = {"frame": outcome.info["frames"][frame], "id": frame_ids(outcome)[frame]}
        layer.selected_data = set()
        on_screen = self._viewer.scene.camera.zoom * layer.scale[-1]
        layer.current_edge_width = _BRUSH / on_screen if tool == _STROKE else _EDGE
        self._viewer.layers.selection.active = layer
        layer.mode = tool
        self._is_drawing, self._is_tool_new = False, True

    def _add_layer(self, outcome: Outcome) -> Shapes:
        result = Result.of_outcome(self._viewer, outcome)
        return self._viewer.add_shapes(
            None,
            ndim=len(outcome.source.planes) + 2,
            name=f"{result.name} regions",
            face_color="transparent",
            edge_color="yellow",
            edge_width=_EDGE,
            features={"frame": np.array([], object), "id": np.array([], object)},
            text={"string": "{frame}", "color": "yellow", "anchor": "upper_left", "size": 10},
            metadata={KEY: {"key": result.key, "bracket": result.name, "role": REGIONS}},
            **outcome.source.placement.arguments(),
        )

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
        """Draw the regions that the result holds, and no others."""
        outcome = self._controller.outcome
        if outcome is None:
            return
        layer, ids = self._layer() or self._add_layer(outcome), frame_ids(outcome)
        layer.data = [(np.array(corners), "polygon") for _, corners in outcome.settings.regions]
        frames = [frame for frame, _ in outcome.settings.regions]
        names = [outcome.info["frames"][frame] for frame in frames]
        owners = np.array([ids[frame] for frame in frames], object)
        _set_features(layer, {"frame": np.array(names, object), "id": owners})

    def _on_undo(self) -> None:
        """Take the region back that was drawn last, or what is being drawn."""
        layer = self._layer()
        if layer is None:
            return
        layer.mode = "pan_zoom"  # ends the drawing: napari cannot remove a shape in the middle of it
        if len(layer.data):
            layer.selected_data = {len(layer.data) - 1}
            layer.remove_selected()

    def _take(self) -> None:
        outcome, layer = self._controller.outcome, self._layer()
        if outcome is None:
            return
        if layer is not None:
            outline_strokes(layer)
        regions = find_regions(layer, frame_ids(outcome))
        is_there = Result.of_outcome(self._viewer, outcome).find("radiance") is not None
        if regions != self._controller.regions and is_there:
            if layer is not None and str(layer.mode).startswith("add") and not self._is_tool_new:
                layer.mode = "pan_zoom"  # one press of the button draws one region
            self._controller.retake(regions)


def outline_strokes(layer: Shapes) -> None:
    """Make of every stroke of the brush the outline of what it covers; what was only begun goes."""
    drawn = zip(layer.data, layer.shape_type, strict=True)
    begun = [index for index, (points, kind) in enumerate(drawn) if _is_begun(points, kind)]
    if begun:
        layer.remove(begun)
    kinds = layer.shape_type
    if "path" in kinds:
        strokes = zip(layer.data, kinds, layer.edge_width, strict=True)
        layer.data = [
            (_outline(points, width), "polygon") if kind == "path" else (points, kind)
            for points, kind, width in strokes
        ]
        layer.edge_width = _EDGE


def _is_begun(points: np.ndarray, kind: str) -> bool:
    """Return True for a shape without an area: a click, or a first corner."""
    height_width = np.ptp(points[:, -2:], axis=0)
    return bool((height_width.max() if kind == "path" else height_width.min()) < _SMALLEST)


def match_features(layer: Shapes) -> None:
    """Remove the features of a shape that was just drawn with too few corners: napari drops it, and they stay."""
    if len(layer.features) > len(layer.data):
        _set_features(layer, layer.features[: len(layer.data)])


def _set_features(layer: Shapes, features: Any) -> None:
    """Set the features, and leave what the next shape gets: napari would take that from them."""
    defaults = layer.feature_defaults
    layer.features = features
    layer.feature_defaults = defaults


def _outline(points: np.ndarray, width: float) -> np.ndarray:
    """Return the corners of a stroke; what a stroke surrounds belongs to it."""
    from PIL import Image, ImageDraw
    from skimage.measure import approximate_polygon, find_contours

    corner = np.floor(points[:, -2:].min(0) - width)
    dots = (points[:, -2:] - corner)[:, ::-1]
    stroke = Image.new("L", tuple(np.ceil(dots.max(0) + width).astype(int).tolist()))
    draw = ImageDraw.Draw(stroke)
    draw.line([tuple(dot) for dot in dots.tolist()], fill=1, width=round(width))
    for x, y in dots.tolist():
        draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=1)
    outline = approximate_polygon(max(find_contours(np.array(stroke), 0.5), key=len), 0.5)[:-1] + corner
    return np.hstack([np.repeat(points[:1, :-2], len(outline), 0), outline])


def frame_ids(outcome: Outcome) -> list[str]:
    """Return identities of a result's frames, shortest exposure first: of their layers, or the numbers of planes."""
    source = outcome.source
    layer_of = dict(zip(source.names, source.layers, strict=True))
    ids = [layer_of[name] for name in outcome.info["frames"]]
    return ids if len(set(ids)) == len(ids) else [str(number) for number in range(len(ids))]


def find_regions(layer: Shapes | None, ids: Sequence[str]) -> tuple[Any, ...]:
    """Return the regions drawn, of frames in the order of ``ids``, as :func:`afunet_core.merge` takes them.

    In a stack the plane's index stands before row and column.
    """
    if layer is None:
        return ()
    regions = []
    for corners, kind, frame in zip(layer.data, layer.shape_type, layer.features["id"], strict=False):
        points = np.asarray(corners)
        points[:, :-2] = np.round(points[:, :-2])
        if kind != "path" and not _is_begun(points, kind) and frame in ids:  # a path is just being drawn
            polygon = tuple(tuple(round(float(place), 2) for place in point) for point in points)
            regions.append((ids.index(frame), polygon))
    return tuple(regions)
