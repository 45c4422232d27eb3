"""How the pixels are to be read, and how the merge is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_afunet.settings import ALIGNMENTS, BIT_DEPTHS, ENCODINGS, GIGABYTE, METHODS, PRECISIONS, MergeSettings

__all__ = ["SettingsPanel"]


class SettingsPanel(QWidget):
    """Every field of :class:`MergeSettings` but the exposures, with the rarely used ones folded away."""

    changed = Signal()

    def __init__(self, settings: MergeSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self.encoding_box = _choices(ENCODINGS, "How numbers in the file relate to light.")
        self.bit_depth_box = _choices(BIT_DEPTHS, "12-bit cameras often store their values in 16-bit files.")
        self.method_box = _choices(METHODS, "Automatic uses the network where things move.")
        self.align_box = _choices(ALIGNMENTS, "Registers hand-held frames before merging.")
        self.model_box = QComboBox()
        self.model_box.setEditable(True)
        self.model_box.addItem("default")
        self.model_box.setToolTip(
            "A shipped model, or a .safetensors or published .pth file.\nFiles are never executed."
        )
        self.browse_button = QToolButton()
        self.browse_button.setText("…")
        self.browse_button.setToolTip("Choose a weights file")
        self.device_box = QComboBox()
        self.device_box.setEditable(True)
        self.device_box.addItems(["auto", "cpu"])
        self.device_box.setToolTip("Where the network runs: auto, cpu, cuda, cuda:1, mps.")
        self.precision_box = _choices(
            PRECISIONS, "Arithmetic of the network. Automatic: bfloat16 on recent GPUs, else 32 bit."
        )
        self.memory_box = QDoubleSpinBox()
        self.memory_box.setRange(0, 1024)
        self.memory_box.setDecimals(1)
        self.memory_box.setSuffix(" GB")
        self.memory_box.setSpecialValueText("what is free")
        self.memory_box.setToolTip("The most memory the network may use, in gigabytes.\nLess is slower, not different.")
        self.tone_mapped_check = QCheckBox("Tone-mapped view")
        self.stages_check = QCheckBox("Alignment stages")
        self.stages_check.setToolTip("What every stage of the network aligned, along a 'stage' slider.")
        self.ghost_map_check = QCheckBox("Ghost map")
        self.ghost_map_check.setToolTip("Where a plain weighted merge would have failed.")

        form = QFormLayout()
        form.addRow("Encoding", self.encoding_box)
        form.addRow("Bit depth", self.bit_depth_box)
        form.addRow("Method", self.method_box)
        form.addRow("Align", self.align_box)
        model_row = QHBoxLayout()
        model_row.addWidget(self.model_box, 1)
        model_row.addWidget(self.browse_button)
        advanced = QWidget()
        advanced_form = QFormLayout(advanced)
        advanced_form.setContentsMargins(0, 0, 0, 0)
        advanced_form.addRow("Model", model_row)
        advanced_form.addRow("Device", self.device_box)
        advanced_form.addRow("Precision", self.precision_box)
        advanced_form.addRow("Memory", self.memory_box)
        for check in (self.tone_mapped_check, self.stages_check, self.ghost_map_check):
            advanced_form.addRow("Add layer" if check is self.tone_mapped_check else "", check)
        for each in (form, advanced_form):
            each.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self.more = QToolButton()
        self.more.setText("Model, device, layers")
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setCheckable(True)
        self.more.toggled.connect(advanced.setVisible)
        self.more.toggled.connect(
            lambda open_: self.more.setArrowType(Qt.ArrowType.DownArrow if open_ else Qt.ArrowType.RightArrow)
        )
        advanced.setVisible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(self.more)
        layout.addWidget(advanced)

        self.set_settings(settings)
        self.browse_button.clicked.connect(self._browse)
        for box in self.findChildren(QComboBox):
            box.currentTextChanged.connect(self.changed)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.memory_box.valueChanged.connect(self.changed)
        for check in self.findChildren(QCheckBox):
            check.toggled.connect(self.changed)

    def set_settings(self, settings: MergeSettings) -> None:
        """Show these settings."""
        self._settings = settings
        for box, value in (
            (self.encoding_box, settings.encoding),
            (self.bit_depth_box, settings.bit_depth),
            (self.method_box, settings.method),
            (self.align_box, settings.align),
            (self.precision_box, settings.precision),
        ):
            box.setCurrentIndex(max(0, box.findData(value)))
        self.model_box.setCurrentText(settings.model)
        self.device_box.setCurrentText(settings.device)
        self.memory_box.setValue((settings.memory_budget or 0) / GIGABYTE)
        self.tone_mapped_check.setChecked(settings.tone_mapped)
        self.stages_check.setChecked(settings.stages)
        self.ghost_map_check.setChecked(settings.ghost_map)

    def settings(self) -> MergeSettings:
        """What the view shows now."""
        return self._settings.replace(
            encoding=self.encoding_box.currentData(),
            bit_depth=self.bit_depth_box.currentData(),
            method=self.method_box.currentData(),
            align=self.align_box.currentData(),
            precision=self.precision_box.currentData(),
            model=self.model_box.currentText().strip() or "default",
            device=self.device_box.currentText().strip() or "auto",
            memory_budget=round(self.memory_box.value() * GIGABYTE) or None,
            tone_mapped=self.tone_mapped_check.isChecked(),
            stages=self.stages_check.isChecked(),
            ghost_map=self.ghost_map_check.isChecked(),
        )

    def set_devices(self, devices: list[str]) -> None:
        """Offer these devices; what is chosen stays."""
        _offer(self.device_box, devices)

    def set_models(self, models: list[str]) -> None:
        """Offer these models; what is chosen stays."""
        _offer(self.model_box, models)

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Weights of an AFUNet", "", "Weights (*.safetensors *.pth *.pt)")
        if path:
            self.model_box.setCurrentText(path)


def _choices(choices: Mapping[Any, str], tip: str) -> QComboBox:
    box = QComboBox()
    for value, text in choices.items():
        box.addItem(text, value)
    box.setToolTip(tip)
    return box


def _offer(box: QComboBox, texts: list[str]) -> None:
    chosen = box.currentText()
    box.blockSignals(True)
    box.clear()
    box.addItems(texts)
    box.setCurrentText(chosen)
    box.blockSignals(False)
