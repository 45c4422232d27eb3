"""Pixels out of layers: planes, places, windows, and layers that do not go together."""

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from afunet_core.errors import BracketError, ShapeError
from napari_afunet import merge_layers
from napari_afunet.layers.source import bracket_source, stack_source


def images(shape=(6, 8), count=3, **options):
    random = np.random.default_rng(1)
    return [Image(random.integers(0, 255, shape, dtype=np.uint8), name=f"f{i}", **options) for i in range(count)]


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


@pytest.mark.parametrize(
    ("change", "word"),
    [({"scale": (0.2, 0.2)}, "scale"), ({"translate": (5e4, 5e4 + 0.1)}, "translation"), ({"rotate": 1}, "rotation")],
)
def test_layers_on_other_grids_are_refused_in_pixels_however_far_the_stage_has_moved(change, word):
    place = {"scale": (0.1, 0.1), "translate": (5e4, 5e4)}
    assert bracket_source(images(**place)).placement.translate == (5e4, 5e4)
    with pytest.raises(BracketError, match=f"odd one.*{word}"):
        bracket_source([*images(count=2, **place), Image(np.zeros((6, 8)), name="odd one", **place | change)])


def test_layers_of_other_kinds_are_refused():
    with pytest.raises(ShapeError, match="colour"):
        bracket_source([*images(count=2), Image(np.zeros((6, 8, 3)), rgb=True, name="rgb")])
    with pytest.raises(ShapeError, match="6×5"):
        bracket_source([*images(count=2), Image(np.zeros((6, 5)), name="narrow")])
    with pytest.raises(ShapeError, match="3 dimensions"):
        bracket_source([*images(count=2), Image(np.zeros((2, 6, 8)), name="stack")])
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
    viewer.layers["merged tone mapped"].name = "mine"
    merge_layers(viewer, layers, encoding="linear", method="weighted", align="off", name="merged")  # in place, too
    assert len(viewer.layers) == 4
    np.testing.assert_allclose(viewer.layers["merged HDR"].data_to_world((3, 29)), layers[0].data_to_world((3, 29)))


def seen(layers, corners, viewer=None):
    """The part of a bracket that the canvas shows."""
    layers[1].corner_pixels = np.array([[0] * (layers[1].ndim - 2) + list(corner) for corner in corners])
    return bracket_source(layers).seen(viewer or ViewerModel(), layers[1])


def test_a_preview_is_what_the_canvas_shows_coarse_where_it_is_large():
    layers = images((80, 90), scale=(2, 2))
    part = seen(layers, [(10, 20), (49, 69)])
    assert part.shape == (40, 50)
    assert part.placement.translate == (20, 40)
    np.testing.assert_array_equal(next(iter(part))[1][0], layers[0].data[10:50, 20:70])
    part = seen(images((40, 2048)), [(0, 0), (39, 2047)])
    assert part.shape == next(iter(part))[1][0].shape == (10, 512)
    assert part.placement.scale == (4, 4)
    viewer = ViewerModel()
    layers = [viewer.add_layer(layer) for layer in images((5, 30, 40))]
    viewer.dims.set_current_step(0, 3)
    part = seen(layers, [(0, 0), (29, 39)], viewer)
    assert part.planes == ()
    np.testing.assert_array_equal(next(iter(part))[1][2], layers[2].data[3])


@pytest.mark.parametrize("view", [(-50, -50, -40, -40), (500, 500, 600, 600), (5, 5, 5, 5)])
def test_a_canvas_that_shows_little_or_nothing_still_gives_a_preview(view):
    assert min(seen(images((80, 90)), [view[:2], view[2:]]).shape) >= 16
