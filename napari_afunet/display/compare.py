"""Comparison of a result with what it was made from, at a click, and back to how the viewer was."""

import math
from collections.abc import Sequence
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_afunet.jobs.merge_job import SIDES
from napari_afunet.layers.result_layer import Result
from napari_afunet.layers.selection import KEY

# value → what the user reads, tip
COMPARISONS = {
    "reference": ("Reference frame", "Before and after: the reference frame in the place of the result."),
    "side by side": ("Side by side", "The reference frame and the result, moved and zoomed together."),
    "frames": ("Frames and result", "All frames and the result, moved and zoomed together."),
    "stages": ("Stages", "What was aligned: the shorter side, the reference and the longer side of the chosen stage."),
}
_BEFORE = "before_comparing"  # note on a layer: how things were


def compare(viewer: ViewerModel, comparison: str, radiance: Image | None = None) -> bool:
    """Show one of :data:`COMPARISONS` of a result in place of what is visible now; False if there is nothing.

    ``radiance`` is the HDR layer of the result; the topmost that is no preview by default.
    """
    stop_comparing(viewer)
    result = radiance if radiance is not None and _is_comparable(radiance) else newest_result(viewer)
    wanted = [] if result is None else _wanted(viewer, comparison, result)
    if result is None or not wanted:
        return False
    before: dict[str, Any] = {"grid": viewer.canvas.grid.model_dump(), "plane": ()}
    if comparison != "stages" and wanted[0].ndim > result.ndim:
        before["plane"] = _show_reference_plane(viewer, wanted[0], result.metadata[KEY])
    for layer in viewer.layers:
        _note(layer, before | {"visible": layer.visible})
        if layer.visible != (layer in wanted):
            layer.visible = layer in wanted
    if comparison != "reference":
        columns = len(wanted) if len(wanted) <= 3 else math.ceil(math.sqrt(len(wanted)))  # all of each is seen
        grid = viewer.canvas.grid
        grid.shape, grid.stride = (-1, columns), 1  # from the bottom of the layer list up: first the frames
        if not grid.enabled:
            viewer.scene.camera.zoom /= columns  # what filled the canvas now fills a cell
            grid.enabled = True
    return True


def stop_comparing(viewer: ViewerModel) -> None:
    """Bring back what :func:`compare` hid, and the view there was."""
    notes = {layer: layer.metadata.get(KEY, {}) for layer in viewer.layers}
    for layer, note in notes.items() if any(_BEFORE in note for note in notes.values()) else ():
        before = note.get(_BEFORE)
        if before is None:
            if note.get("role", "").endswith("values"):  # came in place of the stages' colours meanwhile
                layer.visible = False
            continue
        _note(layer, None)
        if layer.visible != before["visible"]:
            layer.visible = before["visible"]
        if before["plane"]:
            viewer.dims.set_point(*before["plane"])
        grid = viewer.canvas.grid
        if grid.model_dump() != before["grid"]:
            if grid.enabled and not before["grid"]["enabled"]:
                columns = grid.actual_shape(viewer.layers)[1]
                viewer.scene.camera.zoom *= max(1, columns)
            for name, value in before["grid"].items():
                setattr(grid, name, value)


def _wanted(viewer: ViewerModel, comparison: str, layer: Image) -> list[Layer]:
    """Return the layers that a comparison shows; none where some are missing."""
    note, result = layer.metadata[KEY], Result.of_layer(viewer, layer)
    shown = result.find("tone_mapped") or layer
    if comparison == "stages":
        sides = [(result.find(side), result.find(f"{side} values")) for side in SIDES]
        in_numbers = any(numbers is not None and numbers.metadata[KEY].get("shown") for _, numbers in sides)
        return [side for side in (pair[in_numbers] for pair in sides) if side is not None]
    info = note["info"]
    wanted = [info["reference"]] if comparison != "frames" else range(len(info["frames"]))
    frames = _frames(viewer, note, [info["frames"][index] for index in wanted])
    return frames if comparison == "reference" or not frames else [*frames, shown]


def _is_comparable(layer: Layer) -> bool:
    note = layer.metadata.get(KEY, {})
    return note.get("role") in ("radiance", "fused") and "reference" in (note.get("info") or {})


def newest_result(viewer: ViewerModel) -> Image | None:
    """Return the topmost result, previews last."""
    found = [layer for layer in reversed(viewer.layers) if _is_comparable(layer)]
    return min(found, key=lambda layer: bool(layer.metadata[KEY].get("preview")), default=None)


def _frames(viewer: ViewerModel, note: dict[str, Any], names: Sequence[str]) -> list[Layer]:
    """Return the layers that were merged under these names, or none where one was deleted."""
    identities = dict(zip(note.get("frames", ()), note.get("layers", ()), strict=False))
    frames = []
    for name in names:
        same = [layer for layer in viewer.layers if str(layer.unique_id) == identities.get(name)]
        frames += same or [layer for layer in viewer.layers if layer.name == name]  # by name where it was opened anew
    return list(dict.fromkeys(frames)) if len(frames) == len(names) else []  # planes are of one layer


def _show_reference_plane(viewer: ViewerModel, stack: Layer, note: dict[str, Any]) -> tuple[int, float]:
    """Show the plane of a stack that was the reference; return the axis, and the point that was shown."""
    axis, info = viewer.dims.ndim - stack.ndim, note["info"]
    plane = note["frames"].index(info["frames"][info["reference"]])
    before = axis, viewer.dims.point[axis]
    viewer.dims.set_point(axis, stack.data_to_world((plane, *[0] * (stack.ndim - 1)))[0])
    return before


def _note(layer: Layer, before: dict[str, Any] | None) -> None:
    note = {key: value for key, value in layer.metadata.get(KEY, {}).items() if key != _BEFORE}
    if before is not None:
        note[_BEFORE] = before
    layer.metadata = {**layer.metadata, KEY: note}
