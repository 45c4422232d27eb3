"""The layers of a merge: added, or updated where they exist; and the tone-mapped view of an HDR layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
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
from napari_afunet.layers.overlays import map_options, region_layer
from napari_afunet.layers.result_layer import (
    ROLES,
    ResultId,
    find_result,
    link_display,
    move_to_front,
    provenance_of,
    put_layer,
    remove_layers,
    stage_placement,
)
from napari_afunet.layers.source import Placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer


def add_result_layers(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str | None = None
) -> dict[str, Image]:
    """Add the results to the viewer, or update those of an earlier run on the same bracket, and bring them into view.

    Returns role → layer, for the roles of :data:`~napari_afunet.layers.result_layer.ROLES` that this outcome has, and
    any map the core reports. Without a name, the result has that of its frames.
    """
    *_, layers = add_in_steps(viewer, outcome, lambda: display, name)
    return layers


def add_in_steps(
    viewer: ViewerModel, outcome: Outcome, display: Callable[[], DisplaySettings], name: str | None = None
) -> Iterator[dict[str, Image]]:
    """As :func:`add_result_layers`, but yield the layers so far after each: napari needs 0.1 s for a new one.

    A new layer of light is hidden until its tone-mapped view covers it: what is seen is the viewer as it was, then the
    result, whatever happens between two steps.
    """
    result = ResultId.of_outcome(outcome, name)
    layers: dict[str, Image] = {}
    covered = _has_view(viewer, outcome, result) and find_result(viewer, result, "radiance") is None
    light = _put_radiance(viewer, outcome, display(), result, visible=not covered)
    layers["radiance"] = light
    try:
        if covered:
            yield layers
        if _has_view(viewer, outcome, result):
            layers["tone_mapped"] = show_tone_mapped(viewer, light, display())
        shown = list(layers.values())
        _raise_to_front(viewer, shown)
        shown[-1].visible = True
        yield layers
    finally:  # also when the panel is closed in the middle
        light.visible = True
    for _ in chain(_add_stages(viewer, outcome, display(), result, layers), _add_maps(viewer, outcome, result, layers)):
        yield layers
    # Maps and stages of an earlier merge that this one did not make anew would show another merge.
    stale = set(ROLES).difference(layers, ("radiance", "fused", "tone_mapped"))
    remove_layers(viewer, lambda note: note.get("key") == result.key and note.get("role") in stale)
    regions = region_layer(viewer, result)
    # Above the result: whoever makes one of them visible sees it.
    _raise_to_front(viewer, [*layers.values(), *([] if regions is None else [regions])])
    # What is selected is what napari's own menu saves; but a stroke that is just being drawn would be cut off.
    if not outcome.is_preview and shown[-1] in viewer.layers and not _is_tool_in_hand(viewer):
        viewer.layers.selection.active = shown[-1]
    yield layers


def _is_tool_in_hand(viewer: ViewerModel) -> bool:
    """Return True if the mouse draws in the chosen layer, or is about to: regions, or anything of the user's own."""
    active = viewer.layers.selection.active
    return active is not None and active.visible and str(active.mode) not in ("pan_zoom", "transform")


def update_result(viewer: ViewerModel, outcome: Outcome, display: DisplaySettings) -> None:
    """Update the light and its tone-mapped view where they are."""
    result = ResultId.of_outcome(outcome)
    light = _put_radiance(viewer, outcome, display, result)
    if find_result(viewer, result, "tone_mapped") is not None:  # not deleted meanwhile
        show_tone_mapped(viewer, light, display)


def _has_view(viewer: ViewerModel, outcome: Outcome, result: ResultId) -> bool:
    """Return True if a tone-mapped view belongs to the light: it is wanted, or there since an earlier merge."""
    wanted = outcome.settings.tone_mapped or find_result(viewer, result, "tone_mapped") is not None
    return outcome.linear and wanted


def _raise_to_front(viewer: ViewerModel, layers: Sequence[Layer]) -> None:
    for layer in layers:
        if layer in viewer.layers:  # not deleted meanwhile
            move_to_front(viewer, layer)


def remove_preview(viewer: ViewerModel, outcome: Outcome) -> None:
    """Remove the layers of a preview."""
    key = ResultId.of_outcome(outcome).key
    remove_layers(viewer, lambda note: note.get("key") == key)


def _add_maps(viewer: ViewerModel, outcome: Outcome, result: ResultId, layers: dict[str, Image]) -> Iterator[None]:
    for role, values in outcome.maps.items():
        options = {"visible": False, **map_options(values, len(outcome.source.planes))}
        layers[role] = put_layer(viewer, result, role, values, outcome.placement, provenance_of(outcome), **options)
        yield


def _add_stages(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, result: ResultId, layers: dict[str, Image]
) -> Iterator[None]:
    if not outcome.stages:
        return
    notes, place = provenance_of(outcome), stage_placement(outcome, coarse=True)
    for side in SIDES:
        layers[side] = put_layer(viewer, result, side, outcome.stages[side], place, notes, rgb=True, visible=False)
        yield
    values, options = outcome.stages["decoded"], {**_light(outcome, display), "visible": False}
    place = stage_placement(outcome)
    layers["decoded"] = put_layer(viewer, result, "decoded", values, place, notes, rgb=not outcome.grey, **options)
    if outcome.linear:
        link_display(viewer, [layers["radiance"], layers["decoded"]])
    last = outcome.stages["decoded"].shape[0] - 1  # the stage that the result is made of
    viewer.dims.set_current_step(viewer.dims.ndim - layers["under"].ndim, last)
    yield


def _put_radiance(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, result: ResultId, **shown: bool
) -> Image:
    role, options = "radiance" if outcome.linear else "fused", {**_light(outcome, display), **shown}
    place, notes = outcome.placement, provenance_of(outcome)
    layer = put_layer(viewer, result, role, outcome.radiance, place, notes, rgb=not outcome.grey, **options)
    if outcome.linear:
        set_display(layer, display)
    else:
        layer.gamma, layer.contrast_limits = 1.0, (0.0, 1.0)
    return layer


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
