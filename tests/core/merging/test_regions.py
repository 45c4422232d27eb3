"""Regions of a result that are taken from single frames."""

from __future__ import annotations

import numpy as np
import pytest

from afunet_core import Bracket, merge
from afunet_core.errors import ArgumentError

EV = (0.0, 2.0)
SQUARE = ((10, 20), (10, 39), (29, 39), (29, 20))


@pytest.fixture
def bracket():
    """The longer frame shows something else in one corner, at the same place where both are well exposed."""
    short = np.full((40, 60), 0.1, np.float32)
    long = 4 * short
    long[:, 30:] = 0.8
    return Bracket([short, long], ev=EV, encoding="linear", override=True)


def test_a_region_holds_what_its_frame_recorded_and_the_rest_stays(bracket):
    options = {"method": "weighted", "align": "off"}
    plain = merge(bracket, **options).radiance
    for frame, light in ((0, 0.1), (1, 0.2)):
        result = merge(bracket, regions=[(frame, SQUARE)], **options)
        assert result.radiance[20, 35] == pytest.approx(light, rel=1e-4)
        outside = np.ones_like(plain, bool)
        outside[5:35, 15:45] = False
        np.testing.assert_array_equal(result.radiance[outside], plain[outside])
        assert result.info["regions"] == [[frame, [[10, 20], [10, 39], [29, 39], [29, 20]]]]


def test_regions_after_the_merge_are_those_of_the_merge_and_can_be_taken_back(bracket):
    options = {"method": "weighted", "align": "off"}
    plain, wanted = merge(bracket, **options), merge(bracket, regions=[(1, SQUARE)], **options)
    changed = plain.with_regions([(1, SQUARE)])
    np.testing.assert_array_equal(changed.radiance, wanted.radiance)
    assert changed.info["regions"] == wanted.info["regions"]
    restored = changed.with_regions([])
    np.testing.assert_array_equal(restored.radiance, plain.radiance)
    assert "regions" not in restored.info


def test_where_the_frame_is_saturated_the_brighter_light_stays():
    short, long = np.full((40, 60), 0.7, np.float32), np.ones((40, 60), np.float32)
    bracket = Bracket([short, long], ev=EV, encoding="linear")
    result = merge(bracket, method="weighted", align="off", regions=[(1, SQUARE)])
    np.testing.assert_allclose(result.radiance, 0.7, rtol=1e-4)


def test_regions_are_in_pixels_of_the_frames_even_where_the_result_is_cropped(bracket):
    from afunet_core.merging.regions import _feathered_mask

    whole, rows, columns = _feathered_mask(SQUARE, (0, 0), (40, 60))
    cut, cut_rows, cut_columns = _feathered_mask(SQUARE, (1, 5), (30, 50))
    assert (cut_rows.start, cut_columns.start) == (rows.start - 1 if rows.start else 0, columns.start - 5)
    assert float(cut.max()) == float(whole.max()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "regions", [[(2, SQUARE)], [(0, SQUARE[:2])], [7], [(0, ((1, 2, 3),) * 3)], [(0, (*SQUARE[:2], (np.nan, 1)))]]
)
def test_what_is_no_region_is_refused(bracket, regions):
    with pytest.raises(ArgumentError, match="regions"):
        merge(bracket, method="weighted", align="off", regions=regions)


def test_a_picture_for_the_screen_has_no_regions(bracket):
    with pytest.raises(ArgumentError, match="method"):
        merge(bracket, method="mertens", align="off", regions=[(0, SQUARE)])


def test_a_region_outside_the_image_changes_nothing(bracket):
    far = [(0, ((100, 100), (100, 120), (120, 120)))]
    plain = merge(bracket, method="weighted", align="off")
    np.testing.assert_array_equal(plain.with_regions(far).radiance, plain.radiance)
