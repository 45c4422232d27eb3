"""A merge under way: cancel, close, delete, at any moment."""

import threading
import time

import numpy as np
import pytest
from qtpy.QtCore import Qt, QThreadPool, QTimer

from afunet_core.errors import MergeCancelled
from afunet_core.merging import pipeline
from scenes import add_bracket, make_frames, messages, results


def test_deleting_an_input_layer_during_a_merge_changes_nothing(viewer, widget, qtbot, frames, finish, monkeypatch):
    inside, go_on, real = threading.Event(), threading.Event(), pipeline.merge

    def held(bracket, **options):
        assert inside.set() or go_on.wait(300)
        return real(bracket, **options)

    monkeypatch.setattr(pipeline, "merge", held)
    layers = add_bracket(viewer, frames)
    widget.merge()
    qtbot.waitUntil(inside.is_set)
    viewer.layers.remove(layers[0])
    go_on.set()
    finish(widget)
    assert viewer.layers["scene HDR"].data.shape == frames[0].shape
    assert widget.bracket.layers() == layers[1:]


def test_a_second_click_and_another_model_meanwhile_change_nothing(open_widget, finish, frames, tiny_model):
    viewer, widget = open_widget()
    add_bracket(viewer, frames)
    widget.merge()
    run = widget.controller.run
    widget.merge()
    widget.preview()
    widget.merge_folders("/nowhere", "/nowhere")
    assert widget.controller.run is run
    widget.options.choose("model", "compact")
    finish(widget)
    assert viewer.layers["scene HDR"].metadata["afunet"]["settings"]["model"] == tiny_model
    assert messages() == []


def test_a_cancel_in_any_phase_ends_the_run_and_changes_nothing(open_widget, finish, qtbot, monkeypatch):
    """Cancelled at the first report, the second, the fourth … until a run is over before its turn comes."""
    from napari_afunet.jobs import worker

    monkeypatch.setattr(worker, "_REPORT_INTERVAL", 0.0)  # every report arrives, however fast the machine is
    viewer, widget = open_widget()
    widget.options.set_settings(widget.options.settings().replace(align="auto"))
    add_bracket(viewer, make_frames(64, 64)[0])
    phases, button = set(), widget.controls.merge_button
    for power in range(20):
        seen = []

        def on_progress(fraction, message, seen=seen, wanted=2**power):
            seen.append(message)
            if len(seen) == wanted:
                phases.add(message)
                assert button.text() == "Cancel"
                qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

        widget.controller.progressed.connect(on_progress)
        widget.merge()
        finish(widget)
        widget.controller.progressed.disconnect(on_progress)
        assert button.text() == "Merge"
        if len(seen) < 2**power:
            break
        assert "Cancelled" in widget.controls.status_label.text()
        assert widget.controls.progress_bar.value() == 0
        assert results(viewer) == []
    assert len(phases) >= 2
    assert "scene HDR" in results(viewer)
    assert messages() == []


def test_a_merge_begun_as_soon_as_the_last_one_ended_runs_to_its_end(open_widget, qtbot, frames):
    ends = []
    viewer, widget = open_widget(method="weighted")
    add_bracket(viewer, frames)

    def on_ended(fraction, message):
        ends.append(message)
        if len(ends) == 1:
            widget.merge()

    widget.controller.ended.connect(on_ended)
    widget.merge()
    qtbot.waitUntil(lambda: len(ends) == 2)
    assert [message.split()[0] for message in ends] == ["Merged", "Merged"]


@pytest.mark.parametrize("what", ["widget", "viewer"])
def test_what_is_closed_takes_its_merge_with_it_and_says_nothing(open_widget, qtbot, monkeypatch, what):
    started = threading.Event()

    def merge(bracket, *, on_progress, should_cancel, **_):
        """Merge forever, in small steps, until it is cancelled."""
        while not should_cancel():
            started.set()
            on_progress(1, 1000, "Step")
            time.sleep(0.005)
        raise MergeCancelled("cancelled")

    monkeypatch.setattr(pipeline, "merge", merge)
    viewer, widget = open_widget(show=True)
    add_bracket(viewer, make_frames(96, 96)[0])
    widget.merge()
    run = widget.controller.run
    qtbot.waitUntil(started.is_set)
    if what == "widget":
        viewer.window.remove_dock_widget(widget)
        viewer.add_image(np.zeros((5, 5)))  # nobody listens any more
        assert not widget.is_running
    else:
        viewer.close()
        assert len(viewer.layers) == 0
    assert run.stop.is_set()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
    assert results(viewer) == []
    assert messages() == []


