"""The widget as its users meet it: a real viewer, real clicks, typed exposures."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt

EV = (-2.0, 0.0, 2.0)
WAIT = 60_000  # ms; far above what any wait here needs


@pytest.fixture
def viewer(plugin, make_napari_viewer):
    notification_manager.records.clear()
    return make_napari_viewer()


@pytest.fixture
def widget(viewer, tiny_model):
    """The widget as the Plugins menu opens it, with a tiny network."""
    _, opened = viewer.window.add_plugin_dock_widget("napari-afunet", "Merge exposure bracket")
    opened.options.model_box.setCurrentText(tiny_model)
    opened.options.device_box.setCurrentText("cpu")
    opened.options.method_box.setCurrentIndex(opened.options.method_box.findData("afunet"))
    return opened


def click_merge(qtbot, widget):
    qtbot.mouseClick(widget.controls.merge_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)


def messages():
    return [record.message for record in notification_manager.records]


def names(viewer):
    return [layer.name for layer in viewer.layers]


def slow_down(monkeypatch, started=None):
    """Make the core merge forever, in small steps, until it is cancelled."""
    import afunet_core.merging.pipeline
    from afunet_core.errors import MergeCancelled

    def merge(bracket, *, on_progress, should_cancel, **_):
        for step in range(100_000):
            if started is not None:
                started.set()
            if should_cancel():
                raise MergeCancelled("cancelled")
            on_progress(min(step, 999), 1000, f"Step {step}")
            time.sleep(0.005)

    monkeypatch.setattr(afunet_core.merging.pipeline, "merge", merge)


def test_from_sample_frames_to_layers_and_again(viewer, widget, qtbot, frames, add_bracket):
    """The whole line: layers found, exposure typed, Merge clicked, layers right, re-run in place, script repeats it."""
    layers = add_bracket(viewer, frames, scale=(0.5, 0.5), translate=(10, 20), units=("um", "um"))
    assert widget.bracket.layers() == layers
    assert widget.bracket.exposures() == (EV, None)
    assert widget.controls.status_label.text().startswith("Ready")

    click_merge(qtbot, widget)
    assert messages() == []
    expected = ["scene HDR", "scene tone mapped", "scene ghost map"]
    expected += [f"scene stages · {side}" for side in ("under", "reference", "over", "HDR")]
    assert set(expected) <= set(names(viewer))
    hdr = viewer.layers["scene HDR"]
    assert hdr.rgb
    assert hdr.data.shape == frames[0].shape
    assert hdr.data.dtype == np.float32
    assert hdr.gamma == pytest.approx(1 / 2.2)
    assert tuple(hdr.contrast_limits) == (0.0, pytest.approx(0.25))  # as the reference frame, two stops up
    for name in expected:
        layer = viewer.layers[name]
        np.testing.assert_allclose(layer.scale[-2:], (0.5, 0.5))
        np.testing.assert_allclose(layer.translate[-2:], (10, 20))
        assert str(layer.units[-1]) == "micrometer"
    stages = viewer.layers["scene stages · under"]
    assert stages.data.shape == (2, *frames[0].shape)
    assert stages.axis_labels[0] == "stage"
    assert viewer.dims.current_step[0] == 1  # the last stage
    note = hdr.metadata["afunet"]
    assert note["settings"]["ev"] == EV
    assert note["info"]["model"]["sha256"]

    before = hdr.data
    count = len(viewer.layers)
    edit = widget.bracket.exposure_edits[2]
    edit.selectAll()
    qtbot.keyClicks(edit, "1.5")
    click_merge(qtbot, widget)
    assert len(viewer.layers) == count
    assert viewer.layers["scene HDR"] is hdr
    assert hdr.metadata["afunet"]["settings"]["ev"] == (-2.0, 0.0, 1.5)
    assert not np.array_equal(before, hdr.data)

    script = widget.copy_script()
    namespace = {}
    exec(compile(script, "<script>", "exec"), namespace)
    np.testing.assert_array_equal(namespace["result"].radiance, hdr.data)


def test_merging_gives_what_the_core_gives(viewer, widget, qtbot, frames, add_bracket):
    from afunet_core import Bracket, merge

    add_bracket(viewer, frames)
    widget.options.method_box.setCurrentIndex(widget.options.method_box.findData("weighted"))
    click_merge(qtbot, widget)
    expected = merge(Bracket(frames, ev=EV), method="weighted").radiance
    np.testing.assert_array_equal(viewer.layers["scene HDR"].data, expected)


def test_exposures_must_be_typed_when_nothing_knows_them(viewer, widget, qtbot, frames):
    for frame in frames:
        viewer.add_image(frame, name="frame")
    assert widget.bracket.exposures() == (None, None)
    click_merge(qtbot, widget)
    assert widget.worker is None
    assert "Type the exposure" in messages()[-1]
    assert "Type the exposure" in widget.controls.status_label.text()
    widget.bracket.unit_box.setCurrentText("seconds")
    for edit, text in zip(widget.bracket.exposure_edits, ("1/100", "1/25", "160 ms"), strict=True):
        edit.clear()
        qtbot.keyClicks(edit, text)
    assert widget.bracket.exposures()[1] == pytest.approx((0.01, 0.04, 0.16))
    click_merge(qtbot, widget)
    assert any(layer.metadata.get("afunet", {}).get("role") == "radiance" for layer in viewer.layers)
    widget.bracket.unit_box.setCurrentText("EV")
    assert widget.bracket.exposures()[0] == pytest.approx((-2, 0, 2), abs=1e-3)


def test_a_bracket_that_contradicts_itself_is_refused_with_a_sentence(viewer, widget, qtbot, frames, add_bracket):
    layers = add_bracket(viewer, frames)
    layers[0].metadata["ev"], layers[2].metadata["ev"] = 2.0, -2.0
    widget.bracket.find_frames()
    click_merge(qtbot, widget)
    [message] = messages()
    assert "scene" in message
    assert "Traceback" not in message
    assert "scene HDR" not in viewer.layers


@pytest.mark.parametrize(
    ("prepare", "word"),
    [
        (lambda w: w.options.model_box.setCurrentText("/nowhere/model.safetensors"), "model.safetensors"),
        (lambda w: w.options.device_box.setCurrentText("quantum"), "device"),
        (lambda w: w.bracket.layer_boxes[0].setCurrentIndex(2), "twice"),
    ],
)
def test_mistakes_become_notifications(viewer, widget, qtbot, frames, prepare, word, add_bracket):
    add_bracket(viewer, frames)
    prepare(widget)
    click_merge(qtbot, widget)
    assert word in messages()[-1]
    assert "Traceback" not in messages()[-1]
    assert widget.controls.merge_button.isEnabled()
    assert widget.controls.merge_button.text() == "Merge"
    assert "scene HDR" not in viewer.layers


def test_cancel_answers_within_a_second_and_the_window_stays_alive(
    viewer, widget, qtbot, frames, monkeypatch, add_bracket
):
    started = threading.Event()
    slow_down(monkeypatch, started)
    add_bracket(viewer, frames)
    before = names(viewer)
    qtbot.mouseClick(widget.controls.merge_button, Qt.MouseButton.LeftButton)
    assert widget.controls.merge_button.text() == "Cancel"
    qtbot.waitUntil(lambda: started.is_set() and widget.controls.progress_bar.value() > 3, timeout=WAIT)
    assert "Step" in widget.controls.status_label.text()
    qtbot.mouseClick(widget.controls.merge_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.worker is None, timeout=1000)
    assert widget.controls.merge_button.text() == "Merge"
    assert widget.controls.progress_bar.value() == 0
    assert "Cancelled" in widget.controls.status_label.text()
    assert names(viewer) == before
    assert messages() == []


def test_closing_the_viewer_during_a_merge_stops_it(viewer, widget, qtbot, frames, monkeypatch, add_bracket):
    started = threading.Event()
    slow_down(monkeypatch, started)
    add_bracket(viewer, frames)
    widget.merge()
    worker = widget.worker
    qtbot.waitUntil(started.is_set, timeout=WAIT)
    viewer.close()
    qtbot.waitUntil(lambda: not worker.is_running, timeout=2000)


def test_deleting_an_input_layer_during_a_merge_changes_nothing(
    viewer, widget, qtbot, frames, monkeypatch, add_bracket
):
    import afunet_core.merging.pipeline

    inside, go_on = threading.Event(), threading.Event()
    real = afunet_core.merging.pipeline.merge

    def held(bracket, **options):
        inside.set()
        assert go_on.wait(30)
        return real(bracket, **options)

    monkeypatch.setattr(afunet_core.merging.pipeline, "merge", held)
    layers = add_bracket(viewer, frames)
    widget.merge()
    qtbot.waitUntil(inside.is_set, timeout=WAIT)
    viewer.layers.remove(layers[0])
    go_on.set()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    assert "scene HDR" in viewer.layers
    assert viewer.layers["scene HDR"].data.shape == frames[0].shape
    assert "Choose" in widget.bracket.problem() or "Open" in widget.bracket.problem()


def test_grey_stack_of_12_bit_planes(viewer, widget, qtbot, make_frames):
    """A microscope's time series: grey, linear, 12 bits in uint16, merged plane by plane."""
    series = [make_frames(channels=1, seed=t, dtype=np.float64, encoding="linear") for t in range(2)]
    for index, ev in enumerate(EV):
        counts = np.stack([np.round(frames[index] * 4095) for frames, _ in series]).astype(np.uint16)
        viewer.add_image(counts, name=f"cells {ev:+.0f}", metadata={"ev": ev, "encoding": "linear"}, scale=(3, 1, 1))
    assert widget.options.encoding_box.currentData() == "linear"
    widget.options.bit_depth_box.setCurrentIndex(widget.options.bit_depth_box.findData(12))
    widget.options.method_box.setCurrentIndex(widget.options.method_box.findData("weighted"))
    widget.options.align_box.setCurrentIndex(widget.options.align_box.findData("off"))
    click_merge(qtbot, widget)
    hdr = viewer.layers["cells HDR"]
    assert not hdr.rgb
    assert hdr.scale[0] == 3
    truth = np.stack([radiance for _, radiance in series])
    assert np.median(np.abs(hdr.data - truth)) < 1e-3
    shown = np.asarray(viewer.layers["cells tone mapped"].data[1])
    assert shown.dtype == np.uint8
    assert shown.max() > shown.min()


