"""Looking closer at a result: comparisons, maps, and the stages of the network."""

from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPushButton, QSpinBox, QWidget

from napari_afunet.display.compare import COMPARISONS, compare, newest_result, stop_comparing
from napari_afunet.jobs.controller import MergeController
from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.jobs.worker import run_in_background
from napari_afunet.layers.features import QUANTITIES, channel_count, quantity_values, show_values
from napari_afunet.layers.maps import LEGENDS, compute_map, hide_maps, remove_extra_layers, show_map
from napari_afunet.layers.result_layer import Result, base_name, move_to_front
from napari_afunet.layers.selection import KEY
from napari_afunet.panels.layout import fill_rows, make_box, make_button, make_label, reveal
from napari_afunet.region_tools import RegionTools

# value → what the user reads, tip, maps of which the first that there is is shown
_MAPS = {
    "ghost": ("Show ghosts", "Overlay where the frames disagree, because something moved.", ["ghost"]),
    "source": (
        "Show sources",
        "Overlay which frame each pixel came from, or how much the network decided.",
        ["source", "network"],
    ),
}


class ResultViews(QWidget):
    """The panel below a result: what is shown beside or over it."""

    def __init__(
        self,
        viewer: ViewerModel,
        controller: MergeController,
        merge_again: Callable[..., None],
        chosen_layer: Callable[[], Image | None],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._viewer, self._controller = viewer, controller
        self._merge_again, self._chosen_layer, self._tell = merge_again, chosen_layer, tell
        self._wish: tuple[str, int] | None = None
        self._after_merge: Callable[[], None] | None = None
        self.comparisons: dict[str, QPushButton] = {}
        self.maps: dict[str, QPushButton] = {}
        for name, (text, tip) in COMPARISONS.items():
            self.comparisons[name] = make_button(
                text, tip, lambda on, name=name: self.show_comparison(name if on else "")
            )
        for name, (text, tip, _) in _MAPS.items():
            self.maps[name] = make_button(text, tip, lambda on, name=name: self._on_map(name, on))
        shown = [*self.comparisons.values(), *self.maps.values()]
        for button in shown:
            button.setCheckable(True)
        self.regions = RegionTools(viewer, controller, self._uncovered)
        tip = "Remove previews, maps and stages, and hide regions; results and frames stay."
        self.tidy_button = make_button("Remove extra layers", tip, self._on_tidy)
        self.legend = make_label("Legend of the map")
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setVisible(False)
        tip = "What the layers 'stages' show of the network's features, along the stage slider."
        self.quantity_box, self.channel_box = make_box("Stages as", tip, QUANTITIES), QSpinBox()
        self.channel_box.setAccessibleName("Channel of the features")
        self.channel_box.setToolTip("Which channel of the features.")
        quantity = (QLabel("Stages as"), self.quantity_box, self.channel_box)
        self.other_label, self.of_last = make_label("Which result maps and regions are of"), QWidget()
        fill_rows(self.of_last, tuple(self.maps.values()), self.legend, self.regions, quantity)
        fill_rows(self, shown[:2], shown[2:4], self.other_label, self.of_last, self.tidy_button)
        self.quantity_box.activated.connect(self._on_features)
        self.channel_box.valueChanged.connect(self._on_features)
        controller.started.connect(lambda: self.show_comparison(""))
        controller.merged.connect(self._on_merged)
        controller.ended.connect(self._on_ended)
        self.refresh()

    @property
    def outcome(self) -> Outcome | None:
        """The last merge."""
        return self._controller.outcome

    def _on_merged(self, layers: dict[str, Image]) -> None:
        outcome = self.outcome
        if outcome is not None:
            self._offer(True, 0 if outcome.source.planes else channel_count(outcome))
            for button in self.maps:
                self.mark_map(button)

    def _on_ended(self, fraction: float, message: str) -> None:
        wish, self._after_merge = self._after_merge, None
        if wish is not None and fraction == 1.0:
            wish()

    def refresh(self) -> None:
        """Follow the layer list: offer comparisons where there is a result."""
        for button in self.comparisons.values():
            button.setEnabled(newest_result(self._viewer) is not None)
        self.regions.refresh()
        outcome, chosen = self.outcome, self._chosen_layer()
        if outcome is None:
            self._offer(False, 0)
        is_other = False
        if outcome is not None and chosen is not None:
            layers, name = chosen.metadata.get(KEY, {}).get("layers"), base_name(outcome.source.names)
            is_other = outcome.linear and layers != list(outcome.source.layers)
            text = f"Maps and regions are of the last merge, “{name}”: choose it under Display, or merge again."
            self.other_label.setText(text)
        self.other_label.setVisible(is_other)
        self.of_last.setEnabled(not is_other)

    def show_chosen(self) -> None:
        """Bring the layer just chosen under Display into view."""
        self.show_comparison("")
        if (layer := self._chosen_layer()) is not None:
            if self.outcome is not None:
                hide_maps(self._viewer, self.outcome, list(LEGENDS))
            for button in self.maps:
                self.mark_map(button)
            view = Result.of_layer(self._viewer, layer).find("tone_mapped")
            for each in (layer, view):
                if each is not None:
                    each.visible = True
                    move_to_front(self._viewer, each)
        self.refresh()

    def _offer(self, maps: bool, channels: int) -> None:
        """Offer the maps of a result, and the channels of its features, where there are any."""
        for button in self.maps.values():
            button.setEnabled(maps)
        self.quantity_box.setEnabled(channels > 0)
        self.quantity_box.setCurrentIndex(0)
        self.channel_box.blockSignals(True)
        self.channel_box.setRange(0, max(0, channels - 1))
        self.channel_box.blockSignals(False)
        self.channel_box.setVisible(False)

    def _uncovered(self) -> Outcome | None:
        """Return the last merge; a preview in front of it is removed, a comparison that shows it elsewhere is ended."""
        if self._viewer.canvas.grid.enabled:
            self.show_comparison("")
        if self.outcome is not self._controller.preview:
            self._controller.remove_preview()
        return self.outcome

    def _merge_for(self, show: Callable[[], None], **changes: Any) -> None:
        """Merge again for something that the last merge did not keep, and show it then."""
        if self._after_merge is not None or self.outcome is None:
            self._after_merge = None
            self._tell("This merge has no such picture.")
            return
        self._after_merge = show
        self._merge_again(**changes)

    def _on_tidy(self) -> None:
        self.show_comparison("")
        for button in self.maps:
            self.mark_map(button)
        self._controller.remove_preview()
        remove_extra_layers(self._viewer)

    def toggle_comparison(self, comparison: str) -> None:
        """Show a comparison, or return from it."""
        self.show_comparison("" if self.comparisons[comparison].isChecked() else comparison)

    def show_comparison(self, comparison: str) -> None:
        """Show a comparison by its name, or return to the usual view for an empty one."""
        stop_comparing(self._viewer)
        found = bool(comparison) and compare(self._viewer, comparison, self._chosen_layer())
        for name, button in self.comparisons.items():
            button.setChecked(found and name == comparison)
        if comparison == "stages" and not found and self.outcome is not None and "model" in self.outcome.info:
            self._merge_for(lambda: self.show_comparison(comparison), stages=True)
        elif comparison == "stages" and not found:
            self._tell("There are no stages: the method “AFUNet” or “Automatic” makes them.")
        elif comparison and not found:
            self._tell("There is nothing to compare yet: merge first, and keep the frames' layers.")

    def _on_map(self, button: str, wanted: bool) -> None:
        """Show a map over the result, or hide it; what the merge left nothing for is merged again with it."""
        outcome = self._uncovered() if wanted else self.outcome
        names = _MAPS[button][-1]
        if outcome is None or not wanted:
            if outcome is not None:
                hide_maps(self._viewer, outcome, names)
            self.mark_map(button)
            return
        known = {*outcome.maps, *(outcome.result.maps if outcome.result is not None else ())}
        name = next((each for each in names if each in known), button)

        def show(values: Any) -> None:
            if outcome is not self.outcome:
                return
            if values is not None:
                show_map(self._viewer, outcome, name, values)
                self.mark_map(button, name)
                return
            self.mark_map(button)
            if self._controller.run is None and name == button:
                stages = "model" in outcome.info and name == "source"
                self._merge_for(lambda: self._on_map(button, True), ghost_map=True, stages=stages)

        run_in_background(self, compute_map, outcome, name, done=show)

    def mark_map(self, button: str, name: str = "") -> None:
        """Mark a map as shown, with its legend; for an empty name none is."""
        self.maps[button].setChecked(bool(name))
        self.legend.setText(LEGENDS.get(name, ""))
        self.legend.setVisible(bool(name))
        if name:
            reveal(self.legend)

    def _on_features(self) -> None:
        """Compute in the background; of several wishes the last one counts."""
        outcome, quantity = self.outcome, self.quantity_box.currentData()
        self.channel_box.setVisible(quantity == "channel")
        if outcome is None:
            return
        self._wish = wish = (quantity, self.channel_box.value())

        def show(values: Any) -> None:
            if wish == self._wish and outcome is self.outcome:
                show_values(self._viewer, outcome, values)

        run_in_background(self, quantity_values, outcome, *wish, done=show)
