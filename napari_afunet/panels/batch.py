"""The button that merges files: it asks for the folders, and opens that of the results."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget

__all__ = ["BatchButton"]

# text, find brackets by time and exposure, tip
_BATCHES = (
    ("Folders with one bracket each …", False, "Every folder with an exposure.txt, or with two or more pictures."),
    (
        "A camera's folder of mixed pictures …",
        True,
        "Finds the brackets by the time and the exposure in the pictures' metadata, raw files included.",
    ),
)


class BatchButton(QWidget):
    """Merge many brackets from files; ``wanted(root, output, group)`` when both folders are chosen.

    Attributes:
        button: with a menu of the ways to find brackets.
        folder_button: opens the folder of the results; shown when there is one.
    """

    wanted = Signal(str, str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._output = ""
        self.button = QPushButton("Merge files")
        self.button.setToolTip("Merge many brackets from files into OpenEXR files, with the settings above.")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for text, group, tip in _BATCHES:
            action = menu.addAction(text, partial(self.ask, group))
            action.setToolTip(tip)
        self.button.setMenu(menu)
        self.folder_button = QPushButton("Open folder")
        self.folder_button.setToolTip("Show the merged files.")
        self.folder_button.setVisible(False)
        self.folder_button.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(self._output)))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.button)
        row.addWidget(self.folder_button)

    def ask(self, group: bool) -> None:
        """Let the user choose the folder of the frames and that of the results."""
        root = QFileDialog.getExistingDirectory(self, "Folder of pictures" if group else "Folder with bracket folders")
        output = QFileDialog.getExistingDirectory(self, "Folder for the merged images", root) if root else ""
        if output:
            self.wanted.emit(root, output, group)

    def show_running(self, output: str = "") -> None:
        """Nothing can be started now; remember the folder of a batch's results."""
        self.button.setEnabled(False)
        self.folder_button.setVisible(False)
        self._output = output

    def show_idle(self) -> None:
        """Offer the next batch, and the folder of the last."""
        self.button.setEnabled(True)
        self.folder_button.setVisible(bool(self._output))
