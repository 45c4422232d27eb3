"""A merge shown: the layers of an outcome in their order, and the tone-mapped view of an HDR layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_afunet.choosing import KEY
from napari_afunet.display import (
    SCREEN_GAMMA,
    DisplaySettings,
    base_exposure,
    display_options,
    reference_exposure,
    render,
    set_display,
    unit_exposure,
)
from napari_afunet.inputs import Placement
from napari_afunet.job import SIDES, Outcome
from napari_afunet.layers import announce_axes, link_display, provenance_of, put_layer, result_name, stage_placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["set_view_gamma", "show_outcome", "show_step_by_step", "show_tone_mapped"]


def show_outcome(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str | None = None
) -> dict[str, Image]:
    """Add the results to the viewer, or update those of an earlier run on the same bracket.

    Returns:
        role → layer, for the roles of :data:`ROLES` that this outcome has, and any map the core reports.
    """
    *_, layers = show_step_by_step(viewer, outcome, display, name)
    return layers


def show_step_by_step(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str | None = None
) -> Iterator[dict[str, Image]]:
    """As :func:`show_outcome`, yielding the layers so far after each, so that the window can answer in between."""
    layers: dict[str, Image] = {}
    for add in (_add_maps, _add_stages, _add_radiance):  # from the bottom up: what the user came for ends on top
        for _ in add(viewer, outcome, display, name or result_name(outcome), layers):
            yield layers
    result = layers.get("tone_mapped", layers["radiance"])
    if result in viewer.layers:  # and was not deleted while others came
        viewer.layers.selection.active = result
    yield layers


def _add_maps(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str, layers: dict[str, Image]
) -> Iterator[None]:
    for role, values in outcome.maps.items():
        options: dict[str, Any] = {"visible": False}
        if values.ndim > len(outcome.source.planes) + 2:
            options["rgb"] = True
        else:
            limits = (0.0, max(1.0, float(np.max(values, initial=0.0))))
            options |= {"colormap": "inferno", "contrast_limits": limits, "blending": "additive"}
        layers[role] = put_layer(viewer, name, role, values, outcome.placement, provenance_of(outcome), **options)
        yield


def _add_stages(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str, layers: dict[str, Image]
) -> Iterator[None]:
    if not outcome.stages:
        return
    notes, place = provenance_of(outcome), stage_placement(outcome, coarse=True)
    for side in SIDES:
        values, options = outcome.stages[side], {"rgb": True, "visible": False}
        if viewer.dims.ndim < values.ndim - 1:  # the slider takes as long as the layer: it comes in the next turn
            with viewer.dims.events.blocker_all():
                layers[side] = put_layer(viewer, name, side, values, place, notes, **options)
            yield
            announce_axes(viewer)
        else:
            layers[side] = put_layer(viewer, name, side, values, place, notes, **options)
        yield
    values, options = outcome.stages["decoded"], {**_light(outcome, display), "visible": False}
    place = stage_placement(outcome)
    layers["decoded"] = put_layer(viewer, name, "decoded", values, place, notes, rgb=not outcome.grey, **options)
    yield
    _go_to_last_stage(viewer, layers["under"])
    yield


def _add_radiance(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str, layers: dict[str, Image]
) -> Iterator[None]:
    values, options = outcome.radiance, _light(outcome, display)
    layer = put_layer(
        viewer, name, "radiance", values, outcome.placement, provenance_of(outcome), rgb=not outcome.grey, **options
    )
    layers["radiance"] = layer
    yield
    if not outcome.linear:
        layer.gamma, layer.contrast_limits = 1.0, (0.0, 1.0)
        return
    if "decoded" in layers:
        link_display(viewer, [layer, layers["decoded"]])
    set_display(layer, display)
    if outcome.settings.tone_mapped:
        picture = _tone_mapped(layer, display)
        yield
        layers["tone_mapped"] = _put_tone_mapped(viewer, layer, picture, display)
        yield


def _light(outcome: Outcome, display: DisplaySettings) -> dict[str, Any]:
    """How the radiance and the images decoded from the stages look."""
    if not outcome.linear:
        return {"contrast_limits": (0.0, 1.0), "gamma": 1.0}
    return display_options(display, reference_exposure(outcome.info) or 0.0)


def _go_to_last_stage(viewer: ViewerModel, layer: Image) -> None:
    """Show the last stage, the one the result is made of."""
    axis = viewer.dims.ndim - layer.ndim
    viewer.dims.set_current_step(axis, layer.data.shape[0] - 1)


def show_tone_mapped(viewer: ViewerModel, radiance: Image, display: DisplaySettings) -> Image:
    """Add or update the tone-mapped view of an HDR layer."""
    return _put_tone_mapped(viewer, radiance, _tone_mapped(radiance, display), display)


def _tone_mapped(radiance: Image, display: DisplaySettings) -> Any:
    return render(radiance.data, display, base_exposure(radiance), unit_exposure(radiance), rgb=radiance.rgb)


def _put_tone_mapped(viewer: ViewerModel, radiance: Image, picture: Any, display: DisplaySettings) -> Image:
    name = radiance.metadata.get(KEY, {}).get("bracket", radiance.name)
    notes = {"source": radiance.name, "operator": display.operator, "ev": display.ev}
    place = Placement.of(radiance)
    layer = put_layer(viewer, name, "tone_mapped", picture, place, notes, rgb=True, contrast_limits=(0, 255))
    set_view_gamma(layer, display)
    return layer


def set_view_gamma(view: Image, display: DisplaySettings) -> None:
    """The picture is encoded for the usual screen; the shader does the rest."""
    if view.gamma != SCREEN_GAMMA / display.gamma:
        view.gamma = SCREEN_GAMMA / display.gamma
