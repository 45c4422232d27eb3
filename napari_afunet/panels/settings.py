"""The form of a merge's options, made from their declaration, with the rarely used groups folded away."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QVBoxLayout, QWidget
from superqt import QCollapsible

from afunet_core.errors import ArgumentError
from afunet_core.utils.options import GROUPS
from napari_afunet.panels.option_field import OptionField
from napari_afunet.settings import MergeSettings, form_options

__all__ = ["SettingsPanel"]

_OPEN_GROUPS = ("frames", "merging")
"""Groups that every bracket needs; the others are folded."""


class SettingsPanel(QWidget):
    """Every option of :class:`MergeSettings` but the exposures.

    Attributes:
        fields: one field an option, by its name.
        groups: the folded groups, by their key.
        changed: emitted after every change.
    """

    changed = Signal()

    def __init__(self, settings: MergeSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self.fields: dict[str, OptionField] = {}
        self.groups: dict[str, QCollapsible] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        forms = {group: _form() for group in GROUPS}
        for each in form_options().values():
            field = self.fields[each.name] = OptionField(each, self)
            field.changed.connect(self.changed)
            label = "" if each.kind == "flag" else each.label
            forms[each.group].addRow(label, field.widget)
        for group, form in forms.items():
            if group in _OPEN_GROUPS:
                layout.addLayout(form)
            else:
                layout.addWidget(self._folded(group, form))
        self.set_settings(settings)

    def _folded(self, group: str, form: QFormLayout) -> QCollapsible:
        inside = QWidget()
        inside.setLayout(form)
        fold = self.groups[group] = QCollapsible(GROUPS[group])
        fold.setDuration(0)
        fold.setContent(inside)
        fold.collapse(animate=False)
        fold.toggleButton().setAccessibleName(f"Show {GROUPS[group].lower()} options")
        return fold

    def set_settings(self, settings: MergeSettings) -> None:
        """Show these settings."""
        self._settings = settings
        for name, field in self.fields.items():
            field.set_value(getattr(settings, name))

    def settings(self) -> MergeSettings:
        """Return what the form says now.

        Raises:
            ArgumentError: a text that is no value of its option.
        """
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

    def set_devices(self, devices: Sequence[str]) -> None:
        """Offer these devices; what is chosen stays."""
        self.fields["device"].offer(devices)

    def set_models(self, models: Sequence[str]) -> None:
        """Offer these models; what is chosen stays."""
        self.fields["model"].offer(models)


def _form() -> QFormLayout:
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    form.setContentsMargins(0, 0, 0, 0)
    return form
