"""Maps over the result, and regions taken from other frames."""

import threading

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from afunet_core.errors import MergeCancelled
from afunet_core.merging import pipeline
from napari_afunet import merge_layers
from scenes import add_bracket, make_frames

STROKE = list(zip(range(6, 28, 2), range(62, 95, 3), strict=True))


@pytest.fixture
def moved():
    """Frames of which the longest shows something else in a corner."""
    frames = make_frames(64, 96)[0]
    frames[2][4:28, 60:90] = frames[2][30:54, 4:34]
    return frames


def shot(viewer):
    return viewer.screenshot(canvas_only=True, flash=False).astype(int)


def test_show_ghosts_changes_what_is_seen_at_that_click_and_back(merge_frames, qtbot, moved):
    viewer, widget = merge_frames(moved, show=True)
    count, before, button = len(viewer.layers), shot(viewer), widget.views.maps["ghost"]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(viewer.layers) == count + 1)
    ghosts = viewer.layers["scene ghost map"]
    assert viewer.layers.index(ghosts) == count
    assert ghosts.visible
    assert ghosts.colorbar.visible
    assert button.isChecked()
    assert "disagree" in widget.views.legend.text()
    assert np.abs(shot(viewer) - before).max() > 20
    assert viewer.layers.selection.active.name == "scene tone mapped"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert not ghosts.visible
    assert not widget.views.legend.isVisibleTo(widget)
    widget.views.show_comparison("side by side")
    assert viewer.canvas.grid.enabled
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)  # over the result, not in a cell of its own
    qtbot.waitUntil(lambda: ghosts.visible)
    assert not viewer.canvas.grid.enabled
    assert viewer.layers["scene tone mapped"].visible


def test_what_the_merge_did_not_keep_is_merged_again_and_shown(merge_frames, qtbot, frames):
    viewer, widget = merge_frames([np.stack([frame] * 2) for frame in frames], method="afunet")  # no map is kept
    assert not {"scene ghost map", "scene stages · under"} & {layer.name for layer in viewer.layers}
    qtbot.mouseClick(widget.views.maps["ghost"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "scene ghost map" in viewer.layers and not widget.is_running)
    qtbot.waitUntil(lambda: viewer.layers["scene ghost map"].visible)
    assert viewer.layers["scene ghost map"].data.shape == (2, *frames[0].shape[:2])
    qtbot.mouseClick(widget.views.comparisons["stages"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget.is_running and "scene stages · under" in viewer.layers)
    shown = {layer.name for layer in viewer.layers if layer.visible}
    assert shown == {f"scene stages · {side}" for side in ("under", "reference", "over")}
    assert len(viewer.layers) > 8
    qtbot.mouseClick(widget.views.tidy_button, Qt.MouseButton.LeftButton)
    left = {viewer.layers["scene HDR"], viewer.layers["scene tone mapped"]}
    assert set(viewer.layers) == {*widget.bracket.layers(), *left}


def test_a_region_is_taken_from_another_frame_at_once_recorded_and_undone(merge_frames, qtbot, moved):
    viewer, widget = merge_frames(moved, {"scale": (0.5, 0.5), "translate": (3, 4)})
    layer = viewer.layers["scene HDR"]
    plain = layer.data.copy()
    widget.views.regions.frame_box.setCurrentIndex(2)
    qtbot.mouseClick(widget.views.regions.tools["add_rectangle"], Qt.MouseButton.LeftButton)
    shapes = viewer.layers["scene regions"]
    assert shapes.mode == "add_rectangle"
    corners = np.array([(4, 60), (4, 89), (27, 89), (27, 60)])
    shapes.add_rectangles(corners)
    qtbot.waitUntil(lambda: not np.array_equal(viewer.layers["scene HDR"].data, plain))
    light = (moved[2] / 255.0) ** 2.2 / 16
    inside = (slice(12, 20), slice(68, 82))
    unsaturated = moved[2][inside] < 240
    changed = viewer.layers["scene HDR"].data
    np.testing.assert_allclose(changed[inside][unsaturated], light[inside][unsaturated], rtol=0.02, atol=1e-4)
    np.testing.assert_array_equal(changed[40:], plain[40:])
    note = viewer.layers["scene HDR"].metadata["afunet"]
    assert note["info"]["regions"][0][0] == 2
    assert "regions=((2, (" in widget.copy_script()
    assert "region taken" in widget.controls.summary_label.text()
    qtbot.mouseClick(widget.views.regions.undo_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: np.array_equal(viewer.layers["scene HDR"].data, plain))
    assert "regions" not in widget.copy_script()
    shapes.add_rectangles(corners)
    qtbot.waitUntil(lambda: not np.array_equal(layer.data, plain))
    widget.views.tidy_button.click()
    assert not shapes.visible
    assert "regions=" in widget.copy_script()
    viewer.layers.remove(shapes)  # and its regions with it
    qtbot.waitUntil(lambda: np.array_equal(layer.data, plain))
    assert "regions=" not in widget.copy_script()


@pytest.fixture
def drag(qtbot):
    """``drag(viewer, points)`` drags with the mouse over the canvas, along (row, column) of the data."""

    def drag(viewer, points, meanwhile=lambda: None):
        canvas, camera = viewer.window._qt_viewer.canvas.native, viewer.scene.camera
        middle = np.array([canvas.height(), canvas.width()]) / 2
        places = [(np.array(point) - camera.center[-2:]) * camera.zoom + middle for point in points]
        positions = [QPoint(round(float(column)), round(float(row))) for row, column in places]
        qtbot.mouseMove(canvas, positions[0])
        qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=positions[0])
        for position in positions[1:]:
            event = QMouseEvent(
                QEvent.Type.MouseMove,
                QPointF(position),
                QPointF(canvas.mapToGlobal(position)),
                Qt.MouseButton.NoButton,
                Qt.MouseButton.LeftButton,
                Qt.KeyboardModifier.NoModifier,
            )
            qtbot.wait(30)  # vispy and napari pass over moves that follow each other faster
            QApplication.sendEvent(canvas, event)
        qtbot.wait(400)  # a hand that rests: what is not drawn to its end is left alone
        meanwhile()
        qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=positions[-1])

    return drag


