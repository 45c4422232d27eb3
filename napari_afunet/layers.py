"""Results out: one layer for each, in the right place, updated where it already exists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
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
from napari_afunet.inputs import BracketSource, Placement
from napari_afunet.job import SIDES, Outcome

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = [
    "ROLES",
    "base_name",
    "find_result",
    "put_stage_values",
    "put_stage_values_step_by_step",
    "result_name",
    "set_view_gamma",
    "show_outcome",
    "show_step_by_step",
    "show_tone_mapped",
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
}


def base_name(names: Sequence[str]) -> str:
    """What the frames of a bracket have in common in their names, or ``bracket``.

    Example:
        >>> base_name(["garage -2 EV", "garage 0 EV", "garage +2 EV"]), base_name(["a", "b", "c"])
        ('garage', 'bracket')
    """
    shortest, longest = min(names), max(names)  # what these two share, all names share
    same = takewhile(lambda pair: pair[0] == pair[1], zip(shortest, longest, strict=False))
    common = "".join(letter for letter, _ in same).rstrip(" _-+.[(0123456789")
    return common if len(common) > 1 else "bracket"


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
    name = name or result_name(outcome)
    place, provenance = outcome.placement, _provenance(outcome)
    layers: dict[str, Image] = {}
    light: dict[str, Any] = {"contrast_limits": (0.0, 1.0), "gamma": 1.0}
    if outcome.linear:
        light = display_options(display, reference_exposure(outcome.info) or 0.0)

    # Added from the bottom up: what the user came for ends on top.
    for role, values in outcome.maps.items():
        options: dict[str, Any] = {"visible": False}
        if values.ndim > len(outcome.source.planes) + 2:
            options["rgb"] = True
        else:
            limits = (0.0, max(1.0, float(np.max(values, initial=0.0))))
            options |= {"colormap": "inferno", "contrast_limits": limits, "blending": "additive"}
        layers[role] = _put(viewer, name, role, values, place, provenance, **options)
        yield layers
    for side in SIDES:
        if side in outcome.stages:
            values = outcome.stages[side]
            staged = _stage_placement(outcome, outcome.stage_placement, coarse=True)
            layers[side] = _put(viewer, name, side, values, staged, provenance, rgb=True, visible=False)
            yield layers
    if "decoded" in outcome.stages:
        values = outcome.stages["decoded"]
        staged = _stage_placement(outcome, outcome.stage_placement)
        options = {**light, "visible": False}
        layers["decoded"] = _put(viewer, name, "decoded", values, staged, provenance, rgb=not outcome.grey, **options)
        yield layers
    if "under" in layers:
        _go_to_last_stage(viewer, layers["under"])
        yield layers

    radiance = outcome.radiance
    layer = _put(viewer, name, "radiance", radiance, place, provenance, rgb=not outcome.grey, **light)
    layers["radiance"] = layer
    yield layers
    if outcome.linear:
        if "decoded" in layers:
            _link_display(viewer, [layer, layers["decoded"]])
        set_display(layer, display)
        if outcome.settings.tone_mapped:
            picture = _tone_mapped(layer, display)
            yield layers
            layers["tone_mapped"] = _put_tone_mapped(viewer, layer, picture, display)
            yield layers
    else:
        layer.gamma, layer.contrast_limits = 1.0, (0.0, 1.0)
    viewer.layers.selection.active = layers.get("tone_mapped", layer)
    yield layers


def show_tone_mapped(viewer: ViewerModel, radiance: Image, display: DisplaySettings) -> Image:
    """Add or update the tone-mapped view of an HDR layer."""
    return _put_tone_mapped(viewer, radiance, _tone_mapped(radiance, display), display)


def _tone_mapped(radiance: Image, display: DisplaySettings) -> Any:
    return render(radiance.data, display, base_exposure(radiance), unit_exposure(radiance), rgb=radiance.rgb)


def _put_tone_mapped(viewer: ViewerModel, radiance: Image, picture: Any, display: DisplaySettings) -> Image:
    name = radiance.metadata.get(KEY, {}).get("bracket", radiance.name)
    provenance = {"source": radiance.name, "operator": display.operator, "ev": display.ev}
    place = Placement.of(radiance)
    layer = _put(viewer, name, "tone_mapped", picture, place, provenance, rgb=True, contrast_limits=(0, 255))
    set_view_gamma(layer, display)
    return layer


def set_view_gamma(view: Image, display: DisplaySettings) -> None:
    """The picture is encoded for the usual screen; the shader does the rest."""
    if view.gamma != SCREEN_GAMMA / display.gamma:
        view.gamma = SCREEN_GAMMA / display.gamma


def result_name(outcome: Outcome) -> str:
    """What the layers of this outcome are called."""
    return base_name(outcome.source.names) + (" preview" if outcome.source.window is not None else "")


def find_result(viewer: ViewerModel, name: str, role: str) -> Image | None:
    """The layer with this result of this bracket, if the user has not deleted it."""
    for layer in viewer.layers:
        note = layer.metadata.get(KEY)
        if isinstance(note, dict) and note.get("bracket") == name and note.get("role") == role:
            return layer
    return None


def _put(
    viewer: ViewerModel,
    name: str,
    role: str,
    data: Any,
    place: Placement,
    provenance: dict[str, Any],
    *,
    rgb: bool = False,
    **options: Any,
) -> Image:
    """Update the layer's data, or add the layer. Never remove and add: in one turn of the event loop that crashes."""
    note = {"bracket": name, "role": role, **provenance}
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
    layers, camera = viewer.layers, viewer.scene.camera
    view = camera.center, camera.zoom
    selection, selected = layers.selection, set(layers.selection)
    with selection.events.blocker_all():  # nobody hears of a selection that is taken back
        yield
        selection.clear()
        selection.update(selected)
    if len(layers) > 1 and (camera.center, camera.zoom) != view:
        camera.center, camera.zoom = view


