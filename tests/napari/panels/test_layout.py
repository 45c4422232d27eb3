"""The scrolling column: wheel, keyboard, and names for screen readers."""

from __future__ import annotations

from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QApplication, QComboBox, QLineEdit


def turn_wheel(control):
    place = QPointF(control.mapToGlobal(QPoint(5, 5)))
    nothing = (Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False)
    QApplication.sendEvent(control, QWheelEvent(QPointF(5, 5), place, QPoint(0, 0), QPoint(0, -120), *nothing))


def test_the_wheel_changes_only_the_control_that_has_the_focus(open_widget, add_bracket, frames, qtbot):
    viewer, widget = open_widget(show=True)
    add_bracket(viewer, frames)
    before = widget.settings(), widget.bracket.layers(), widget.display.settings()
    widget.setFocus()
    for kind in (QComboBox, QAbstractSpinBox):
        for control in widget.findChildren(kind):
            turn_wheel(control)
    assert (widget.settings(), widget.bracket.layers(), widget.display.settings()) == before
    box = widget.options.fields["method"].control
    widget.activateWindow()
    box.setFocus()
    qtbot.waitUntil(box.hasFocus, timeout=300_000)
    turn_wheel(box)
    assert widget.settings().method != before[0].method


def test_every_control_has_a_name_for_screen_readers(widget):
    for kind in (QComboBox, QAbstractSpinBox, QLineEdit, QAbstractButton):
        for control in widget.findChildren(kind):
            if control.objectName().startswith("qt_") or isinstance(control.parent(), (QComboBox, QAbstractSpinBox)):
                continue  # a part of another control
            text = control.text() if isinstance(control, QAbstractButton) else ""
            assert len(control.accessibleName()) > 1 or len(text.strip("…✕+− ")) > 1, (kind, control.objectName())


def test_the_keyboard_merges_and_compares(open_widget, add_bracket, frames, finish, qtbot):
    viewer, widget = open_widget(method="weighted")
    layers = add_bracket(viewer, frames)
    widget.shortcuts["Ctrl+Shift+M"].activated.emit()
    finish(widget)
    assert "scene HDR" in viewer.layers
    widget.shortcuts["Ctrl+Shift+R"].activated.emit()
    assert [layer for layer in viewer.layers if layer.visible] == [layers[1]]
