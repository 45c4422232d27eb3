"""The part of a bracket that the canvas shows, coarse enough to merge in a moment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_afunet.layers.source import BracketSource, Placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

LARGEST = 512  # pixels along the longer side of a preview
_SMALLEST = 16


def visible_part(viewer: ViewerModel, layer: Image, source: BracketSource) -> BracketSource:
    """The plane and the window of ``source`` that are on the canvas, at screen-like resolution."""
    height, width = source.shape
    corners = np.asarray(layer.corner_pixels)[:, -2:]
    factor = layer.downsample_factors[layer.data_level][-2:] if layer.multiscale else (1, 1)
    place = Placement.of(layer, drop=layer.ndim + 1 - len(source.placement.matrix))
    # The source may be cropped to what all layers cover: its corner is not always the layer's.
    offset = np.linalg.solve(place.matrix, source.placement.matrix[:, -1])[-3:-1]
    top, left = np.floor(corners[0] * factor - offset).astype(int)
    bottom, right = np.ceil(corners[1] * factor - offset).astype(int) + 1
    rows, columns = _within(top, bottom, height), _within(left, right, width)
    step = max(1, math.ceil(max(rows.stop - rows.start, columns.stop - columns.start) / LARGEST))
    if source.planes:
        position = layer.world_to_data(viewer.dims.point[-layer.ndim :])[-len(source.planes) - 2 : -2]
        index = [int(np.clip(round(p), 0, size - 1)) for p, size in zip(position, source.planes, strict=True)]
        source = source.at(index)
    return source.cropped(slice(rows.start, rows.stop, step), slice(columns.start, columns.stop, step))


def _within(start: int, stop: int, size: int) -> slice:
    """At least a few pixels, inside the image."""
    start, stop = max(0, min(start, size - _SMALLEST)), min(size, max(stop, start + _SMALLEST, _SMALLEST))
    return slice(start, stop)
