"""Shared by the plugin's tests: the manifest, tiny brackets with a known truth, and a tiny network."""

import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

MANIFEST = Path(__file__).parents[2] / "napari.yaml"
EV = (-2.0, 0.0, 2.0)
WAIT = 300_000
"""Milliseconds, far above what any wait here needs: an upper bound, never a measurement."""


@pytest.fixture
def qtbot(qtbot):
    """As ever, but what is waited for may take its time."""
    qtbot.waitUntil = partial(qtbot.waitUntil, timeout=WAIT)
    return qtbot


@pytest.fixture
def plugin(npe2pm):
    """Only this plugin, registered from the manifest in the repository."""
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_file(MANIFEST))
    return npe2pm


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Weights of a tiny random network; accepted wherever a model can be named."""
    from afunet_core.model.checkpoint import save_model
    from scenes import tiny_network

    sizes = {"embed_dim": 6, "depths": (1, 1), "alignment_heads": 1, "fusion_heads": 1, "channel_heads": 1}
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(tiny_network(**sizes, window_size=4, dormant_norm=True), path)
    return str(path)


@pytest.fixture(scope="session")
def make_frames():
    """``make_frames(height, width, channels, seed, ev, dtype, encoding)`` → frames, radiance."""

    def make_frames(height=24, width=32, channels=3, seed=0, ev=EV, dtype=np.uint8, encoding="gamma"):
        """Frames of a scene at rest, and its radiance in the unit of the shortest frame's saturation."""
        random = np.random.default_rng(seed)
        coarse = random.uniform(0.0, 1.0, (height // 4 + 2, width // 4 + 2, channels))
        smooth = coarse.repeat(4, 0).repeat(4, 1)[:height, :width]
        radiance = 0.002 + 0.7 * smooth**3
        if channels == 1:
            radiance = radiance[..., 0]
        frames = []
        for value in ev:
            exposed = np.clip(radiance * 2.0 ** (value - min(ev)), 0, 1)
            encoded = exposed ** (1 / 2.2) if encoding == "gamma" else exposed
            top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
            frames.append((np.round(encoded * top) if top > 1 else encoded).astype(dtype))
        return frames, radiance.astype(np.float32)

    return make_frames


@pytest.fixture
def frames(make_frames):
    return make_frames()[0]


@pytest.fixture(scope="session")
def add_bracket():
    """``add_bracket(viewer, frames, ev, name, **options)`` → the layers, shortest first."""

    def add_bracket(viewer, frames, ev=EV, name="scene", **options):
        """Three layers with exposure metadata, longest first so that the order means nothing."""
        if frames[0].shape[-1] == 3:
            options.setdefault("rgb", True)  # napari does not guess it for pictures this small
        layers = [
            viewer.add_image(frame, name=f"{name} {value:+.0f}", metadata={"ev": value}, **options)
            for frame, value in reversed(list(zip(frames, ev, strict=True)))
        ]
        return layers[::-1]

    return add_bracket


@pytest.fixture
def take_photographs(tmp_path, make_frames):
    """``take_photographs(names, seconds)`` → paths of JPEG files with EXIF, as a camera leaves them."""
    from scenes import save_photo

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
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()
    return make_napari_viewer()


@pytest.fixture
def open_widget(plugin, make_napari_viewer, tiny_model):
    """``open_widget(show=False)`` → viewer and widget with a tiny network, as often as wanted."""
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()

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
def merged_widget(widget, add_bracket, frames, click_merge):
    """The widget after a weighted merge of ``frames``."""
    add_bracket(widget.viewer, frames)
    widget.options.choose("method", "weighted")
    click_merge(widget)
    return widget


@pytest.fixture
def messages():
    """``messages()`` → the texts of napari's notifications so far."""
    from napari.utils.notifications import notification_manager

    return lambda: [record.message for record in notification_manager.records]


@pytest.fixture
def results():
    """``results(viewer)`` → the names of the result layers."""
    return lambda viewer: [layer.name for layer in viewer.layers if "role" in layer.metadata.get("afunet", {})]


@pytest.fixture
def slow_down(monkeypatch):
    """``slow_down(started)`` makes the core merge forever, in small steps, until it is cancelled."""
    import afunet_core.merging.pipeline
    from afunet_core.errors import MergeCancelled

    def slow_down(started):
        def merge(bracket, *, on_progress, should_cancel, **_):
            for step in range(100_000):
                started.set()
                if should_cancel():
                    raise MergeCancelled("cancelled")
                on_progress(min(step, 999), 1000, f"Step {step}")
                time.sleep(0.005)

        monkeypatch.setattr(afunet_core.merging.pipeline, "merge", merge)

    return slow_down


@pytest.fixture
def merged():
    """``merged(viewer, layers, settings)`` → the outcome of a merge without a widget, and its layers."""
    from napari_afunet.display.tone_view import DisplaySettings
    from napari_afunet.jobs.merge_job import merge_source
    from napari_afunet.layers.results import add_result_layers
    from napari_afunet.layers.source import bracket_source
    from napari_afunet.settings import MergeSettings

    def merge(viewer, layers, settings=None):
        settings = settings or MergeSettings(ev=EV, method="weighted", align="off")
        outcome = merge_source(bracket_source(layers), settings)
        return outcome, add_result_layers(viewer, outcome, DisplaySettings())

    return merge


@pytest.fixture(scope="session")
def textured():
    """``textured(seed)`` → a grey scene with detail at every size."""

    def textured(seed, height=240, width=360):
        from scipy.ndimage import gaussian_filter

        random = np.random.default_rng(seed)
        layers = [gaussian_filter(random.uniform(size=(height, width)), sigma) * sigma for sigma in (1, 3, 9)]
        scene = sum(layers)
        return 0.01 + 0.2 * (scene - scene.min()) / np.ptp(scene)

    return textured


@pytest.fixture(scope="session")
def photographed():
    """``photographed(scenes)`` → one 8-bit frame of each, at -2, 0 and +2 EV."""
    return lambda scenes: [
        (255 * (s * 2.0 ** (ev + 2)).clip(0, 1) ** (1 / 2.2)).astype(np.uint8) for s, ev in zip(scenes, EV, strict=True)
    ]


@pytest.fixture(scope="session")
def hand_held():
    """``hand_held(shift)`` → linear 12-bit frames of a scene with texture, the outer ones moved by whole pixels."""

    def hand_held(shift=3, seed=0):
        from scipy.ndimage import gaussian_filter

        random = np.random.default_rng(seed)
        scene = gaussian_filter(random.uniform(size=(140, 180)), 1.5)
        scene = 0.02 + 0.2 * (scene - scene.min()) / np.ptp(scene)
        views = [np.roll(scene, (offset, -offset), (0, 1))[20:120, 20:160] for offset in (shift, 0, -shift)]
        counts = [
            np.round(4095 * view * 2.0 ** (value - EV[0])).clip(0, 4095) for view, value in zip(views, EV, strict=True)
        ]
        return [frame.astype(np.uint16) for frame in counts]

    return hand_held
