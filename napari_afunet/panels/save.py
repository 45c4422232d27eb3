"""The button that saves the chosen HDR layer, or the picture as it is displayed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton, QWidget

from napari_afunet.layers.selection import KEY
from napari_afunet.saving import offered_formats, suffix_of, with_suffix

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["SaveButton"]


class SaveButton(QPushButton):
    """Asks for a file; ``chosen(path, format)`` when there is one, with the suffix of a format."""

    chosen = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Save…", parent)
        self.setObjectName("save")
        self.setAccessibleName("Save the result")
        self.setToolTip(
            "Save the HDR layer chosen under Display: its light as EXR, HDR, TIFF or DNG, or the picture as displayed\n"
            "as PNG or JPEG."
        )
        self.setEnabled(False)

    def ask(self, layer: Image) -> None:
        """Let the user choose a file and its format."""
        formats = offered_formats(layer)
        filters = {f"{text} (*{suffix_of(kind)})": kind for kind, text in formats.items()}
        path, chosen = QFileDialog.getSaveFileName(self, "Save", _suggestion(layer), ";;".join(filters))
        if path:
            kind = filters.get(chosen, next(iter(formats)))
            self.chosen.emit(with_suffix(path, suffix_of(kind)), kind)


def _suggestion(layer: Image) -> str:
    """Return a name beside the frames, after the bracket, to which the format chosen adds its suffix."""
    note = layer.metadata.get(KEY, {})
    first = next((path for path in note.get("paths") or () if path), None)
    name = "".join("_" if letter in '/\\:*?"<>|' else letter for letter in note.get("bracket", layer.name))
    return str((Path(first).parent if first else Path.home()) / name)
