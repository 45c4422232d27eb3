"""Saving the result from the panel."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox

from afunet_core import read_image
from napari_afunet.readers import open_frames
from napari_afunet.writers import with_suffix
from scenes import add_bracket, make_frames, messages


@pytest.fixture
def save_as(qtbot, monkeypatch):
    """``save_as(widget, path, filter)`` clicks Save…, answers the dialog, and waits for the file."""

    def save(widget, path, kind=""):
        offered = []

        def answer(parent, title, suggestion, filters):
            offered.extend(filters.split(";;"))
            return str(path), next((each for each in offered if kind in each), "")

        monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
        qtbot.mouseClick(widget.controls.save_button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: widget.controls.status_label.text().startswith("Saved"))
        return offered

    return save


def test_three_clicks_from_frames_to_a_saved_picture(widget, click_merge, save_as, frames, tmp_path):
    viewer = widget.viewer
    assert not widget.controls.save_button.isEnabled()
    add_bracket(viewer, frames)
    click_merge(widget)
    offered = save_as(widget, tmp_path / "scene", "OpenEXR")
    assert {"*.exr", "*.hdr", "*.tif", "*.dng", "*.png", "*.jpg"} <= {each.split("(")[1][:-1] for each in offered}
    saved = read_image(tmp_path / "scene.exr")  # the suffix of the format is added
    np.testing.assert_array_equal(saved.pixels, viewer.layers["scene HDR"].data)
    assert saved.metadata["method"] == "afunet"


def test_a_saved_result_that_is_opened_again_is_no_frame(merge_frames, frames, save_as, tmp_path):
    viewer, widget = merge_frames(frames)
    chosen = widget.bracket.layers()
    for kind in ("PNG", "TIFF", "DNG"):
        save_as(widget, tmp_path / "scene", kind)
    paths = [str(tmp_path / f"scene{suffix}") for suffix in (".png", ".tif", ".dng")]
    opened = open_frames(viewer, paths)
    assert widget.bracket.layers() == chosen
    assert widget.bracket.problem() == ""
    shown = {layer.metadata["path"][-3:]: layer for layer in opened}
    assert [shown[each].gamma for each in ("png", "tif", "dng")] == [1, 1 / 2.2, 1 / 2.2]  # light would be dark
    assert shown["tif"].contrast_limits == viewer.layers["scene HDR"].contrast_limits
    widget.bracket.set_layers([*chosen, *opened])
    assert widget.bracket.layers() == chosen


@pytest.mark.parametrize("gamma", [2.2, 3.0])
def test_a_picture_is_saved_as_displayed(merge_frames, frames, save_as, tmp_path, gamma):
    _, widget = merge_frames(frames)
    widget.display.ev_slider.setValue(1.0)
    widget.display.gamma_slider.setValue(gamma)
    save_as(widget, tmp_path / "scene.png")
    view = widget.viewer.layers["scene tone mapped"]
    expected = 255 * (view.data / 255.0) ** view.gamma  # as the shader shows it
    saved = read_image(tmp_path / "scene.png").pixels
    np.testing.assert_allclose(saved, expected, atol=1)
    save_as(widget, tmp_path / "scene.jpg")
    assert abs(read_image(tmp_path / "scene.jpg").pixels.mean() - expected.mean()) < 3


def test_a_jpeg_with_a_gain_map_keeps_the_light(merge_frames, save_as, tmp_path):
    from afunet_core.io.gain_map import read_hdr_rendition

    _, widget = merge_frames(make_frames(64, 96)[0])
    save_as(widget, tmp_path / "scene", "gain map")
    assert read_hdr_rendition(tmp_path / "scene.jpg") is not None
    save_as(widget, tmp_path / "plain.jpg", "JPEG, as displayed (")
    assert read_hdr_rendition(tmp_path / "plain.jpg") is None


def test_a_file_that_cannot_be_written_is_said(merge_frames, frames, tmp_path, qtbot):
    _, widget = merge_frames(frames)
    widget.save_button.save(str(tmp_path / "nowhere" / "scene.exr"))
    qtbot.waitUntil(lambda: "cannot be written" in widget.controls.warnings_label.text())
    assert "folder" in messages()[-1]


def test_a_file_whose_name_got_its_suffix_is_not_replaced_without_a_word(
    merge_frames, save_as, frames, tmp_path, qtbot, monkeypatch
):
    _, widget = merge_frames(frames)
    (tmp_path / "scene.exr").write_text("mine")
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answers.pop(0))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "scene"), ""))
    qtbot.mouseClick(widget.save_button, Qt.MouseButton.LeftButton)
    assert (tmp_path / "scene.exr").read_text() == "mine"
    assert not widget.controls.status_label.text().startswith("Sav")
    save_as(widget, tmp_path / "scene")
    assert answers == []
    assert read_image(tmp_path / "scene.exr").pixels.shape == frames[0].shape


def test_a_preview_is_never_saved_in_the_place_of_the_result(widget, click_merge, finish, save_as, frames, tmp_path):
    viewer = widget.viewer
    add_bracket(viewer, [np.tile(frame, (30, 30, 1)) for frame in frames])
    widget.preview()
    finish(widget)
    assert not widget.save_button.isEnabled()
    widget.options.choose("method", "weighted")
    click_merge(widget)
    widget.preview()
    finish(widget)
    assert widget.display.layer().name == "scene preview HDR"
    save_as(widget, tmp_path / "scene", "OpenEXR")
    saved = read_image(tmp_path / "scene.exr").pixels
    np.testing.assert_array_equal(saved, viewer.layers["scene HDR"].data)
    widget.options.choose("method", "mertens")
    click_merge(widget)
    widget.preview()
    finish(widget)
    fused = viewer.layers["scene exposure fusion"]
    assert fused in viewer.layers.selection  # what napari's own menu saves
    assert widget._layer_to_save() is fused


@pytest.mark.parametrize(
    ("path", "suffix", "expected"),
    [
        ("a", ".exr", "a.exr"),
        ("a.tiff", ".exr", "a.tiff"),
        ("a.HDR", ".exr", "a.HDR"),
        ("v1.2", ".tif", "v1.2.tif"),
        ("b.jpeg", ".png", "b.jpeg"),
    ],
)
def test_a_suffix_that_was_typed_decides_and_else_the_format_chosen(path, suffix, expected):
    assert with_suffix(path, suffix) == expected


def test_an_exposure_fusion_is_saved_as_the_picture_it_is(merge_frames, click_merge, save_as, frames, tmp_path):
    _, widget = merge_frames(frames, method="mertens")
    offered = save_as(widget, tmp_path / "fused", "PNG")
    assert not [each for each in offered if "exr" in each]
    expected = 255 * widget.viewer.layers["scene exposure fusion"].data
    np.testing.assert_allclose(read_image(tmp_path / "fused.png").pixels, expected, atol=1)
    viewer = widget.viewer
    widget.options.choose("method", "weighted")
    click_merge(widget)
    widget.options.choose("method", "mertens")
    click_merge(widget)
    widget.display.layer_box.activated.emit(0)  # the user chooses light
    assert any("exr" in each for each in save_as(widget, tmp_path / "light", "OpenEXR"))
    np.testing.assert_array_equal(read_image(tmp_path / "light.exr").pixels, viewer.layers["scene HDR"].data)
