"""Preview, before and after, inspection, batches, advice: what makes the widget pleasant."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt

from napari_afunet import compare
from napari_afunet.advice import bracket_warnings, estimated_seconds, remember_speed
from napari_afunet.foresight import alignment_warnings
from napari_afunet.inputs import bracket_source
from napari_afunet.inspecting import QUANTITIES, channel_count, show_quantity
from napari_afunet.job import merge_source
from napari_afunet.preview import LARGEST, visible_part
from napari_afunet.settings import MergeSettings
from napari_afunet.showing import show_outcome

EV = (-2.0, 0.0, 2.0)
WAIT = 60_000
FAST = MergeSettings(ev=EV, method="weighted", align="off")


def merged(viewer, layers, settings=FAST):
    """The last outcome of a merge, shown."""
    from napari_afunet.display import DisplaySettings

    *_, step = merge_source(bracket_source(layers), settings)
    return step.outcome, show_outcome(viewer, step.outcome, DisplaySettings())


# ------------------------------------------------------------------------------------------------ advice


def test_highlights_lost_in_every_frame_are_announced(add_bracket, make_frames):
    frames, _ = make_frames()
    fine = bracket_source(add_bracket(ViewerModel(), frames))
    assert bracket_warnings(fine, FAST) == []
    for frame in frames:
        frame[:8] = 255
    [warning] = bracket_warnings(bracket_source(add_bracket(ViewerModel(), frames)), FAST)
    assert "33%" in warning
    assert "scene -2" in warning


def test_frames_that_are_darker_than_their_exposure_says_are_named(add_bracket, frames):
    layers = add_bracket(ViewerModel(), frames)
    [*_, warning] = bracket_warnings(bracket_source(layers), FAST.replace(ev=(2.0, 0.0, -2.0)))
    assert "scene +0" in warning
    assert "exposures" in warning


def test_saturation_is_where_the_stated_bits_end(add_bracket, make_frames):
    frames, _ = make_frames(dtype=np.float64)
    twelve = [np.round(frame * 4095).astype(np.uint16) for frame in frames]
    for frame in twelve:
        frame[:8] = 4095
    source = bracket_source(add_bracket(ViewerModel(), twelve))
    assert bracket_warnings(source, FAST) == []
    assert len(bracket_warnings(source, FAST.replace(bit_depth=12))) == 1


def test_the_time_is_known_after_a_merge_like_it(add_bracket, make_frames, monkeypatch):
    monkeypatch.setattr("napari_afunet.advice._speeds", {})
    frames, _ = make_frames(256, 256, channels=1)
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames)
    settings = FAST.replace(precision="float32")
    assert estimated_seconds(bracket_source(layers), settings) is None
    outcome, _ = merged(viewer, layers, settings)
    remember_speed(outcome, 3.0)
    stack = add_bracket(ViewerModel(), [np.stack([frame] * 4) for frame in frames])
    assert estimated_seconds(bracket_source(stack), settings) == pytest.approx(12.0)
    assert estimated_seconds(bracket_source(stack), settings.replace(method="afunet")) is None


def test_a_trial_gives_the_first_forecast(monkeypatch, add_bracket, make_frames):
    from napari_afunet import advice

    monkeypatch.setattr(advice, "_speeds", {})
    monkeypatch.setattr(advice, "_TRIAL", 16)
    source = bracket_source(add_bracket(ViewerModel(), make_frames(256, 256, channels=1)[0]))
    assert estimated_seconds(source, MergeSettings(ev=EV)) is None
    advice.measure_speed(lambda: True)  # the user began to merge: the trial is not finished, and none is remembered
    assert estimated_seconds(source, MergeSettings(ev=EV)) is None
    advice.measure_speed(lambda: False)
    assert estimated_seconds(source, MergeSettings(ev=EV)) > 0
    assert estimated_seconds(source, FAST) is None


def test_frames_that_could_not_be_aligned_are_named_after_the_merge(add_bracket):
    from napari_afunet.advice import result_warnings

    noise = np.random.default_rng(0).uniform(0.2, 0.8, (3, 64, 80))
    layers = add_bracket(ViewerModel(), [(200 * plane).astype(np.uint8) for plane in noise])
    settings = FAST.replace(align="auto", override=True)
    *_, step = merge_source(bracket_source(layers), settings)
    warnings = result_warnings(step.outcome)
    assert len(warnings) == 2
    assert "scene -2" in warnings[0]
    assert "could not be aligned" in warnings[0]


def textured(seed, height=240, width=360):
    """A grey scene with detail at every size."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    layers = [gaussian_filter(random.uniform(size=(height, width)), sigma) * sigma for sigma in (1, 3, 9)]
    scene = sum(layers)
    return 0.01 + 0.2 * (scene - scene.min()) / np.ptp(scene)


