"""The layers of a merge: added, or updated where they exist; and the tone-mapped view of an HDR layer."""

from collections.abc import Callable, Iterator
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image

from napari_afunet.display.tone_view import (
    SCREEN_GAMMA,
    DisplaySettings,
    display_options,
    reference_exposure,
    render_layer,
    set_display,
)
from napari_afunet.jobs.merge_job import Outcome
from napari_afunet.layers.maps import REGIONS, map_options
from napari_afunet.layers.result_layer import (
    LINKED,
    ROLES,
    Result,
    move_to_front,
    provenance_of,
    stage_placement,
)
from napari_afunet.layers.source import Placement


def add_result_layers(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str | None = None
) -> dict[str, Image]:
    """Add the results to the viewer, or update those of an earlier run on the same bracket, and bring them into view.

    Returns role → layer. Without a name, the result has that of its frames.
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
    result, notes = Result.of_outcome(viewer, outcome, name), provenance_of(outcome)
    layers: dict[str, Image] = {}
    covered = _has_view(result, outcome) and result.find("radiance") is None
    light = layers["radiance"] = _put_light(result, outcome, display(), visible=not covered)
    try:
        if covered:
            yield layers
        if _has_view(result, outcome):
            layers["tone_mapped"] = show_tone_mapped(viewer, light, display())
        shown = list(layers.values())
        move_to_front(viewer, *shown)
        shown[-1].visible = True
        yield layers
    finally:  # also when the panel is closed in the middle
        light.visible = True
    for role, data, place, options in _extra_layers(outcome, display()):
        layers[role] = result.put(role, data, place, notes, visible=False, **options)
        if role == "decoded":
            if outcome.linear:
                viewer.layers.link_layers([light, layers[role]], LINKED)
            viewer.dims.set_current_step(viewer.dims.ndim - layers["under"].ndim, data.shape[0] - 1)  # the last stage
        yield layers
    # Maps and stages of an earlier merge that this one did not make anew would show another merge.
    result.remove(set(ROLES).difference(layers, ("radiance", "fused", "tone_mapped")))
    regions = result.find(REGIONS)
    # Above the result: whoever makes one of them visible sees it.
    move_to_front(viewer, *layers.values(), *([] if regions is None else [regions]))
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
    result = Result.of_outcome(viewer, outcome)
    light = _put_light(result, outcome, display)
    if result.find("tone_mapped") is not None:  # not deleted meanwhile
        show_tone_mapped(viewer, light, display)


def _has_view(result: Result, outcome: Outcome) -> bool:
    """Return True if a tone-mapped view belongs to the light: it is wanted, or there since an earlier merge."""
    return outcome.linear and (outcome.settings.tone_mapped or result.find("tone_mapped") is not None)


def _extra_layers(outcome: Outcome, display: DisplaySettings) -> Iterator[tuple[str, Any, Placement, dict[str, Any]]]:
    """Yield role, data, place and options of the stages and maps that a merge kept."""
    for role, data in outcome.stages.items():
        is_light = role == "decoded"  # the others are features as colours
        options = {"rgb": not outcome.grey, **_light(outcome, display)} if is_light else {"rgb": True}
        yield role, data, stage_placement(outcome, coarse=not is_light), options
    for role, data in outcome.maps.items():
        yield role, data, outcome.placement, map_options(data, len(outcome.source.planes))


def _put_light(result: Result, outcome: Outcome, display: DisplaySettings, **shown: bool) -> Image:
    role, options = "radiance" if outcome.linear else "fused", {**_light(outcome, display), **shown}
    notes, options["rgb"] = provenance_of(outcome), not outcome.grey
    layer = result.put(role, outcome.radiance, outcome.placement, notes, **options)
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
    notes, place = {"source": radiance.name, "operator": display.operator, "ev": display.ev}, Placement.of(radiance)
    result = Result.of_layer(viewer, radiance)
    layer = result.put("tone_mapped", render_layer(radiance, display), place, notes, rgb=True, contrast_limits=(0, 255))
    set_view_gamma(layer, display)
    return layer


def set_view_gamma(view: Image, display: DisplaySettings) -> None:
    """Set the gamma of a tone-mapped view: the picture is encoded for the usual screen, the shader does the rest."""
    if view.gamma != SCREEN_GAMMA / display.gamma:
        view.gamma = SCREEN_GAMMA / display.gamma
