"""The dock widget: it puts the panels together, and hands what they say to a run. It computes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QApplication, QLabel, QPushButton, QWidget

from afunet_core.errors import AFUNetError
from napari_afunet.api import as_script
from napari_afunet.display.compare import compare, stop_comparing
from napari_afunet.dropped_files import NewFilesDetector, dropped_frames, open_frames
from napari_afunet.jobs.alignment_check import AlignmentPrecheck, Request
from napari_afunet.jobs.controller import MergeController
from napari_afunet.jobs.devices import Devices, query_devices
from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.jobs.prechecks import bracket_warnings, estimated_seconds
from napari_afunet.jobs.worker import MergeWorker
from napari_afunet.layers.features import channel_count, quantity_values, show_values
from napari_afunet.layers.file_facts import layer_facts
from napari_afunet.layers.preview import visible_part
from napari_afunet.layers.source import BracketSource
from napari_afunet.panels.batch import BatchButton
from napari_afunet.panels.bracket import BracketPanel
from napari_afunet.panels.compare import ComparePanel
from napari_afunet.panels.controls import ControlsPanel
from napari_afunet.panels.display import DisplayPanel
from napari_afunet.panels.features import FeaturesPanel
from napari_afunet.panels.layout import fill_column
from napari_afunet.panels.settings import SettingsPanel
from napari_afunet.panels.suggestion import BracketSuggestion
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer
    from qtpy.QtGui import QDragEnterEvent, QDropEvent

__all__ = ["MergeWidget"]


class MergeWidget(QWidget):
    """Merge the frames of a bracket into one HDR image.

    Attributes:
        controller: the merges, and the signals they send.
        suggestion: frames that came together and are not chosen.
        bracket: the frames and their exposures.
        options: everything else that decides the result.
        controls: the buttons, the progress bar and the status line.
        display: how HDR layers look.
        compare: the result beside what it was made from.
        features: what the stages' layers show.
    """

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self.controller = MergeController(napari_viewer, self)
        self._wish: tuple[str, int] | None = None
        self._precheck = AlignmentPrecheck(self._request, self)
        self._new_files = NewFilesDetector(napari_viewer, self)
        self.suggestion = BracketSuggestion()
        self.bracket = BracketPanel(napari_viewer)
        self.options = SettingsPanel(MergeSettings.from_preferences())
        self.controls = ControlsPanel()
        self.display = DisplayPanel(napari_viewer)
        self.features = FeaturesPanel()
        self.compare = ComparePanel()
        self.batch_button = BatchButton()
        self.script_button = QPushButton("Copy as script")
        self.script_button.setToolTip("Python that repeats this merge, for a script, a notebook or the console.")
        self.badge_label = QLabel("…")
        self.badge_label.setToolTip("What ‘auto’ uses on this computer.")
        self.setAcceptDrops(True)
        fill_column(
            self,
            ("Exposure bracket", [self.suggestion, self.bracket]),
            ("Merging", [self.options]),
            self.controls,
            ("Display", [self.display]),
            ("Compare and inspect", [self.compare, self.features]),
            ("", [self.script_button, self.batch_button]),
            self.badge_label,
        )
        self._connect()
        self._adopt_encoding()
        self._update()

    def _connect(self) -> None:
        self.controls.merge_wanted.connect(self.merge)
        self.controls.preview_wanted.connect(self.preview)
        self.controls.cancel_wanted.connect(self.cancel)
        self._precheck.answered.connect(self._update)
        self.controller.started.connect(self._on_started)
        self.controller.progressed.connect(self.controls.show_progress)
        self.controller.merged.connect(self._on_merged)
        self.controller.ended.connect(self._on_ended)
        self.compare.chosen.connect(self._on_compare)
        self.script_button.clicked.connect(self.copy_script)
        self.batch_button.wanted.connect(self.merge_folders)
        self.features.chosen.connect(self._on_inspect)
        self._new_files.bracket.connect(self._on_arrival)
        self.suggestion.taken.connect(self.bracket.set_layers)
        self.bracket.changed.connect(self._update)
        self.bracket.frames_changed.connect(self._adopt_encoding)
        self.options.changed.connect(self._update)
        self._viewer.layers.events.inserted.connect(self._on_inserted)
        self._viewer.layers.events.removed.connect(self._on_layers)
        for follow in (self.bracket.show_names, self.display.refresh):
            self._viewer.layers.events.renamed.connect(follow)
        create_worker(query_devices, _connect={"returned": self._on_devices}, _ignore_errors=True)

    # -------------------------------------------------------------------------------------------- merging

    @property
    def worker(self) -> MergeWorker | None:
        """The merge or batch under way."""
        return self.controller.worker

    @property
    def outcome(self) -> Outcome | None:
        """Of the last merge."""
        return self.controller.outcome

    def settings(self) -> MergeSettings:
        """Return the settings shown now, exposures included."""
        ev, times = self.bracket.exposures()
        return self.options.settings().replace(ev=ev, times=times, reference=self.bracket.reference())

    def merge(self) -> None:
        """Start merging; what is wrong with the settings becomes a notification."""
        source = self._source()
        if source is not None:
            self.controller.merge(source, self.settings(), self.display.settings())

    def preview(self) -> None:
        """Merge what the canvas shows, fast."""
        source = self._source()
        if source is not None:
            layers = self.bracket.layers()
            part = visible_part(self._viewer, layers[len(layers) // 2], source)
            fast = self.settings().replace(stages=False, ghost_map=False)
            self.controller.merge(part, fast, self.display.settings())

    def merge_folders(self, root: str, output: str, group: bool = False) -> None:
        """Merge every bracket folder at or below ``root`` into OpenEXR files in ``output``.

        Args:
            root: folder with bracket folders, or, with ``group``, with pictures among which brackets are found.
            output: folder of the results.
            group: find brackets by the time and the exposure in the pictures' metadata.
        """
        if self.worker is None:
            self.controller.merge_folders(root, output, self.settings(), group)

    def cancel(self) -> None:
        """Ask what runs to stop; it does within a second."""
        if self.worker is not None:
            self.controls.show_cancelling()
            self.controller.cancel()

    def _source(self) -> BracketSource | None:
        """The pixels, or a notification about why there are none."""
        if self.worker is not None:
            return None
        problem = self.bracket.problem()
        if problem:
            show_warning(problem)
            return None
        try:
            return self._chosen_source()
        except AFUNetError as error:
            show_error(str(error))
            return None

    def _chosen_source(self) -> BracketSource:
        return self.bracket.source().of_channel(self.options.settings().channel)

    def _on_started(self) -> None:
        self._on_compare("")
        self._precheck.stop()
        self.batch_button.setEnabled(False)
        self.controls.show_running()

    def _on_merged(self, layers: dict[str, Image]) -> None:
        self.display.refresh()
        self.display.choose(layers["radiance"])
        outcome = self.outcome
        self.features.set_channels(0 if outcome is None or outcome.source.planes else channel_count(outcome))

    def _on_ended(self, fraction: float, message: str) -> None:
        self.batch_button.setEnabled(True)
        self.controls.show_idle(fraction, message)

    # -------------------------------------------------------------------------------------------- around it

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take the picture files of a bracket, and nothing else."""
        if dropped_frames(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the dropped files as the bracket."""
        event.acceptProposedAction()
        try:
            self.bracket.set_layers(open_frames(self._viewer, dropped_frames(event.mimeData())))
        except AFUNetError as error:
            show_error(str(error))

    def copy_script(self) -> str:
        """Put Python for this merge on the clipboard, and return it."""
        try:
            source = self.bracket.source()
        except AFUNetError as error:
            show_error(str(error))
            return ""
        script = as_script(source, [layer.name for layer in self.bracket.layers()], self.settings())
        QApplication.clipboard().setText(script)
        show_info("The script is on the clipboard.")
        return script

    def _on_compare(self, comparison: str) -> None:
        stop_comparing(self._viewer)
        found = bool(comparison) and compare(self._viewer, comparison)
        self.compare.show_chosen(comparison if found else "")
        if comparison == "stages" and not found:
            show_info("There are no stages to compare: merge with “Alignment stages” ticked, by the network.")
        elif comparison and not found:
            show_info("There is nothing to compare yet: merge first, and keep the frames' layers.")

    def _on_inspect(self, quantity: str, channel: int) -> None:
        """Compute in the background, then show one layer at a time; of several wishes the last one counts."""
        outcome = self.outcome
        if outcome is None:
            return
        self._wish = wish = (quantity, channel)

        def show(values: Any) -> None:
            if wish == self._wish and outcome is self.outcome:
                show_values(self._viewer, outcome, values)

        create_worker(quantity_values, outcome, quantity, channel, _connect={"returned": show})

    def _on_devices(self, devices: Devices) -> None:
        self.badge_label.setText(devices.badge)
        self.options.set_devices(list(devices.names))
        self.options.set_models(list(devices.models))
        self._precheck.begin()

    def _on_arrival(self, layers: list[Image]) -> None:
        """Frames were opened together: offer them, unless they are the bracket already."""
        if set(layers) != set(self.bracket.layers()):
            self.suggestion.suggest(layers)

    def _on_inserted(self, event: Any) -> None:
        self._new_files.note(event.value)
        self._on_layers()

    def _on_layers(self) -> None:
        if not all(layer in self._viewer.layers for layer in self.suggestion.layers):
            self.suggestion.withdraw()
        self.bracket.refresh()
        self.display.refresh()

    def _adopt_encoding(self) -> None:
        """Take the encoding that the chosen layers state about themselves."""
        stated = {layer_facts(layer).encoding for layer in self.bracket.layers()}
        encoding = stated.pop() if len(stated) == 1 else None
        if encoding in self.options.fields["encoding"].option.choices:
            self.options.choose("encoding", encoding)

    def _update(self) -> None:
        if self.suggestion.layers and set(self.suggestion.layers) == set(self.bracket.layers()):
            self.suggestion.withdraw()
        if self.worker is None:
            self.controls.say(self.bracket.problem() or self._forecast())
            self._precheck.schedule()

    def _request(self) -> Request | None:
        """Return what would be merged now, for the alignment check."""
        if self.worker is not None or self.bracket.problem():
            return None
        pixels = tuple((id(layer), id(layer.data)) for layer in self.bracket.layers())
        return pixels, self._chosen_source(), self.settings()

    def _forecast(self) -> str:
        """Return the warnings before a merge, and the time it takes where that is known."""
        try:
            source = self._chosen_source()
        except AFUNetError as error:
            return str(error)
        settings = self.settings()
        seconds = estimated_seconds(source, settings)
        ready = "Ready." if seconds is None else f"Ready: about {max(1, round(seconds))} s."
        warnings = [*bracket_warnings(source, settings), *self._precheck.warnings]
        return "\n".join([ready, *(f"⚠ {warning}" for warning in warnings)])