def test_another_bracket_gets_results_of_its_own_and_every_result_is_brought_to_the_front(open_widget, click_merge):
    """Both are called alike, as brackets of one camera or copies of one name are."""
    viewer, widget = open_widget(method="weighted")
    first = add_bracket(viewer, make_frames(seed=0)[0])
    click_merge(widget)
    result = viewer.layers["scene HDR"]
    before = result.data.copy()
    second = add_bracket(viewer, make_frames(seed=1)[0])
    widget.bracket.set_layers(second)
    click_merge(widget)
    np.testing.assert_array_equal(result.data, before)
    roles = [layer.metadata["afunet"]["role"] for layer in viewer.layers if "afunet" in layer.metadata]
    assert sorted(roles) == ["radiance", "radiance", "tone_mapped", "tone_mapped"]
    widget.bracket.set_layers(first)
    viewer.layers["scene tone mapped"].visible = False
    click_merge(widget)
    assert len([layer for layer in viewer.layers if "afunet" in layer.metadata]) == 4
    assert viewer.layers[-1] is viewer.layers["scene tone mapped"]
    assert viewer.layers[-1].visible
    assert viewer.layers[-2] is result


def test_the_activity_dock_shows_the_merge_and_the_panel_what_happened(merge_frames, frames, monkeypatch):
    from napari_afunet.jobs import controller

    bars = []
    real = controller.progress
    monkeypatch.setattr(controller, "progress", lambda **options: bars.append(real(**options)) or bars[-1])
    _, widget = merge_frames(frames, method="auto")
    [bar] = bars
    assert bar.desc.startswith("Merging")
    assert widget.controls.status_label.text().startswith("Merged in")
    assert widget.controls.summary_label.text().startswith("Nothing moved, frames averaged")
    assert "reference scene" in widget.controls.summary_label.text()


def test_the_window_answers_between_the_layers_of_a_result_and_nobody_sees_half_of_it(
    open_widget, click_merge, qtbot, frames
):
    viewer, widget = open_widget(method="weighted", ghost_map=True)
    add_bracket(viewer, frames)
    states, timer = set(), QTimer()
    timer.timeout.connect(lambda: states.add(tuple((layer.name, layer.visible) for layer in viewer.layers[3:])))
    timer.start(0)
    click_merge(widget)
    timer.stop()
    assert (("scene HDR", False),) in states
    assert all(state[1] == ("scene tone mapped", True) for state in states if ("scene HDR", True) in state)
    for victim in ("scene HDR", "scene tone mapped", "scene ghost map"):  # deleted as soon as it is there
        viewer.layers.remove(victim)
        remove = [lambda victim=victim: viewer.layers.remove(victim)]
        slot = viewer.layers.events.inserted.connect(lambda event, do=remove: do and QTimer.singleShot(0, do.pop()))
        click_merge(widget)
        viewer.layers.events.inserted.disconnect(slot)
        assert widget.controls.status_label.text().startswith("Merged")
        assert victim not in results(viewer)
        click_merge(widget)
        assert victim in results(viewer)
    for layer in [layer for layer in viewer.layers if layer.name in results(viewer)]:
        viewer.layers.remove(layer)
    close = [lambda: viewer.window.remove_dock_widget(widget)]
    viewer.layers.events.inserted.connect(lambda event: close and QTimer.singleShot(0, close.pop()))
    widget.merge()
    qtbot.waitUntil(lambda: not close and not widget.is_running)
    assert [(layer.name, layer.visible) for layer in viewer.layers[3:]] == [("scene HDR", True)]


def test_two_viewers_merge_at_the_same_time_each_its_own(open_widget, finish):
    both = [open_widget(), open_widget()]
    for number, (viewer, widget) in enumerate(both):
        add_bracket(viewer, make_frames(seed=number)[0])
        widget.merge()
    for _, widget in both:
        finish(widget)
    assert not np.array_equal(*(viewer.layers["scene HDR"].data for viewer, _ in both))
    both[0][0].close()
    both[1][1].merge()
    finish(both[1][1])
    assert both[1][1].controls.status_label.text().startswith("Merged")
    assert messages() == []