@pytest.mark.parametrize("tool", ["add_rectangle", "add_polygon_lasso", "add_path"])
def test_a_region_is_drawn_with_the_mouse_and_everything_else_stays(merge_frames, qtbot, moved, drag, tool):
    viewer, widget = merge_frames(moved, show=True)
    viewer.reset_view()
    plain, panel = viewer.layers["scene HDR"].data.copy(), widget.views
    qtbot.mouseClick(panel.maps["ghost"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "scene ghost map" in viewer.layers)
    widget.display.ev_slider.setValue(1.0)
    panel.regions.frame_box.setCurrentIndex(2)
    qtbot.mouseClick(panel.regions.tools[tool], Qt.MouseButton.LeftButton)
    around = [(6, 62), (6, 74), (6, 88), (16, 88), (26, 88), (26, 74), (26, 62), (14, 62)]
    drag(viewer, around if tool == "add_polygon_lasso" else STROKE)
    qtbot.waitUntil(lambda: not np.array_equal(viewer.layers["scene HDR"].data, plain))
    changed = np.abs(viewer.layers["scene HDR"].data - plain).max(-1) > 0.01
    assert changed[8:24, 64:86].mean() > (0.1 if tool == "add_path" else 0.3)
    assert changed[14:18, 73:77].mean() > 0.3
    assert not changed[40:].any()
    regions = viewer.layers["scene regions"]
    assert len(regions.data) == 1
    assert "path" not in regions.shape_type
    assert set(regions.edge_width) == {2}
    assert viewer.layers.index(regions) == len(viewer.layers) - 1  # it is seen, and the next can be drawn
    assert regions.mode == "pan_zoom"
    assert panel.regions.frame_box.currentIndex() == 2
    assert panel.maps["ghost"].isChecked()
    assert viewer.layers["scene ghost map"].visible
    assert viewer.layers["scene HDR"].contrast_limits[1] == pytest.approx(0.125)  # as the slider says, not as before
    before = viewer.layers["scene HDR"].data
    drag(viewer, [(40, 10), (50, 30), (60, 40)])  # one press of the button, one region: this moves the view
    qtbot.wait(400)
    assert viewer.layers["scene HDR"].data is before


def test_a_merge_that_ends_while_a_stroke_is_drawn_does_not_cut_it_off(merge_frames, qtbot, moved, drag, finish):
    viewer, widget = merge_frames(moved, show=True)
    viewer.reset_view()
    widget.views.regions.frame_box.setCurrentIndex(2)
    widget.views.regions.tools["add_path"].click()

    def merge_again():
        widget.merge()
        finish(widget)

    drag(viewer, STROKE, merge_again)
    assert widget.outcome.settings.regions == ()  # it was no region yet
    qtbot.waitUntil(lambda: len(widget.outcome.settings.regions) == 1)
    assert viewer.layers.selection.active.name == "scene regions"
    viewer.layers.remove("scene tone mapped")
    qtbot.mouseClick(widget.views.regions.undo_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.outcome.settings.regions == ())
    assert "scene tone mapped" not in viewer.layers  # what the user deleted stays away


def test_what_was_begun_and_left_is_no_region_and_takes_no_frame_from_another(merge_frames, qtbot, moved, drag):
    viewer, widget = merge_frames(moved, show=True)
    layers = widget.bracket.layers()
    viewer.reset_view()
    panel = widget.views.regions

    def draw(frame, tool, points):
        panel.frame_box.setCurrentIndex(frame)
        qtbot.mouseClick(panel.tools[tool], Qt.MouseButton.LeftButton)
        drag(viewer, points)

    def taken():
        qtbot.wait(400)
        return [frame for frame, _ in widget.outcome.settings.regions]

    draw(0, "add_polygon_lasso", [(20, 70)])  # the first corner, and never the next
    assert taken() == []
    qtbot.mouseClick(panel.undo_button, Qt.MouseButton.LeftButton)
    draw(0, "add_polygon_lasso", [(20, 70)])
    viewer.layers.selection.active = layers[0]
    panel.frame_box.setCurrentIndex(2)
    qtbot.mouseClick(panel.tools["add_rectangle"], Qt.MouseButton.LeftButton)
    assert taken() == []
    assert viewer.layers["scene regions"].mode == "add_rectangle"  # still in the hand
    drag(viewer, [(4, 60), (16, 75), (27, 89)])
    qtbot.waitUntil(lambda: taken() == [2])
    draw(0, "add_path", [(50, 10)])
    drag(viewer, [(50, 10)])  # napari drops a path of one place, and keeps its features
    assert taken() == [2]
    draw(0, "add_rectangle", [(50, 10)])
    draw(0, "add_path", [(row + 30, column) for row, column in STROKE])
    qtbot.waitUntil(lambda: taken() == [2, 0], timeout=20_000)
    assert len(viewer.layers["scene regions"].data) == 2
    qtbot.mouseClick(panel.undo_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: taken() == [2])


def test_merging_a_plane_again_can_be_cancelled_and_the_regions_are_those_of_the_result(
    merge_frames, qtbot, moved, monkeypatch
):
    viewer, widget = merge_frames([np.stack([frame] * 2) for frame in moved])
    plain, real, go_on = viewer.layers["scene HDR"].data.copy(), pipeline.merge, threading.Event()

    def held(bracket, should_cancel, **options):
        while not go_on.wait(0.01):
            if should_cancel():
                raise MergeCancelled("cancelled")
        return real(bracket, should_cancel=should_cancel, **options)

    monkeypatch.setattr(pipeline, "merge", held)
    button, panel = widget.controls.merge_button, widget.views.regions

    def cancel():
        qtbot.waitUntil(lambda: button.text() == "Cancel")
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: button.text() == "Merge")
        assert widget.controls.status_label.text() == "Cancelled. Nothing was changed."
        qtbot.wait(400)
        assert button.text() == "Merge"  # it is not tried again

    panel.frame_box.setCurrentIndex(2)
    panel.tools["add_rectangle"].click()
    rectangle = np.array([(1, 4, 60), (1, 4, 89), (1, 27, 89), (1, 27, 60)])
    viewer.layers["scene regions"].add_rectangles(rectangle)
    cancel()
    np.testing.assert_array_equal(viewer.layers["scene HDR"].data, plain)
    assert len(viewer.layers["scene regions"].data) == 0
    go_on.set()
    viewer.layers["scene regions"].add_rectangles(rectangle)
    qtbot.waitUntil(lambda: len(widget.outcome.settings.regions) == 1)
    assert button.text() == "Merge"
    go_on.clear()
    viewer.layers.remove("scene regions")
    cancel()
    assert len(viewer.layers["scene regions"].data) == 1
    go_on.set()
    qtbot.mouseClick(panel.undo_button, Qt.MouseButton.LeftButton)  # of the layer that came back, too
    qtbot.waitUntil(lambda: np.array_equal(viewer.layers["scene HDR"].data, plain))


