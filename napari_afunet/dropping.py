"""Files dropped on the widget: the frames of one bracket.

Of a drop on the canvas, napari hands files to readers one by one, and a reader that claims ``*.png`` makes napari ask
which reader to use for every single picture. The widget is where a drop can mean a bracket.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_afunet.choosing import by_exposure
from napari_afunet.readers import HDR_SUFFIXES, read_frames

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from qtpy.QtCore import QMimeData

__all__ = ["MOST_FILES", "dropped_frames", "open_frames"]

MOST_FILES = 9


def dropped_frames(data: QMimeData) -> list[str]:
    """Paths of the frames in a drop: two to nine local picture files and nothing else, or an empty list."""
    from afunet_core.io import READABLE

    urls = data.urls()
    paths = [url.toLocalFile() for url in urls if url.isLocalFile()]
    frames = [path for path in paths if Path(path).suffix.lower() in READABLE.difference(HDR_SUFFIXES)]
    return frames if len(frames) == len(urls) and 2 <= len(frames) <= MOST_FILES else []


def open_frames(viewer: ViewerModel, paths: Sequence[str]) -> list[Image]:
    """Add the files as layers, and return them shortest exposure first.

    Raises:
        AFUNetError: for a file that cannot be read; then no layer is added.
    """
    return by_exposure([viewer.add_image(pixels, **attributes) for pixels, attributes, _ in read_frames(paths)])