def test_one_stack_layer_is_a_bracket(viewer, widget, qtbot, frames):
    viewer.add_image(np.stack(frames), name="stack", rgb=True, metadata={"ev": EV})
    assert widget.bracket.is_stack
    assert widget.bracket.exposures() == (EV, None)
    click_merge(qtbot, widget)
    assert viewer.layers["stack HDR"].data.shape == frames[0].shape


def test_exposures_of_a_stack_can_be_typed_and_the_camera_be_told(viewer, widget, qtbot, frames):
    layer = viewer.add_image(np.stack(frames), name="stack", rgb=True)
    assert widget.bracket.exposures() == (None, None)
    for edit, text in zip(widget.bracket.exposure_edits, ("-2", "0", "+2"), strict=True):
        qtbot.keyClicks(edit, text)
    options = widget.options
    qtbot.mouseClick(options.camera_fold, Qt.MouseButton.LeftButton)
    assert options.drift_check.isVisibleTo(widget)
    options.response_box.setCurrentIndex(options.response_box.findData("estimate"))
    options.drift_check.setChecked(True)
    options.override_check.setChecked(True)
    options.black_box.setCurrentText("0")
    options.method_box.setCurrentIndex(options.method_box.findData("weighted"))
    click_merge(qtbot, widget)
    note = viewer.layers["stack HDR"].metadata["afunet"]
    assert note["settings"]["response"] == "estimate"
    assert note["info"]["response"]["source"] == "estimated"
    assert len(note["info"]["drift"]) == 3
    for text in ("response='estimate'", "drift='auto'", "override=True", "'stack'"):
        assert text in widget.copy_script()
    viewer.add_image(np.zeros((5, 5)), name="unrelated")
    assert widget.bracket.layers() == [layer]
    assert widget.bracket.exposures() == (EV, None)
    options.black_box.setCurrentText("dark.tif")
    assert widget.settings().black_level == "dark.tif"
    options.black_box.setCurrentText("64,5")
    assert widget.settings().black_level == 64.5


