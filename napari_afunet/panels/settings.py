"""How the pixels are to be read, and how the merge is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_afunet.settings import (
    ALIGNMENTS,
    BIT_DEPTHS,
    BORDERS,
    CHANNELS,
    ENCODINGS,
    GIGABYTE,
    METHODS,
    NOISES,
    PRECISIONS,
    RESPONSES,
    UNITS,
    MergeSettings,
    parse_black_level,
    parse_noise,
)

__all__ = ["SettingsPanel"]


class SettingsPanel(QWidget):
    """Every field of :class:`MergeSettings` but the exposures, with the rarely used ones folded away."""

    changed = Signal()

    def __init__(self, settings: MergeSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self.encoding_box = _choices(ENCODINGS, "How numbers in the file relate to light.")
        self.bit_depth_box = _choices(BIT_DEPTHS, "12-bit cameras often store their values in 16-bit files.")
        self.channel_box = _choices(
            CHANNELS,
            "Of colour frames, one channel alone, as greyscale: for a dye that shines in one and only leaks into\n"
            "the others, where its own saturates.",
        )
        self.method_box = _choices(METHODS, "Automatic uses the network where things move.")
        self.align_box = _choices(
            ALIGNMENTS, "Registers hand-held frames before merging, and follows what moved in them."
        )
        self.border_box = _choices(
            BORDERS,
            "At the edges an aligned frame may show nothing: there the reference frame stands in,\n"
            "or the result is cut, and lies where it belongs.",
        )
        self.units_box = _choices(
            UNITS,
            "Units of the result. Relative: 1 is saturation of the shortest frame. Counts: those of the data above\n"
            "black, as the shortest frame would have counted them without noise and saturation.",
        )
        self.model_box = QComboBox()
        self.model_box.setEditable(True)
        self.model_box.addItem("default")
        self.model_box.setToolTip(
            "A shipped model, or a .safetensors or published .pth file.\nFiles are never executed."
        )
        self.browse_button = _browse_button("Choose a weights file", self._browse_model)
        self.device_box = QComboBox()
        self.device_box.setEditable(True)
        self.device_box.addItems(["auto", "cpu"])
        self.device_box.setToolTip("Where the network runs: auto, cpu, cuda, cuda:1, mps.")
        self.precision_box = _choices(
            PRECISIONS, "Arithmetic of the network. Automatic: bfloat16 on recent GPUs, else 32 bit."
        )
        self.memory_box = QDoubleSpinBox()
        self.memory_box.setRange(0, 1024)
        self.memory_box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.memory_box.setDecimals(1)
        self.memory_box.setSuffix(" GB")
        self.memory_box.setSpecialValueText("what is free")
        self.memory_box.setToolTip("The most memory the network may use, in gigabytes.\nLess is slower, not different.")
        self.gamma_box = QDoubleSpinBox()
        self.gamma_box.setRange(0.5, 5.0)
        self.gamma_box.setSingleStep(0.1)
        self.gamma_box.setDecimals(2)
        self.gamma_box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.gamma_box.setToolTip("Exponent of the gamma encoding, without a unit: light = value to this power.")
        self.response_box = _choices(
            RESPONSES,
            "How stored values relate to light, in place of the encoding. Cameras' own curves differ from gamma 2.2:\n"
            "let it be found where the frames contradict it, estimate it (tripod, scene at rest), or choose a file\n"
            "that “afunet response” made from a calibration bracket.",
        )
        self.response_button = _browse_button("Choose the file of a response curve", self._browse_response)
        self.black_box = QComboBox()
        self.black_box.setEditable(True)
        self.black_box.addItems(["0", "auto"])
        self.black_box.setToolTip(
            "What a pixel without light reads, in the units of the data; auto finds it from the exposures\n"
            "(linear data only); or the path of a dark frame."
        )
        self.dark_button = _browse_button("Choose a dark frame", self._browse_dark)
        self.noise_box = QComboBox()
        self.noise_box.setEditable(True)
        self.noise_box.addItems(NOISES)
        self.noise_box.setToolTip(
            "Noise of the camera, for the weighted average. estimate: learned from the bracket; photons: by exposure\n"
            "time alone; or two numbers: gain in counts an electron, and read noise in counts, such as 0.5, 4."
        )
        self.drift_check = QCheckBox("Compensate drift")
        self.drift_check.setToolTip(
            "Measures how light and white balance changed between the frames, up to half a stop, and divides it out."
        )
        self.override_check = QCheckBox("Trust the exposures")
        self.override_check.setToolTip("Merge even where the frames' brightness contradicts their exposures.")
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
        camera = QWidget()
        camera_form = QFormLayout(camera)
        camera_form.addRow("Channel", self.channel_box)
        camera_form.addRow("Gamma", self.gamma_box)
        camera_form.addRow("Response", _row(self.response_box, self.response_button))
        camera_form.addRow("Black level", _row(self.black_box, self.dark_button))
        camera_form.addRow("Noise", self.noise_box)
        camera_form.addRow("", self.drift_check)
        camera_form.addRow("", self.override_check)
        advanced = QWidget()
        advanced_form = QFormLayout(advanced)
        advanced_form.addRow("Model", _row(self.model_box, self.browse_button))
        advanced_form.addRow("Device", self.device_box)
        advanced_form.addRow("Precision", self.precision_box)
        advanced_form.addRow("Memory", self.memory_box)
        result = QWidget()
        result_form = QFormLayout(result)
        result_form.addRow("Units", self.units_box)
        result_form.addRow("Border", self.border_box)
        for check in (self.tone_mapped_check, self.stages_check, self.ghost_map_check):
            result_form.addRow("Add layer" if check is self.tone_mapped_check else "", check)
        for each in (form, camera_form, advanced_form, result_form):
            each.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
            each.setContentsMargins(0, 0, 0, 0)
        self.camera_fold = _fold("Camera", camera)
        self.result_fold = _fold("Result: units, border, layers", result)
        self.more = _fold("Model and device", advanced)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        for fold, inside in ((self.camera_fold, camera), (self.result_fold, result), (self.more, advanced)):
            layout.addWidget(fold)
            layout.addWidget(inside)

        self.set_settings(settings)
        for box in self.findChildren(QComboBox):
            box.currentTextChanged.connect(self.changed)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.memory_box.valueChanged.connect(self.changed)
        self.gamma_box.valueChanged.connect(self.changed)
        for check in self.findChildren(QCheckBox):
            check.toggled.connect(self.changed)

    def set_settings(self, settings: MergeSettings) -> None:
        """Show these settings."""
        self._settings = settings
        for box, value in (
            (self.encoding_box, settings.encoding),
            (self.bit_depth_box, settings.bit_depth),
            (self.channel_box, settings.channel),
            (self.method_box, settings.method),
            (self.align_box, settings.align),
            (self.border_box, settings.border),
            (self.units_box, settings.units),
            (self.precision_box, settings.precision),
        ):
            box.setCurrentIndex(max(0, box.findData(value)))
        _choose_file(self.response_box, settings.response)
        self.gamma_box.setValue(settings.gamma)
        noise = settings.noise
        self.noise_box.setCurrentText(noise if isinstance(noise, str) else f"{noise[0]:g}, {noise[1]:g}")
        self.black_box.setCurrentText(black if isinstance(black := settings.black_level, str) else f"{black:g}")
        self.drift_check.setChecked(settings.drift == "auto")
        self.override_check.setChecked(settings.override)
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
            channel=self.channel_box.currentData(),
            method=self.method_box.currentData(),
            align=self.align_box.currentData(),
            border=self.border_box.currentData(),
            units=self.units_box.currentData(),
            precision=self.precision_box.currentData(),
            response=self.response_box.currentData(),
            gamma=round(self.gamma_box.value(), 2),
            black_level=parse_black_level(self.black_box.currentText()),
            noise=parse_noise(self.noise_box.currentText()),
            drift="auto" if self.drift_check.isChecked() else "off",
            override=self.override_check.isChecked(),
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

    def _browse_model(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Weights of an AFUNet", "", "Weights (*.safetensors *.pth *.pt)")
        if path:
            self.model_box.setCurrentText(path)

    def _browse_response(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Response curve of a camera", "", "Response curves (*.json *.csv)")
        if path:
            _choose_file(self.response_box, path)

    def _browse_dark(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Dark frame", "")
        if path:
            self.black_box.setCurrentText(path)


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


def _choose_file(box: QComboBox, value: str | None) -> None:
    """Choose a value, adding a file that is not offered yet by its name."""
    if value is not None and box.findData(value) < 0:
        box.addItem(Path(value).name, value)
    box.setCurrentIndex(0 if value is None else box.findData(value))


def _browse_button(tip: str, action: Callable[[], None]) -> QToolButton:
    button = QToolButton()
    button.setText("…")
    button.setToolTip(tip)
    button.clicked.connect(action)
    return button


def _row(box: QWidget, button: QWidget) -> QLayout:
    row = QHBoxLayout()
    row.addWidget(box, 1)
    row.addWidget(button)
    return row


def _fold(title: str, inside: QWidget) -> QToolButton:
    """A heading that shows and hides what is inside."""
    fold = QToolButton()
    fold.setText(title)
    fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    fold.setArrowType(Qt.ArrowType.RightArrow)
    fold.setCheckable(True)
    fold.toggled.connect(inside.setVisible)
    fold.toggled.connect(
        lambda is_open: fold.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
    )
    inside.setVisible(False)
    return fold
