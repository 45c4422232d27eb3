"""The layers that a merge leaves."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_afunet import merge_layers
from napari_afunet.display.tone_view import is_hdr
from napari_afunet.layers.result_layer import base_name
from scenes import EV, add_bracket, make_frames, textured

FAST = {"method": "weighted", "align": "off"}
CAMERA = {"encoding": "linear", "bit_depth": 12, "method": "weighted"}


def hand_held(shift=3):
    """Make linear 12-bit frames of a scene with texture, the outer ones moved by whole pixels."""
    scene = textured(0, 140, 180)
    views = [np.roll(scene, (offset, -offset), (0, 1))[20:120, 20:160] for offset in (shift, 0, -shift)]
    return [
        np.round(4095 * view * 2.0 ** (ev + 2)).clip(0, 4095).astype(np.uint16)
        for view, ev in zip(views, EV, strict=True)
    ]


def test_exposure_fusion_is_shown_as_the_picture_it_is(frames):
    viewer = ViewerModel()
    add_bracket(viewer, frames)
    merge_layers(viewer, method="mertens", align="off")
    layer = viewer.layers["scene exposure fusion"]
    assert layer.gamma == 1.0
    assert not is_hdr(layer)
    assert "scene tone mapped" not in viewer.layers


def test_the_image_decoded_from_every_stage_is_a_layer_that_ends_in_the_result(tiny_model):
    viewer = ViewerModel()
    options = {"method": "afunet", "align": "off", "model": tiny_model, "device": "cpu", "stages": True}
    layers = add_bracket(viewer, make_frames(16, 20)[0], scale=(0.5, 0.5))
    result = merge_layers(viewer, layers, **options)
    decoded = viewer.layers["scene stages · HDR"]
    assert decoded.data.shape == (2, 16, 20, 3)
    assert decoded.rgb
    assert not decoded.visible
    assert decoded.axis_labels[0] == "stage"
    assert tuple(decoded.scale) == (1, 0.5, 0.5)
    assert decoded.contrast_limits == viewer.layers["scene HDR"].contrast_limits == [0, 0.25]
    assert decoded.gamma == pytest.approx(1 / 2.2)
    assert np.abs(decoded.data[0] - decoded.data[1]).max() > 0.001
    np.testing.assert_allclose(decoded.data[-1], result.radiance, atol=2e-3)
    decoded.visible, decoded.contrast_limits = True, (0, 0.125)
    assert viewer.layers["scene HDR"].contrast_limits == [0, 0.125]  # both are looked at with one exposure
    count = len(viewer.layers)
    again = merge_layers(viewer, layers, ev=(-1.0, 0.0, 1.0), **options)
    assert len(viewer.layers) == count
    assert decoded.visible
    assert decoded.contrast_limits == [0, 0.5]
    np.testing.assert_allclose(decoded.data[-1], again.radiance, atol=2e-3)


def test_a_cropped_result_is_the_cores_and_lies_where_it_belongs():
    from afunet_core import Bracket, merge

    viewer, frames = ViewerModel(), hand_held()
    layers = add_bracket(viewer, frames, scale=(2.0, 2.0), translate=(10.0, 20.0))
    result = merge_layers(viewer, layers, border="crop", ghost_map=True, **CAMERA)
    expected = merge(Bracket(frames, ev=EV, encoding="linear", bit_depth=12), method="weighted", border="crop")
    np.testing.assert_array_equal(result.radiance, expected.radiance)
    top, left, height, width = result.info["area"]
    assert (height, width) == result.radiance.shape < frames[0].shape
    for role in ("HDR", "tone mapped", "ghost map"):
        layer = viewer.layers[f"scene {role}"]
        assert layer.data.shape[:2] == (height, width)
        np.testing.assert_allclose(layer.translate, (10 + 2 * top, 20 + 2 * left))
    whole = merge_layers(viewer, layers, border="fill", **CAMERA)
    np.testing.assert_allclose(viewer.layers["scene HDR"].translate, (10, 20))
    np.testing.assert_allclose(whole.radiance[top : top + height, left : left + width], result.radiance, rtol=0.02)


@pytest.mark.parametrize(
    ("names", "base"),
    [
        (["garage -2 EV", "garage +0 EV", "garage +2 EV"], "garage"),
        (["IMG_0960", "IMG_0959", "IMG_0961"], "IMG_0959-0961"),
        (["stack [0]", "stack [1]"], "stack"),
        (["a", "b"], "bracket"),
        (["1", "2", "3"], "1-3"),
    ],
)
def test_results_are_called_after_what_the_frames_share(names, base):
    assert base_name(names) == base


def sliders(viewer):
    """Sliders below the canvas: name and number of steps."""
    widgets = viewer.window._qt_viewer.dims.slider_widgets
    return [(one.axis_label.text(), one.slider.maximum() + 1) for one in widgets if one.isVisibleTo(one.parent())]


@pytest.mark.parametrize("planes", [0, 3])
def test_the_stage_slider_comes_with_the_stages(make_napari_viewer, tiny_model, planes):
    viewer = make_napari_viewer()
    frames = make_frames(16, 20)[0]
    frames = [np.stack([frame] * planes) for frame in frames] if planes else frames
    layers = add_bracket(viewer, frames, scale=(7, 1, 1)[-2 - bool(planes) :])
    merge_layers(viewer, layers, method="afunet", align="off", model=tiny_model, device="cpu", stages=True)
    stages = viewer.layers["scene stages · over"]
    assert stages.data.shape == (2, *frames[0].shape)
    assert stages.data.dtype == np.uint8
    assert stages.data.std() > 1
    assert tuple(stages.scale) == (1, *layers[0].scale)
    viewer.screenshot(flash=False)
    assert sliders(viewer) == [("stage", 2), *([("-3", planes)] if planes else [])]
    assert viewer.dims.current_step[0] == 1
    viewer.dims.set_current_step(0, 0)
    assert viewer.window._qt_viewer.dims.slider_widgets[0].slider.value() == 0
