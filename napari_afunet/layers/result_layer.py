"""One result layer: its name and place; found again and updated where it exists, added where it does not."""

import re
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any, NamedTuple, Self

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.layers.selection import KEY
from napari_afunet.layers.source import Placement

LINKED = ("contrast_limits", "gamma")  # what layers that are looked at together share

# role → how the layer is called after the bracket's name
ROLES = {
    "radiance": "HDR",
    "fused": "exposure fusion",
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


_PREVIEW = ":preview"  # end of the key of a preview


class Result(NamedTuple):
    """Layers of one result in a viewer: ``key`` finds them again, ``name`` is what they are called after."""

    viewer: ViewerModel
    key: str
    name: str

    @classmethod
    def of_outcome(cls, viewer: ViewerModel, outcome: Outcome, name: str | None = None) -> Self:
        """Return the result of a merge: that of the layers it was made from, unless it was given a name."""
        if name is not None:
            return cls(viewer, f"name:{name}", name)
        names, ids = outcome.source.names, outcome.source.layers
        key = _layers_key(ids or names) + _PREVIEW * outcome.is_preview
        return cls(viewer, key, base_name(names) + " preview" * outcome.is_preview)

    @classmethod
    def of_frames(cls, viewer: ViewerModel, layers: Sequence[Image]) -> Self:
        """Return the result that these layers are merged to."""
        key = _layers_key([str(layer.unique_id) for layer in layers])
        return cls(viewer, key, base_name([layer.name for layer in layers]))

    @classmethod
    def of_layer(cls, viewer: ViewerModel, layer: Image) -> Self:
        """Return the result a layer belongs to; the views of any other layer are results, too."""
        note = layer.metadata.get(KEY, {})
        key, name = (note["key"], note["bracket"]) if "key" in note else (f"layer:{layer.unique_id}", layer.name)
        return cls(viewer, key, name)

    def find(self, role: str) -> Image | None:
        """Return the layer with this part of the result, if the user has not deleted it."""
        for layer in self.viewer.layers:
            note = layer.metadata.get(KEY)
            if isinstance(note, dict) and note.get("key") == self.key and note.get("role") == role:
                return layer
        return None

    def put(
        self, role: str, data: Any, place: Placement, notes: dict[str, Any], *, rgb: bool = False, **options: Any
    ) -> Image:
        """Update the layer's data, or add it. Never remove and add: in one turn of the event loop that crashes."""
        note = {"key": self.key, "bracket": self.name, "role": role, **notes}
        layer = self.find(role)
        if layer is not None and layer.rgb == rgb and layer.ndim == data.ndim - rgb:
            layer.data = data
            place.apply_to(layer)
            layer.metadata = {**layer.metadata, KEY: note}
            if role not in ("radiance", "decoded", "tone_mapped") and "contrast_limits" in options:
                layer.contrast_limits = options["contrast_limits"]
            return layer
        if layer is not None:  # grey became colour, or a stack an image: the old one is no longer ours to update
            layer.metadata = {**layer.metadata, KEY: {**layer.metadata[KEY], "role": f"old {role}"}}
        options |= {"name": f"{self.name} {ROLES.get(role, role)}", "rgb": rgb, "metadata": {KEY: note}}
        with _undisturbed(self.viewer):
            return self.viewer.add_image(data, **place.arguments(), **options)

    def remove(self, roles: Container[str] | None = None) -> None:
        """Remove the layers of these roles, by default all."""
        remove_layers(
            self.viewer,
            lambda note: note.get("key") == self.key and (roles is None or note.get("role") in roles),
        )


def _layers_key(identities: Sequence[str]) -> str:
    return "layers:" + "+".join(sorted(set(identities)))


def base_name(names: Sequence[str]) -> str:
    """Return a name for all frames: what their names share, or the first and last number of a camera's counter.

    Example:
        >>> base_name(["garage -2 EV", "garage 0 EV", "garage +2 EV"]), base_name(["IMG_0960", "IMG_0959", "IMG_0961"])
        ('garage', 'IMG_0959-0961')
    """
    if not names:
        return "bracket"
    shortest, longest = min(names), max(names)  # what these two share, all names share
    same = takewhile(lambda pair: pair[0] == pair[1], zip(shortest, longest, strict=False))
    common = "".join(letter for letter, _ in same)
    counters = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    if all(counters) and len({(match[1], len(match[2])) for match in counters if match}) == 1:
        return f"{shortest}-{longest[len(counters[0][1]) :]}"  # type: ignore[index]
    common = common.rstrip(" _-+.[(0123456789")
    return common if len(common) > 1 else "bracket"


def find_whole(viewer: ViewerModel, layer: Image) -> Image | None:
    """Return the layer itself; of a preview the same layer of the result of these frames, if there is one."""
    result = Result.of_layer(viewer, layer)
    if not result.key.endswith(_PREVIEW):
        return layer
    return result._replace(key=result.key.removesuffix(_PREVIEW)).find(layer.metadata[KEY]["role"])


def remove_layers(viewer: ViewerModel, is_unwanted: Callable[[dict[str, Any]], bool]) -> None:
    """Remove the layers of which our notes say that they are unwanted."""
    for layer in list(viewer.layers):
        if is_unwanted(layer.metadata.get(KEY, {})):
            viewer.layers.remove(layer)


def move_to_front(viewer: ViewerModel, *layers: Layer) -> None:
    """Put layers above all others, visible or not, where they were not deleted meanwhile."""
    for layer in layers:
        if layer in viewer.layers and layer is not viewer.layers[-1]:
            viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))


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


def stage_placement(outcome: Outcome, coarse: bool = False) -> Placement:
    """Return the place with a stage axis in front; features may be coarser than the image, by ``downscale``."""
    place = outcome.placement
    config = (outcome.info.get("model") or {}).get("config") or {}
    factor = int(config.get("downscale", 1)) if coarse else 1
    if factor > 1:  # the centre of the first coarse pixel lies (factor - 1) / 2 fine pixels inside the image
        place = place.sampled([(factor - 1) / 2] * 2, [factor] * 2)
    return place.with_first("stage")


def provenance_of(outcome: Outcome) -> dict[str, Any]:
    """Return the provenance that every layer of an outcome carries."""
    source = outcome.source
    return {
        "frames": list(source.names),
        "paths": list(source.paths),
        "layers": list(source.layers),
        "settings": vars(outcome.settings).copy(),
        "info": outcome.info,
        "preview": outcome.is_preview,
    }
