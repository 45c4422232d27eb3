"""The network's features as layers."""

import threading

import numpy as np
from napari.components import ViewerModel

from afunet_core import inspection
from afunet_core.model.checkpoint import save_model
from napari_afunet.display import compare
from napari_afunet.layers.features import QUANTITIES, channel_count, quantity_values, show_values
from napari_afunet.settings import MergeSettings
from scenes import EV, add_bracket, make_frames, merged, tiny_network


def test_stages_as_numbers_take_the_place_of_their_colours(tiny_model):
    frames, _ = make_frames(17, 22)
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames, scale=(0.5, 0.5))
    settings = MergeSettings(ev=EV, method="afunet", align="off", model=tiny_model, device="cpu", stages=True)
    outcome, results = merged(viewer, layers, settings)
    assert channel_count(outcome) == 2
    before = [layer for layer in viewer.layers if layer.visible]
    assert compare.compare(viewer, "stages")
    for layer in show_values(viewer, outcome, quantity_values(outcome, "energy")):  # chosen while they are compared
        assert layer.visible
    compare.stop_comparing(viewer)
    assert [layer for layer in viewer.layers if layer.visible] == before
    results["under"].visible = True
    count = len(viewer.layers)
    for quantity in [*QUANTITIES, "energy"]:
        shown = show_values(viewer, outcome, quantity_values(outcome, quantity, channel=1))
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
        assert len(viewer.layers) == count
    np.testing.assert_allclose(
        under.data[0], np.sqrt((outcome.result.stages[0].under[0] ** 2).mean(0)), rtol=1e-4, atol=1e-6
    )


def test_features_at_half_resolution_lie_on_the_image(tmp_path):
    sizes = {"embed_dim": 6, "alignment_heads": 1, "fusion_heads": 1, "channel_heads": 1, "window_size": 4}
    save_model(tiny_network(1, **sizes, downscale=2), tmp_path / "half.safetensors")
    frames, _ = make_frames(21, 30)
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames, scale=(3.0, 3.0), translate=(100.0, 200.0))
    model = str(tmp_path / "half.safetensors")
    settings = MergeSettings(ev=EV, method="afunet", align="off", model=model, device="cpu", stages=True)
    _, results = merged(viewer, layers, settings)
    stages = results["reference"]
    assert stages.data.shape == (1, 11, 15, 3)
    np.testing.assert_allclose(stages.scale[-2:], 6.0)
    # A coarse pixel's centre lies between the centres of the fine ones it stands for.
    np.testing.assert_allclose(stages.translate[-2:], (101.5, 201.5))
    assert results["decoded"].data.shape == (1, 21, 30, 3)
    np.testing.assert_allclose(results["decoded"].scale, (1, 3, 3))
    np.testing.assert_allclose(results["decoded"].translate, (0, 100, 200))


def test_inspecting_does_not_hold_up_the_window(widget, qtbot, frames, monkeypatch):
    """Numbers are computed in a thread; of two wishes in a row only the last is shown."""
    viewer = widget.viewer
    add_bracket(viewer, frames)
    widget.options.choose("method", "afunet")
    widget.options.choose("stages", True)
    widget.merge()
    qtbot.waitUntil(lambda: not widget.is_running)
    inside, go_on, real = threading.Event(), threading.Event(), inspection.stage_energy

    def held(*arguments):
        inside.set()
        assert go_on.wait(300)
        return real(*arguments)

    monkeypatch.setattr(inspection, "stage_energy", held)
    panel = widget.views
    panel.quantity_box.setCurrentIndex(panel.quantity_box.findData("energy"))
    panel.quantity_box.activated.emit(0)
    qtbot.waitUntil(inside.is_set)
    assert "scene values · under" not in viewer.layers
    panel.quantity_box.setCurrentIndex(panel.quantity_box.findData("movement"))
    panel.quantity_box.activated.emit(0)
    go_on.set()
    qtbot.waitUntil(lambda: "scene values · over" in viewer.layers)
    expected = inspection.stage_movement(widget.outcome.result.stages, "under")
    np.testing.assert_array_equal(viewer.layers["scene values · under"].data, expected)
