"""Before and after: the reference frame in the place of the result, at a click, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_afunet.choosing import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

__all__ = ["show_reference", "show_result", "toggle"]

_HIDDEN = "hidden_to_compare"


def toggle(viewer: ViewerModel) -> bool:
    """Switch between the result and the reference frame; whether the reference is shown now."""
    if any(layer.metadata.get(KEY, {}).get(_HIDDEN) for layer in viewer.layers):
        show_result(viewer)
        return False
    return show_reference(viewer)


def show_reference(viewer: ViewerModel) -> bool:
    """Hide everything above the frame the newest result was made from; whether there is one."""
    reference = _reference(viewer)
    if reference is None:
        return False
    for layer in viewer.layers[viewer.layers.index(reference) + 1 :]:
        if layer.visible:
            layer.metadata = {**layer.metadata, KEY: {**layer.metadata.get(KEY, {}), _HIDDEN: True}}
            layer.visible = False
    if not reference.visible:
        reference.visible = True
    return True


def show_result(viewer: ViewerModel) -> None:
    """Bring back what :func:`show_reference` hid."""
    for layer in viewer.layers:
        note = layer.metadata.get(KEY, {})
        if note.get(_HIDDEN):
            layer.metadata = {**layer.metadata, KEY: {k: v for k, v in note.items() if k != _HIDDEN}}
            layer.visible = True


def _reference(viewer: ViewerModel) -> Layer | None:
    """The layer of the frame to which the newest result is aligned, while it exists."""
    for layer in reversed(viewer.layers):
        note = layer.metadata.get(KEY, {})
        info = note.get("info") or {}
        if note.get("role") == "radiance" and "reference" in info:
            name = info["frames"][info["reference"]]
            if name in viewer.layers:
                return viewer.layers[name]
    return None
