"""Files dropped on the canvas or the widget: the frames of one bracket."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent

from afunet_core.errors import AFUNetError
from afunet_core.io.icc import SRGB_D50
from afunet_core.io.read import read_image
from napari_afunet.layers.file_facts import layer_facts
from napari_afunet.readers import dropped_frames, open_frames
from scenes import EV, add_bracket, messages, table_profile

ACTION = Qt.DropAction.CopyAction
BUTTON = (Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)


@pytest.fixture(autouse=True)
def builtins(plugin):
    """napari's own readers, too."""
    import napari_builtins
    from npe2 import PluginManifest

    plugin.register(PluginManifest.from_file(Path(napari_builtins.__file__).with_name("builtins.yaml")))


@pytest.fixture
def drop(qtbot):
    """``drop(viewer, paths)``, as the user does it on the canvas: inside the event loop, and back in it afterwards."""

    def drop(viewer, paths):
        data = dragged(paths)
        event = QDropEvent(QPointF(5, 5), ACTION, data, *BUTTON)
        done = []
        QTimer.singleShot(0, lambda: done.append(viewer.window._qt_viewer.dropEvent(event)))
        qtbot.waitUntil(lambda: bool(done))
        qtbot.wait(20)

    return drop


def dragged(paths):
    """Return paths as the window gets them from a file manager."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return data


def names(layers):
    return [layer.name for layer in layers]


def test_the_first_bracket_dropped_is_taken_and_another_is_offered(widget, drop, qtbot, photographs, take_photographs):
    viewer, button = widget.viewer, widget.bracket.newer_button
    drop(viewer, sorted(photographs))
    chosen = widget.bracket.layers()
    assert names(chosen) == ["b", "c", "a"]
    assert widget.bracket.exposures() == (None, (1 / 400, 1 / 100, 1 / 25))
    widget.bracket.set_layers(chosen)  # by the user
    viewer.add_image(np.zeros((40, 48)))
    assert not button.isVisibleTo(widget)
    drop(viewer, take_photographs("zyxwv", (16, 8, 4, 2, 1), seed=1))
    assert widget.bracket.layers() == chosen
    assert "5 new frames" in button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert names(widget.bracket.layers()) == list("vwxyz")
    assert widget.bracket.exposures()[1] == pytest.approx([n / 400 for n in (1, 2, 4, 8, 16)])
    assert not button.isVisibleTo(widget)
    assert messages() == []


def test_files_dropped_on_the_widget_become_its_bracket(viewer, widget, frames, tmp_path):
    add_bracket(viewer, frames, name="before")
    for name, frame in zip("cab", frames, strict=True):
        iio.imwrite(tmp_path / f"{name}.png", frame)
    (tmp_path / "exposure.txt").write_text("0\n2\n-2\n")
    data = dragged(tmp_path / f"{name}.png" for name in "abc")
    enter = QDragEnterEvent(QPoint(5, 5), ACTION, data, *BUTTON)
    enter.ignore()
    widget.dragEnterEvent(enter)
    assert enter.isAccepted()
    widget.dropEvent(QDropEvent(QPointF(5, 5), ACTION, data, *BUTTON))
    assert [layer.name for layer in widget.bracket.layers()] == ["c", "a", "b"]
    assert widget.bracket.exposures() == (EV, None)
    assert messages() == []


def test_what_is_dropped_on_the_widget_is_opened_whole_or_not_at_all(photographs):
    def drop(*paths):
        return dropped_frames(dragged(paths))

    assert drop(*photographs) == photographs
    assert drop(photographs[0]) == drop() == drop(*photographs, "/a/merged.exr") == drop(*photographs * 6) == []
    viewer = ViewerModel()
    assert [layer.name for layer in open_frames(viewer, sorted(photographs))] == ["b", "c", "a"]
    Path(photographs[0]).write_bytes(b"not an image")
    with pytest.raises(AFUNetError, match=r"b\.jpg"):
        open_frames(viewer, photographs)
    assert len(viewer.layers) == 3


def test_portraits_opened_by_napari_itself_are_merged_upright(viewer, widget, finish, photographs):
    """napari leaves photographs lying; their files say which side is up."""
    from PIL import Image as Picture

    expected = []
    for path in photographs:
        with Picture.open(path) as picture:
            exif = picture.getexif()
            exif[0x0112] = 6  # turned by a quarter
            expected.append(np.rot90(np.asarray(picture), -1))
            picture.save(path, exif=exif, quality=100, subsampling=0)
    layers = viewer.open(sorted(photographs), plugin=None, stack=False)
    assert layers[0].data.shape[:2] == (40, 48)
    widget.options.choose("method", "weighted")
    widget.merge()
    finish(widget)
    hdr = next(layer for layer in viewer.layers if layer.metadata.get("afunet", {}).get("role") == "radiance")
    assert hdr.data.shape[:2] == (48, 40)
    chosen = str(widget.bracket.layers()[1].source.path)
    picture = (expected[photographs.index(chosen)] / 255.0) ** 2.2
    alike = [np.corrcoef(hdr.data.ravel(), turned.ravel())[0, 1] for turned in (picture, picture[::-1, ::-1])]
    assert alike[0] > alike[1] + 0.5


def test_profiles_of_tables_count_in_frames_opened_by_napari_itself(viewer, tmp_path):
    corners = np.array([[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)]) @ SRGB_D50[:, ::-1].T
    codes = np.random.default_rng(0).integers(60, 200, (8, 9, 3), dtype=np.uint8)  # red and blue are exchanged
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, codes, photometric="rgb", iccprofile=table_profile(b"RGB ", corners, 2.2))
    [layer] = viewer.open(str(path), plugin="napari")
    facts = layer_facts(layer)
    image = read_image(path)
    assert facts.encoding == image.encoding == "srgb"
    np.testing.assert_array_equal(facts.as_core_reads(layer.data), image.pixels)
    assert np.abs(image.pixels.astype(int) - codes[..., ::-1]).max() < 12