def photographed(scenes):
    return [
        (255 * (s * 2.0 ** (ev + 2)).clip(0, 1) ** (1 / 2.2)).astype(np.uint8) for s, ev in zip(scenes, EV, strict=True)
    ]


@pytest.mark.parametrize("lazy", [False, True])
def test_frames_of_different_scenes_are_noticed_before_merging(add_bracket, lazy):
    import dask.array as da

    def said(scenes, **changes):
        frames = photographed(scenes)
        layers = add_bracket(ViewerModel(), [da.from_array(frame) for frame in frames] if lazy else frames)
        return alignment_warnings(bracket_source(layers), MergeSettings(ev=EV).replace(**changes), lambda: False)

    scene = textured(0)
    assert said([scene] * 3) == []
    moved = [np.roll(scene, offset, 1) for offset in (40, 0, 0)]
    assert said(moved) == []  # the merge aligns it
    [warning] = said(moved, align="off", method="weighted")
    assert "scene -2" in warning
    assert "40 px" in warning
    assert len(said(moved, align="off")) == 1
    [warning] = said([scene, scene, textured(1)])
    assert "scene +2" in warning
    assert "scene +0" in warning
    assert said([scene, scene, textured(1)], ev=None) == []


def test_a_look_ahead_stops_when_nobody_waits_for_it(add_bracket):
    layers = add_bracket(ViewerModel(), photographed([textured(0)] * 2 + [textured(1)]))
    assert alignment_warnings(bracket_source(layers), MergeSettings(ev=EV), lambda: True) == []


# ------------------------------------------------------------------------------------------------ before and after


def test_before_and_after_shows_the_reference_and_returns(add_bracket, frames):
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames)
    assert compare.toggle(viewer) is False
    _, results = merged(viewer, layers)
    before = [layer.visible for layer in viewer.layers]
    assert compare.toggle(viewer) is True
    shown = [layer for layer in viewer.layers if layer.visible]
    assert shown == [layers[1]]
    assert not results["radiance"].visible
    assert compare.toggle(viewer) is False
    assert [layer.visible for layer in viewer.layers] == before
    viewer.layers.remove(layers[1])
    assert compare.toggle(viewer) is False


@pytest.mark.parametrize(("comparison", "shown"), [("side by side", [1, "tone"]), ("frames", [0, 1, 2, "tone"])])
def test_side_by_side_is_a_grid_and_the_view_returns(add_bracket, frames, comparison, shown):
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames)
    _, results = merged(viewer, layers)
    before, zoom = [layer.visible for layer in viewer.layers], viewer.scene.camera.zoom
    assert compare.compare(viewer, comparison)
    assert compare.is_comparing(viewer)
    wanted = [results["tone_mapped"] if index == "tone" else layers[index] for index in shown]
    assert {layer for layer in viewer.layers if layer.visible} == set(wanted)
    grid = viewer.canvas.grid
    cells = [grid.position(viewer.layers.index(layer), viewer.layers) for layer in wanted]
    assert grid.enabled
    assert len(set(cells)) == len(wanted)
    assert cells[-1] == max(cells)  # the result comes last
    assert viewer.scene.camera.zoom == pytest.approx(zoom / 2)
    assert compare.toggle(viewer) is False
    assert not grid.enabled
    assert [layer.visible for layer in viewer.layers] == before
    assert viewer.scene.camera.zoom == pytest.approx(zoom)
    assert "before_comparing" not in str([layer.metadata for layer in viewer.layers])


# ------------------------------------------------------------------------------------------------ inspection


