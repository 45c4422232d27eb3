"""Typed exposures are sacred, whatever happens to layers."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from scenes import EV, make_frames


def type_in(qtbot, edit, text):
    edit.setFocus()
    edit.selectAll()
    qtbot.keyClicks(edit, text)


def test_typed_seconds_stay_when_layers_come_and_go(widget, qtbot, frames):
    viewer, bracket = widget.viewer, widget.bracket
    layers = [viewer.add_image(frame, rgb=True, name=name) for frame, name in zip(frames, "abc", strict=True)]
    bracket.unit_box.setCurrentText("seconds")
    for edit, text in zip(bracket.exposure_edits, ("1/100", "1/25", "160 ms"), strict=True):
        type_in(qtbot, edit, text)
    expected = [edit.text() for edit in bracket.exposure_edits]
    other = viewer.add_image(np.zeros((24, 32, 3), np.uint8), rgb=True, name="other", metadata={"ev": 5.0})
    viewer.add_image(np.zeros((5, 5)), name="small")
    bracket.find_frames()
    bracket.set_layers(layers)
    assert bracket.unit_box.currentText() == "seconds"
    assert [edit.text() for edit in bracket.exposure_edits] == expected
    viewer.layers.remove(other)
    viewer.layers.remove(layers[1])
    assert bracket.layers() == [layers[0], layers[2]]
    assert bracket.exposures()[1] == pytest.approx((0.01, 0.16))


def test_rows_sort_themselves_by_what_is_typed_and_the_reference_stays_the_frame_chosen(widget, qtbot, frames):
    viewer, bracket = widget.viewer, widget.bracket
    layers = [viewer.add_image(frame, rgb=True, name=name) for frame, name in zip(frames, "abc", strict=True)]
    bracket.reference_box.setCurrentIndex(1)
    assert bracket.reference() == 0
    for edit, text in zip(bracket.exposure_edits, ("2", "0", "-2"), strict=True):
        type_in(qtbot, edit, text)
    qtbot.keyClick(bracket.exposure_edits[2], Qt.Key.Key_Return)
    assert bracket.layers() == layers[::-1]
    assert bracket.exposures()[0] == EV
    assert bracket.reference() == 2


def test_unknown_exposures_are_filled_in_at_a_click(widget, qtbot):
    ev = (-3.0, 0.0, 2.0)
    for frame in make_frames(48, 64, ev=ev)[0]:
        widget.viewer.add_image(frame, rgb=True)
    bracket = widget.bracket
    assert bracket.spacing_button.isVisibleTo(widget)
    qtbot.mouseClick(bracket.estimate_button, Qt.MouseButton.LeftButton)
    assert bracket.exposures()[0] == pytest.approx(ev, abs=0.01)
    assert not bracket.spacing_button.isVisibleTo(widget)
    bracket.space_exposures(2.0)
    assert bracket.exposures()[0] == EV


def test_an_empty_panel_invites_and_the_next_bracket_is_opened_likewise(widget, qtbot, monkeypatch, take_photographs):
    from qtpy.QtWidgets import QFileDialog

    widget.merge()
    assert "Open Sample" in widget.controls.warnings_label.text()
    assert not widget.display.isEnabled()
    assert not any(button.isEnabled() for button in widget.views.comparisons.values())
    invitation = next(label for label in widget.findChildren(QLabel) if label.text() == "or drop pictures here")
    assert invitation.isVisibleTo(widget)
    chosen = [take_photographs("bca", (1, 4, 16)), take_photographs("xyz", (1, 2, 4))]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (chosen.pop(0), ""))
    qtbot.mouseClick(widget.bracket.open_button, Qt.MouseButton.LeftButton)
    assert [layer.name for layer in widget.bracket.layers()] == ["b", "c", "a"]
    assert not invitation.isVisibleTo(widget)
    qtbot.mouseClick(widget.bracket.open_button, Qt.MouseButton.LeftButton)
    assert [layer.name for layer in widget.bracket.layers()] == ["x", "y", "z"]
