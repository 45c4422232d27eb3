"""The button that merges files: it asks for the folders."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

__all__ = ["BatchButton"]

# text, whether brackets are found by time and exposure, tip
_BATCHES = (
    ("Folders with one bracket each …", False, "Every folder with an exposure.txt, or with two or more pictures."),
    (
        "A camera's folder of mixed pictures …",
        True,
        "Finds the brackets by the time and the exposure in the pictures' metadata, raw files included.",
    ),
)


class BatchButton(QPushButton):
    """Merge many brackets from files; ``wanted(root, output, group)`` when both folders are chosen."""

    wanted = Signal(str, str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Merge files", parent)
        self.setToolTip("Merge many brackets from files into OpenEXR files, with the settings above.")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for text, group, tip in _BATCHES:
            action = menu.addAction(text, partial(self.ask, group))
            action.setToolTip(tip)
        self.setMenu(menu)

    def ask(self, group: bool) -> None:
        """Let the user choose the folder of the frames and that of the results."""
        root = QFileDialog.getExistingDirectory(self, "Folder of pictures" if group else "Folder with bracket folders")
        output = QFileDialog.getExistingDirectory(self, "Folder for the merged images", root) if root else ""
        if output:
            self.wanted.emit(root, output, group)