def test_stages_as_numbers_take_the_place_of_their_colours(add_bracket, make_frames, tiny_model):
    frames, _ = make_frames(17, 22)
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames, scale=(0.5, 0.5))
    settings = MergeSettings(ev=EV, method="afunet", align="off", model=tiny_model, device="cpu")
    outcome, results = merged(viewer, layers, settings)
    assert channel_count(outcome) == 2
    results["under"].visible = True
    count = len(viewer.layers)
    for quantity in [*QUANTITIES, "energy"]:
        shown = show_quantity(viewer, outcome, quantity, channel=1)
        assert len(shown) == 3
        under = shown[0]
        assert under.visible
        assert not shown[1].visible
        if quantity == "rgb":
            assert under is results["under"]
            continue
        assert not results["under"].visible
        assert under.data.shape == (2, 17, 22)
        assert under.scale[-1] == 0.5
        assert len({tuple(layer.contrast_limits) for layer in shown}) == 1
        shown[1].contrast_limits = (0.0, 0.5)
        assert [tuple(layer.contrast_limits) for layer in shown] == [(0.0, 0.5)] * 3
        assert compare.compare(viewer, "stages")
        assert [layer for layer in viewer.layers if layer.visible] == shown
        compare.stop_comparing(viewer)
        assert len(viewer.layers) == count + 3
    np.testing.assert_allclose(
        under.data[0], np.sqrt((outcome.result.stages[0].under[0] ** 2).mean(0)), rtol=1e-4, atol=1e-6
    )


def test_features_at_half_resolution_lie_on_the_image(add_bracket, make_frames, tmp_path):
    import torch

    from afunet_core.model.afunet import AFUNet
    from afunet_core.model.checkpoint import save_model
    from afunet_core.model.config import AFUNetConfig

    torch.manual_seed(1)
    config = AFUNetConfig(
        embed_dim=6, depths=(1,), alignment_heads=1, fusion_heads=1, channel_heads=1, window_size=4, downscale=2
    )
    save_model(AFUNet(config), tmp_path / "half.safetensors")
    frames, _ = make_frames(21, 30)
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames, scale=(3.0, 3.0), translate=(100.0, 200.0))
    model = str(tmp_path / "half.safetensors")
    settings = MergeSettings(ev=EV, method="afunet", align="off", model=model, device="cpu")
    _, results = merged(viewer, layers, settings)
    stages = results["reference"]
    assert stages.data.shape == (1, 11, 15, 3)
    np.testing.assert_allclose(stages.scale[-2:], 6.0)
    # A coarse pixel's centre lies between the centres of the fine ones it stands for.
    np.testing.assert_allclose(stages.translate[-2:], (101.5, 201.5))
    assert results["decoded"].data.shape == (1, 21, 30, 3)
    np.testing.assert_allclose(results["decoded"].scale, (1, 3, 3))
    np.testing.assert_allclose(results["decoded"].translate, (0, 100, 200))


# ------------------------------------------------------------------------------------------------ preview


def corners(layer, top, left, bottom, right):
    layer.corner_pixels = np.array([[0] * (layer.ndim - 2) + [top, left], [0] * (layer.ndim - 2) + [bottom, right]])


def test_a_preview_is_what_the_canvas_shows():
    layers = [Image(np.arange(80 * 90).reshape(80, 90) + i, scale=(2, 2)) for i in range(3)]
    corners(layers[1], 10, 20, 49, 69)
    part = visible_part(ViewerModel(), layers[1], bracket_source(layers))
    assert part.shape == (40, 50)
    assert part.placement.translate == (20, 40)
    np.testing.assert_array_equal(next(iter(part))[1][0], layers[0].data[10:50, 20:70])


def test_a_preview_of_a_large_image_is_coarse():
    layers = [Image(np.zeros((40, 4 * LARGEST), np.uint8) + i) for i in range(3)]
    corners(layers[1], 0, 0, 39, 4 * LARGEST - 1)
    part = visible_part(ViewerModel(), layers[1], bracket_source(layers))
    assert part.shape == (10, LARGEST)
    assert part.placement.scale == (4, 4)
    assert next(iter(part))[1][0].shape == part.shape


def test_a_preview_of_a_stack_is_the_plane_that_is_shown():
    viewer = ViewerModel()
    layers = [viewer.add_image(np.random.default_rng(i).random((5, 30, 40))) for i in range(3)]
    viewer.dims.set_current_step(0, 3)
    corners(layers[1], 0, 0, 29, 39)
    part = visible_part(viewer, layers[1], bracket_source(layers))
    assert part.planes == ()
    np.testing.assert_array_equal(next(iter(part))[1][2], layers[2].data[3])


