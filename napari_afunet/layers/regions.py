"""Regions drawn over a result, each to be taken from one frame: a shapes layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.layers.result_layer import ResultId, bring_to_front, find_layer
from napari_afunet.layers.selection import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

__all__ = ["draw_regions", "find_regions", "region_layer", "remove_last_region"]

ROLE = "regions"
_SMALLEST = 2
"""Pixels along the shorter side of a shape that counts."""


def region_layer(viewer: ViewerModel, result: ResultId) -> Shapes | None:
    """Return the layer with the regions of a result, if there is one."""
    return find_layer(viewer, result, ROLE)


def draw_regions(viewer: ViewerModel, outcome: Outcome, frame: int, freehand: bool = False) -> Shapes:
    """Let the user draw rectangles, or freehand, over the result: they are taken from ``frame``."""
    result = ResultId.of_outcome(outcome)
    layer = region_layer(viewer, result)
    if layer is None:
        layer = viewer.add_shapes(
            None,
            ndim=2,
            name=f"{result.name} regions",
            face_color="transparent",
            edge_color="yellow",
            edge_width=2,
            features={"frame": np.zeros(0, int)},
            text={"string": "frame {frame}", "color": "yellow", "anchor": "upper_left", "size": 10},
            metadata={KEY: {"key": result.key, "bracket": result.name, "role": ROLE}},
            **outcome.source.placement.arguments(),
        )
    bring_to_front(viewer, layer)
    layer.feature_defaults = {"frame": frame + 1}  # as the table counts
    layer.selected_data = set()
    viewer.layers.selection.active = layer
    layer.mode = "add_polygon_lasso" if freehand else "add_rectangle"
    return layer


def find_regions(layer: Shapes | None) -> tuple[Any, ...]:
    """Return the regions drawn, as :func:`afunet_core.merge` takes them."""
    if layer is None:
        return ()
    regions = []
    # Where napari drops a shape of too few corners, its feature stays: the last ones belong together.
    frames = list(layer.features["frame"])[len(layer.features) - len(layer.data) :]
    for corners, frame in zip(layer.data, frames, strict=True):
        points = np.asarray(corners)[:, -2:]
        if np.ptp(points, axis=0).min() >= _SMALLEST:
            polygon = tuple((round(float(row), 2), round(float(column), 2)) for row, column in points)
            regions.append((int(frame) - 1, polygon))
    return tuple(regions)


def remove_last_region(layer: Shapes) -> None:
    """Take the region back that was drawn last."""
    if len(layer.data):
        layer.selected_data = {len(layer.data) - 1}
        layer.remove_selected()
