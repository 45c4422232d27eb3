"""The network's features stage by stage, as layers with numbers to read off."""

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_afunet.jobs.merge_job import SIDES, Outcome
from napari_afunet.layers.result_layer import LINKED, Result, provenance_of, stage_placement
from napari_afunet.layers.selection import KEY

# value → what the user reads
QUANTITIES = {
    "rgb": "Colours (main components)",
    "energy": "Energy",
    "similarity": "Similarity to the reference",
    "movement": "Change since last stage",
    "channel": "A single channel",
}


def channel_count(outcome: Outcome) -> int:
    """Channels of the features, 0 when they were not kept."""
    stages = outcome.result.stages if outcome.result is not None else None
    return int(stages[0].under.shape[1]) if stages else 0


def quantity_values(outcome: Outcome, quantity: str, channel: int = 0) -> dict[str, np.ndarray]:
    """Side → ``(stage, H, W)``; empty for the colours, which are there already. Takes seconds: for the background."""
    from afunet_core import inspection

    stages = outcome.result.stages if outcome.result is not None else None
    if not stages or quantity == "rgb":
        return {}
    if quantity == "channel":
        return {side: inspection.stage_channel(stages, side, channel) for side in SIDES}
    measure = getattr(inspection, f"stage_{quantity}")
    return {side: measure(stages, side) for side in SIDES}


def show_values(viewer: ViewerModel, outcome: Outcome, values: dict[str, np.ndarray]) -> list[Image]:
    """Show what :func:`quantity_values` returned in place of the stages' colours; without values these return.

    All sides share their contrast limits, now and when the user changes them, so that they can be compared by eye.
    """
    result, place = Result.of_outcome(viewer, outcome), stage_placement(outcome, coarse=True)
    shown: list[Image] = []
    active = viewer.layers.selection.active
    for side in SIDES:
        colours, numbers = result.find(side), result.find(f"{side} values")
        visible = any(layer is not None and layer.visible for layer in (colours, numbers))
        if values:
            options: dict[str, Any] = {
                "colormap": "viridis",
                "contrast_limits": _common_limits(values),
                "visible": visible,
            }
            added = numbers is None
            numbers = result.put(f"{side} values", values[side], place, provenance_of(outcome), **options)
            if added and colours is not None:  # where the colours are, not above the result
                viewer.layers.move(viewer.layers.index(numbers), viewer.layers.index(colours) + 1)
        if numbers is not None:
            numbers.metadata = {**numbers.metadata, KEY: {**numbers.metadata[KEY], "shown": bool(values)}}
        for layer, is_shown in ((colours, not values), (numbers, bool(values))):
            if layer is not None:
                layer.visible = visible and is_shown
                shown += [layer] * is_shown
    if values:
        viewer.layers.link_layers(shown, LINKED)
    viewer.layers.selection.active = active
    return shown


def _common_limits(values: dict[str, np.ndarray]) -> tuple[float, float]:
    low = min(float(each.min()) for each in values.values())
    high = max(float(np.percentile(each, 99.8)) for each in values.values())
    return (low, high) if high > low else (low, low + 1.0)
