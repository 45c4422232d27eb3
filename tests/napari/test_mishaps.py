"""What users do at the wrong moment, and frames that nobody expects: a sentence at worst, and nothing lost."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.utils.notifications import notification_manager

EV = (-2.0, 0.0, 2.0)
WAIT = 60_000


@pytest.fixture
def open_widget(plugin, make_napari_viewer, tiny_model):
    """``open_widget()`` → viewer and widget, as often as wanted."""
    notification_manager.records.clear()

    def open_widget(show=False):
        viewer = make_napari_viewer(show=show)
        _, widget = viewer.window.add_plugin_dock_widget("napari-afunet", "Merge exposure bracket")
        settings = widget.options.settings()
        widget.options.set_settings(settings.replace(method="afunet", model=tiny_model, device="cpu", align="off"))
        return viewer, widget

    return open_widget


@pytest.fixture
def finish(qtbot):
    """``finish(widget)`` waits for the end of what runs."""
    return lambda widget: qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)


def messages():
    return [record.message for record in notification_manager.records]


def results(viewer):
    return [layer.name for layer in viewer.layers if "role" in layer.metadata.get("afunet", {})]


# ------------------------------------------------------------------------------------------------ frames


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda frames: frames[2][:, :30], "24×30"),
        (lambda frames: frames[2][:20], "20×32"),
        (lambda frames: frames[2][..., 0], "grey"),
        (lambda frames: np.stack([frames[2]] * 2), "3 dimensions"),
    ],
)
def test_frames_that_do_not_go_together_are_named_before_merging(open_widget, frames, change, word):
    viewer, widget = open_widget()
    frames[2] = change(frames)
    layers = [
        viewer.add_image(frame, name=f"f{index}", metadata={"ev": 2.0 * index}, rgb=frame.shape[-1] == 3)
        for index, frame in enumerate(frames)
    ]
    widget.bracket.set_layers(layers)
    assert word in widget.controls.status_label.text()
    widget.merge()
    assert widget.worker is None
    assert "f2" in messages()[-1]


@pytest.mark.parametrize("dtype", [bool, np.int16])
def test_numbers_that_are_no_frames_are_refused_and_not_called_saturated(open_widget, finish, frames, dtype):
    viewer, widget = open_widget()
    for index, frame in enumerate(frames):
        viewer.add_image(frame[..., 0].astype(dtype), name=f"f{index}", metadata={"ev": 2.0 * index})
    assert widget.controls.status_label.text().splitlines() == ["Ready."]
    widget.merge()
    finish(widget)
    assert "expected" in messages()[-1]
    assert results(viewer) == []


def test_what_is_not_finite_is_said_and_does_not_spread(open_widget, finish, frames, add_bracket):
    viewer, widget = open_widget()
    values = [frame / np.float32(255) for frame in frames]
    values[0][3:6], values[1][8] = np.nan, np.inf
    add_bracket(viewer, values)
    widget.merge()
    finish(widget)
    assert np.isfinite(viewer.layers["scene HDR"].data).all()
    assert "288 NaN" in messages()[0]
    assert "96 infinite" in messages()[1]


@pytest.mark.parametrize("shape", [(1, 1), (7, 200), (2, 3)])
def test_images_of_a_few_pixels_have_a_result_stages_and_a_preview(
    open_widget, finish, make_frames, add_bracket, shape
):
    viewer, widget = open_widget()
    add_bracket(viewer, make_frames(*shape)[0])
    for start in (widget.merge, widget.preview):
        start()
        finish(widget)
    assert messages() == []
    assert viewer.layers["scene HDR"].data.shape == (*shape, 3)
    assert viewer.layers["scene stages · HDR"].data.shape == (2, *shape, 3)
    assert "scene preview HDR" in viewer.layers


def test_layers_far_apart_are_refused_and_together_merged_wherever_they_are(open_widget, finish, frames, add_bracket):
    viewer, widget = open_widget()
    layers = add_bracket(viewer, frames, translate=(1e6, -1e6))
    widget.merge()
    finish(widget)
    np.testing.assert_allclose(viewer.layers["scene HDR"].translate, (1e6, -1e6))
    layers[0].translate = (0, 0)
    widget.merge()
    assert widget.worker is None
    assert "overlap" in messages()[-1]


def test_pyramids_and_lazy_series_are_merged_like_arrays(open_widget, finish, make_frames, add_bracket):
    """Times × planes × height × width in dask arrays, and pyramids, give what plain arrays give."""
    viewer, widget = open_widget()
    series = np.stack([[make_frames(16, 20, channels=1, seed=3 * t + z)[0] for z in range(3)] for t in range(2)])
    plain = [series[:, :, index] for index in range(3)]
    merged = {}
    for kind in ("plain", "lazy", "pyramid"):
        for index, ev in enumerate(EV):
            data, options = plain[index], {"metadata": {"ev": ev}, "scale": (9, 5, 1, 1)}
            if kind == "lazy":
                data = da.from_array(data, chunks=(1, 1, 16, 20))
            elif kind == "pyramid":
                data, options["multiscale"] = [data, data[..., ::2, ::2]], True
            viewer.add_image(data, name=f"{kind} {ev:+.0f}", **options)
        widget.bracket.find_frames()
        widget.merge()
        finish(widget)
        merged[kind] = viewer.layers[f"{kind} HDR"]
    for layer in merged.values():
        assert layer.data.shape == (2, 3, 16, 20)
        assert tuple(layer.scale) == (9, 5, 1, 1)
        np.testing.assert_array_equal(layer.data, merged["plain"].data)
    assert messages() == []


# ------------------------------------------------------------------------------------------------ moments


def test_renamed_layers_stay_the_bracket_and_are_found_for_comparing(open_widget, finish, frames, add_bracket):
    viewer, widget = open_widget()
    layers = add_bracket(viewer, frames)
    widget.merge()
    for index, layer in enumerate(layers):
        layer.name = f"renamed {index}"
    finish(widget)
    assert [box.currentText() for box in widget.bracket.layer_boxes] == ["renamed 0", "renamed 1", "renamed 2"]
    viewer.layers["scene HDR"].name = "mine"
    assert widget.display.layer_box.currentText() == "mine"
    widget.compare.buttons["frames"].click()
    assert [layer.visible for layer in layers] == [True] * 3
    assert messages() == []


def test_a_second_click_and_another_model_meanwhile_change_nothing(
    open_widget, finish, frames, add_bracket, tiny_model
):
    viewer, widget = open_widget()
    add_bracket(viewer, frames)
    widget.merge()
    worker = widget.worker
    widget.merge()
    widget.preview()
    widget.merge_folders("/nowhere", "/nowhere")
    assert widget.worker is worker
    widget.options.model_box.setCurrentText("compact")
    finish(widget)
    assert viewer.layers["scene HDR"].metadata["afunet"]["settings"]["model"] == tiny_model
    assert messages() == []


def test_a_cancel_in_any_phase_ends_the_run_and_changes_nothing(open_widget, qtbot, make_frames, add_bracket):
    """Cancelled at the first report, at the second, and so on, until a run is over before its turn comes."""
    viewer, widget = open_widget()
    widget.options.set_settings(widget.options.settings().replace(align="auto"))
    add_bracket(viewer, make_frames(64, 64)[0])
    phases = set()
    for wanted in range(1, 100):
        seen = []

        def on_progress(fraction, message, seen=seen, wanted=wanted):
            seen.append(message)
            if len(seen) == wanted and message != "Showing the result":
                phases.add(message)
                widget.cancel()

        widget.run.progressed.connect(on_progress)
        widget.merge()
        qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
        widget.run.progressed.disconnect(on_progress)
        assert widget.controls.merge_button.text() == "Merge"
        if "Cancelled" not in widget.controls.status_label.text():
            break
        assert results(viewer) == []
    assert len(phases) >= 2
    assert "scene HDR" in results(viewer)
    assert messages() == []


def while_results_come(viewer, widget, qtbot):
    """Merge, and stop waiting as soon as the first result layer is there."""
    widget.merge()
    qtbot.waitUntil(lambda: len(results(viewer)) > 0, timeout=WAIT)
    assert widget.worker is not None


@pytest.mark.parametrize("action", ["cancel", "clear", "delete results", "reset", "3D"])
def test_whatever_is_done_while_results_come_the_run_ends_in_peace(
    open_widget, finish, qtbot, frames, add_bracket, action
):
    viewer, widget = open_widget()
    layers = add_bracket(viewer, frames)
    while_results_come(viewer, widget, qtbot)
    if action == "cancel":
        widget.cancel()
    elif action == "clear":
        viewer.layers.clear()
    elif action == "delete results":
        for layer in [layer for layer in viewer.layers if layer not in layers]:
            viewer.layers.remove(layer)
    elif action == "reset":
        viewer.reset_view()
    elif action == "3D":
        viewer.dims.ndisplay = 3
    finish(widget)
    assert widget.controls.status_label.text().startswith("Merged")
    assert viewer.layers["scene HDR"].data.shape == frames[0].shape
    assert messages() == []


@pytest.mark.parametrize("what", ["widget", "viewer"])
@pytest.mark.parametrize("moment", ["merging", "showing"])
def test_closing_at_any_moment_leaves_nothing_running_and_says_nothing(
    open_widget, qtbot, make_frames, add_bracket, what, moment
):
    import gc

    viewer, widget = open_widget(show=True)
    add_bracket(viewer, make_frames(96, 96)[0])
    if moment == "merging":
        widget.merge()
    else:
        while_results_come(viewer, widget, qtbot)
    worker = widget.worker
    if what == "widget":
        viewer.window.remove_dock_widget(widget)
        viewer.add_image(np.zeros((5, 5)))
        qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
        assert "scene HDR" in viewer.layers  # the result is not lost
    else:
        viewer.close()
        qtbot.waitUntil(lambda: not worker.is_running, timeout=5000)
        qtbot.wait(300)
        assert len(viewer.layers) == 0
    qtbot.waitUntil(lambda: gc.get_freeze_count() == 0, timeout=5000)
    assert messages() == []


def test_two_viewers_merge_at_the_same_time_each_its_own(open_widget, finish, make_frames, add_bracket):
    both = [open_widget(), open_widget()]
    for number, (viewer, widget) in enumerate(both):
        add_bracket(viewer, make_frames(seed=number)[0], name=f"scene {'ab'[number]}")
        widget.merge()
    for _, widget in both:
        finish(widget)
    first, second = (viewer.layers[f"scene {name} HDR"].data for (viewer, _), name in zip(both, "ab", strict=True))
    assert not np.array_equal(first, second)
    both[0][0].close()
    both[1][1].merge()
    finish(both[1][1])
    assert messages() == []


def test_the_script_repeats_a_merge_by_the_default_model_to_the_bit(open_widget, finish, make_frames, add_bracket):
    viewer, widget = open_widget()
    widget.options.set_settings(widget.options.settings().replace(method="auto", model="default", align="auto"))
    add_bracket(viewer, make_frames(40, 48)[0])
    widget.merge()
    finish(widget)
    exec(compile(widget.copy_script(), "<script>", "exec"), names := {})
    np.testing.assert_array_equal(names["result"].radiance, viewer.layers["scene HDR"].data)
    assert "model=" not in widget.copy_script()
