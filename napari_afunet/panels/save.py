"""The button that saves the chosen HDR layer, or the picture as it is displayed."""

from collections.abc import Callable
from pathlib import Path

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton, QWidget

from napari_afunet.display.tone_view import DisplaySettings
from napari_afunet.jobs.worker import run_in_background
from napari_afunet.layers.selection import KEY
from napari_afunet.writers import DISPLAYED, GAIN_MAP, Saved, displayed_picture, offered_formats, save, suffix_of
from napari_afunet.writers import with_suffix as add_suffix

_LONGEST = 100  # letters of a suggested name: file systems take 255 bytes, with the suffix


class SaveButton(QPushButton):
    """Asks for a file and saves in the background."""

    told = Signal(str)  # how it goes, in a sentence
    failed = Signal(str)  # why it does not, and what to do

    def __init__(
        self,
        layer: Callable[[], Image | None],
        display: Callable[[], DisplaySettings],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Save…", parent)
        self._layer, self._display = layer, display
        self.setObjectName("save")
        self.setAccessibleName("Save the result")
        self.setToolTip(
            "Save the HDR layer chosen under Display: its light as EXR, HDR, TIFF or DNG, or the picture as displayed\n"
            "as PNG or JPEG."
        )
        self.setEnabled(False)
        self.clicked.connect(self.ask)

    def ask(self) -> None:
        """Let the user choose a file and its format."""
        layer = self._layer()
        if layer is None:
            self.failed.emit("There is nothing to save yet: press Merge first.")
            return
        formats = offered_formats(layer)
        filters = {f"{text} (*{suffix_of(kind)})": kind for kind, text in formats.items()}
        typed, chosen = QFileDialog.getSaveFileName(self, "Save", _suggestion(layer), ";;".join(filters))
        if not typed:
            return
        kind = filters.get(chosen, next(iter(formats)))
        path = add_suffix(typed, suffix_of(kind))
        if path != typed and Path(path).exists():  # the dialog did not ask: the name got its suffix only now
            answer = QMessageBox.question(self, "Save", f"{Path(path).name} exists. Replace it?")
            if answer != QMessageBox.StandardButton.Yes:
                return
        self.save(path, kind)

    def save(self, path: str, kind: str = "") -> None:
        """Save to a file, in the background; the suffix says in which format, ``kind`` if a JPEG has a gain map."""
        layer = self._layer()
        if layer is None:
            return
        is_displayed = path.lower().endswith((*DISPLAYED, ".jpeg"))
        picture = displayed_picture(layer, self._display()) if is_displayed else None
        self.told.emit(f"Saving {Path(path).name} …")

        def done(files: list[str]) -> None:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            self.told.emit(f"Saved {Path(files[0]).name}{more} in {Path(path).parent}.")

        arguments = path, Saved.of_layer(layer), picture, kind == GAIN_MAP
        run_in_background(self, save, *arguments, done=done, failed=lambda error: self.failed.emit(str(error)))


def _suggestion(layer: Image) -> str:
    """Return a name beside the frames, after the bracket, to which the format chosen adds its suffix."""
    note = layer.metadata.get(KEY, {})
    first = next((path for path in note.get("paths") or () if path), None)
    name = "".join("_" if letter in '/\\:*?"<>|' else letter for letter in note.get("bracket", layer.name))
    return str((Path(first).parent if first else Path.home()) / name[:_LONGEST].strip())
