"""The panels below each other, in titled groups, scrolling where the screen is low."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

_MINIMUM_WIDTH = 360
_SHORTEST = 8  # letters of an entry that a narrow box shows
# Controls that show where the keyboard acts; napari's style hardly does.
_FOCUS = ", ".join(
    f"{kind}:focus"
    for kind in ("QPushButton", "QToolButton", "QComboBox", "QLineEdit", "QAbstractSpinBox", "QCheckBox", "QSlider")
)
_KEYS = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier


class ControlGuard(QObject):
    """Guard of a control: the wheel changes it only while it has the focus, and the panel's keys pass through it."""

    def protect(self, control: QWidget) -> None:
        """Guard a control."""
        if not isinstance(control, QScrollBar):
            control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # by tab or click, never by the wheel
            control.installEventFilter(self)

    def eventFilter(self, control: QObject, event: QEvent) -> bool:
        """Pass the wheel on to what lies below, and the panel's keys, which a box would search its entries for."""
        is_wheel = event.type() == QEvent.Type.Wheel and isinstance(control, QWidget) and not control.hasFocus()
        if is_wheel or (isinstance(event, QKeyEvent) and event.modifiers() == _KEYS):
            event.ignore()
            return True
        return super().eventFilter(control, event)


def fill_column(widget: QWidget, *parts: QWidget | tuple[str, Iterable[QWidget]]) -> None:
    """Lay ``widget`` out as a scrolling column of widgets and of (title, group); without a title, side by side."""
    inside = QWidget()
    inside.setStyleSheet(f"{_FOCUS} {{ border: 1px solid palette(highlight); }}")
    column = QVBoxLayout(inside)
    column.setContentsMargins(6, 4, 6, 4)
    column.setSpacing(4)  # all of it fits a screen of ordinary height, with the sections folded
    for part in parts:
        if isinstance(part, QWidget):
            column.addWidget(part)
            continue
        title, contents = part
        group = QGroupBox(title) if title else QWidget()
        column.addWidget(group)
        inner = QVBoxLayout(group) if title else QHBoxLayout(group)
        inner.setContentsMargins(*(8, 5, 8, 6) if title else (0, 0, 0, 0))
        for content in contents:
            inner.addWidget(content)
    column.addStretch(1)
    area = QScrollArea()
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(area)
    guard = ControlGuard(inside)
    for kind in (QComboBox, QAbstractSpinBox, QAbstractSlider):
        for control in inside.findChildren(kind):
            guard.protect(control)
    needed = inside.minimumSizeHint().width() + area.verticalScrollBar().sizeHint().width()
    widget.setMinimumWidth(max(needed, _MINIMUM_WIDTH))


def panel_form() -> QFormLayout:
    """Return a form without margins, whose fields take the width there is."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setVerticalSpacing(3)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    return form


def fill_rows(widget: QWidget, *rows: QWidget | Sequence[QWidget]) -> None:
    """Lay ``widget`` out in rows: a box takes the room there is, the buttons of a row without one share it."""
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(3)
    for row in rows:
        if isinstance(row, QWidget):
            column.addWidget(row)
            continue
        line = QHBoxLayout()
        column.addLayout(line)
        kind = QComboBox if any(isinstance(part, QComboBox) for part in row) else QPushButton
        for part in row:
            line.addWidget(part, int(isinstance(part, kind)))


def make_button(text: str, tip: str, clicked: Callable[..., Any] | None = None, name: str = "") -> QPushButton:
    """Return a button with a tip; ``name`` is for screen readers, where the text says too little."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setAccessibleName(name)
    if clicked is not None:
        button.clicked.connect(clicked)
    return button


def make_box(name: str, tip: str, entries: Mapping[Any, str] | None = None) -> QComboBox:
    """Return a box with a name for screen readers and the texts of these values; it shrinks and takes room there is."""
    box = QComboBox()
    box.setAccessibleName(name)
    box.setToolTip(tip)
    for value, text in (entries or {}).items():
        box.addItem(text, value)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(_SHORTEST)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


def make_label(name: str) -> QLabel:
    """Return a label for sentences, of a name for screen readers."""
    label = QLabel()
    label.setAccessibleName(name)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)  # names of layers may look like tags
    label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    by_hand = Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
    label.setTextInteractionFlags(by_hand)
    return label


def reveal(widget: QWidget) -> None:
    """Scroll the panel so that a widget that was just shown is seen, once it has its place."""

    def scroll() -> None:
        parent = widget.parentWidget() if isalive(widget) else None
        while parent is not None and not isinstance(parent, QScrollArea):
            parent = parent.parentWidget()
        if parent is not None:
            parent.ensureWidgetVisible(widget, 0, 8)

    QTimer.singleShot(50, scroll)
