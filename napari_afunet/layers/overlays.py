"""Layers above a result: maps of ghosts and sources, and regions drawn there, each to be taken from one frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_afunet.jobs.merge_job import SOURCE_COLOURS, Outcome, map_picture
from napari_afunet.layers.result_layer import (
    ResultId,
    find_result,
    move_to_front,
    provenance_of,
    put_layer,
    remove_layers,
)
from napari_afunet.layers.selection import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

_SOURCES = ("shorter frame", "reference", "longer frame", "the network's own picture")
# Map → what its colours mean, as rich text.
LEGENDS = {
    "ghost": "Bright: frames disagree; a plain weighted merge would show a ghost there.",
    "source": " ".join(
        f'<span style="color: rgb({", ".join(str(round(255 * value)) for value in colour)})">■</span> {name}'
        for colour, name in zip(SOURCE_COLOURS.tolist(), _SOURCES, strict=True)
    ),
    "network": "Bright: the network decided; dark: frames that agree were averaged.",
}

_REGIONS = "regions"
_SMALLEST = 2  # pixels along the shorter side of a shape that counts
_EDGE = 2  # pixels of the lines around regions
_BRUSH = 24  # pixels of the screen that a stroke is wide: zoomed in, the brush is finer
_KEPT = ("radiance", "fused", "tone_mapped", _REGIONS)
_STROKE = "add_path"
# mode of napari's shapes → what the user reads, tip
TOOLS = {
    _STROKE: ("Brush", "Paint over the result, zoomed in for a finer brush"),
    "add_rectangle": ("Rectangle", "Drag a rectangle over the result"),
    "add_polygon_lasso": ("Freehand", "Drag around a region of the result"),
}


def compute_map(outcome: Outcome, name: str) -> np.ndarray | None:
    """Return a map of a single image, or ``None`` where the merge left nothing to make it of; for the background."""
    if name in outcome.maps:
        return outcome.maps[name]
    result = outcome.result
    if outcome.source.planes or result is None or name not in result.maps:
        return None
    outcome.maps[name] = map_picture(name, np.asarray(result.maps[name], np.float32))
    return outcome.maps[name]


def map_options(values: np.ndarray, planes: int) -> dict[str, Any]:
    """Return how a map is shown: colours as they are, numbers with a colour map."""
    if values.ndim > planes + 2:
        return {"rgb": True, "opacity": 0.8}
    limits = (0.0, max(1.0, float(np.max(values, initial=0.0))))
    return {"colormap": "inferno", "contrast_limits": limits, "blending": "additive"}


def show_map(viewer: ViewerModel, outcome: Outcome, name: str, values: np.ndarray) -> Image:
    """Show a map above everything else, with a colour bar."""
    active = viewer.layers.selection.active
    options = map_options(values, len(outcome.source.planes))
    result = ResultId.of_outcome(outcome)
    layer = put_layer(viewer, result, name, values, outcome.placement, provenance_of(outcome), **options)
    layer.visible = True
    move_to_front(viewer, layer)
    layer.colorbar.visible = not layer.rgb
    viewer.layers.selection.active = active
    return layer


def hide_map(viewer: ViewerModel, outcome: Outcome, name: str) -> None:
    """Hide a map that was shown."""
    layer = find_result(viewer, ResultId.of_outcome(outcome), name)
    if layer is not None:
        layer.visible = False


def remove_extra_layers(viewer: ViewerModel) -> None:
    """Remove previews, maps and stages, and hide regions: they are part of a result. Results and frames stay."""
    remove_layers(viewer, lambda note: note.get("role", _KEPT[0]) not in _KEPT or bool(note.get("preview")))
    for layer in viewer.layers:
        if layer.metadata.get(KEY, {}).get("role") == _REGIONS:
            layer.visible = False


def region_layer(viewer: ViewerModel, result: ResultId) -> Shapes | None:
    """Return the layer with the regions of a result, if there is one."""
    return find_result(viewer, result, _REGIONS)


def draw_regions(viewer: ViewerModel, outcome: Outcome, frame: int, tool: str = "add_rectangle") -> Shapes:
    """Let the user draw over the result with a tool (a mode of napari's shapes): that is taken from ``frame``."""
    layer = _add_region_layer(viewer, outcome)
    layer.visible = True
    move_to_front(viewer, layer)
    layer.feature_defaults = {"frame": outcome.info["frames"][frame], "id": frame_ids(outcome)[frame]}
    layer.selected_data = set()
    on_screen = viewer.scene.camera.zoom * layer.scale[-1]
    layer.current_edge_width = _BRUSH / on_screen if tool == _STROKE else _EDGE
    viewer.layers.selection.active = layer
    layer.mode = tool
    return layer


def _add_region_layer(viewer: ViewerModel, outcome: Outcome) -> Shapes:
    """Return the layer with the regions of a result, added where there is none."""
    result = ResultId.of_outcome(outcome)
    return region_layer(viewer, result) or viewer.add_shapes(
        None,
        ndim=len(outcome.source.planes) + 2,
        name=f"{result.name} regions",
        face_color="transparent",
        edge_color="yellow",
        edge_width=_EDGE,
        features={"frame": np.array([], object), "id": np.array([], object)},
        text={"string": "{frame}", "color": "yellow", "anchor": "upper_left", "size": 10},
        metadata={KEY: {"key": result.key, "bracket": result.name, "role": _REGIONS}},
        **outcome.source.placement.arguments(),
    )


def show_taken_regions(viewer: ViewerModel, outcome: Outcome) -> None:
    """Draw the regions that the result holds, and no others."""
    layer, ids = _add_region_layer(viewer, outcome), frame_ids(outcome)
    layer.data = [(np.array(corners), "polygon") for _, corners in outcome.settings.regions]
    frames = [frame for frame, _ in outcome.settings.regions]
    names = [outcome.info["frames"][frame] for frame in frames]
    owners = np.array([ids[frame] for frame in frames], object)
    _set_features(layer, {"frame": np.array(names, object), "id": owners})


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


def remove_last_region(layer: Shapes) -> None:
    """Take the region back that was drawn last, or what is being drawn."""
    layer.mode = "pan_zoom"  # ends the drawing: napari cannot remove a shape in the middle of it
    if len(layer.data):
        layer.selected_data = {len(layer.data) - 1}
        layer.remove_selected()