def put_stage_values(viewer: ViewerModel, outcome: Outcome, values: dict[str, np.ndarray]) -> list[Image]:
    """Show numbers ``(stage, H, W)`` per side in place of the stages' colours; without values the colours return.

    All sides share their contrast limits, now and when the user changes them, so that they can be compared by eye.
    """
    *_, shown = put_stage_values_step_by_step(viewer, outcome, values)
    return shown


def put_stage_values_step_by_step(
    viewer: ViewerModel, outcome: Outcome, values: dict[str, np.ndarray]
) -> Iterator[list[Image]]:
    """As :func:`put_stage_values`, yielding after every layer."""
    name, staged = result_name(outcome), _stage_placement(outcome, outcome.stage_placement, coarse=True)
    shown: list[Image] = []
    active = viewer.layers.selection.active
    limits = _common_limits(list(values.values()))
    for side in SIDES:
        colours, numbers = find_result(viewer, name, side), find_result(viewer, name, f"{side} values")
        visible = any(layer is not None and layer.visible for layer in (colours, numbers))
        if side in values:
            options: dict[str, Any] = {"colormap": "viridis", "contrast_limits": limits, "visible": visible}
            added = numbers is None
            numbers = _put(viewer, name, f"{side} values", values[side], staged, _provenance(outcome), **options)
            if added and colours is not None:  # where the colours are, not above the result
                viewer.layers.move(viewer.layers.index(numbers), viewer.layers.index(colours) + 1)
            shown.append(numbers)
        elif colours is not None:
            shown.append(colours)
        for layer in (colours, numbers):
            if layer is not None and layer.visible != (visible and layer in shown):
                layer.visible = visible and layer in shown
        if numbers is not None:
            numbers.metadata = {**numbers.metadata, KEY: {**numbers.metadata[KEY], "shown": numbers in shown}}
        yield shown
    if values:
        _link_display(viewer, shown)
    viewer.layers.selection.active = active
    yield shown


def _link_display(viewer: ViewerModel, layers: Sequence[Image]) -> None:
    """From now on a change of one layer's limits or gamma is one of all."""
    if len(layers) > 1:
        viewer.layers.link_layers(layers, ("contrast_limits", "gamma"))


def _common_limits(values: list[np.ndarray]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(float(v.min()) for v in values), max(float(np.percentile(v, 99.8)) for v in values)
    return (low, high) if high > low else (low, low + 1.0)


def _stage_placement(outcome: Outcome, place: Placement, coarse: bool = False) -> Placement:
    """With a stage axis in front; features may be coarser than the image by the network's ``downscale``."""
    config = (outcome.info.get("model") or {}).get("config") or {}
    factor = int(config.get("downscale", 1)) if coarse else 1
    scale = (1.0, *place.scale[:-2], *(value * factor for value in place.scale[-2:]))
    # The centre of the first coarse pixel lies (factor - 1) / 2 fine pixels inside the image.
    inner = (t + s * (factor - 1) / 2 for t, s in zip(place.translate[-2:], place.scale[-2:], strict=True))
    translate = (0.0, *place.translate[:-2], *inner)
    return Placement(scale, translate, ("pixel", *place.units), ("stage", *place.axis_labels))


def _go_to_last_stage(viewer: ViewerModel, layer: Image) -> None:
    """Show the last stage, the one the result is made of."""
    axis = viewer.dims.ndim - layer.ndim
    viewer.dims.set_current_step(axis, layer.data.shape[0] - 1)


def _provenance(outcome: Outcome) -> dict[str, Any]:
    source: BracketSource = outcome.source
    return {
        "frames": list(source.names),
        "paths": list(source.paths),
        "settings": vars(outcome.settings).copy(),
        "info": outcome.info,
        "preview": source.window is not None,
    }
