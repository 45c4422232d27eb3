"""The form of a merge's options, made from their declaration, with the rarely used groups folded away."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QFormLayout, QPushButton, QVBoxLayout, QWidget
from superqt import QCollapsible

from afunet_core.errors import ArgumentError
from afunet_core.utils.options import GROUPS
from napari_afunet.panels.layout import make_button, panel_form
from napari_afunet.panels.option_field import OptionField
from napari_afunet.settings import MergeSettings, form_options

_OPEN_GROUPS = ("frames", "merging")  # groups that every bracket needs; the others are folded
# Options for which the data may suggest a value; both suggestions stand below the first.
_HINTS = ("bit_depth", "black_level")
STATIC = ("weighted", "mertens")  # methods for scenes at rest: they do not align unless asked


def _applying(settings: MergeSettings) -> dict[str, bool]:
    """Return whether options matter; those that are not named always do."""
    applying = {"gamma": settings.encoding == "gamma", "border": settings.align != "off"}
    by_network = ("model", "device", "precision", "memory_budget", "stages")
    applying |= dict.fromkeys(by_network, settings.method not in STATIC)
    return applying | dict.fromkeys(("noise", "units", "tone_mapped"), settings.method != "mertens")


class SettingsPanel(QWidget):
    """Every option of :class:`MergeSettings` but the exposures."""

    changed = Signal()

    def __init__(self, settings: MergeSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._align_followed = False
        self._showing = False
        self.fields: dict[str, OptionField] = {}
        self.groups: dict[str, QCollapsible] = {}
        self.hints: dict[str, QPushButton] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for each in form_options().values():
            field = self.fields[each.name] = OptionField(each, self)
            field.changed.connect(lambda name=each.name: self._on_changed(name))
        form = panel_form()
        for group in _OPEN_GROUPS:  # one form: its labels are of one width
            self._add_rows(form, group)
        layout.addLayout(form)
        for group in GROUPS:
            if group not in _OPEN_GROUPS:
                layout.addWidget(self._folded(group))
        tip = "Return to the defaults of napari's preferences."
        self.defaults_button = make_button("Restore defaults", tip, self.restore_defaults)
        self.defaults_button.setFlat(True)
        layout.addWidget(self.defaults_button)
        self.set_settings(settings)
        self._follow_method()

    def _add_rows(self, form: QFormLayout, group: str) -> None:
        for name, field in self.fields.items():
            if field.option.group == group:
                form.addRow("" if field.option.kind == "flag" else field.option.label, field.widget)
                for hint in _HINTS if name == _HINTS[0] else ():
                    form.addRow("", self._hint(hint))

    def _folded(self, group: str) -> QCollapsible:
        """Return a group that is folded away."""
        inside, form = QWidget(), panel_form()
        inside.setLayout(form)
        self._add_rows(form, group)
        fold: Any = QCollapsible(GROUPS[group])
        self.groups[group] = fold
        fold.setDuration(0)
        fold.setContent(inside)
        fold.layout().setContentsMargins(0, 0, 0, 0)
        fold.layout().setSpacing(0)
        form.setContentsMargins(8, 0, 0, 4)
        fold.collapse(animate=False)
        inside.hide()  # napari's style is applied to its controls when they are first seen: the panel opens sooner

        def show(is_open: bool) -> None:
            if is_open and inside.isHidden():
                inside.show()
                QTimer.singleShot(0, lambda: fold.expand(animate=False))  # to its height

        fold.toggled.connect(show)
        fold.toggleButton().setAccessibleName(f"{GROUPS[group]} options")
        return fold

    def _hint(self, name: str) -> QPushButton:
        button = make_button("", "", lambda: self.choose(name, button.property("value")), "Suggestion")
        button.setObjectName(f"{name}_hint")
        button.setVisible(False)
        self.hints[name] = button
        return button

    def set_settings(self, settings: MergeSettings) -> None:
        """Show these settings."""
        self._settings, self._showing = settings, True
        for name, field in self.fields.items():
            field.set_value(getattr(settings, name))
        self._showing = self._align_followed = False
        self._show_what_applies()
        self.changed.emit()

    def restore_defaults(self) -> None:
        """Return to the defaults of the preferences."""
        self.set_settings(MergeSettings.from_preferences())
        self._follow_method()

    def settings(self) -> MergeSettings:
        """Return what the form says now."""
        values = {}
        for name, field in self.fields.items():
            try:
                values[name] = field.value()
            except ValueError:
                text = field.control.currentText()
                raise ArgumentError(field.option.label, field.option.help, f"“{text}”") from None
        return self._settings.replace(**values)

    def choose(self, name: str, value: object) -> None:
        """Choose a value of an option, as the user does."""
        self.fields[name].set_value(value)

    def set_models(self, models: Sequence[str], default: str = "") -> None:
        """Offer these models, and say which is the default; what is chosen stays."""
        field = self.fields["model"]
        value = field.value()
        if default:
            field.option = replace(field.option, choices={"default": f"default ({default})"})
        field.offer([field.option.text_of(model) for model in models])
        field.set_value(value)

    def offer_hint(self, name: str, value: object, text: str) -> None:
        """Offer a likely value of an option at a click; an empty text offers none."""
        button = self.hints[name]
        button.setText(text)
        button.setAccessibleName(text or "Suggestion")
        button.setProperty("value", value)
        button.setVisible(bool(text))

    def _on_changed(self, name: str) -> None:
        if self._showing:
            return
        if name == "method":
            self._follow_method()
        elif name == "align":
            self._align_followed = False
        self._show_what_applies()
        self.changed.emit()

    def _follow_method(self) -> None:
        """Methods for scenes at rest do not align unless asked; the others do if the frames need it."""
        align, is_static = self.fields["align"], self.fields["method"].value() in STATIC
        if is_static and align.value() == "auto":
            align.set_value("off")
            self._align_followed = True
        elif not is_static and self._align_followed:
            align.set_value("auto")
            self._align_followed = False

    def _show_what_applies(self) -> None:
        try:
            settings = self.settings()
        except ArgumentError:
            return
        for name, applies in _applying(settings).items():
            self.fields[name].widget.setEnabled(applies)
