"""The layers that are taken for a bracket."""

import dask.array as da
import numpy as np
from napari.layers import Image, Labels

from napari_afunet.layers.selection import by_exposure, candidate_layers, guess_layers


def image(value=0, shape=(6, 8, 3), **options):
    return Image(np.full(shape, value, np.uint8), **options)


def test_frames_are_found_by_exposure_even_when_brightness_says_otherwise_else_by_brightness():
    layers = [image(10, metadata={"ev": 2}), image(200, metadata={"ev": -2}), image(90, metadata={"ev": 0})]
    assert guess_layers(layers) == [layers[1], layers[2], layers[0]]
    layers = [image(90), image(10), image(200)]
    assert guess_layers(layers) == [layers[1], layers[0], layers[2]]


def test_lazy_and_multiscale_layers_are_sorted_by_brightness_too():
    lazy = [Image(da.full((2, 64, 64), v, chunks=(1, 32, 32), dtype=np.uint8)) for v in (9, 3, 6)]
    assert by_exposure(lazy) == [lazy[1], lazy[2], lazy[0]]
    pyramids = [Image([np.full((64, 64), v), np.full((32, 32), v)], multiscale=True) for v in (9, 3, 6)]
    assert by_exposure(pyramids) == [pyramids[1], pyramids[2], pyramids[0]]


def test_layers_with_exposures_win_over_newer_ones_without():
    known = [image(ev, metadata={"ev": ev}) for ev in (0, 2, 4)]
    unknown = [image(v, shape=(9, 9, 3)) for v in (1, 2, 3)]
    assert guess_layers([*known, *unknown]) == known


def test_selected_layers_are_taken_at_their_word_all_of_them():
    layers = [image(v) for v in range(1, 10)]
    for count in (2, 3, 5):
        assert guess_layers(layers, selected=layers[:count]) == layers[:count]
    assert guess_layers(layers, selected=layers[:1]) == layers


def test_results_and_labels_are_no_frames():
    result = image(metadata={"afunet": {"role": "radiance"}})
    frame = image()
    assert candidate_layers([result, Labels(np.zeros((4, 4), int)), frame]) == [frame]


def test_too_few_layers_of_a_shape_make_no_bracket_and_a_stack_of_three_planes_is_one():
    assert guess_layers([image(), image(), image(shape=(5, 5, 3))]) == []
    stack, plane = Image(np.zeros((3, 8, 9))), Image(np.zeros((8, 9)))
    assert guess_layers([plane, stack]) == [stack]
    assert guess_layers([plane]) == []


def test_of_two_brackets_by_one_camera_the_newer_one_is_taken():
    def bracket(exposures):
        return [image(metadata={"ev": ev}, rgb=True) for ev in exposures]

    older, newer = bracket((0, -2, 2)), bracket((0, -2, 2))
    assert guess_layers([*older, *newer]) == [newer[1], newer[0], newer[2]]
    five = bracket((-4, -2, 0, 2, 4))
    assert guess_layers([*older, *five]) == five
    five[2].metadata.clear()  # its exposure is asked for
    assert set(guess_layers([*older, *five])) == set(five)
    assert guess_layers([image(rgb=True), image(rgb=True), image(rgb=True), *newer]) == guess_layers(newer)
    with_alpha = image(shape=(6, 8, 4), metadata={"ev": -4}, rgb=True)
    assert len(guess_layers([with_alpha, *newer])) == 4
    assert guess_layers([*older, *bracket((0, 2))]) != []  # two alone are no three
