"""Choice of what the layers of the stages show: colours, or one of several numbers."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QSizePolicy, QSpinBox, QWidget

from napari_afunet.layers.features import QUANTITIES

__all__ = ["FeaturesPanel"]


class FeaturesPanel(QWidget):
    """Choose a quantity; ``chosen(quantity, channel)`` says which."""

    chosen = Signal(str, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.quantity_box = QComboBox()
        for value, text in QUANTITIES.items():
            self.quantity_box.addItem(text, value)
        self.quantity_box.setToolTip("What the layers 'stages' show of the network's features, along the stage slider.")
        self.quantity_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.quantity_box.setMinimumContentsLength(8)
        self.quantity_box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.channel_box = QSpinBox()
        self.channel_box.setAccessibleName("Channel of the features")
        self.channel_box.setToolTip("Which channel of the features.")
        self.channel_box.setVisible(False)
        row = QHBoxLayout()
        row.addWidget(self.quantity_box, 1)
        row.addWidget(self.channel_box)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Stages as", row)
        self.quantity_box.activated.connect(self._emit)
        self.channel_box.valueChanged.connect(self._emit)
        self.set_channels(0)

    def set_channels(self, count: int) -> None:
        """Set the number of channels of the features; 0 when there are none to look at."""
        self.setEnabled(count > 0)
        self.channel_box.blockSignals(True)
        self.channel_box.setRange(0, max(0, count - 1))
        self.channel_box.blockSignals(False)
        self.quantity_box.setCurrentIndex(0)
        self.channel_box.setVisible(False)

    def _emit(self) -> None:
        quantity = self.quantity_box.currentData()
        self.channel_box.setVisible(quantity == "channel")
        self.chosen.emit(quantity, self.channel_box.value())