def test_where_no_region_can_be_taken_the_buttons_are_grey_and_say_why(merge_frames, frames):
    _, widget = merge_frames(frames, method="mertens")
    panel = widget.views
    assert not any(button.isEnabled() for button in panel.regions.tools.values())
    assert panel.regions.reason_label.isVisibleTo(widget)
    assert "exposure fusion" in panel.regions.reason_label.text()


def test_an_older_result_is_shown_when_it_is_chosen_and_the_panel_says_that_maps_are_of_the_last_merge(
    merge_frames, click_merge, qtbot, moved
):
    viewer, widget = merge_frames(moved, show=True)
    widget.bracket.set_layers(add_bracket(viewer, make_frames(64, 96, seed=1)[0], name="other"))
    click_merge(widget)
    panel, box, ghosts = widget.views, widget.display.layer_box, widget.views.maps["ghost"]
    assert ghosts.isEnabled()
    qtbot.mouseClick(ghosts, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "other ghost map" in viewer.layers)
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Up)
    assert widget.display.layer() is viewer.layers["scene HDR"]
    assert [layer.name for layer in viewer.layers[-2:]] == ["scene HDR", "scene tone mapped"]
    assert not ghosts.isChecked()
    assert not viewer.layers["other ghost map"].visible
    assert "“other”" in panel.other_label.text()

    def state():
        return ghosts.isEnabled(), panel.regions.frame_box.isEnabled(), panel.other_label.isVisible()

    assert state() == (False, False, True)
    qtbot.keyClick(box, Qt.Key.Key_Down)
    assert viewer.layers[-1].name == "other tone mapped"
    assert state() == (True, True, False)


