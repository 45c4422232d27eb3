"""The part of a bracket that the canvas shows."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_afunet.layers.preview import LARGEST, visible_part
from napari_afunet.layers.source import bracket_source


def corners(layer, top, left, bottom, right):
    layer.corner_pixels = np.array([[0] * (layer.ndim - 2) + [top, left], [0] * (layer.ndim - 2) + [bottom, right]])


def test_a_preview_is_what_the_canvas_shows():
    layers = [Image(np.arange(80 * 90).reshape(80, 90) + i, scale=(2, 2)) for i in range(3)]
    corners(layers[1], 10, 20, 49, 69)
    part = visible_part(ViewerModel(), layers[1], bracket_source(layers))
    assert part.shape == (40, 50)
    assert part.placement.translate == (20, 40)
    np.testing.assert_array_equal(next(iter(part))[1][0], layers[0].data[10:50, 20:70])


def test_a_preview_of_a_large_image_is_coarse():
    layers = [Image(np.zeros((40, 4 * LARGEST), np.uint8) + i) for i in range(3)]
    corners(layers[1], 0, 0, 39, 4 * LARGEST - 1)
    part = visible_part(ViewerModel(), layers[1], bracket_source(layers))
    assert part.shape == (10, LARGEST)
    assert part.placement.scale == (4, 4)
    assert next(iter(part))[1][0].shape == part.shape


def test_a_preview_of_a_stack_is_the_plane_that_is_shown():
    viewer = ViewerModel()
    layers = [viewer.add_image(np.random.default_rng(i).random((5, 30, 40))) for i in range(3)]
    viewer.dims.set_current_step(0, 3)
    corners(layers[1], 0, 0, 29, 39)
    part = visible_part(viewer, layers[1], bracket_source(layers))
    assert part.planes == ()
    np.testing.assert_array_equal(next(iter(part))[1][2], layers[2].data[3])


@pytest.mark.parametrize("view", [(-50, -50, -40, -40), (500, 500, 600, 600), (5, 5, 5, 5)])
def test_a_canvas_that_shows_little_or_nothing_still_gives_a_preview(view):
    layers = [Image(np.zeros((80, 90)) + i) for i in range(3)]
    corners(layers[1], *view)
    part = visible_part(ViewerModel(), layers[1], bracket_source(layers))
    assert min(part.shape) >= 16
