"""The dock widget: it puts the panels together, and hands what they say to the controller. It computes nothing."""

from functools import partial
from typing import Any

from napari.layers import Image
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from afunet_core.errors import AFUNetError
from napari_afunet.api import as_script
from napari_afunet.display.tone_view import is_hdr
from napari_afunet.jobs.controller import MergeController
from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.jobs.prechecks import estimate_exposures
from napari_afunet.jobs.summary import in_widget_words
from napari_afunet.jobs.worker import call_later, find_brackets, run_in_background
from napari_afunet.layers.result_layer import find_whole
from napari_afunet.layers.source import BracketSource
from napari_afunet.panels.batch import BatchPanel
from napari_afunet.panels.bracket import BracketPanel
from napari_afunet.panels.controls import IDLE, ControlsPanel
from napari_afunet.panels.display import DisplayPanel
from napari_afunet.panels.frame_table import EV
from napari_afunet.panels.layout import fill_column, make_button
from napari_afunet.panels.save import SaveButton
from napari_afunet.panels.settings import SettingsPanel
from napari_afunet.readers import dropped_frames, open_frames
from napari_afunet.readiness import Readiness
from napari_afunet.result_views import ResultViews
from napari_afunet.settings import MergeSettings

# Merge and compare, as the manifest has them: napari 0.9 does not bind those of plugins.
KEYS = ("Control-Shift-M", "Control-Shift-R")


