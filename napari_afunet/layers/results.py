"""The layers of a merge: added, or updated where they exist; and the tone-mapped view of an HDR layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_afunet.display.tone_view import (
    SCREEN_GAMMA,
    DisplaySettings,
    base_exposure,
    display_options,
    reference_exposure,
    render,
    set_display,
    unit_exposure,
)
from napari_afunet.jobs.merge_job import SIDES, Outcome
from napari_afunet.layers.overlays import map_options
from napari_afunet.layers.result_layer import (
    ROLES,
    ResultId,
    bring_to_front,
    find_result,
    link_display,
    move_to_front,
    provenance_of,
    put_layer,
    stage_placement,
)
from napari_afunet.layers.selection import KEY
from napari_afunet.layers.source import Placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["add_result_layers", "remove_preview", "set_view_gamma", "show_tone_mapped"]


def add_result_layers(
    viewer: ViewerModel,
    outcome: Outcome,
    display: DisplaySettings,
    name: str | None = None,
    *,
    in_front: bool = True,
) -> dict[str, Image]:
    """Add the results to the viewer, or update those of an earlier run on the same bracket.

    Args:
        viewer: of the frames.
        outcome: of a merge.
        display: how the light is shown.
        name: of the result; from the frames' names by default.
        in_front: bring the result into view; else update what there is, where it is.

    Returns:
        role → layer, for the roles of :data:`~napari_afunet.layers.result_layer.ROLES` that this outcome has, and any
        map the core reports.
    """
    result = ResultId.of_outcome(outcome, name)
    layers: dict[str, Image] = {}
    _add_radiance(viewer, outcome, display, result, layers)
    if not in_front:
        return layers
    shown = [layers[role] for role in ("radiance", "tone_mapped") if role in layers]
    for layer in shown:
        bring_to_front(viewer, layer)
    if outcome.stages:
        _add_stages(viewer, outcome, display, result, layers)
    _add_maps(viewer, outcome, result, layers)
    _remove_stale(viewer, result, layers)
    for layer in layers.values():  # above the result: whoever makes one of them visible sees it
        if layer not in shown:
            move_to_front(viewer, layer)
    if not outcome.is_preview:  # what is selected is what napari's own menu saves
        viewer.layers.selection.active = shown[-1]
    return layers


def _remove_stale(viewer: ViewerModel, result: ResultId, layers: dict[str, Image]) -> None:
    """Remove maps and stages of an earlier merge that this one did not make anew: they would show another merge."""
    stale = set(ROLES).difference(layers, ("radiance", "fused", "tone_mapped"))
    for layer in list(viewer.layers):
        note = layer.metadata.get(KEY, {})
        if note.get("key") == result.key and note.get("role") in stale:
            viewer.layers.remove(layer)


def remove_preview(viewer: ViewerModel, outcome: Outcome) -> None:
    """Remove the layers of a preview."""
    key = ResultId.of_outcome(outcome).key
    for layer in [layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("key") == key]:
        viewer.layers.remove(layer)


def _add_maps(viewer: ViewerModel, outcome: Outcome, result: ResultId, layers: dict[str, Image]) -> None:
    for role, values in outcome.maps.items():
        options = {"visible": False, **map_options(values, len(outcome.source.planes))}
        layers[role] = put_layer(viewer, result, role, values, outcome.placement, provenance_of(outcome), **options)


def _add_stages(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, result: ResultId, layers: dict[str, Image]
) -> None:
    notes, place = provenance_of(outcome), stage_placement(outcome, coarse=True)
    for side in SIDES:
        layers[side] = put_layer(viewer, result, side, outcome.stages[side], place, notes, rgb=True, visible=False)
    values, options = outcome.stages["decoded"], {**_light(outcome, display), "visible": False}
    place = stage_placement(outcome)
    layers["decoded"] = put_layer(viewer, result, "decoded", values, place, notes, rgb=not outcome.grey, **options)
    if outcome.linear:
        link_display(viewer, [layers["radiance"], layers["decoded"]])
    last = outcome.stages["decoded"].shape[0] - 1  # the stage that the result is made of
    viewer.dims.set_current_step(viewer.dims.ndim - layers["under"].ndim, last)


def _add_radiance(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, result: ResultId, layers: dict[str, Image]
) -> None:
    values, options = outcome.radiance, _light(outcome, display)
    notes = provenance_of(outcome)
    role = "radiance" if outcome.linear else "fused"
    layer = put_layer(viewer, result, role, values, outcome.placement, notes, rgb=not outcome.grey, **options)
    layers["radiance"] = layer
    if not outcome.linear:
        layer.gamma, layer.contrast_limits = 1.0, (0.0, 1.0)
        return
    set_display(layer, display)
    if outcome.settings.tone_mapped or find_result(viewer, result, "tone_mapped") is not None:
        layers["tone_mapped"] = show_tone_mapped(viewer, layer, display)


def _light(outcome: Outcome, display: DisplaySettings) -> dict[str, Any]:
    """Return how the radiance and the images decoded from the stages are shown."""
    if not outcome.linear:
        return {"contrast_limits": (0.0, 1.0), "gamma": 1.0}
    return display_options(display, reference_exposure(outcome.info) or 0.0)


def show_tone_mapped(viewer: ViewerModel, radiance: Image, display: DisplaySettings) -> Image:
    """Add or update the tone-mapped view of an HDR layer."""
    picture = render(radiance.data, display, base_exposure(radiance), unit_exposure(radiance), rgb=radiance.rgb)
    result = ResultId.of_layer(radiance)
    notes = {"source": radiance.name, "operator": display.operator, "ev": display.ev}
    place = Placement.of(radiance)
    layer = put_layer(viewer, result, "tone_mapped", picture, place, notes, rgb=True, contrast_limits=(0, 255))
    set_view_gamma(layer, display)
    return layer


def set_view_gamma(view: Image, display: DisplaySettings) -> None:
    """Set the gamma of a tone-mapped view: the picture is encoded for the usual screen, the shader does the rest."""
    if view.gamma != SCREEN_GAMMA / display.gamma:
        view.gamma = SCREEN_GAMMA / display.gamma
