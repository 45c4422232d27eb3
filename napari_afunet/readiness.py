"""Readiness of a bracket to be merged: forecast, warnings and likely values, as frames and settings change."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QLabel, QWidget

from afunet_core.errors import AFUNetError
from napari_afunet.jobs.devices import Devices, query_devices
from napari_afunet.jobs.forecast import forecast
from napari_afunet.jobs.prechecks import (
    AlignmentPrecheck,
    Request,
    bit_depth_hint,
    black_level_hint,
    bracket_warnings,
)
from napari_afunet.jobs.summary import in_widget_words
from napari_afunet.jobs.worker import run_in_background
from napari_afunet.layers.file_facts import layer_facts
from napari_afunet.layers.source import BracketSource
from napari_afunet.panels.bracket import BracketPanel
from napari_afunet.panels.controls import ControlsPanel
from napari_afunet.panels.settings import SettingsPanel
from napari_afunet.settings import MergeSettings

_OPENING = 200  # milliseconds that the panel has for itself before torch is loaded in the background


class Readiness(QObject):
    """Says below the Merge button what a merge would do, until it is done."""

    def __init__(
        self,
        bracket: BracketPanel,
        options: SettingsPanel,
        controls: ControlsPanel,
        is_running: Callable[[], bool],
        settings: Callable[[], MergeSettings],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._bracket, self._options, self._controls = bracket, options, controls
        self._is_running, self._settings = is_running, settings
        self._on_gpu = self._keeps_message = False
        self._adopted: set[str] = set()
        self.precheck = AlignmentPrecheck(self._request, parent)
        self.badge = QLabel("…")
        self.badge.setAccessibleName("Device")
        self.badge.setToolTip("Device that ‘auto’ uses on this computer.")
        bracket.changed.connect(self.update)
        bracket.frames_changed.connect(self._adopt_encoding)
        options.changed.connect(self.update)
        options.defaults_button.clicked.connect(self._take_stated_encoding)
        self.precheck.answered.connect(self._update_unless_kept)
        self._adopt_encoding()
        begin = QTimer(self)
        begin.setSingleShot(True)
        begin.timeout.connect(lambda: run_in_background(self, query_devices, done=self._on_devices))
        begin.start(_OPENING)

    def update(self) -> None:
        """Say it anew: frames or settings changed."""
        if not self._is_running():
            self._keeps_message = False
            status, warnings = self._forecast()
            self._controls.show_status(status)
            self._controls.show_warnings(warnings)
            self.precheck.schedule()

    def keep_message(self) -> None:
        """Leave what is said, of a merge that just ended or of a mistake, until the user changes something."""
        self._keeps_message = True

    def source(self) -> BracketSource:
        """Return the pixels, of the chosen channel."""
        return self._bracket.source().of_channel(self._options.settings().channel)

    def _update_unless_kept(self) -> None:
        if not self._keeps_message:
            self.update()

    def _on_devices(self, devices: Devices) -> None:
        self.badge.setText(devices.badge)
        self._on_gpu = devices.on_gpu
        self._options.blockSignals(True)  # names are spelled out, nothing changes
        self._options.set_devices(list(devices.names))
        self._options.set_models(list(devices.models), devices.default_model)
        self._options.blockSignals(False)
        self.precheck.begin()
        self._update_unless_kept()

    def _request(self) -> Request | None:
        """Return what would be merged now, for the alignment check."""
        if self._is_running() or self._bracket.problem():
            return None
        pixels = tuple((id(layer), id(layer.data)) for layer in self._bracket.layers())
        return pixels, self.source(), self._settings()

    def _forecast(self) -> tuple[str, list[str]]:
        """Return the forecast of a merge, or why there is none, and warnings; offer what the data suggest."""
        for name in self._options.hints:
            self._options.offer_hint(name, None, "")
        if problem := self._bracket.problem():
            return problem, []
        try:
            source, settings = self.source(), self._settings()
        except AFUNetError as error:
            return in_widget_words(str(error)), []
        if bits := bit_depth_hint(source, settings):
            self._options.offer_hint("bit_depth", bits, f"No value above {2**bits - 1}: use {bits} bit")
        if level := black_level_hint(source, settings):
            self._options.offer_hint("black_level", "auto", f"Darkest value is {level:.0f}: find the black level")
        on_gpu = self._on_gpu if settings.device == "auto" else settings.device != "cpu"
        warnings = [*bracket_warnings(source, settings), *self.precheck.warnings]
        if more := self._bracket.left_out:
            count = len(self._bracket.layers())
            advice = "Select others and press “Find again”."
            warnings.append(f"The last {count} of {count + more} layers are taken. {advice}")
        if names := self._bracket.passed_over:
            warnings.append(
                f"Not taken: {', '.join(names)}. All frames need one size, and all be colour or all be grey."
            )
        return f"Ready: {forecast(source, settings, on_gpu)}.", warnings

    def _adopt_encoding(self) -> None:
        """Take the encoding that newly chosen layers state; a choice of the user stays while one of its frames does."""
        layers = {str(layer.unique_id) for layer in self._bracket.layers()}
        if layers and not layers & self._adopted:
            self._take_stated_encoding()
        self._adopted = layers or self._adopted

    def _take_stated_encoding(self) -> None:
        stated = {layer_facts(layer).encoding for layer in self._bracket.layers()}
        encoding = stated.pop() if len(stated) == 1 else None
        if encoding in self._options.fields["encoding"].option.choices:
            self._options.choose("encoding", encoding)