def test_frames_chosen_by_hand_stay_chosen(viewer, widget, frames, add_bracket):
    add_bracket(viewer, frames)
    other = [viewer.add_image(frame, name=f"other {i}") for i, frame in enumerate(frames)]
    widget.bracket.set_layers(other)
    viewer.add_image(np.zeros((5, 5)), name="unrelated")
    assert widget.bracket.layers() == other
    viewer.layers.remove(other[0])
    assert len(widget.bracket.layers()) == 3
    assert other[0] not in widget.bracket.layers()


def test_nothing_open_says_what_to_do(viewer, widget):
    assert "Open Sample" in widget.controls.status_label.text()
    assert not widget.display.isEnabled()
    widget.merge()
    assert "Open Sample" in messages()[-1]


def test_files_dropped_on_the_widget_become_its_bracket(viewer, widget, frames, tmp_path, add_bracket):
    import imageio.v3 as iio
    from qtpy.QtCore import QMimeData, QPoint, QPointF, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent

    add_bracket(viewer, frames, name="before")
    for name, frame in zip("cab", frames, strict=True):
        iio.imwrite(tmp_path / f"{name}.png", frame)
    (tmp_path / "exposure.txt").write_text("0\n2\n-2\n")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / f"{name}.png")) for name in "abc"])
    action, button, key = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), action, data, button, key)
    enter.ignore()
    widget.dragEnterEvent(enter)
    assert enter.isAccepted()
    widget.dropEvent(QDropEvent(QPointF(5, 5), action, data, button, key))
    assert [layer.name for layer in widget.bracket.layers()] == ["c", "a", "b"]
    assert widget.bracket.exposures() == (EV, None)
    assert messages() == []
