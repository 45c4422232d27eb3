"""Pixels out of layers: planes, places, windows, and layers that do not go together."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

from afunet_core.errors import BracketError, ShapeError
from napari_afunet.layers.source import bracket_source, stack_source


def images(shape=(6, 8), count=3, **options):
    random = np.random.default_rng(1)
    return [Image(random.integers(0, 255, shape, dtype=np.uint8), name=f"f{i}", **options) for i in range(count)]


def test_a_single_image_is_one_plane():
    layers = images((6, 8, 3), rgb=True)
    source = bracket_source(layers)
    [(index, planes)] = list(source)
    assert (index, source.planes, source.shape, source.plane_count) == ((), (), (6, 8), 1)
    for plane, layer in zip(planes, layers, strict=True):
        np.testing.assert_array_equal(plane, layer.data)


@pytest.mark.parametrize("lazy", [False, True])
def test_stacks_come_plane_by_plane_in_order(lazy):
    layers = images((2, 4, 6, 8), scale=(2, 3, 0.5, 0.5), units=("s", "um", "um", "um"))
    if lazy:
        layers = [Image(da.from_array(la.data, chunks=(1, 1, 6, 8)), scale=la.scale, units=la.units) for la in layers]
    source = bracket_source(layers)
    assert source.planes == (2, 4)
    seen = dict(iter(source))
    assert list(seen) == list(np.ndindex(2, 4))
    np.testing.assert_array_equal(seen[1, 2][0], np.asarray(layers[0].data)[1, 2])
    assert isinstance(seen[1, 2][0], np.ndarray)
    assert source.placement.scale == (2, 3, 0.5, 0.5)
    assert source.at((1, 2)).placement.scale == (0.5, 0.5)


def test_a_stack_layer_is_a_bracket_along_its_first_axis():
    stack = Image(np.arange(3 * 5 * 6).reshape(3, 5, 6), scale=(9, 2, 2), translate=(7, 1, 1), name="stack")
    source = stack_source(stack)
    assert source.names == ("stack [0]", "stack [1]", "stack [2]")
    place = source.placement
    assert (place.scale, place.translate, place.units) == ((2, 2), (1, 1), ("pixel", "pixel"))
    assert place.axis_labels == tuple(stack.axis_labels[1:])
    np.testing.assert_array_equal(next(iter(source))[1][1], stack.data[1])
    with pytest.raises(BracketError, match="first axis"):
        stack_source(Image(np.zeros((5, 6))))


def test_layers_moved_by_whole_pixels_are_cropped_to_what_all_cover():
    field = np.random.default_rng(0).integers(0, 255, (20, 30))
    spots = [(2, 3), (4, 5), (5, 1)]
    layers = [
        Image(field[r : r + 10, c : c + 12], scale=(0.5, 0.5), translate=(r / 2, c / 2), name=str(i))
        for i, (r, c) in enumerate(spots)
    ]
    source = bracket_source(layers)
    [(_, planes)] = list(source)
    for plane in planes:
        np.testing.assert_array_equal(plane, field[5:12, 5:13])
    assert source.placement.translate == (2.5, 2.5)


def test_a_window_of_the_source_lies_where_it_was_cut():
    layers = images((20, 30), scale=(2, 2), translate=(100, 200))
    window = bracket_source(layers).cropped(slice(5, 15), slice(10, 30))
    assert window.shape == (10, 20)
    assert window.placement.translate == (110, 220)
    np.testing.assert_array_equal(next(iter(window))[1][2], layers[2].data[5:15, 10:30])


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"scale": (2, 2)}, BracketError, "scale"),
        ({"translate": (0.5, 0)}, BracketError, "translation"),
        ({"translate": (50, 0)}, BracketError, "overlap"),
        ({"rotate": 10}, BracketError, "rotation"),
    ],
)
def test_layers_on_other_grids_are_refused_with_advice(change, error, word):
    layers = [*images(count=2), Image(np.zeros((6, 8)), name="odd one", **change)]
    with pytest.raises(error, match=word):
        bracket_source(layers)


def test_layers_of_other_kinds_are_refused():
    with pytest.raises(ShapeError, match="colour"):
        bracket_source([*images(count=2), Image(np.zeros((6, 8, 3)), rgb=True, name="rgb")])
    with pytest.raises(ShapeError, match="planes"):
        bracket_source([*images((4, 6, 8), count=2), Image(np.zeros((5, 6, 8)), name="longer")])
    with pytest.raises(BracketError, match="twice"):
        bracket_source(images(count=1) * 3)
    with pytest.raises(BracketError, match="three image layers"):
        bracket_source(images(count=1))


@pytest.mark.parametrize(
    "place",
    [
        {"rotate": 30, "scale": (2, 2), "translate": (5, 6)},
        {"shear": [0.2]},
        {"affine": np.array([[0.0, 1.0, 7.0], [-1.0, 0.0, 30.0], [0.0, 0.0, 1.0]])},
    ],
)
def test_rotated_sheared_and_affine_layers_are_merged_where_they_lie(place):
    from napari.components import ViewerModel

    from napari_afunet import merge_layers

    viewer = ViewerModel()
    frames = [np.full((20, 30), value, np.float32) for value in (0.1, 0.4)]
    layers = [
        viewer.add_image(frame, name=f"f{ev}", metadata={"ev": ev}, **place)
        for frame, ev in zip(frames, (0, 2), strict=True)
    ]
    merge_layers(viewer, layers, encoding="linear", method="weighted", align="off", name="merged")
    for name in ("merged HDR", "merged tone mapped"):
        for point in ((0, 0), (19, 0), (3, 29)):
            expected = layers[0].data_to_world(point)
            np.testing.assert_allclose(viewer.layers[name].data_to_world(point), expected, atol=1e-6)
    merge_layers(viewer, layers, encoding="linear", method="weighted", align="off", name="merged")  # in place, too
    np.testing.assert_allclose(viewer.layers["merged HDR"].data_to_world((3, 29)), layers[0].data_to_world((3, 29)))