@pytest.mark.parametrize("view", [(-50, -50, -40, -40), (500, 500, 600, 600), (5, 5, 5, 5)])
def test_a_canvas_that_shows_little_or_nothing_still_gives_a_preview(view):
    layers = [Image(np.zeros((80, 90)) + i) for i in range(3)]
    corners(layers[1], *view)
    part = visible_part(ViewerModel(), layers[1], bracket_source(layers))
    assert min(part.shape) >= 16


# ------------------------------------------------------------------------------------------------ without long pauses


def test_collections_are_short_while_held_and_whole_afterwards():
    import gc

    from napari_afunet.pauses import Hold

    first, second = Hold(), Hold()
    before = gc.get_freeze_count()
    first.take()
    second.take()
    first.take()
    assert gc.get_freeze_count() > before + 1000
    first.release()
    first.release()
    assert gc.get_freeze_count() > before + 1000
    second.release()
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("fails", [False, True])
def test_unhurried_work_takes_turns_with_drawing_and_leaves_the_window_drawing(qtbot, fails):
    from qtpy.QtWidgets import QWidget

    from napari_afunet.unhurried import Unhurried

    window = QWidget()
    qtbot.addWidget(window)
    ended, drew = [], []

    def work():
        for number in range(4):
            drew.append(window.updatesEnabled())
            if fails and number == 2:
                raise ValueError("broken")
            yield number

    work_in_turns = Unhurried(window)
    work_in_turns.start(work(), ended.append, ended.append)
    qtbot.waitUntil(lambda: bool(ended), timeout=5000)
    assert ended == [3] if not fails else str(ended[0]) == "broken"
    assert drew == [False] * len(drew)
    assert window.updatesEnabled()
    assert not work_in_turns.is_active


# ------------------------------------------------------------------------------------------------ through the viewer


@pytest.fixture
def widget(plugin, make_napari_viewer, tiny_model):
    notification_manager.records.clear()
    viewer = make_napari_viewer()
    _, opened = viewer.window.add_plugin_dock_widget("napari-afunet", "Merge exposure bracket")
    opened.viewer = viewer
    opened.options.set_settings(MergeSettings(method="weighted", align="off", model=tiny_model, device="cpu"))
    return opened