def test_in_a_stack_a_region_is_of_the_plane_shown(merge_frames, qtbot, moved):
    viewer, widget = merge_frames([np.stack([frame] * 3) for frame in moved])
    plain = viewer.layers["scene HDR"].data.copy()
    viewer.dims.set_point(0, 1)
    widget.views.regions.frame_box.setCurrentIndex(2)
    qtbot.mouseClick(widget.views.regions.tools["add_rectangle"], Qt.MouseButton.LeftButton)
    corners = np.array([(1, 4, 60), (1, 4, 89), (1, 27, 89), (1, 27, 60)])
    viewer.layers["scene regions"].add_rectangles(corners)
    qtbot.waitUntil(lambda: not np.array_equal(viewer.layers["scene HDR"].data, plain))
    changed = viewer.layers["scene HDR"].data
    np.testing.assert_array_equal(changed[::2], plain[::2])
    np.testing.assert_array_equal(changed[1, 40:], plain[1, 40:])
    regions = viewer.layers["scene HDR"].metadata["afunet"]["info"]["regions"]
    assert regions[0][1][0] == (1, 4, 60)
    assert "1 region taken" in widget.controls.summary_label.text()
    options = {"method": "weighted", "align": "off", "regions": regions}  # as the script does
    again = merge_layers(viewer, widget.bracket.layers(), show=False, **options)
    np.testing.assert_array_equal(again.radiance, changed)
    qtbot.mouseClick(widget.views.regions.undo_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: np.array_equal(viewer.layers["scene HDR"].data, plain))


def test_of_regions_drawn_while_others_are_taken_none_is_lost(merge_frames, qtbot, moved, monkeypatch):
    viewer, widget = merge_frames([np.stack([frame] * 3) for frame in moved])
    plain, asked, go_on, real = viewer.layers["scene HDR"].data.copy(), [], threading.Event(), pipeline.merge

    def held(bracket, should_cancel, **options):
        asked.append(should_cancel)
        assert go_on.wait(300)
        return real(bracket, should_cancel=should_cancel, **options)

    monkeypatch.setattr(pipeline, "merge", held)
    widget.views.regions.frame_box.setCurrentIndex(2)
    brush, rectangle = (widget.views.regions.tools[tool] for tool in ("add_path", "add_rectangle"))
    qtbot.mouseClick(brush, Qt.MouseButton.LeftButton)
    shapes = viewer.layers["scene regions"]
    shapes.add_paths(np.array([(0, 6, 62), (0, 26, 86)]), edge_width=4)
    qtbot.waitUntil(lambda: len(asked) == 1)
    qtbot.mouseClick(rectangle, Qt.MouseButton.LeftButton)
    qtbot.wait(400)
    assert shapes.mode == "add_rectangle"  # the end of the stroke before does not take the tool away
    assert len(asked) == 1
    shapes.add_rectangles(np.array([(2, 4, 60), (2, 4, 89), (2, 27, 89), (2, 27, 60)]))
    qtbot.waitUntil(lambda: asked[0]())  # the newer wish holds both
    go_on.set()
    regions = widget.views.regions.drawn(widget.bracket.layers())
    assert len(regions) == 2
    qtbot.waitUntil(lambda: widget.outcome.settings.regions == regions)
    changed = [bool((now != before).any()) for now, before in zip(widget.outcome.radiance, plain, strict=True)]
    assert changed == [True, False, True]
    go_on.clear()
    asked.clear()
    widget.views.regions.undo_button.click()
    qtbot.waitUntil(lambda: len(asked) == 1)
    viewer.window.remove_dock_widget(widget)
    assert asked[0]()  # a closed panel leaves nothing behind that computes
    go_on.set()
