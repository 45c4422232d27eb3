"""Controller of what is shown beside a result: comparisons, maps, features, and regions from other frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QWidget

from napari_afunet.display.compare import compare, has_result, stop_comparing
from napari_afunet.jobs.controller import MergeController
from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.jobs.worker import run_in_background
from napari_afunet.layers.features import channel_count, quantity_values, show_values
from napari_afunet.layers.overlays import (
    compute_map,
    draw_regions,
    find_regions,
    frame_ids,
    hide_map,
    outline_strokes,
    region_layer,
    remove_extra_layers,
    remove_last_region,
    show_map,
)
from napari_afunet.layers.result_layer import ResultId
from napari_afunet.layers.selection import MOST_FRAMES
from napari_afunet.panels.look_closer import ComparePanel, FeaturesPanel, LookCloserPanel

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

_FINISHED = ("added", "removed", "changed")
_REGION_DELAY = 250  # milliseconds without a change after which regions are taken


class ResultViews(QObject):
    """Answers the panels that look closer at the last result."""

    def __init__(
        self,
        viewer: ViewerModel,
        controller: MergeController,
        merge_again: Callable[..., None],
        chosen_layer: Callable[[], Image | None],
        tell: Callable[[str], None],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._controller = viewer, controller
        self._merge_again, self._chosen_layer, self._tell = merge_again, chosen_layer, tell
        self._wish: tuple[str, int] | None = None
        self._after_merge: tuple[str, str] | None = None
        self.compare, self.look_closer, self.features = ComparePanel(), LookCloserPanel(), FeaturesPanel()
        self._regions_timer = QTimer(self)
        self._regions_timer.setSingleShot(True)
        self._regions_timer.setInterval(_REGION_DELAY)
        self._regions_timer.timeout.connect(self._take_regions)
        self.compare.chosen.connect(self.show_comparison)
        self.features.chosen.connect(self._on_features)
        self.look_closer.map_wanted.connect(self._on_map)
        self.look_closer.regions_wanted.connect(self._on_draw)
        self.look_closer.undo_wanted.connect(self._on_undo)
        self.look_closer.tidy_wanted.connect(self._on_tidy)
        controller.started.connect(lambda: self.show_comparison(""))
        controller.merged.connect(self._on_merged)
        controller.ended.connect(self._on_ended)

    @property
    def outcome(self) -> Outcome | None:
        """The last merge."""
        return self._controller.outcome

    def _on_merged(self, layers: dict[str, Image]) -> None:
        outcome = self.outcome
        if outcome is None:
            return
        self.look_closer.set_frames(outcome.info.get("frames") or outcome.source.names, _no_regions(outcome))
        self.features.set_channels(0 if outcome.source.planes else channel_count(outcome))
        for button in self.look_closer.buttons:
            self.look_closer.show_map(button)

    def _on_ended(self, fraction: float, message: str) -> None:
        self._regions_timer.start()  # what was drawn while it ran
        wish, self._after_merge = self._after_merge, None
        if wish is None or fraction < 1.0:
            return
        kind, name = wish
        if kind == "map":
            self._on_map(name, True)
        else:
            self.show_comparison(name)

    def refresh(self) -> None:
        """Offer comparisons where there is a result."""
        self.compare.setEnabled(has_result(self._viewer))
        if self.outcome is None:
            self.look_closer.set_frames([])
            self.features.set_channels(0)

    def _uncovered(self) -> Outcome | None:
        """Return the last merge; a preview in front of it is removed, a comparison that shows it elsewhere is ended."""
        if self._viewer.canvas.grid.enabled:
            self.show_comparison("")
        if self.outcome is not self._controller.preview:
            self._controller.remove_preview()
        return self.outcome

    def toggle_comparison(self, comparison: str) -> None:
        """Show a comparison, or return from it."""
        self.show_comparison("" if self.compare.buttons[comparison].isChecked() else comparison)

    def show_comparison(self, comparison: str) -> None:
        """Show a comparison by its name, or return to the usual view for an empty one."""
        stop_comparing(self._viewer)
        found = bool(comparison) and compare(self._viewer, comparison, self._chosen_layer())
        self.compare.show_chosen(comparison if found else "")
        if comparison == "stages" and not found and self.outcome is not None and "model" in self.outcome.info:
            self._merge_for("compare", comparison, stages=True)
        elif comparison == "stages" and not found:
            self._tell("There are no stages: the method “AFUNet” or “Automatic” makes them.")
        elif comparison and not found:
            self._tell("There is nothing to compare yet: merge first, and keep the frames' layers.")

    def _on_map(self, button: str, wanted: bool) -> None:
        """Show a map over the result, or hide it; what the merge left nothing for is merged again with it."""
        outcome = self._uncovered() if wanted else self.outcome
        if outcome is None or not wanted:
            for name in ("network", button) if button == "source" else (button,):
                if outcome is not None:
                    hide_map(self._viewer, outcome, name)
            self.look_closer.show_map(button)
            return
        name = self._available_map(outcome, button)

        def show(values: Any) -> None:
            if outcome is not self.outcome:
                return
            if values is None:
                self.look_closer.show_map(button)
                if self._controller.worker is None and name == button:
                    self._merge_for("map", button, ghost_map=True, stages="model" in outcome.info and name == "source")
                return
            show_map(self._viewer, outcome, name, values)
            self.look_closer.show_map(button, name)

        run_in_background(self, compute_map, outcome, name, done=show)

    @staticmethod
    def _available_map(outcome: Outcome, button: str) -> str:
        """Return the map that answers a button: of the sources, the network's share where that is all there is."""
        known = {*outcome.maps, *(outcome.result.maps if outcome.result is not None else ())}
        return "network" if button == "source" and "source" not in known and "network" in known else button

    def _merge_for(self, kind: str, name: str, **changes: Any) -> None:
        """Merge again for something that the last merge did not keep, and show it then."""
        if self._after_merge is not None or self.outcome is None:
            self._after_merge = None
            self._tell("This merge has no such picture.")
            return
        self._after_merge = (kind, name)
        self._merge_again(**changes)

    def _on_draw(self, frame: int, tool: str) -> None:
        outcome = self._uncovered()
        if outcome is None or frame < 0:
            return
        layer = draw_regions(self._viewer, outcome, frame, tool)
        layer.events.data.disconnect(self._on_regions)
        layer.events.data.connect(self._on_regions)

    def _on_regions(self, event: Any) -> None:
        if event.action in _FINISHED:  # not while a shape is drawn
            self._regions_timer.start()

    def _on_undo(self) -> None:
        if self.outcome is not None and (layer := region_layer(self._viewer, self._result_id())) is not None:
            remove_last_region(layer)

    def _take_regions(self) -> None:
        outcome = self.outcome
        if outcome is None:
            return
        layer = region_layer(self._viewer, self._result_id())
        if layer is not None:
            outline_strokes(layer)
        regions = find_regions(layer, frame_ids(outcome))
        if regions == tuple(outcome.settings.regions):
            return
        if layer is not None and str(layer.mode).startswith("add"):
            layer.mode = "pan_zoom"  # one press of the button draws one region
        self._controller.retake(regions)

    def _result_id(self) -> ResultId:
        assert self.outcome is not None
        return ResultId.of_outcome(self.outcome)

    def drawn_regions(self, layers: Sequence[Image]) -> tuple[Any, ...]:
        """Return the regions drawn over the result of these frames, shortest exposure first."""
        ids = [str(layer.unique_id) for layer in layers] if len(layers) > 1 else list(map(str, range(MOST_FRAMES)))
        return find_regions(region_layer(self._viewer, ResultId.of_frames(layers)), ids)

    def _on_tidy(self) -> None:
        self.show_comparison("")
        for button in self.look_closer.buttons:
            self.look_closer.show_map(button)
        self._controller.remove_preview()
        remove_extra_layers(self._viewer)

    def _on_features(self, quantity: str, channel: int) -> None:
        """Compute in the background; of several wishes the last one counts."""
        outcome = self.outcome
        if outcome is None:
            return
        self._wish = wish = (quantity, channel)

        def show(values: Any) -> None:
            if wish == self._wish and outcome is self.outcome:
                show_values(self._viewer, outcome, values)

        run_in_background(self, quantity_values, outcome, quantity, channel, done=show)


def _no_regions(outcome: Outcome) -> str:
    """Return why no region of a result can be taken from another frame; nothing where one can."""
    if outcome.is_preview:
        return "Regions are taken in a result, not in a preview: press Merge."
    if outcome.source.planes and outcome.area:
        return "Regions are not taken in a stack that was cropped: set the border to be filled, and merge."
    return (
        "" if outcome.linear else "Regions are taken in light, and exposure fusion gives none: choose another method."
    )
