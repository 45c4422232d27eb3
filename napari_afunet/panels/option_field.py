"""One control of a form for one option of the core, whatever its kind."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from afunet_core.utils.options import Option
from napari_afunet.panels.layout import let_shrink


class OptionField(QObject):
    """The control of an option: its value in, its value out. It is made when it is first asked for.

    Attributes:
        option: the declaration.
        changed: emitted after every change, by the user or not.
    """

    changed = Signal()

    def __init__(self, declared: Option, parent: QWidget) -> None:
        super().__init__(parent)
        self.option = declared
        self._control: Any = None
        self._value, self._enabled = declared.default, True  # until there is a control
        self._texts: tuple[str, ...] = ()

    @property
    def control(self) -> Any:
        """The combo box, spin box or check box."""
        if self._control is None:
            control, declared = self._build(), self.option
            control.setToolTip("\n".join(textwrap.wrap(declared.help, 90)))
            control.setObjectName(declared.name)
            control.setAccessibleName(declared.label)
            control.setAccessibleDescription(declared.help)
            self._control = control
            self.blockSignals(True)
            if self._texts:
                self.offer(self._texts)
            self.set_value(self._value)
            self.blockSignals(False)
        return self._control

    @cached_property
    def widget(self) -> QWidget:
        """Control in the form, with a browse button where a file is a possible value."""
        widget = self._with_browse_button() if self.option.files else self.control
        widget.setEnabled(self._enabled)
        return widget

    def set_enabled(self, enabled: bool) -> None:
        """Grey the field out where it does not apply."""
        self._enabled = enabled
        if "widget" in vars(self):
            self.widget.setEnabled(enabled)

    def value(self) -> Any:
        """Return what the control says."""
        control, declared = self._control, self.option
        if control is None:
            return self._value
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
        control, declared = self._control, self.option
        if control is None:
            is_new, self._value = value != self._value, value
            if is_new:
                self.changed.emit()
            return
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

    def set_file(self, path: str) -> None:
        """Choose a file; its name is shown."""
        file = Path(path)
        if self.control.findData(file) < 0:
            self.control.addItem(file.name, file)
            self.control.setItemData(self.control.count() - 1, str(file), Qt.ItemDataRole.ToolTipRole)
        self.control.setCurrentIndex(self.control.findData(file))

    def offer(self, texts: Sequence[str]) -> None:
        """Offer these texts; what is chosen stays."""
        self._texts = tuple(texts)
        if self._control is None:
            return
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
        box = QComboBox()
        for value, text in declared.choices.items():
            box.addItem(text, value if declared.kind == "choice" else None)
        box.setEditable(declared.kind == "text")
        if declared.kind == "text":
            box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        let_shrink(box)
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
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.control, 1)
        self.browse_button = QToolButton()
        self.browse_button.setText("…")
        self.browse_button.setToolTip(f"Choose a file for “{self.option.label}”.")
        self.browse_button.setAccessibleName(f"{self.option.label}: choose a file")
        self.browse_button.clicked.connect(self._browse)
        layout.addWidget(self.browse_button)
        return row

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self.control, self.option.label, "", self.option.files or "")
        if path:
            self.set_file(path)
