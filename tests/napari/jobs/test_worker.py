"""Batches in the background."""

from __future__ import annotations

import imageio.v3 as iio

EV = (-2.0, 0.0, 2.0)
WAIT = 300_000


def write_bracket(folder, frames):
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        iio.imwrite(folder / f"{index}.png", frame)
    (folder / "exposure.txt").write_text("-2\n0\n2\n")


def test_a_folder_of_brackets_is_merged_past_a_bad_one(widget, qtbot, frames, make_frames, tmp_path):
    from afunet_core import read_image

    widget.options.choose("channel", "green")
    for number in range(3):
        write_bracket(tmp_path / "in" / f"bracket {number}", make_frames(seed=number)[0])
    (tmp_path / "in" / "bracket 1" / "2.png").write_bytes(b"damaged")
    widget.merge_folders(str(tmp_path / "in"), str(tmp_path / "out"))
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
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
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)


def test_a_batch_is_cancelled_within_a_merge_and_says_nothing_more(make_frames, tmp_path):
    from napari_afunet.jobs.worker import batch_events
    from napari_afunet.settings import MergeSettings

    write_bracket(tmp_path, make_frames()[0])
    asked = iter(range(10**6))
    plain = MergeSettings(method="weighted")
    events = batch_events(str(tmp_path), str(tmp_path / "out"), plain, False, lambda *_: None, lambda: next(asked) > 3)
    assert list(events) == []
    assert next(asked) == 5
    assert not list(tmp_path.rglob("*.exr"))


def test_what_is_found_is_listed_opened_as_any_bracket_and_merged_from_the_list(
    widget, qtbot, make_frames, tmp_path, monkeypatch
):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QFileDialog

    for number in range(2):
        write_bracket(tmp_path / "in" / f"bracket {number}", make_frames(seed=number)[0])
    batch = widget.batch
    chosen = [str(tmp_path / "in"), str(tmp_path / "out")]
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: chosen.pop(0))
    batch.button.menu().actions()[0].trigger()
    qtbot.waitUntil(lambda: batch.list.count() == 2, timeout=WAIT)
    assert batch.list.item(1).text() == "bracket 1 · 3 frames"
    assert not batch.open_button.isEnabled()
    batch.list.setCurrentRow(1)
    qtbot.mouseClick(batch.open_button, Qt.MouseButton.LeftButton)
    assert [layer.name for layer in widget.bracket.layers()] == ["0", "1", "2"]
    assert widget.bracket.exposures() == (EV, None)
    widget.preview()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    assert widget.controls.status_label.text().startswith("Preview")
    qtbot.mouseClick(batch.merge_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    assert [batch.list.item(row).text() for row in range(2)] == ["✓ bracket 0", "✓ bracket 1"]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_folder_without_brackets_is_said(widget, qtbot, tmp_path):
    widget.find_brackets(str(tmp_path))
    qtbot.waitUntil(lambda: "exposure.txt" in widget.controls.warnings_label.text(), timeout=WAIT)
    assert "Looking" not in widget.controls.status_label.text()
    widget.readiness.precheck.answered.emit()  # what is found in the background takes no message away
    assert "exposure.txt" in widget.controls.warnings_label.text()


def test_a_panel_closed_before_an_answer_is_not_told(viewer, open_widget, qtbot, monkeypatch, messages):
    """Devices are asked for in the background: nobody may be told who is gone."""
    import threading

    import napari_afunet.readiness

    asked, go_on, done = threading.Event(), threading.Event(), threading.Event()
    real = napari_afunet.readiness.query_devices

    def held():
        asked.set()
        go_on.wait(60)
        answer = real()
        done.set()
        return answer

    monkeypatch.setattr(napari_afunet.readiness, "query_devices", held)
    _, widget = open_widget(viewer=viewer)
    qtbot.waitUntil(asked.is_set, timeout=WAIT)
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    qtbot.wait(50)
    go_on.set()
    qtbot.waitUntil(done.is_set, timeout=WAIT)
    qtbot.wait(200)
    assert messages() == []


def test_a_camera_folder_of_mixed_pictures_is_grouped_into_brackets(widget, qtbot, make_frames, tmp_path):
    from PIL import Image as Picture
    from PIL.TiffImagePlugin import IFDRational

    (tmp_path / "in").mkdir()
    frames = make_frames(40, 48)[0]
    shots = [(0, 1, 0), (1, 4, 0), (2, 16, 1), (0, 1, 30), (1, 4, 31), (2, 16, 31), (1, 4, 59)]
    for number, (index, seconds, moment) in enumerate(shots):
        exif = Picture.Exif()
        exif[0x010F] = "Maker"
        exif[0x8769] = {0x829A: IFDRational(seconds, 400), 0x9003: f"2026:06:21 12:00:{moment:02d}"}
        Picture.fromarray(frames[index]).save(tmp_path / "in" / f"IMG_{number}.jpg", exif=exif, quality=95)
    widget.merge_folders(str(tmp_path / "in"), str(tmp_path / "out"), group=True)
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["IMG_0-IMG_2.exr", "IMG_3-IMG_5.exr"]
    text = widget.controls.status_label.text()
    assert "2 of 2" in text
    assert "IMG_6.jpg" in text
