"""Maps and features of a result: layers that are shown when they are asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_afunet.jobs.merge_job import SIDES, SOURCE_COLOURS, Outcome, map_picture
from napari_afunet.layers.result_layer import (
    LINKED,
    Result,
    move_to_front,
    provenance_of,
    remove_layers,
    stage_placement,
)
from napari_afunet.layers.selection import KEY

_SOURCES = ("shorter frame", "reference", "longer frame", "the network's own picture")
# Map → what its colours mean, as rich text.
LEGENDS = {
    "ghost": "Bright: frames disagree; a plain weighted merge would show a ghost there.",
    "source": " ".join(
        f'<span style="color: rgb({", ".join(str(round(255 * value)) for value in colour)})">■</span> {name}'
        for colour, name in zip(SOURCE_COLOURS.tolist(), _SOURCES, strict=True)
    ),
    "network": "Bright: the network decided; dark: frames that agree were averaged.",
}

REGIONS = "regions"
_KEPT = ("radiance", "fused", "tone_mapped", REGIONS)
# value → what the user reads
QUANTITIES = {
    "rgb": "Colours (main components)",
    "energy": "Energy",
    "similarity": "Similarity to the reference",
    "movement": "Change since last stage",
    "channel": "A single channel",
}


def compute_map(outcome: Outcome, name: str) -> np.ndarray | None:
    """Return a map of a single image, or ``None`` where the merge left nothing to make it of; for the background."""
    if name in outcome.maps:
        return outcome.maps[name]
    result = outcome.result
    if outcome.source.planes or result is None or name not in result.maps:
        return None
    outcome.maps[name] = map_picture(name, np.asarray(result.maps[name], np.float32))
    return outcome.maps[name]


def map_options(values: np.ndarray, planes: int) -> dict[str, Any]:
    """Return how a map is shown: colours as they are, numbers with a colour map."""
    if values.ndim > planes + 2:
        return {"rgb": True, "opacity": 0.8}
    limits = (0.0, max(1.0, float(np.max(values, initial=0.0))))
    return {"colormap": "inferno", "contrast_limits": limits, "blending": "additive"}


def show_map(viewer: ViewerModel, outcome: Outcome, name: str, values: np.ndarray) -> Image:
    """Show a map above everything else, with a colour bar."""
    active = viewer.layers.selection.active
    options = map_options(values, len(outcome.source.planes))
    layer = Result.of_outcome(viewer, outcome).put(name, values, outcome.placement, provenance_of(outcome), **options)
    layer.visible = True
    move_to_front(viewer, layer)
    layer.colorbar.visible = not layer.rgb
    viewer.layers.selection.active = active
    return layer


def hide_maps(viewer: ViewerModel, outcome: Outcome, names: Sequence[str]) -> None:
    """Hide maps that were shown."""
    for name in names:
        if (layer := Result.of_outcome(viewer, outcome).find(name)) is not None:
            layer.visible = False


def remove_extra_layers(viewer: ViewerModel) -> None:
    """Remove previews, maps and stages, and hide regions: they are part of a result. Results and frames stay."""
    remove_layers(viewer, lambda note: note.get("role", _KEPT[0]) not in _KEPT or bool(note.get("preview")))
    for layer in viewer.layers:
        if layer.metadata.get(KEY, {}).get("role") == REGIONS:
            layer.visible = False


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
