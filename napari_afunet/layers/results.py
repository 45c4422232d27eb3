"""The layers of a merge: added, or updated where they exist; and the tone-mapped view of an HDR layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
from napari_afunet.layers.result_layer import link_display, provenance_of, put_layer, result_name, stage_placement
from napari_afunet.layers.selection import KEY
from napari_afunet.layers.source import Placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["add_result_layers", "set_view_gamma", "show_tone_mapped"]


def add_result_layers(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str | None = None
) -> dict[str, Image]:
    """Add the results to the viewer, or update those of an earlier run on the same bracket.

    Returns:
        role → layer, for the roles of :data:`~napari_afunet.layers.result_layer.ROLES` that this outcome has, and any
        map the core reports.
    """
    name = name or result_name(outcome)
    layers: dict[str, Image] = {}  # from the bottom up: what the user came for ends on top
    _add_maps(viewer, outcome, name, layers)
    if outcome.stages:
        _add_stages(viewer, outcome, display, name, layers)
    _add_radiance(viewer, outcome, display, name, layers)
    viewer.layers.selection.active = layers.get("tone_mapped", layers["radiance"])
    return layers


def _add_maps(viewer: ViewerModel, outcome: Outcome, name: str, layers: dict[str, Image]) -> None:
    for role, values in outcome.maps.items():
        options: dict[str, Any] = {"visible": False}
        if values.ndim > len(outcome.source.planes) + 2:
            options["rgb"] = True
        else:
            limits = (0.0, max(1.0, float(np.max(values, initial=0.0))))
            options |= {"colormap": "inferno", "contrast_limits": limits, "blending": "additive"}
        layers[role] = put_layer(viewer, name, role, values, outcome.placement, provenance_of(outcome), **options)


def _add_stages(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str, layers: dict[str, Image]
) -> None:
    notes, place = provenance_of(outcome), stage_placement(outcome, coarse=True)
    for side in SIDES:
        layers[side] = put_layer(viewer, name, side, outcome.stages[side], place, notes, rgb=True, visible=False)
    values, options = outcome.stages["decoded"], {**_light(outcome, display), "visible": False}
    place = stage_placement(outcome)
    layers["decoded"] = put_layer(viewer, name, "decoded", values, place, notes, rgb=not outcome.grey, **options)
    last = outcome.stages["decoded"].shape[0] - 1  # the stage that the result is made of
    viewer.dims.set_current_step(viewer.dims.ndim - layers["under"].ndim, last)


def _add_radiance(
    viewer: ViewerModel, outcome: Outcome, display: DisplaySettings, name: str, layers: dict[str, Image]
) -> None:
    values, options = outcome.radiance, _light(outcome, display)
    notes = provenance_of(outcome)
    layer = put_layer(viewer, name, "radiance", values, outcome.placement, notes, rgb=not outcome.grey, **options)
    layers["radiance"] = layer
    if not outcome.linear:
        layer.gamma, layer.contrast_limits = 1.0, (0.0, 1.0)
        return
    if "decoded" in layers:
        link_display(viewer, [layer, layers["decoded"]])
    set_display(layer, display)
    if outcome.settings.tone_mapped:
        layers["tone_mapped"] = show_tone_mapped(viewer, layer, display)


def _light(outcome: Outcome, display: DisplaySettings) -> dict[str, Any]:
    """Return how the radiance and the images decoded from the stages are shown."""
    if not outcome.linear:
        return {"contrast_limits": (0.0, 1.0), "gamma": 1.0}
    return display_options(display, reference_exposure(outcome.info) or 0.0)


def show_tone_mapped(viewer: ViewerModel, radiance: Image, display: DisplaySettings) -> Image:
    """Add or update the tone-mapped view of an HDR layer."""
    picture = render(radiance.data, display, base_exposure(radiance), unit_exposure(radiance), rgb=radiance.rgb)
    name = radiance.metadata.get(KEY, {}).get("bracket", radiance.name)
    notes = {"source": radiance.name, "operator": display.operator, "ev": display.ev}
    place = Placement.of(radiance)
    layer = put_layer(viewer, name, "tone_mapped", picture, place, notes, rgb=True, contrast_limits=(0, 255))
    set_view_gamma(layer, display)
    return layer


def set_view_gamma(view: Image, display: DisplaySettings) -> None:
    """Set the gamma of a tone-mapped view: the picture is encoded for the usual screen, the shader does the rest."""
    if view.gamma != SCREEN_GAMMA / display.gamma:
        view.gamma = SCREEN_GAMMA / display.gamma
