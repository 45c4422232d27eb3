"""Readiness of a bracket to be merged: forecast, warnings and likely values, as frames and settings change."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QLabel

from afunet_core.errors import AFUNetError
from napari_afunet.jobs.devices import Devices, query_devices
from napari_afunet.jobs.forecast import forecast
from napari_afunet.jobs.prechecks import alignment_warnings, bit_depth_hint, black_level_hint, bracket_warnings
from napari_afunet.jobs.summary import in_widget_words
from napari_afunet.jobs.worker import call_later, run_in_background
from napari_afunet.layers.file_facts import layer_facts
from napari_afunet.layers.source import BracketSource
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from napari_afunet.widget import MergeWidget

_OPENING = 200  # milliseconds that the panel has for itself before torch is loaded in the background
_RELEVANT = ("reference", "align", "method", "encoding", "bit_depth", "channel")  # to the alignment of frames
_DELAY = 400  # milliseconds without a change before the frames' alignment is looked at


class Readiness(QObject):
    """Says below the Merge button what a merge would do, until it is done."""

    def __init__(self, panel: MergeWidget) -> None:
        super().__init__(panel)
        self._panel, self._bracket, self._options, self._controls = panel, panel.bracket, panel.options, panel.controls
        self._on_gpu = self._keeps_message = False
        self._adopted: set[str] = set()
        self._alignment: list[str] = []  # warnings of frames that lie too far apart
        self._looked_at: Hashable = None
        self._stop = threading.Event()  # of the look at the alignment
        self.badge = QLabel("…")
        self.badge.setAccessibleName("Device")
        self.badge.setToolTip("Device that ‘auto’ uses on this computer.")
        self._bracket.changed.connect(self.update)
        self._bracket.frames_changed.connect(self._adopt_encoding)
        self._options.changed.connect(self.update)
        self._options.defaults_button.clicked.connect(self._take_stated_encoding)
        self._look = call_later(self, self._look_at_alignment, _DELAY)
        self.destroyed.connect(lambda *_: self._stop.set())
        self._adopt_encoding()
        call_later(self, lambda: run_in_background(self, query_devices, done=self._on_devices), _OPENING).start()

    def update(self) -> None:
        """Say it anew: frames or settings changed."""
        if not self._panel.is_running:
            self._keeps_message = False
            status, warnings = self._forecast()
            self._controls.show_status(status)
            self._controls.show_warnings(warnings)
            if self.badge.text() != "…":  # torch is loaded
                self._look.start()

    def update_unless_kept(self) -> None:
        """Say it anew, unless a message is to be left."""
        if not self._keeps_message:
            self.update()

    def keep_message(self) -> None:
        """Leave what is said, of a merge that just ended or of a mistake, until the user changes something."""
        self._keeps_message = True

    def stop(self) -> None:
        """Look at nothing more: a merge begins."""
        self._look.stop()
        self._stop.set()
        self._looked_at = None

    def source(self) -> BracketSource:
        """Return the pixels, of the chosen channel."""
        return self._bracket.source().of_channel(self._options.settings().channel)

    def _on_devices(self, devices: Devices) -> None:
        self.badge.setText(devices.badge)
        self._on_gpu = devices.on_gpu
        self._options.blockSignals(True)  # names are spelled out, nothing changes
        self._options.fields["device"].offer(devices.names)
        self._options.set_models(devices.models, devices.default_model)
        self._options.blockSignals(False)
        self._look.start()
        self.update_unless_kept()

    def _forecast(self) -> tuple[str, list[str]]:
        """Return the forecast of a merge, or why there is none, and warnings; offer what the data suggest."""
        for name in self._options.hints:
            self._options.offer_hint(name, None, "")
        request = self._request()
        if isinstance(request, str):
            return request, []
        source, settings = request
        if bits := bit_depth_hint(source, settings):
            self._options.offer_hint("bit_depth", bits, f"No value above {2**bits - 1}: use {bits} bit")
        if level := black_level_hint(source, settings):
            self._options.offer_hint("black_level", "auto", f"Darkest value is {level:.0f}: find the black level")
        on_gpu = self._on_gpu if settings.device == "auto" else settings.device != "cpu"
        warnings = [*bracket_warnings(source, settings), *self._alignment, *self._bracket.warnings()]
        return f"Ready: {forecast(source, settings, on_gpu)}.", warnings

    def _request(self) -> tuple[BracketSource, MergeSettings] | str:
        """Return what a merge begun now would be of, or why there is none."""
        try:
            return self._bracket.problem() or (self.source(), self._panel.settings())
        except AFUNetError as error:
            return in_widget_words(str(error))

    def _look_at_alignment(self) -> None:
        """Look in the background if the frames lie too far apart; what has been looked at is known."""
        if self._panel.is_running:
            return
        request, looked_at = self._request(), None
        if not isinstance(request, str):
            source, settings = request
            pixels = [(id(layer), id(layer.data)) for layer in self._bracket.layers()]
            relevant = [settings.ev or settings.times, *(getattr(settings, name) for name in _RELEVANT)]
            looked_at = *pixels, source.names, *relevant
        if looked_at == self._looked_at:
            return
        self._stop.set()
        self._stop = stop = threading.Event()
        self._looked_at = looked_at
        self._show_alignment([])

        def answer(warnings: list[str]) -> None:
            if not stop.is_set():
                self._show_alignment(warnings)

        if not isinstance(request, str):
            run_in_background(self, alignment_warnings, *request, stop.is_set, done=answer)

    def _show_alignment(self, warnings: list[str]) -> None:
        if warnings != self._alignment:
            self._alignment = warnings
            self.update_unless_kept()

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
