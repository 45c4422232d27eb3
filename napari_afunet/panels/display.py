"""Display of HDR layers, live: exposure, gamma, operator and highlight warning."""

from weakref import WeakSet

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QWidget
from superqt import QLabeledDoubleSlider

from napari_afunet.display.tone_view import OPERATORS, DisplaySettings, is_hdr, set_display, show_in_thumbnail
from napari_afunet.jobs.worker import call_later
from napari_afunet.layers.result_layer import Result, find_whole
from napari_afunet.layers.results import set_view_gamma, show_tone_mapped
from napari_afunet.panels.layout import make_box, make_button, panel_form

_SETTLED = 200  # ms without a move, after which what lies hidden below the view follows


class DisplayPanel(QWidget):
    """Controls that act on the chosen HDR layer and on its tone-mapped view."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Image] = []
        self._with_thumbnail: WeakSet[Image] = WeakSet()
        tip = "Any layer with floating-point light: merged here, or opened from .exr, .hdr or .tif."
        self.layer_box = make_box("HDR layer", tip)
        tip = "How the range is compressed for the screen. The HDR data stays as it is."
        self.operator_box = make_box("Operator", tip, OPERATORS)
        self.ev_slider = _slider(-8, 12, "Exposure in EV: +1 is twice as bright. Double-click the number to type.")
        self.gamma_slider = _slider(1.2, 4, "Gamma of the screen: 2.2 is neutral, more brightens the mid-tones.")
        self.warn_check = QCheckBox("Highlight warning")
        self.warn_check.setToolTip("Paint what is brighter than white at this exposure.")
        self.reset_button = make_button("Reset", "", self._reset)

        row = QHBoxLayout()
        row.addWidget(self.warn_check, 1)
        row.addWidget(self.reset_button)
        form = panel_form()
        self.setLayout(form)
        for label, control in (
            ("HDR layer", self.layer_box),
            ("Exposure", self.ev_slider),
            ("Gamma", self.gamma_slider),
            ("Operator", self.operator_box),
        ):
            form.addRow(label, control)
            for part in (control, *control.findChildren(QWidget)):
                part.setAccessibleName(label)  # for screen readers
        form.addRow("", row)

        self._settled = call_later(self, self._settle, _SETTLED)
        self.ev_slider.valueChanged.connect(lambda: self.apply())
        self.gamma_slider.valueChanged.connect(lambda: self.apply(gamma_only=True))
        self.operator_box.activated.connect(lambda: self.apply(create=True))
        self.warn_check.clicked.connect(lambda: self.apply(create=True))
        self.layer_box.activated.connect(lambda: self.apply())
        self.set_settings(DisplaySettings())
        self.refresh()

    def settings(self) -> DisplaySettings:
        """Return the settings shown now."""
        operator, warn = self.operator_box.currentData(), self.warn_check.isChecked()
        return DisplaySettings(operator, self.ev_slider.value(), self.gamma_slider.value(), warn)

    def set_settings(self, settings: DisplaySettings) -> None:
        """Show these settings without redrawing anything."""
        for slider, value in ((self.ev_slider, settings.ev), (self.gamma_slider, settings.gamma)):
            slider.blockSignals(True)
            slider.setValue(value)
            slider.blockSignals(False)
        self.operator_box.setCurrentIndex(self.operator_box.findData(settings.operator))
        self.warn_check.setChecked(settings.warn)

    def layer(self) -> Image | None:
        """The chosen HDR layer."""
        index = self.layer_box.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def choose(self, layer: Image) -> None:
        """Act on this layer from now on."""
        if layer in self._layers:
            self.layer_box.setCurrentIndex(self._layers.index(layer))

    def refresh(self) -> None:
        """The layer list changed."""
        chosen = self.layer()
        self._layers = [layer for layer in self._viewer.layers if is_hdr(layer)]
        for layer in set(self._layers).difference(self._with_thumbnail):
            self._with_thumbnail.add(layer)
            show_in_thumbnail(layer)
        self.layer_box.clear()
        self.layer_box.addItems([layer.name for layer in self._layers])
        if chosen is not None and chosen not in self._layers:
            chosen = find_whole(self._viewer, chosen)  # of a preview that was removed, the result
        if chosen in self._layers:
            self.choose(chosen)
        else:
            self.layer_box.setCurrentIndex(len(self._layers) - 1)
        self.setEnabled(bool(self._layers))

    def apply(self, create: bool = False, gamma_only: bool = False) -> None:
        """Draw the chosen layer and its tone-mapped view with the present settings; ``create`` adds a missing view."""
        layer, layers = self.layer(), self._viewer.layers
        if layer is None or layer not in layers:
            return
        view = Result.of_layer(self._viewer, layer).find("tone_mapped")
        if gamma_only and view is not None:
            set_view_gamma(view, self.settings())  # the shader does it: no pixel is computed anew
        elif create or view is not None:
            view = show_tone_mapped(self._viewer, layer, self.settings())
        if view is not None and view.visible and view.opacity == 1 and layers.index(view) > layers.index(layer):
            self._settled.start()  # drawing the layer below, which is not seen, would take twice as long
        else:
            set_display(layer, self.settings())

    def _settle(self) -> None:
        layer = self.layer()
        if layer is not None and layer in self._viewer.layers:
            set_display(layer, self.settings())

    def _reset(self) -> None:
        self.set_settings(DisplaySettings())
        self.apply()


def _slider(least: float, most: float, tip: str) -> QLabeledDoubleSlider:
    slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
    slider.setRange(least, most)
    slider.setSingleStep(0.1)  # type: ignore[arg-type]  # superqt's stub says int
    slider.setDecimals(1)
    slider.setToolTip(tip)
    return slider
