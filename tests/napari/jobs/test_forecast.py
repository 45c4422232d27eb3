"""Forecast of a merge: time and memory."""

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_afunet.jobs.forecast import forecast, remember_pace
from napari_afunet.layers.source import bracket_source
from napari_afunet.settings import MergeSettings
from scenes import EV, add_bracket, make_frames, merged

FAST = MergeSettings(ev=EV, method="weighted", align="off")


@pytest.fixture
def photographs_of():
    """``photographs_of(height, width)`` → a source of that size that takes no memory."""

    def make(height, width, planes=()):
        frames = [da.zeros((*planes, height, width, 3), dtype=np.uint8) for _ in EV]
        return bracket_source(add_bracket(ViewerModel(), frames))

    return make


def test_before_the_first_merge_there_is_a_first_estimate_with_memory_and_advice(
    plugin, plugin_settings, photographs_of
):
    large, small = photographs_of(4000, 6000), photographs_of(400, 600)
    text = forecast(large, MergeSettings(ev=EV))
    assert text.startswith("roughly 53 s (a first estimate)")  # 52.6 s in docs/performance.md
    assert "1.9 GB of memory" in text
    assert forecast(small, FAST) == "roughly 2 s (a first estimate)"
    assert "“Weighted average” is faster" in forecast(photographs_of(6000, 8000), MergeSettings(ev=EV))
    assert "By size, sharpness and motion" in forecast(large, MergeSettings(ev=EV, working_scale="full"))
    assert forecast(large, MergeSettings(ev=EV), on_gpu=True).startswith("roughly 3 s")


def test_this_computer_s_pace_is_remembered_across_sessions_and_for_other_sizes(
    plugin, plugin_settings, photographs_of
):
    from napari.settings import get_plugin_settings

    viewer = ViewerModel()
    outcome, _ = merged(viewer, add_bracket(viewer, make_frames(256, 256, channels=1)[0]), FAST)
    source = outcome.source
    first = forecast(source, FAST)
    remember_pace(outcome, 30.0)
    assert forecast(source, FAST) == "about 30 s"
    assert get_plugin_settings("napari-afunet").forecast.paces  # napari keeps preferences in a file
    stack = bracket_source(
        add_bracket(viewer, [np.stack([frame] * 4) for frame in make_frames(256, 256, channels=1)[0]])
    )
    assert forecast(stack, FAST).startswith("about 2 min")
    other = forecast(source, FAST.replace(method="afunet"))  # a first estimate, at the pace of this computer
    assert "a first estimate" in other
    assert "roughly 72 s" in other
    get_plugin_settings("napari-afunet").forecast.paces = "edited by hand"
    assert forecast(source, FAST) == first
