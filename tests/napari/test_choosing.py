"""Which layers are taken for a bracket, and what is known of their exposures."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_afunet.choosing import by_exposure, candidate_layers, guess_layers, guess_stack
from napari_afunet.exposures import (
    LayerExposure,
    common_exposures,
    layer_exposure,
    parse_exposure,
    stack_exposures,
)
from napari_afunet.panels.bracket import format_exposure


def image(value=0, shape=(6, 8, 3), **options):
    return Image(np.full(shape, value, np.uint8), **options)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/100", 0.01),
        ("0.04", 0.04),
        ("0,04", 0.04),
        (" +2 EV ", 2.0),
        ("−2", -2.0),
        ("400 ms", 0.4),
        ("250us", 2.5e-4),
        ("1e-3", 1e-3),
        ("1/0", None),
        ("", None),
        ("soon", None),
        ("1e999", None),
        ("--2", None),
    ],
)
def test_exposures_as_people_type_them(text, value):
    assert parse_exposure(text) == (pytest.approx(value) if value is not None else None)


@pytest.mark.parametrize("seconds", [1 / 100, 1 / 60, 1 / 6, 0.25, 0.3, 0.5, 1.3, 30.0, 1 / 8000, 0.0173])
def test_writing_seconds_and_reading_them_back_changes_nothing(seconds):
    assert parse_exposure(format_exposure(seconds, "seconds")) == pytest.approx(seconds, rel=1e-6)


@pytest.mark.parametrize(
    ("metadata", "ev", "seconds"),
    [
        ({"ev": -2}, -2.0, None),
        ({"EV": "+2"}, 2.0, None),
        ({"exposure_time": "1/50"}, None, 0.02),
        ({"ExposureTime": (1, 50)}, None, 0.02),
        ({"exposure": 0.5}, None, 0.5),
        ({"exposure": {"seconds": 0.5}}, None, 0.5),
        ({"exif": {"ExposureTime": "1/4"}}, None, 0.25),
        ({"exposure_time": 0}, None, None),
        ({"exposure_time": "nan"}, None, None),
        ({"ev": object()}, None, None),
        ({}, None, None),
    ],
)
def test_exposure_in_layer_metadata(metadata, ev, seconds):
    found = layer_exposure(image(metadata=metadata))
    assert (found.ev, found.seconds) == (pytest.approx(ev), pytest.approx(seconds))


def test_exposure_list_of_a_stack():
    stack = Image(np.zeros((3, 6, 8)), metadata={"exposure_time": ["1/4", 1, 4.0]})
    assert [e.seconds for e in stack_exposures(stack, 3)] == [0.25, 1.0, 4.0]
    assert stack_exposures(stack, 4) == [LayerExposure()] * 4


def test_exif_seconds_are_used_only_while_aperture_and_sensitivity_agree():
    from afunet_core.io import Exposure

    def known(*exif):
        return [LayerExposure(None, e.seconds, "EXIF", e) for e in exif]

    same = known(Exposure(0.01, 8.0, 100), Exposure(0.04, 8.0, 100))
    assert common_exposures(same) == (None, (0.01, 0.04))
    ev, seconds = common_exposures(known(Exposure(0.01, 8.0, 100), Exposure(0.01, 4.0, 100)))
    assert seconds is None
    assert ev[1] - ev[0] == pytest.approx(2.0)
    assert common_exposures([LayerExposure(ev=1.0), LayerExposure()]) == (None, None)


def test_exif_and_exposure_list_of_the_file_a_layer_came_from(tmp_path):
    import imageio.v3 as iio
    from napari.layers import Image as NapariImage

    for index in range(2):
        iio.imwrite(tmp_path / f"{index}.png", np.zeros((4, 4, 3), np.uint8))
    layer = NapariImage.create(np.zeros((4, 4, 3)), {"rgb": True}, "image")
    layer._source = type(layer.source)(path=str(tmp_path / "1.png"))
    assert layer_exposure(layer).value is None
    (tmp_path / "exposure.txt").write_text("-1.5\n2.5\n")
    assert layer_exposure(layer).ev == 2.5
    layer._source = type(layer.source)(path=str(tmp_path / "gone.png"))
    assert layer_exposure(layer).value is None


def test_frames_are_found_by_exposure_even_when_brightness_says_otherwise():
    layers = [image(10, metadata={"ev": 2}), image(200, metadata={"ev": -2}), image(90, metadata={"ev": 0})]
    assert guess_layers(layers) == [layers[1], layers[2], layers[0]]


def test_frames_are_found_by_brightness_without_exposures():
    layers = [image(90), image(10), image(200)]
    assert guess_layers(layers) == [layers[1], layers[0], layers[2]]


def test_lazy_and_multiscale_layers_are_sorted_by_brightness_too():
    lazy = [Image(da.full((2, 64, 64), v, chunks=(1, 32, 32), dtype=np.uint8)) for v in (9, 3, 6)]
    assert by_exposure(lazy) == [lazy[1], lazy[2], lazy[0]]
    pyramids = [Image([np.full((64, 64), v), np.full((32, 32), v)], multiscale=True) for v in (9, 3, 6)]
    assert by_exposure(pyramids) == [pyramids[1], pyramids[2], pyramids[0]]


def test_of_five_exposures_the_outer_two_and_the_middle_are_taken():
    layers = [image(ev + 10, metadata={"ev": ev}) for ev in (0, 4, -4, 2, -2)]
    assert [layer.metadata["ev"] for layer in guess_layers(layers)] == [-4, 0, 4]


def test_layers_with_exposures_win_over_newer_ones_without():
    known = [image(ev, metadata={"ev": ev}) for ev in (0, 2, 4)]
    unknown = [image(v, shape=(9, 9, 3)) for v in (1, 2, 3)]
    assert guess_layers([*known, *unknown]) == known


def test_three_selected_layers_are_taken_at_their_word():
    layers = [image(v) for v in (1, 2, 3, 4, 5)]
    assert guess_layers(layers, selected=layers[2:]) == layers[2:]


def test_results_and_labels_are_no_frames():
    result = image(metadata={"afunet": {"role": "radiance"}})
    frame = image()
    assert candidate_layers([result, Labels(np.zeros((4, 4), int)), frame]) == [frame]


def test_too_few_layers_of_a_shape_make_no_bracket():
    assert guess_layers([image(), image(), image(shape=(5, 5, 3))]) == []


def test_a_stack_of_three_planes_is_found():
    stack, plane = Image(np.zeros((3, 8, 9))), Image(np.zeros((8, 9)))
    assert guess_stack([plane, stack]) is stack
    assert guess_stack([plane]) is None


def test_of_two_brackets_by_one_camera_the_newer_one_is_taken():
    def bracket(exposures):
        return [image(metadata={"ev": ev}) for ev in exposures]

    older, newer = bracket((0, -2, 2)), bracket((0, -2, 2))
    assert guess_layers([*older, *newer]) == [newer[1], newer[0], newer[2]]
    five = bracket((-4, -2, 0, 2, 4))
    assert guess_layers([*older, *five]) == [five[0], five[2], five[4]]
    assert guess_layers([*older, *bracket((0, 2))]) != []  # two alone are no three
