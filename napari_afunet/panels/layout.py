"""The panels below each other, in titled groups, scrolling where the screen is low."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QGroupBox, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

__all__ = ["fill_column"]

_MINIMUM_WIDTH = 360


def fill_column(widget: QWidget, *parts: QWidget | tuple[str, Iterable[QWidget]]) -> None:
    """Lay ``widget`` out as a scrolling column.

    Args:
        widget: without a layout yet.
        parts: widgets; or a title and what is in the group of that title; without a title, what stands side by side.
    """
    inside = QWidget()
    column = QVBoxLayout(inside)
    column.setContentsMargins(6, 4, 6, 4)
    column.setSpacing(4)  # all of it fits a screen of ordinary height, with the sections folded
    for part in parts:
        column.addWidget(part if isinstance(part, QWidget) else _group(*part))
    column.addStretch(1)
    area = QScrollArea()
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(area)
    needed = inside.minimumSizeHint().width() + area.verticalScrollBar().sizeHint().width()
    widget.setMinimumWidth(max(needed, _MINIMUM_WIDTH))


def _group(title: str, contents: Iterable[QWidget]) -> QWidget:
    group = QGroupBox(title) if title else QWidget()
    layout = QVBoxLayout(group) if title else QHBoxLayout(group)
    layout.setContentsMargins(*(8, 5, 8, 6) if title else (0, 0, 0, 0))
    for content in contents:
        layout.addWidget(content)
    return group
