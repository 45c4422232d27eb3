"""One result layer: its name and place; found again and updated where it exists, added where it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.layers.selection import KEY
from napari_afunet.layers.source import Placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = [
    "ROLES",
    "base_name",
    "find_result",
    "link_display",
    "provenance_of",
    "put_layer",
    "result_name",
    "stage_placement",
]

# role → how the layer is called after the bracket's name
ROLES = {
    "radiance": "HDR",
    "tone_mapped": "tone mapped",
    "under": "stages · under",
    "reference": "stages · reference",
    "over": "stages · over",
    "decoded": "stages · HDR",
    "under values": "values · under",
    "reference values": "values · reference",
    "over values": "values · over",
    "ghost": "ghost map",
    "source": "source map",
    "network": "network's share",
}


def base_name(names: Sequence[str]) -> str:
    """Return the part that the frames' names share, or ``bracket``.

    Example:
        >>> base_name(["garage -2 EV", "garage 0 EV", "garage +2 EV"]), base_name(["a", "b", "c"])
        ('garage', 'bracket')
    """
    shortest, longest = min(names), max(names)  # what these two share, all names share
    same = takewhile(lambda pair: pair[0] == pair[1], zip(shortest, longest, strict=False))
    common = "".join(letter for letter, _ in same).rstrip(" _-+.[(0123456789")
    return common if len(common) > 1 else "bracket"


def result_name(outcome: Outcome) -> str:
    """Return the name that the layers of this outcome begin with."""
    return base_name(outcome.source.names) + (" preview" if outcome.source.window is not None else "")


def find_result(viewer: ViewerModel, name: str, role: str) -> Image | None:
    """The layer with this result of this bracket, if the user has not deleted it."""
    for layer in viewer.layers:
        note = layer.metadata.get(KEY)
        if isinstance(note, dict) and note.get("bracket") == name and note.get("role") == role:
            return layer
    return None


def put_layer(
    viewer: ViewerModel,
    name: str,
    role: str,
    data: Any,
    place: Placement,
    notes: dict[str, Any],
    *,
    rgb: bool = False,
    **options: Any,
) -> Image:
    """Update the layer's data, or add the layer. Never remove and add: in one turn of the event loop that crashes."""
    note = {"bracket": name, "role": role, **notes}
    layer = find_result(viewer, name, role)
    spatial = data.ndim - (1 if rgb else 0)
    if layer is not None and layer.rgb == rgb and layer.ndim == spatial:
        layer.data = data
        layer.scale, layer.translate = place.scale, place.translate
        layer.metadata = {**layer.metadata, KEY: note}
        if role not in ("radiance", "decoded", "tone_mapped") and "contrast_limits" in options:
            layer.contrast_limits = options["contrast_limits"]
        return layer
    if layer is not None:  # grey became colour, or a stack an image: keep the old one, it is no longer ours to update
        layer.metadata = {**layer.metadata, KEY: {**layer.metadata[KEY], "role": f"old {role}"}}
    with _undisturbed(viewer):
        return viewer.add_image(
            data,
            name=f"{name} {ROLES.get(role, role)}",
            rgb=rgb,
            scale=place.scale,
            translate=place.translate,
            units=place.units,
            axis_labels=place.axis_labels,
            metadata={KEY: note},
            **options,
        )


@contextmanager
def _undisturbed(viewer: ViewerModel) -> Iterator[None]:
    """Add a layer and leave the selection and the view as they are.

    napari selects every layer that is added, which costs a fifth of the adding, and shows the whole image again when
    the first layer with a further axis comes.
    """
    selection = viewer.layers.selection
    selected = set(selection)
    stay = viewer.dims.events.order.blocker(viewer.fit_to_view)
    with selection.events.blocker_all(), stay:  # nobody hears of a selection that is taken back
        yield
        selection.clear()
        selection.update(selected)


def link_display(viewer: ViewerModel, layers: Sequence[Image]) -> None:
    """From now on a change of one layer's limits or gamma is one of all."""
    if len(layers) > 1:
        viewer.layers.link_layers(layers, ("contrast_limits", "gamma"))


def stage_placement(outcome: Outcome, coarse: bool = False) -> Placement:
    """With a stage axis in front; features may be coarser than the image by the network's ``downscale``."""
    place = outcome.stage_placement
    config = (outcome.info.get("model") or {}).get("config") or {}
    factor = int(config.get("downscale", 1)) if coarse else 1
    scale = (1.0, *place.scale[:-2], *(value * factor for value in place.scale[-2:]))
    # The centre of the first coarse pixel lies (factor - 1) / 2 fine pixels inside the image.
    inner = (t + s * (factor - 1) / 2 for t, s in zip(place.translate[-2:], place.scale[-2:], strict=True))
    translate = (0.0, *place.translate[:-2], *inner)
    return Placement(scale, translate, ("pixel", *place.units), ("stage", *place.axis_labels))


def provenance_of(outcome: Outcome) -> dict[str, Any]:
    """Return the provenance that every layer of an outcome carries."""
    source = outcome.source
    return {
        "frames": list(source.names),
        "paths": list(source.paths),
        "layers": list(source.layers),
        "settings": vars(outcome.settings).copy(),
        "info": outcome.info,
        "preview": source.window is not None,
    }
