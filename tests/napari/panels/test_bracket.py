"""Frames and exposures in the panel."""

import numpy as np
import pytest

from scenes import EV, add_bracket, make_frames, messages


def test_exposures_must_be_typed_when_nothing_knows_them(viewer, widget, qtbot, frames, click_merge):
    for frame in frames:
        viewer.add_image(frame, name="frame")
    assert widget.bracket.exposures() == (None, None)
    assert "Type the exposure" in widget.controls.status_label.text()
    click_merge(widget)
    assert not widget.is_running
    assert "Type the exposure" in widget.controls.warnings_label.text()
    assert messages() == []  # what is to be done stands in the panel
    widget.bracket.unit_box.setCurrentText("seconds")
    for edit, text in zip(widget.bracket.exposure_edits, ("1/100", "1/25", "160 ms"), strict=True):
        edit.clear()
        qtbot.keyClicks(edit, text)
    assert widget.bracket.exposures()[1] == pytest.approx((0.01, 0.04, 0.16))
    click_merge(widget)
    assert any(layer.metadata.get("afunet", {}).get("role") == "radiance" for layer in viewer.layers)
    widget.bracket.unit_box.setCurrentText("EV")
    assert widget.bracket.exposures()[0] == pytest.approx((-2, 0, 2), abs=1e-3)


@pytest.mark.parametrize("ev", [EV, (-4.0, -2.0, 0.0, 2.0, 4.0)])
def test_one_stack_layer_is_a_bracket_like_any_other(viewer, widget, qtbot, click_merge, finish, ev):
    def add():
        return viewer.add_image(np.stack(make_frames(ev=ev)[0]), name="stack", rgb=True, metadata={"ev": ev})

    stack = add()
    assert widget.bracket.is_stack
    assert widget.bracket.exposures() == (ev, None)
    widget.options.choose("method", "weighted")
    widget.preview()
    finish(widget)
    qtbot.wait(50)
    assert "stack preview HDR" in viewer.layers
    click_merge(widget)
    result = viewer.layers["stack HDR"]
    plain, reference = result.data, result.metadata["afunet"]["info"]["reference"]
    assert plain.shape == stack.data.shape[1:]
    viewer.dims.set_point(0, 0)
    for comparison in ("reference", "side by side", "frames"):
        widget.views.comparisons[comparison].click()
        assert stack.visible
        assert viewer.dims.point[0] == reference
        widget.views.comparisons[comparison].click()
        assert viewer.dims.point[0] == 0
    widget.views.regions.tools["add_rectangle"].click()
    regions = viewer.layers["stack regions"]
    regions.add_rectangles(np.array([(2, 2), (2, 9), (9, 9), (9, 2)]))
    qtbot.waitUntil(lambda: result.data is not plain)
    click_merge(widget)
    assert result.metadata["afunet"]["info"]["regions"]
    assert viewer.layers[-1] is regions  # seen above the result that they changed
    widget.bracket.set_layers([add()])  # another one, called alike
    click_merge(widget)
    assert sum(layer.metadata.get("afunet", {}).get("role") == "radiance" for layer in viewer.layers) == 2


def test_renamed_layers_stay_the_bracket_and_are_found_for_comparing(open_widget, finish, frames):
    viewer, widget = open_widget()
    layers = add_bracket(viewer, frames)
    widget.merge()
    for index, layer in enumerate(layers):
        layer.name = f"renamed {index}"
    finish(widget)
    assert [box.currentText() for box in widget.bracket.layer_boxes] == ["renamed 0", "renamed 1", "renamed 2"]
    viewer.layers["scene HDR"].name = "mine"
    assert widget.display.layer_box.currentText() == "mine"
    widget.views.comparisons["frames"].click()
    assert [layer.visible for layer in layers] == [True] * 3
    assert messages() == []


def test_an_encoding_that_was_chosen_stays_while_frames_of_its_bracket_do(viewer, widget, frames):
    first = add_bracket(viewer, frames)
    for layer in first:
        layer.metadata["encoding"] = "gamma"
    widget.options.choose("encoding", "srgb")
    extra = viewer.add_image(frames[2], name="further", metadata={"ev": 4.0, "encoding": "gamma"}, rgb=True)
    viewer.layers.remove(extra)
    widget.bracket.remove_button.click()
    assert widget.options.settings().encoding == "srgb"
    other = add_bracket(viewer, frames, name="other")
    for layer in other:
        layer.metadata["encoding"] = "linear"
    widget.bracket.set_layers(other)
    assert widget.options.settings().encoding == "linear"  # a new bracket says so itself
    widget.options.choose("method", "weighted")
    widget.options.defaults_button.click()
    assert widget.options.settings().encoding == "linear"
    assert widget.options.settings().method == "auto"


def test_more_frames_than_one_bracket_takes_are_said(viewer, widget):
    for index in range(17):
        viewer.add_image(np.full((8, 9), index, np.uint8), name=f"f{index}", metadata={"ev": float(index)})
    assert len(widget.bracket.layers()) == 15
    assert "15 of 17" in widget.controls.warnings_label.text()
    viewer.layers.selection = set(viewer.layers[:5])
    widget.bracket.guess_button.click()
    assert "of 17" not in widget.controls.warnings_label.text()


@pytest.mark.parametrize("shape", [(40, 48), (48, 40, 3)])
def test_a_frame_of_another_kind_is_not_left_out_without_a_word(viewer, widget, shape):
    for index, size in enumerate([(40, 48, 3), (40, 48, 3), shape, (40, 48, 3), (40, 48, 3)]):
        pixels = np.full(size, 20 + 40 * index, np.uint8)
        viewer.add_image(pixels, name=f"f{index}", rgb=pixels.ndim == 3, metadata={"ev": float(index)})
    assert [layer.name for layer in widget.bracket.layers()] == ["f0", "f1", "f3", "f4"]
    assert "Not taken: f2." in widget.controls.warnings_label.text()
    viewer.add_image(np.zeros((40, 48), np.uint8), name="mask")  # has no exposure, is no frame
    assert "mask" not in widget.controls.warnings_label.text()
