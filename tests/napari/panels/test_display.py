"""The display panel."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from scenes import add_bracket, messages


def test_preview_and_display_with_the_mouse(widget, qtbot, frames):
    viewer = widget.viewer
    add_bracket(viewer, frames)
    widget.options.choose("method", "weighted")
    qtbot.mouseClick(widget.controls.preview_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget.is_running)
    assert viewer.layers["scene preview HDR"].metadata["afunet"]["preview"]
    assert "scene HDR" not in viewer.layers

    qtbot.mouseClick(widget.controls.merge_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget.is_running)
    assert "scene preview HDR" not in viewer.layers  # the result is there, the preview makes place
    hdr, view = viewer.layers["scene HDR"], viewer.layers["scene tone mapped"]
    assert widget.display.layer() is hdr
    before, limit = view.data.mean(), hdr.contrast_limits[1]
    widget.display.ev_slider.setValue(1.0)
    qtbot.waitUntil(lambda: hdr.contrast_limits[1] < 0.6 * limit)
    assert hdr.contrast_limits[1] == pytest.approx(limit / 2)
    qtbot.waitUntil(lambda: view.data.mean() > before + 1)
    qtbot.mouseClick(widget.display.reset_button, Qt.MouseButton.LeftButton)
    assert view.data.mean() == pytest.approx(before)

    widget.display.gamma_slider.setValue(3.0)
    qtbot.waitUntil(lambda: hdr.gamma == pytest.approx(1 / 3))
    assert view.gamma == pytest.approx(2.2 / 3)
    assert view.data.mean() == pytest.approx(before)

    qtbot.mouseClick(widget.views.comparisons["stages"], Qt.MouseButton.LeftButton)
    assert not widget.views.comparisons["stages"].isChecked()
    assert "no stages" in messages()[-1]

    qtbot.waitUntil(lambda: widget.readiness.badge.text() != "…")
    assert "CPU" in widget.readiness.badge.text() or "GPU" in widget.readiness.badge.text()


def test_an_hdr_file_from_elsewhere_gets_a_view_and_is_no_frame(widget, qtbot, tmp_path):
    from afunet_core import write_image

    viewer = widget.viewer
    write_image(tmp_path / "sunset.exr", np.random.default_rng(0).uniform(0, 90, (20, 30, 3)).astype(np.float32))
    viewer.open(str(tmp_path / "sunset.exr"), plugin="napari-afunet")
    layer = viewer.layers["sunset"]
    assert widget.display.layer() is layer
    widget.display.warn_check.click()
    assert viewer.layers["sunset tone mapped"].data.dtype == np.uint8
    qtbot.waitUntil(lambda: layer.contrast_limits[1] > 10)


def test_the_thumbnail_of_light_shows_what_the_canvas_does(merge_frames, frames):
    """napari's own shows the numbers, in which all but the lamps are black."""
    _, widget = merge_frames(frames)
    layer, display = widget.viewer.layers["scene HDR"], widget.display
    light = np.clip(layer.data / layer.contrast_limits[1], 0, 1) ** layer.gamma
    shown = layer.thumbnail[..., :3][layer.thumbnail[..., :3].max(-1) > 0]
    assert shown.mean() == pytest.approx(255 * light.mean(), rel=0.1)
    before = layer.thumbnail.mean()
    display.ev_slider.setValue(2.0)
    display._settle()
    assert layer.thumbnail.mean() > before + 5
    layer.data = layer.data / 100
    assert layer.thumbnail.mean() < before
