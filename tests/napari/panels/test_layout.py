"""The scrolling column: wheel, keyboard, and names for screen readers."""

from itertools import pairwise

from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QKeySequence, QShortcut, QWheelEvent
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QApplication, QComboBox, QLineEdit, QScrollArea

from afunet_core.merging.batch import Outcome
from scenes import add_bracket, make_frames


def turn_wheel(control):
    place = QPointF(control.mapToGlobal(QPoint(5, 5)))
    nothing = (Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False)
    QApplication.sendEvent(control, QWheelEvent(QPointF(5, 5), place, QPoint(0, 0), QPoint(0, -120), *nothing))


def test_the_wheel_changes_only_the_control_that_has_the_focus(open_widget, frames, qtbot):
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
    qtbot.waitUntil(box.hasFocus)
    turn_wheel(box)
    assert widget.settings().method != before[0].method


def test_every_control_has_a_name_for_screen_readers(widget):
    for kind in (QComboBox, QAbstractSpinBox, QLineEdit, QAbstractButton):
        for control in widget.findChildren(kind):
            if control.objectName().startswith("qt_") or isinstance(control.parent(), (QComboBox, QAbstractSpinBox)):
                continue  # a part of another control
            text = control.text() if isinstance(control, QAbstractButton) else ""
            assert len(control.accessibleName()) > 1 or len(text.strip("…✕+− ")) > 1, (kind, control.objectName())


def test_tab_goes_through_the_panel_as_one_reads(open_widget, qtbot):
    viewer, widget = open_widget(show=True)
    add_bracket(viewer, make_frames(ev=(-4, -2, 0, 2, 4))[0], ev=(-4, -2, 0, 2, 4))
    inside = widget.findChild(QScrollArea).widget()

    def lines():
        found, control = [], widget.bracket.open_button
        while inside.isAncestorOf(control := control.nextInFocusChain()):
            if control.isVisible() and control.focusPolicy() & Qt.FocusPolicy.TabFocus:
                found.append(control.mapTo(inside, QPoint(0, control.height() // 2)).y())
        return found

    qtbot.waitUntil(lambda: len(lines()) > 30 and all(after > before - 9 for before, after in pairwise(lines())))


def test_the_keyboard_merges_and_compares(open_widget, frames, finish, qtbot):
    """Wherever the focus is; and once, should napari one day bind the manifest's keys itself."""
    viewer, widget = open_widget(show=True, method="weighted")
    layers = add_bracket(viewer, frames)
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    method, field = widget.options.fields["method"].control, widget.bracket.exposure_edits[0]
    qtbot.keyClick(method, Qt.Key.Key_M, both)
    finish(widget)
    assert "scene HDR" in viewer.layers
    for control in (viewer.window._qt_viewer.canvas.native, method, field, widget.controls.merge_button):
        qtbot.keyClick(control, Qt.Key.Key_R, both)
        assert [layer for layer in viewer.layers if layer.visible] == [layers[1]]
        qtbot.keyClick(control, Qt.Key.Key_R, both)
        assert viewer.layers["scene HDR"].visible
    window, pressed = viewer.window._qt_window, []
    shortcut = QShortcut(QKeySequence("Ctrl+Shift+R"), window, activated=lambda: pressed.append(1))
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    qtbot.keyClick(field, Qt.Key.Key_R, both)
    assert pressed == [1]
    assert viewer.layers["scene HDR"].visible
    shortcut.deleteLater()
    viewer.window.remove_dock_widget(widget)
    assert not viewer.keymap


def test_the_focus_is_seen(open_widget, frames, qtbot):
    viewer, widget = open_widget(show=True)
    add_bracket(viewer, frames)
    widget.activateWindow()
    field, button = widget.bracket.exposure_edits[0], widget.controls.merge_button
    for control in (button, widget.options.fields["method"].control, field, widget.options.defaults_button):
        widget.setFocus()
        qtbot.waitUntil(lambda control=control: not control.hasFocus())
        before = control.grab().toImage()
        control.setFocus(Qt.FocusReason.TabFocusReason)
        qtbot.waitUntil(control.hasFocus)
        line = [control.grab().toImage().pixelColor(x, 0) for x in (20, 40, 60)]
        assert line != [before.pixelColor(x, 0) for x in (20, 40, 60)]


def test_nothing_is_cut_off_at_the_right_whatever_is_shown(open_widget, click_merge, qtbot):
    viewer, widget = open_widget(show=True, method="weighted")
    area = widget.findChild(QScrollArea)
    inside = area.widget()

    def fits():
        return inside.minimumSizeHint().width() + area.verticalScrollBar().sizeHint().width() <= widget.minimumWidth()

    assert fits()
    add_bracket(viewer, make_frames()[0], name="a bracket with a name that is far longer than a line of the panel " * 3)
    assert fits()
    click_merge(widget)
    widget.views.mark_map("source", "source")
    for fold in widget.options.groups.values():
        qtbot.mouseClick(fold.toggleButton(), Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda fold=fold: fold.content().height() >= fold.content().sizeHint().height() > 60)  # whole
    assert fits()
    done = Outcome("bracket", "failed", "/a/path/that/is/far/longer/than/a/line/of/the/panel" * 3)
    widget.batch.show_done(done)
    widget.batch.show_idle()
    assert fits()