class MergeWidget(QWidget):
    """Merge the frames of a bracket into one HDR image."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        events = napari_viewer.layers.events
        self._layer_events = events.inserted, events.removed, events.renamed
        self._fused: Image | None = None
        self.display = DisplayPanel(napari_viewer)
        self.controller = MergeController(napari_viewer, self.display.settings, self)
        self.bracket = BracketPanel(napari_viewer)
        self.options = SettingsPanel(MergeSettings.from_preferences())
        self.save_button = SaveButton(self._layer_to_save, self.display.settings)
        self.controls = ControlsPanel(self.save_button)
        self.views = ResultViews(napari_viewer, self.controller, self.merge, self.display.layer, self._tell)
        self.batch = BatchPanel(self.find_brackets, self._open, self.merge_folders)
        tip = "Python that repeats this merge, for a script, a notebook or the console."
        self.script_button = make_button("Copy as script", tip, self.copy_script)
        self.readiness = Readiness(self)
        self.setAcceptDrops(True)
        fill_column(
            self,
            ("Exposure bracket", [self.bracket]),
            ("Merging", [self.options]),
            self.controls,
            ("Display", [self.display]),
            ("Compare and look closer", [self.views]),
            ("", [self.script_button, self.batch.button]),
            self.batch,
            self.readiness.badge,
        )
        # In a turn of its own: layers may just be coming or going.
        self._preview_check = call_later(self, self._remove_outdated_preview)
        self._connect()
        self._on_layers()
        self.readiness.update()

    def _connect(self) -> None:
        button = self.controls.merge_button
        button.clicked.connect(lambda: self.merge() if button.text() == IDLE else self.cancel())
        self.controls.preview_button.clicked.connect(self.preview)
        self.save_button.told.connect(self.controls.show_status)
        self.save_button.failed.connect(self._tell)
        self.controller.started.connect(self._on_started)
        self.controller.progressed.connect(self.controls.show_progress)
        self.controller.merged.connect(self._on_merged)
        self.controller.retaking.connect(self.controls.show_running)
        self.controller.summarised.connect(self.controls.show_summary)
        self.controller.ended.connect(self._on_ended)
        self.controller.bracket_done.connect(self.batch.show_done)
        self.bracket.open_button.clicked.connect(self.open_frames)
        self.bracket.estimate_button.clicked.connect(self._on_estimate)
        self.display.layer_box.activated.connect(self._on_display_chosen)
        for signal in (self.bracket.changed, self.options.changed, self.controller.ended):
            signal.connect(lambda: self._preview_check.start())
        for event in self._layer_events:
            event.connect(self._on_layers)
        # By the viewer they work wherever the focus is, and should napari bind the manifest's, those come first.
        for key, action in zip(KEYS, (self.merge, partial(self.views.toggle_comparison, "reference")), strict=True):
            self._viewer.bind_key(key, lambda viewer, action=action: action(), overwrite=True)

    def changeEvent(self, event: QEvent) -> None:
        """Follow the panel into its dock; stop when it is closed: napari then takes it out of its dock."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            self.window().installEventFilter(self)
            if self.parent() is None:
                self._abandon()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stop when the window is closed, unless the user takes that back."""
        if event.type() == QEvent.Type.Close:
            QTimer.singleShot(0, self._on_window_closed)
        return super().eventFilter(watched, event)

    def _on_window_closed(self) -> None:
        if not self.window().isVisible():
            self._abandon()

    def _abandon(self) -> None:
        """Stop what runs, and listen to the viewer no longer."""
        self.readiness.stop()
        self.controller.abandon()
        for event in self._layer_events:
            event.disconnect(self._on_layers)
        for key in KEYS:
            self._viewer.bind_key(key, None)

    @property
    def is_running(self) -> bool:
        """True while a merge or a batch runs."""
        return self.controller.run is not None

    @property
    def outcome(self) -> Outcome | None:
        """The last merge."""
        return self.controller.outcome

    def settings(self) -> MergeSettings:
        """Return the settings shown now, exposures and regions included."""
        ev, times = self.bracket.exposures()
        settings = self.options.settings().replace(ev=ev, times=times, reference=self.bracket.reference())
        return settings.replace(regions=self.views.regions.drawn(self.bracket.layers()))

    def merge(self, **changes: Any) -> None:
        """Start merging, with changes of the settings; what is wrong with them becomes a notification."""
        source = self._source()
        if source is not None:
            self.controller.merge(source, self.settings().replace(**changes))

    def preview(self) -> None:
        """Merge what the canvas shows, fast."""
        source = self._source()
        if source is not None:
            layers = self.bracket.layers()
            seen = source.seen(self._viewer, layers[len(layers) // 2])
            self.controller.merge(seen, self._preview_settings())

    def _preview_settings(self) -> MergeSettings:
        return self.settings().replace(stages=False, ghost_map=False, regions=())

    def _remove_outdated_preview(self) -> None:
        """Remove a preview that other frames or settings made than those chosen now."""
        preview = self.controller.preview
        if preview is None or self.is_running:
            return
        layers = {str(layer.unique_id) for layer in self.bracket.layers()}
        try:
            is_current = layers == set(preview.source.layers) and self._preview_settings() == preview.settings
        except AFUNetError:
            is_current = False
        if not is_current:
            self.controller.remove_preview()

    def merge_folders(self, root: str, output: str, group: bool = False) -> None:
        """Merge the bracket folders at or below ``root``, or with ``group`` the brackets among its pictures."""
        if not self.is_running:
            self.controller.merge_folders(root, output, self.settings(), group)
            self.batch.show_running(output)

    def find_brackets(self, root: str, group: bool = False) -> None:
        """List the brackets that a batch would merge."""
        self.controls.show_status("Looking for brackets …")

        def answer(found: list[Any] | Exception) -> None:
            self.readiness.update()
            if isinstance(found, Exception):
                self._tell(found)
            else:
                self.batch.show_found(root, group, found)

        run_in_background(self, find_brackets, root, self.options.settings(), group, done=answer, failed=answer)

    def cancel(self) -> None:
        """Ask what runs to stop; it does within a second."""
        if self.is_running or self.controller.is_retaking_plane:
            self.controls.show_cancelling()
            self.controller.cancel()

    def _source(self) -> BracketSource | None:
        """Return the pixels, or notify why there are none."""
        if self.is_running:
            return None
        if problem := self.bracket.problem():
            self.controls.show_status("")
            self._tell(problem, notify=False)
            return None
        try:
            self.settings()
            return self.readiness.source()
        except AFUNetError as error:
            self._tell(error)
            return None

    def _tell(self, problem: Exception | str, notify: bool = True) -> None:
        """Say what went wrong, in the panel, where it stays, and as a notification."""
        text = in_widget_words(str(problem))
        self.controls.show_warnings([text])
        self.readiness.keep_message()
        if notify:
            show_error(text)

    def _on_started(self) -> None:
        self.readiness.stop()
        self.batch.show_running()
        self.controls.show_summary("", [])
        self.controls.show_running()

    def _on_merged(self, layers: dict[str, Image]) -> None:
        self.display.refresh()
        self.display.choose(layers["radiance"])
        self._fused = None if is_hdr(layers["radiance"]) else layers["radiance"]
        self.views.refresh()

    def _on_ended(self, fraction: float, message: str) -> None:
        self.batch.show_idle()
        self.readiness.keep_message()
        self.controls.show_idle(fraction, message)
        self._show_save_button()

    def _layer_to_save(self) -> Image | None:
        """Return the picture of an exposure fusion that was just made, else the chosen HDR layer, never a preview."""
        is_fused = self._fused is not None and self._fused in self._viewer.layers
        chosen = self._fused if is_fused else self.display.layer()
        return None if chosen is None else find_whole(self._viewer, chosen)

    def _on_display_chosen(self) -> None:
        self._fused = None
        self._show_save_button()
        self.views.show_chosen()

    def _show_save_button(self) -> None:
        self.save_button.setEnabled(self._layer_to_save() is not None and not self.is_running)

    def open_frames(self) -> None:
        """Let the user choose the picture files of a bracket."""
        from afunet_core.io.formats import READABLE

        patterns = " ".join(f"*{suffix}" for suffix in sorted(READABLE))
        paths, _ = QFileDialog.getOpenFileNames(self, "Frames of one bracket", "", f"Pictures ({patterns})")
        if paths:
            self._open(paths)

    def _open(self, paths: list[str]) -> None:
        try:
            self.bracket.set_layers(open_frames(self._viewer, paths))
        except AFUNetError as error:
            self._tell(error)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take the picture files of a bracket, and nothing else."""
        if dropped_frames(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the dropped files as the bracket."""
        event.acceptProposedAction()
        self._open(dropped_frames(event.mimeData()))

    def _on_estimate(self) -> None:
        try:
            ev = estimate_exposures(self.bracket.source(), self.options.settings())
            self.bracket.table.type_values(ev, EV)
        except AFUNetError as error:
            self._tell(error)

    def copy_script(self) -> str:
        """Put Python for this merge on the clipboard, and return it."""
        try:
            source, settings = self.bracket.source(), self.settings()
        except AFUNetError as error:
            self._tell(error)
            return ""
        script = as_script(source, [layer.name for layer in self.bracket.layers()], settings)
        QApplication.clipboard().setText(script)
        self.controls.show_status("The script is on the clipboard.")
        return script

    def _on_layers(self, event: Any = None) -> None:
        self.bracket.refresh()
        self.display.refresh()
        self.views.refresh()
        self._show_save_button()