def test_preview_compare_and_display_with_the_mouse(widget, qtbot, add_bracket, frames):
    viewer = widget.viewer
    layers = add_bracket(viewer, frames)
    qtbot.mouseClick(widget.controls.preview_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    assert viewer.layers["scene preview HDR"].metadata["afunet"]["preview"]
    assert "scene HDR" not in viewer.layers

    qtbot.mouseClick(widget.controls.merge_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    hdr, view = viewer.layers["scene HDR"], viewer.layers["scene tone mapped"]
    assert widget.display.layer() is hdr
    before, limit = view.data.mean(), hdr.contrast_limits[1]
    widget.display.ev_slider.setValue(1.0)
    qtbot.waitUntil(lambda: hdr.contrast_limits[1] < 0.6 * limit, timeout=5000)
    assert hdr.contrast_limits[1] == pytest.approx(limit / 2)
    qtbot.waitUntil(lambda: view.data.mean() > before + 1, timeout=5000)
    qtbot.mouseClick(widget.display.reset_button, Qt.MouseButton.LeftButton)
    assert view.data.mean() == pytest.approx(before)

    widget.display.gamma_slider.setValue(3.0)
    qtbot.waitUntil(lambda: hdr.gamma == pytest.approx(1 / 3), timeout=5000)
    assert view.gamma == pytest.approx(2.2 / 3)
    assert view.data.mean() == pytest.approx(before)

    for name in ("reference", "side by side"):
        button = widget.compare.buttons[name]
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        assert button.isChecked()
        assert view.visible == (name == "side by side")
        assert layers[1].visible
        assert not layers[0].visible
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert view.visible
    assert layers[0].visible
    assert not viewer.canvas.grid.enabled
    qtbot.mouseClick(widget.compare.buttons["stages"], Qt.MouseButton.LeftButton)
    assert not widget.compare.buttons["stages"].isChecked()
    assert "no stages" in notification_manager.records[-1].message

    qtbot.waitUntil(lambda: widget.badge_label.text() != "…", timeout=WAIT)
    assert "CPU" in widget.badge_label.text() or "GPU" in widget.badge_label.text()


def test_frames_that_do_not_fit_are_said_in_the_widget_and_the_last_question_counts(widget, qtbot, add_bracket):
    scene = textured(0)
    layers = add_bracket(widget.viewer, photographed([scene, scene, textured(1)]))
    qtbot.waitUntil(lambda: "hardly fit" in widget.controls.status_label.text(), timeout=WAIT)
    widget.viewer.layers.remove(layers[2])
    other = add_bracket(widget.viewer, photographed([scene] * 3), name="other")
    widget.bracket.set_layers(other)
    qtbot.waitUntil(lambda: "hardly fit" not in widget.controls.status_label.text(), timeout=WAIT)
    assert widget.controls.status_label.text().startswith("Ready")


def test_what_is_said_of_the_planes_of_a_stack_is_said_once(widget, qtbot, monkeypatch):
    """Its planes are cut out anew whenever they are asked for: that is no reason to look at them again."""
    from napari_afunet import lookout

    looked = []
    monkeypatch.setattr(lookout, "alignment_warnings", lambda source, *_: looked.append(source) or ["do not fit"])
    qtbot.waitUntil(lambda: widget._lookout._ready, timeout=WAIT)
    widget.viewer.add_image(np.stack(photographed([textured(0)] * 3)), name="stack", metadata={"ev": EV})
    qtbot.waitUntil(lambda: "do not fit" in widget.controls.status_label.text(), timeout=WAIT)
    qtbot.wait(1500)  # three times as long as it waits for changes
    assert len(looked) == 1
    widget.options.align_box.setCurrentIndex(widget.options.align_box.findData("on"))
    qtbot.waitUntil(lambda: len(looked) == 2, timeout=WAIT)


def test_the_view_and_the_selection_stay_while_results_are_added(widget, qtbot, add_bracket, frames):
    viewer = widget.viewer
    add_bracket(viewer, frames)
    widget.options.method_box.setCurrentIndex(widget.options.method_box.findData("afunet"))
    viewer.scene.camera.zoom, viewer.scene.camera.center = 20.0, (0.0, 5.0, 7.0)
    widget.merge()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    assert viewer.dims.ndim == 3  # the stages came
    assert viewer.scene.camera.zoom == pytest.approx(20.0)
    assert viewer.scene.camera.center == pytest.approx((0.0, 5.0, 7.0))
    assert viewer.layers.selection.active.name == "scene tone mapped"
    assert viewer.add_image(frames[0], rgb=True) is viewer.layers.selection.active  # of other layers as ever


def test_every_control_reaches_the_settings_and_says_what_it_is(widget):
    from qtpy.QtWidgets import QAbstractSpinBox, QComboBox

    wanted = MergeSettings(
        encoding="linear",
        gamma=1.8,
        bit_depth=12,
        channel="blue",
        black_level=64.5,
        response="auto",
        drift="auto",
        noise=(0.5, 4.0),
        override=True,
        method="weighted",
        align="on",
        border="crop",
        units="counts",
        model="compact",
        device="cpu",
        precision="bfloat16",
        memory_budget=3 * 1024**3,
        tone_mapped=False,
        stages=False,
        ghost_map=False,
    )
    widget.options.set_settings(wanted)
    assert widget.options.settings() == wanted
    widget.bracket.reference_box.setCurrentIndex(2)
    assert widget.settings().reference == 1
    for panel in (widget.options, widget.display, widget.inspect):
        for kind in (QComboBox, QAbstractSpinBox):
            for control in panel.findChildren(kind):
                if not control.objectName().startswith("qt_") and control.parent().parent() is not None:
                    assert control.toolTip() or isinstance(control.parent(), QAbstractSpinBox), control


def test_a_folder_of_brackets_is_merged_past_a_bad_one(widget, qtbot, frames, make_frames, tmp_path):
    import imageio.v3 as iio

    from afunet_core import read_image

    widget.options.channel_box.setCurrentIndex(widget.options.channel_box.findData("green"))
    for number in range(3):
        folder = tmp_path / "in" / f"bracket {number}"
        folder.mkdir(parents=True)
        for index, frame in enumerate(make_frames(seed=number)[0]):
            iio.imwrite(folder / f"{index}.png", frame)
        (folder / "exposure.txt").write_text("-2\n0\n2\n")
    (tmp_path / "in" / "bracket 1" / "2.png").write_bytes(b"damaged")
    widget.merge_folders(str(tmp_path / "in"), str(tmp_path / "out"))
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    text = widget.controls.status_label.text()
    assert "2 of 3" in text
    assert "bracket 1" in text
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["bracket 0.exr", "bracket 2.exr"]
    assert read_image(tmp_path / "out" / made[0]).pixels.shape == frames[0].shape[:2]
    assert "bracket 1" in notification_manager.records[-1].message
    widget.merge_folders(str(tmp_path / "out"), str(tmp_path / "other"))
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)


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


def test_inspecting_does_not_hold_up_the_window(widget, qtbot, add_bracket, frames, monkeypatch):
    """Numbers are computed in a thread; of two wishes in a row only the last is shown."""
    import threading

    from afunet_core import inspection

    viewer = widget.viewer
    add_bracket(viewer, frames)
    widget.options.method_box.setCurrentIndex(widget.options.method_box.findData("afunet"))
    widget.merge()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    inside, go_on, real = threading.Event(), threading.Event(), inspection.stage_energy

    def held(*arguments):
        inside.set()
        assert go_on.wait(30)
        return real(*arguments)

    monkeypatch.setattr(inspection, "stage_energy", held)
    panel = widget.inspect
    panel.quantity_box.setCurrentIndex(panel.quantity_box.findData("energy"))
    panel.quantity_box.activated.emit(0)
    qtbot.waitUntil(inside.is_set, timeout=WAIT)
    assert "scene values · under" not in viewer.layers
    panel.quantity_box.setCurrentIndex(panel.quantity_box.findData("movement"))
    panel.quantity_box.activated.emit(0)
    go_on.set()
    qtbot.waitUntil(lambda: "scene values · over" in viewer.layers, timeout=WAIT)
    expected = inspection.stage_movement(widget.outcome.result.stages, "under")
    np.testing.assert_array_equal(viewer.layers["scene values · under"].data, expected)


def test_an_hdr_file_from_elsewhere_gets_a_view_and_is_no_frame(widget, qtbot, tmp_path):
    from afunet_core import write_image

    viewer = widget.viewer
    write_image(tmp_path / "sunset.exr", np.random.default_rng(0).uniform(0, 90, (20, 30, 3)).astype(np.float32))
    viewer.open(str(tmp_path / "sunset.exr"), plugin="napari-afunet")
    layer = viewer.layers["sunset"]
    assert widget.display.layer() is layer
    widget.display.warn_check.click()
    assert viewer.layers["sunset tone mapped"].data.dtype == np.uint8
    qtbot.waitUntil(lambda: layer.contrast_limits[1] > 10, timeout=5000)


def test_the_commands_in_the_menus_work(widget, qtbot, add_bracket, frames):
    """Through napari's own registry, as a click on Layers › Register does."""
    from napari._app_model import get_app_model

    viewer, commands = widget.viewer, get_app_model().commands
    layers = add_bracket(viewer, frames)
    commands.execute_command("napari-afunet.merge_layers").result()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=WAIT)
    assert viewer.layers["scene HDR"].visible
    commands.execute_command("napari-afunet.compare").result()
    assert not viewer.layers["scene HDR"].visible
    assert layers[1].visible
    commands.execute_command("napari-afunet.compare").result()
    commands.execute_command("napari-afunet.compare_side_by_side").result()
    assert viewer.canvas.grid.enabled
    commands.execute_command("napari-afunet.compare_side_by_side").result()


def test_the_demonstration_leaves_its_three_files(plugin, make_napari_viewer, monkeypatch, tmp_path):
    import functools

    import napari

    import afunet_core.data.demo as scenes
    from afunet_core import read_image
    from napari_afunet import demo

    small = functools.partial(scenes.demo_bracket, reduction=8)
    monkeypatch.setattr(scenes, "demo_bracket", small)
    monkeypatch.setattr(napari, "Viewer", lambda show: make_napari_viewer())
    monkeypatch.setattr(demo, "register_plugin", lambda: None)
    assert demo.main(["--headless", str(tmp_path / "out"), "--method", "weighted"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["merged.exr", "merged.png", "screenshot.png"]
    merged = read_image(tmp_path / "out" / "merged.exr")
    assert merged.metadata["method"] == "weighted"
    assert merged.pixels.shape == small().truth.shape
    assert read_image(tmp_path / "out" / "screenshot.png").pixels.std() > 10
