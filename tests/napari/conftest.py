"""Shared by the plugin's tests: the manifest, tiny brackets with a known truth, and a tiny network."""

from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from scenes import add_bracket, make_frames, save_photo, tiny_network

MANIFEST = Path(__file__).parents[2] / "napari.yaml"
WAIT = 300_000
"""Milliseconds, far above what any wait here needs: an upper bound, never a measurement."""


@pytest.fixture
def qtbot(qtbot):
    """As ever, but what is waited for may take its time."""
    qtbot.waitUntil = partial(qtbot.waitUntil, timeout=WAIT)
    return qtbot


@pytest.fixture
def plugin(npe2pm):
    """Only this plugin, registered from the manifest in the repository; no notifications so far."""
    from napari.utils.notifications import notification_manager
    from npe2 import PluginManifest

    notification_manager.records.clear()
    npe2pm.register(PluginManifest.from_file(MANIFEST))
    return npe2pm


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Weights of a tiny random network; accepted wherever a model can be named."""
    from afunet_core.model.checkpoint import save_model

    sizes = {"embed_dim": 6, "depths": (1, 1), "alignment_heads": 1, "fusion_heads": 1, "channel_heads": 1}
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(tiny_network(**sizes, window_size=4, dormant_norm=True), path)
    return str(path)


@pytest.fixture
def frames():
    return make_frames()[0]


@pytest.fixture
def take_photographs(tmp_path):
    """``take_photographs(names, seconds)`` → paths of JPEG files with EXIF, as a camera leaves them."""

    def take(names, seconds, seed=0):
        frames = make_frames(40, 48, seed=seed, ev=np.log2(np.asarray(seconds) / min(seconds)))[0]
        shots = zip(names, frames, seconds, strict=True)
        return [str(save_photo(tmp_path / f"{name}.jpg", frame, Fraction(time, 400))) for name, frame, time in shots]

    return take


@pytest.fixture
def photographs(take_photographs):
    """A bracket with nothing in the names of its files to sort them by."""
    return take_photographs("bca", (1, 4, 16))


@pytest.fixture
def viewer(plugin, make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def open_widget(plugin, make_napari_viewer, tiny_model):
    """``open_widget(show=False)`` → viewer and widget with a tiny network, as often as wanted."""

    def open_widget(show=False, viewer=None, **options):
        viewer = viewer or make_napari_viewer(show=show)
        _, widget = viewer.window.add_plugin_dock_widget("napari-afunet", "Merge exposure bracket")
        settings = widget.options.settings()
        chosen = {"method": "afunet", "model": tiny_model, "device": "cpu", "align": "off", **options}
        widget.options.set_settings(settings.replace(**chosen))
        widget.viewer = viewer
        return viewer, widget

    return open_widget


@pytest.fixture
def widget(viewer, open_widget):
    """The widget as the Plugins menu opens it, with a tiny network; its viewer is ``widget.viewer``."""
    return open_widget(viewer=viewer)[1]


@pytest.fixture
def finish(qtbot):
    """``finish(widget)`` waits for the end of what runs."""
    return lambda widget: qtbot.waitUntil(lambda: not widget.is_running)


@pytest.fixture
def click_merge(qtbot, finish):
    """``click_merge(widget)`` clicks the button and waits for the end."""
    from qtpy.QtCore import Qt

    def click(widget):
        button = widget.controls.merge_button
        qtbot.waitUntil(lambda: not widget.is_running and button.isEnabled() and button.text() == "Merge")
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        finish(widget)

    return click


@pytest.fixture
def merge_frames(open_widget, click_merge):
    """``merge_frames(frames)`` → viewer and widget after their weighted merge, with options of ``open_widget``."""

    def merge(frames, place=None, **options):
        viewer, widget = open_widget(**{"method": "weighted", **options})
        add_bracket(viewer, frames, **(place or {}))
        click_merge(widget)
        return viewer, widget

    return merge
