"""Files dropped on the canvas: a bracket among them is offered, never forced on anybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDropEvent

from napari_afunet.arrivals import arrived_bracket


@pytest.fixture
def widget(plugin, make_napari_viewer):
    """The widget, in a viewer that also has napari's own readers."""
    import napari_builtins
    from npe2 import PluginManifest

    plugin.register(PluginManifest.from_file(Path(napari_builtins.__file__).with_name("builtins.yaml")))
    notification_manager.records.clear()
    viewer = make_napari_viewer()
    _, opened = viewer.window.add_plugin_dock_widget("napari-afunet", "Merge exposure bracket")
    opened.viewer = viewer
    return opened


@pytest.fixture
def drop(qtbot):
    """``drop(viewer, paths)``, as the user does it on the canvas: inside the event loop, and back in it afterwards."""

    def drop(viewer, paths):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        action, button, key = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        event = QDropEvent(QPointF(5, 5), action, data, button, key)
        done = []
        QTimer.singleShot(0, lambda: done.append(viewer.window._qt_viewer.dropEvent(event)))
        qtbot.waitUntil(lambda: bool(done), timeout=30_000)
        qtbot.wait(20)

    return drop


def names(layers):
    return [layer.name for layer in layers]


def test_the_first_bracket_that_is_dropped_is_simply_taken(widget, drop, photographs):
    drop(widget.viewer, sorted(photographs))
    assert names(widget.bracket.layers()) == ["b", "c", "a"]
    assert widget.bracket.exposures() == (None, (1 / 400, 1 / 100, 1 / 25))
    assert not widget.offer.isVisibleTo(widget)


def test_another_bracket_is_offered_and_taken_at_a_click(widget, drop, qtbot, photographs, take_photographs):
    viewer = widget.viewer
    drop(viewer, photographs)
    chosen = widget.bracket.layers()
    widget.bracket.set_layers(chosen)  # by the user
    drop(viewer, take_photographs("zyxwv", (16, 8, 4, 2, 1), seed=1))
    assert widget.offer.isVisibleTo(widget)
    assert widget.bracket.layers() == chosen
    assert "5 frames" in widget.offer.label.text()
    qtbot.mouseClick(widget.offer.use_button, Qt.MouseButton.LeftButton)
    assert names(widget.bracket.layers()) == list("vwxyz")
    assert widget.bracket.exposures()[1] == pytest.approx([n / 400 for n in (1, 2, 4, 8, 16)])
    assert not widget.offer.isVisibleTo(widget)
    assert notification_manager.records == []


def test_an_offer_can_be_declined_and_ends_with_its_layers(widget, drop, qtbot, photographs, take_photographs):
    viewer = widget.viewer
    drop(viewer, photographs)
    chosen = widget.bracket.layers()
    widget.bracket.set_layers(chosen)
    for end in ("decline", "remove", "choose"):
        before = set(viewer.layers)
        drop(viewer, take_photographs("zy", (4, 1), seed=1))
        assert widget.offer.isVisibleTo(widget)
        new = [layer for layer in viewer.layers if layer not in before]
        if end == "decline":
            qtbot.mouseClick(widget.offer.decline_button, Qt.MouseButton.LeftButton)
        elif end == "remove":
            viewer.layers.remove(new[0])
        else:
            widget.bracket.set_layers(new)
        assert not widget.offer.isVisibleTo(widget)
        assert (widget.bracket.layers() == chosen) == (end != "choose")


@pytest.mark.parametrize("kind", ["size", "exposure", "none known", "one file", "with another", "too many"])
def test_what_is_no_bracket_is_not_offered(photographs, kind):
    def frame(path, shape=(8, 9, 3), **metadata):
        return Image(np.zeros(shape, np.uint8), rgb=True, metadata={"path": path, **metadata})

    frames = [frame(f"{ev}.png", ev=ev) for ev in (2, 0, -2)]
    assert arrived_bracket(frames) == frames[::-1]
    assert arrived_bracket(frames[:2]) == frames[1::-1]
    others = {
        "size": [*frames[:2], frame("x.png", (8, 7, 3), ev=-2)],
        "exposure": [frame(name, ev=0) for name in "abc"],
        "none known": [frame(name) for name in "abc"],
        "one file": [frame("stack.tif", ev=ev) for ev in (0, 2)],
        "with another": [*frames, Image(np.zeros((8, 9)))],
        "too many": [frame(f"{ev}.png", ev=ev) for ev in range(10)],
    }
    assert arrived_bracket(others[kind]) == []
