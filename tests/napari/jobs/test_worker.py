"""Batches in the background."""

import threading
import weakref
from fractions import Fraction

import pytest
from qtpy.QtCore import QObject

from afunet_core.errors import MergeCancelled
from napari_afunet.jobs import worker
from napari_afunet.settings import MergeSettings
from scenes import EV, make_frames, save_photo, write_bracket


def test_a_folder_of_brackets_is_merged_past_a_bad_one(widget, qtbot, frames, tmp_path):
    from afunet_core import read_image

    widget.options.choose("channel", "green")
    for number in range(3):
        write_bracket(tmp_path / "in" / f"bracket {number}", make_frames(seed=number)[0], EV)
    (tmp_path / "in" / "bracket 1" / "2.tif").write_bytes(b"damaged")
    widget.merge_folders(str(tmp_path / "in"), str(tmp_path / "out"))
    qtbot.waitUntil(lambda: not widget.is_running)
    text = widget.controls.status_label.text()
    assert text == "2 of 3 brackets merged, 1 failed."
    rows = [widget.batch.list.item(row).text() for row in range(3)]
    assert [row[0] for row in rows] == ["✓", "⚠", "✓"]
    assert "bracket 1: " in rows[1]
    assert widget.batch.folder_button.isVisibleTo(widget)
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["bracket 0.exr", "bracket 2.exr"]
    assert read_image(tmp_path / "out" / made[0]).pixels.shape == frames[0].shape[:2]
    widget.merge_folders(str(tmp_path / "out"), str(tmp_path / "other"))
    qtbot.waitUntil(lambda: not widget.is_running)


def test_a_batch_is_cancelled_within_a_merge_and_leaves_no_file(qtbot, tmp_path, monkeypatch):
    write_bracket(tmp_path, make_frames()[0], EV)
    monkeypatch.setattr(worker, "_REPORT_INTERVAL", 0.0)
    run = worker.Run()
    run.progressed.connect(lambda fraction, _: fraction > 0 and run.stop.set())
    with pytest.raises(MergeCancelled):
        worker.merge_folders(str(tmp_path), str(tmp_path / "out"), MergeSettings(method="weighted"), False, run)
    assert not list(tmp_path.rglob("*.exr"))


def test_what_is_found_is_listed_opened_as_any_bracket_and_merged_from_the_list(widget, qtbot, tmp_path, monkeypatch):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QFileDialog

    for number in range(2):
        write_bracket(tmp_path / "in" / f"bracket {number}", make_frames(seed=number)[0], EV)
    batch = widget.batch
    chosen = [str(tmp_path / "in"), str(tmp_path / "out")]
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: chosen.pop(0))
    batch.button.menu().actions()[0].trigger()
    qtbot.waitUntil(lambda: batch.list.count() == 2)
    assert batch.list.item(1).text() == "bracket 1 · 3 frames"
    assert not batch.open_button.isEnabled()
    batch.list.setCurrentRow(1)
    qtbot.mouseClick(batch.open_button, Qt.MouseButton.LeftButton)
    assert [layer.name for layer in widget.bracket.layers()] == ["0", "1", "2"]
    assert widget.bracket.exposures() == (EV, None)
    widget.preview()
    qtbot.waitUntil(lambda: not widget.is_running)
    assert widget.controls.status_label.text().startswith("Preview")
    qtbot.mouseClick(batch.merge_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not widget.is_running)
    assert [batch.list.item(row).text() for row in range(2)] == ["✓ bracket 0", "✓ bracket 1"]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_folder_without_brackets_is_said(widget, qtbot, tmp_path):
    widget.find_brackets(str(tmp_path))
    qtbot.waitUntil(lambda: "exposure.txt" in widget.controls.warnings_label.text())
    assert "Looking" not in widget.controls.status_label.text()
    widget.readiness.update_unless_kept()  # what is found in the background takes no message away
    assert "exposure.txt" in widget.controls.warnings_label.text()


def test_nobody_is_told_who_is_gone_and_nothing_is_kept(qtbot):
    owner, go_on, told = QObject(), threading.Event(), []
    run, kept = worker.Run(owner), weakref.ref(go_on)
    worker.run_in_background(owner, go_on.wait, 60, done=told.append, failed=told.append)
    owner.deleteLater()
    qtbot.waitUntil(run.stop.is_set)
    go_on.set()
    del go_on
    qtbot.waitUntil(lambda: kept() is None)
    assert told == []


def test_a_camera_folder_of_mixed_pictures_is_grouped_into_brackets(widget, qtbot, tmp_path):
    (tmp_path / "in").mkdir()
    frames = make_frames(40, 48)[0]
    shots = [(0, 1, 0), (1, 4, 0), (2, 16, 1), (0, 1, 30), (1, 4, 31), (2, 16, 31), (1, 4, 59)]
    for number, (index, seconds, moment) in enumerate(shots):
        moment = {0x9003: f"2026:06:21 12:00:{moment:02d}"}
        save_photo(tmp_path / "in" / f"IMG_{number}.jpg", frames[index], Fraction(seconds, 400), moment)
    widget.merge_folders(str(tmp_path / "in"), str(tmp_path / "out"), group=True)
    qtbot.waitUntil(lambda: not widget.is_running)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["IMG_0-IMG_2.exr", "IMG_3-IMG_5.exr"]
    text = widget.controls.status_label.text()
    assert "2 of 2" in text
    assert "IMG_6.jpg" in text
