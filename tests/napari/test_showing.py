"""Results come into the window layer by layer, and whatever the user does in between, the window holds together."""

from __future__ import annotations

import pytest

from napari_afunet.display import DisplaySettings
from napari_afunet.inputs import bracket_source
from napari_afunet.job import merge_source
from napari_afunet.settings import MergeSettings
from napari_afunet.showing import show_step_by_step

EV = (-2.0, 0.0, 2.0)


@pytest.fixture
def outcome_of(tiny_model):
    """Layers → the outcome of the tiny network, with its stages."""

    def merge(layers):
        settings = MergeSettings(ev=EV, method="afunet", align="off", model=tiny_model, device="cpu")
        *_, step = merge_source(bracket_source(layers), settings)
        return step.outcome

    return merge


def sliders(viewer):
    """What the sliders below the canvas show: name and number of steps."""
    widgets = viewer.window._qt_viewer.dims.slider_widgets
    return [(one.axis_label.text(), one.slider.maximum() + 1) for one in widgets if one.isVisibleTo(one.parent())]


@pytest.mark.parametrize("planes", [0, 3])
def test_the_view_can_be_reset_after_every_layer_and_the_stage_slider_comes(
    make_napari_viewer, add_bracket, make_frames, outcome_of, planes
):
    import numpy as np

    viewer = make_napari_viewer()
    frames = make_frames(16, 20)[0]
    layers = add_bracket(viewer, [np.stack([frame] * planes) for frame in frames] if planes else frames)
    seen = []
    for _ in show_step_by_step(viewer, outcome_of(layers), DisplaySettings()):
        viewer.reset_view()
        viewer.screenshot(flash=False)
        seen.append(sliders(viewer))
    stack = [("-3", planes)] if planes else []
    assert seen[0] == stack
    assert seen[-1] == [("stage", 2), *stack]
    assert viewer.dims.current_step[0] == 1
    viewer.dims.set_current_step(0, 0)
    assert viewer.window._qt_viewer.dims.slider_widgets[0].slider.value() == 0
