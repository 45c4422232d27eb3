"""Maps over a result, shown when they are asked for, and the tidying of all that was added to look closer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_afunet.jobs.merge_job import SOURCE_COLOURS, Outcome, map_picture
from napari_afunet.layers.result_layer import Result, move_to_front, provenance_of, remove_layers
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
