"""One control of a form for one option of the core, whatever its kind."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QLineEdit,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from afunet_core.utils.options import Option
from napari_afunet.panels.layout import fill_rows, make_box


class OptionField(QObject):
    """The control of an option: its value in, its value out. ``widget`` is what stands in the form.

    ``changed`` is emitted after every change, by the user or not.
    """

    changed = Signal()

    def __init__(self, declared: Option, parent: QWidget) -> None:
        super().__init__(parent)
        self.option = declared
        self.control: Any = self._build()  # a combo box, spin box or check box
        self.control.setToolTip("\n".join(textwrap.wrap(declared.help, 90)))
        self.control.setObjectName(declared.name)
        for part in (self.control, *self.control.findChildren(QLineEdit)):
            part.setAccessibleName(declared.label)
        self.control.setAccessibleDescription(declared.help)
        self.widget = self._with_browse_button() if declared.files else self.control

    def value(self) -> Any:
        """Return what the control says."""
        control, declared = self.control, self.option
        if isinstance(control, QCheckBox):
            return control.isChecked()
        if isinstance(control, QDoubleSpinBox):
            number = round(control.value(), declared.decimals)
            if declared.empty and number <= control.minimum():
                return None
            return number if declared.scale == 1 else round(number * declared.scale)
        if declared.kind == "choice":
            return control.currentData()
        path = control.currentData()  # a file is shown by its name
        if isinstance(path, Path) and control.currentText() == path.name:
            return str(path)
        return declared.value_of(control.currentText())

    def set_value(self, value: Any) -> None:
        """Show a value."""
        control, declared = self.control, self.option
        if isinstance(control, QCheckBox):
            control.setChecked(bool(value))
        elif isinstance(control, QDoubleSpinBox):
            control.setValue(control.minimum() if value is None else value / declared.scale)
        elif declared.kind == "choice":
            control.setCurrentIndex(max(0, control.findData(value)))
        elif declared.files and isinstance(value, str) and value not in declared.choices and Path(value).suffix:
            self.set_file(value)
        else:
            control.setCurrentText(declared.text_of(value))
            control.lineEdit().home(False)  # a long text is read from its beginning

    def set_file(self, path: str) -> None:
        """Choose a file; its name is shown."""
        file = Path(path)
        if self.control.findData(file) < 0:
            self.control.addItem(file.name, file)
            self.control.setItemData(self.control.count() - 1, str(file), Qt.ItemDataRole.ToolTipRole)
        self.control.setCurrentIndex(self.control.findData(file))

    def offer(self, texts: Sequence[str]) -> None:
        """Offer these texts; what is chosen stays."""
        file, text = self.control.currentData(), self.control.currentText()
        self.control.blockSignals(True)
        self.control.clear()
        self.control.addItems(list(texts))
        if isinstance(file, Path):
            self.set_file(str(file))
        else:
            self.control.setCurrentText(text)
        self.control.blockSignals(False)

    def _build(self) -> Any:
        declared = self.option
        if declared.kind == "flag":
            check = QCheckBox(declared.label)
            check.toggled.connect(self.changed)
            return check
        if declared.kind == "number":
            return self._spin_box()
        box = make_box(declared.label, declared.help, declared.choices if declared.kind == "choice" else None)
        if declared.kind == "text":
            box.addItems(list(declared.choices.values()))
            box.setEditable(True)
            box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        box.currentTextChanged.connect(self.changed)
        return box

    def _spin_box(self) -> QDoubleSpinBox:
        declared = self.option
        box = QDoubleSpinBox()
        box.setDecimals(declared.decimals)
        box.setRange(declared.minimum or 0.0, declared.maximum or 1e9)
        box.setSingleStep(declared.step)
        box.setSuffix(declared.suffix)
        box.setSpecialValueText(declared.empty or "")
        box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        box.valueChanged.connect(self.changed)
        return box

    def _with_browse_button(self) -> QWidget:
        row = QWidget()
        self.browse_button = QToolButton()
        self.browse_button.setText("…")
        self.browse_button.setToolTip(f"Choose a file for “{self.option.label}”.")
        self.browse_button.setAccessibleName(f"{self.option.label}: choose a file")
        self.browse_button.clicked.connect(self._browse)
        fill_rows(row, (self.control, self.browse_button))
        return row

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self.control, self.option.label, "", self.option.files or "")
        if path:
            self.set_file(path)
