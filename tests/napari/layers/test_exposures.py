"""Exposures: as people type them, in metadata, in files."""

import numpy as np
import pytest
from napari.layers import Image

from afunet_core.io.exposure import parse_exposure
from napari_afunet.layers.exposures import (
    LayerExposure,
    common_exposures,
    layer_exposure,
    stack_exposures,
)
from napari_afunet.panels.frame_table import format_exposure
from scenes import EV


def image(value=0, shape=(6, 8, 3), **options):
    return Image(np.full(shape, value, np.uint8), **options)


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

    for index in range(2):
        iio.imwrite(tmp_path / f"{index}.png", np.zeros((4, 4, 3), np.uint8))
    layer = Image.create(np.zeros((4, 4, 3)), {"rgb": True}, "image")
    layer._source = type(layer.source)(path=str(tmp_path / "1.png"))
    assert layer_exposure(layer).value is None
    (tmp_path / "exposure.txt").write_text("-1.5\n2.5\n")
    assert layer_exposure(layer).ev == 2.5
    layer._source = type(layer.source)(path=str(tmp_path / "gone.png"))
    assert layer_exposure(layer).value is None


def test_a_stack_knows_its_exposures_from_metadata_or_from_the_list_beside_its_file(tmp_path):
    planes = np.zeros((3, 9, 7), np.uint16)
    for metadata, expected in [
        ({"ev": [-2, 0, 2]}, (EV, None)),
        ({"exposure_times": ["1/100", 0.04, "160 ms"]}, (None, (0.01, 0.04, 0.16))),
        ({"exposures": [1, 4, 16]}, (None, (1.0, 4.0, 16.0))),
        ({"exposure_time": ["1/4", 1, 4.0]}, (None, (0.25, 1.0, 4.0))),
        ({"ev": [0, 2]}, (None, None)),
        ({"ev": 0.0}, (None, None)),
    ]:
        assert common_exposures(stack_exposures(Image(planes, metadata=metadata), 3)) == expected
    (tmp_path / "exposure.txt").write_text("-2\n0\n2\n")
    layer = Image(planes, metadata={"path": str(tmp_path / "planes.tif")})
    assert common_exposures(stack_exposures(layer, 3)) == (EV, None)
    assert common_exposures(stack_exposures(layer, 2)) == (None, None)
