"""Merging many brackets from files: what was found in a folder, to look at and to merge, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QListWidget, QListWidgetItem, QMenu, QWidget

from napari_afunet.jobs.summary import in_widget_words
from napari_afunet.panels.layout import fill_rows, make_button, make_label, reveal

if TYPE_CHECKING:
    from afunet_core.merging.batch import Outcome

# text, find brackets by time and exposure, tip
_BATCHES = (
    ("Folders with one bracket each …", False, "Every folder with an exposure.txt, or with two or more pictures."),
    (
        "A camera's folder of mixed pictures …",
        True,
        "Finds the brackets by the time and the exposure in the pictures' metadata, raw files included.",
    ),
)
_MARKS = {"merged": "✓", "skipped": "✓", "failed": "⚠"}
_NAME, _FILES = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
_LOWEST = 120  # pixels of the list


class BatchPanel(QWidget):
    """Brackets of a folder: listed, opened in the viewer as a preview, merged into files."""

    def __init__(
        self,
        find: Callable[[str, bool], None],  # in a folder; by time and exposure
        show: Callable[[list[str]], None],  # files, in the viewer
        merge: Callable[[str, str, bool], None],  # of a folder, into a folder; found by time and exposure
    ) -> None:
        super().__init__()
        self._find, self._show, self._merge = find, show, merge
        self._root, self._group, self._output = "", False, ""
        tip = "Merge many brackets from files into OpenEXR files, with the settings above."
        self.button = make_button("Merge files", tip)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for text, group, tip in _BATCHES:
            menu.addAction(text, partial(self.ask, group)).setToolTip(tip)
        self.button.setMenu(menu)
        self.label = make_label("Number of brackets")
        self.list = QListWidget()
        self.list.setAccessibleName("Brackets found")
        self.list.setMinimumHeight(_LOWEST)
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        tip = "Open the chosen bracket: look at it, press Preview, change the settings."
        self.open_button = make_button("Open in viewer", tip, self._open)
        tip = "Merge all of them with the settings above, into a folder that you choose."
        self.merge_button = make_button("Merge all …", tip, self._merge_all)
        self.folder_button = make_button("Open folder", "Show the merged files.", self._show_folder)
        fill_rows(self, self.label, self.list, (self.open_button, self.merge_button, self.folder_button))
        self.setVisible(False)
        self.folder_button.setVisible(False)
        self.list.itemDoubleClicked.connect(self._open)
        self.list.itemSelectionChanged.connect(self._show_buttons)

    def ask(self, group: bool) -> None:
        """Let the user choose the folder of the frames, and look for brackets there."""
        root = QFileDialog.getExistingDirectory(self, "Folder of pictures" if group else "Folder with bracket folders")
        if root:
            self._find(root, group)

    def show_found(self, root: str, group: bool, found: Sequence[tuple[str, list[str]]]) -> None:
        """List the brackets of a folder."""
        self._root, self._group, self._output = root, group, ""
        self.list.clear()
        for name, files in found:
            self._add(name, files).setText(f"{name} · {len(files)} frames")
        self.folder_button.setVisible(False)
        self.label.setText(f"{len(found)} bracket{'s' * (len(found) != 1)} in “{Path(root).name}”")
        self.label.setToolTip(root)
        self.show_idle()
        reveal(self)

    def _add(self, name: str, files: Sequence[str] = ()) -> QListWidgetItem:
        item = QListWidgetItem(self.list)
        item.setData(_NAME, name)
        item.setData(_FILES, list(files))
        item.setToolTip("\n".join(Path(file).name for file in files))
        return item

    def show_done(self, done: Outcome) -> None:
        """Mark what became of a bracket, with the reason where it failed."""
        items = (self.list.item(row) for row in range(self.list.count()))
        same = [item for item in items if item is not None and item.data(_NAME) == done.name]
        item = same[0] if same else self._add(done.name)
        message = in_widget_words(done.message)
        reason = f": {message.replace(f'{self._root}/', '')}" if done.status == "failed" else ""  # it fits the line
        item.setText(f"{_MARKS.get(done.status, '')} {done.name}{reason}")
        item.setToolTip(message)
        self.list.scrollToItem(item)

    def show_running(self, output: str = "") -> None:
        """Nothing can be started now; remember the folder of a batch's results."""
        self.button.setEnabled(False)
        self.merge_button.setEnabled(False)
        if output:
            self._output = output
            self.folder_button.setVisible(False)

    def show_idle(self) -> None:
        """Offer the next batch, and the folder of the last."""
        self.button.setEnabled(True)
        self.setVisible(self.list.count() > 0 or bool(self._output))
        if self._output and self.folder_button.isHidden():
            self.folder_button.setVisible(True)
            reveal(self.folder_button)
        self._show_buttons()

    def _show_buttons(self) -> None:
        self.open_button.setEnabled(any(item.data(_FILES) for item in self.list.selectedItems()))
        self.merge_button.setEnabled(bool(self._root) and self.list.count() > 0 and self.button.isEnabled())

    def _open(self) -> None:
        items = self.list.selectedItems()
        if items:
            self._show(items[0].data(_FILES))

    def _merge_all(self) -> None:
        output = QFileDialog.getExistingDirectory(self, "Folder for the merged images", self._root)
        if output:
            self._merge(self._root, output, self._group)

    def _show_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(self._output))
