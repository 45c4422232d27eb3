"""Files dropped on the widget, or opened together anywhere in the window: the frames of one bracket.

Of a drop on the canvas, napari hands files to readers one by one, and a reader that claims ``*.png`` makes napari ask
which reader to use for every single picture. The widget is where a drop can mean a bracket.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_afunet.layers.exposures import layer_exposure
from napari_afunet.layers.file_facts import layer_path
from napari_afunet.layers.selection import MOST_FRAMES, by_exposure, candidate_layers, full_resolution
from napari_afunet.readers import HDR_SUFFIXES, read_frames

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer
    from qtpy.QtCore import QMimeData


class NewFilesDetector(QObject):
    """Emits ``bracket(layers)``, shortest exposure first, when the layers of a bracket's files have come together."""

    bracket = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._new: list[Layer] = []
        self._end = QObject()

    def note(self, layer: Layer) -> None:
        """A layer was added."""
        if not self._new:
            # While napari opens one file after the other it lets timers and other events through. What is to be deleted
            # later, however, Qt deletes when the event is over that all of it belongs to: the drop, or a menu's click.
            self._end = QObject()
            self._end.destroyed.connect(self._look)
            self._end.deleteLater()
        self._new.append(layer)

    def _look(self) -> None:
        layers, self._new = [layer for layer in self._new if layer in self._viewer.layers], []
        frames = new_bracket(layers)
        if frames:
            self.bracket.emit(frames)


def new_bracket(layers: Sequence[Layer]) -> list[Image]:
    """The layers, shortest exposure first, if they are the frames of one bracket and nothing else; or an empty list.

    That is two or more images of one size, from files of their own, with known exposures that are not all the same.
    """
    frames = candidate_layers(layers)
    if not 2 <= len(frames) == len(layers) <= MOST_FRAMES:
        return []
    files = {layer_path(frame) for frame in frames}
    kinds = {(_shape(frame), frame.rgb) for frame in frames}
    exposures = {layer_exposure(frame).value for frame in frames}
    alike = len(kinds) == 1 and frames[0].ndim == 2
    apart = None not in files and len(files) == len(frames)
    return by_exposure(frames) if alike and apart and None not in exposures and len(exposures) > 1 else []


def _shape(layer: Image) -> tuple[Any, ...]:
    return tuple(full_resolution(layer).shape)


def dropped_frames(data: QMimeData) -> list[str]:
    """Paths of the frames in a drop: two or more local picture files and nothing else, or an empty list."""
    from afunet_core.io.formats import READABLE

    urls = data.urls()
    paths = [url.toLocalFile() for url in urls if url.isLocalFile()]
    frames = [path for path in paths if Path(path).suffix.lower() in READABLE.difference(HDR_SUFFIXES)]
    return frames if len(frames) == len(urls) and 2 <= len(frames) <= MOST_FRAMES else []


def open_frames(viewer: ViewerModel, paths: Sequence[str]) -> list[Image]:
    """Add the files as layers, none if one cannot be read, and return them shortest exposure first."""
    return by_exposure([viewer.add_image(pixels, **attributes) for pixels, attributes, _ in read_frames(paths)])
