"""The widget's job without the widget: for scripts, notebooks and the console, and a script for what the widget did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image

from afunet_core.errors import ArgumentError, BracketError, ExposureError
from afunet_core.io.formats import RAW_SUFFIXES
from napari_afunet.display.tone_view import DisplaySettings
from napari_afunet.jobs.merge_job import merge_source
from napari_afunet.layers.exposures import common_exposures, layer_exposure, stack_exposures
from napari_afunet.layers.results import add_result_layers
from napari_afunet.layers.selection import guess_layers
from napari_afunet.layers.source import BracketSource, bracket_source, stack_source
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from afunet_core.merging.result import MergeResult


def merge_layers(
    viewer: ViewerModel,
    layers: Sequence[Image | str] | Image | str | None = None,
    *,
    ev: Sequence[float] | None = None,
    times: Sequence[float] | None = None,
    show: bool = True,
    name: str | None = None,
    display: DisplaySettings | None = None,
    **settings: Any,
) -> MergeResult:
    """Merge layers of a viewer and add the results to it, as the widget's Merge button does, but waiting for the end.

    Args:
        viewer: a napari viewer, or a ``ViewerModel`` without a window.
        layers: the frames as layers or their names, one stack layer, or ``None`` to choose as the widget would.
        ev: exposure of each frame in EV; read from the layers when neither this nor ``times`` is given.
        times: exposure of each frame in seconds.
        show: add the result layers.
        name: what the result layers are called; from the frames' names by default.
        display: how the tone-mapped view is made.
        settings: any other field of :class:`napari_afunet.settings.MergeSettings`: ``encoding`` (by default what the
            layers or their files state, else ``gamma``), ``bit_depth``,
            ``channel``, ``black_level``, ``response``, ``reference``, ``drift``, ``noise``, ``method``, ``align``,
            ``border``, ``units``, ``model``, ``device``, ``precision``, ``memory_budget``, ``stages`` …

    Returns:
        The core's result; for a stack, radiance of all planes ``(planes…, H, W[, 3])`` and ``info`` of the first.

    Raises:
        AFUNetError: with what was expected, what was found and what to do; of its kinds, ``ArgumentError`` for a
            setting that does not exist or a layer that is not there, ``BracketError`` for layers that do not go
            together, ``ExposureError`` for exposures that are missing or contradict the pictures.

    Example:
        >>> from napari.components import ViewerModel
        >>> from afunet_core.data.demo import demo_bracket
        >>> viewer, (frames, ev, truth) = ViewerModel(), demo_bracket(reduction=16)
        >>> layers = [viewer.add_image(frame, name=f"garage {i}", rgb=True) for i, frame in enumerate(frames)]
        >>> result = merge_layers(viewer, layers, ev=ev, method="weighted")
        >>> result.radiance.shape, [layer.name for layer in viewer.layers][-2:]
        ((30, 45, 3), ['garage 0-2 HDR', 'garage 0-2 tone mapped'])
    """
    unknown = sorted(set(settings) - set(vars(MergeSettings())))
    if unknown:
        raise ArgumentError("settings", "fields of MergeSettings", ", ".join(unknown), "Check the spelling.")
    source, chosen = resolve_source(viewer, layers)
    if ev is None and times is None:
        ev, times = resolve_exposures(chosen, len(source.frames))
    stated = {} if source.encoding is None else {"encoding": source.encoding}
    given = MergeSettings(ev=_floats(ev), times=_floats(times)).replace(**{**stated, **settings})
    outcome = merge_source(source, given)
    if show:
        add_result_layers(viewer, outcome, display or DisplaySettings(), name)
    result = outcome.result
    assert result is not None
    result.radiance, result.info = outcome.radiance, outcome.info
    return result


def resolve_source(
    viewer: ViewerModel, layers: Sequence[Image | str] | Image | str | None
) -> tuple[BracketSource, list[Image]]:
    """The pixels of the named, given or guessed layers."""
    if layers is None:
        layers = guess_layers(viewer.layers, viewer.layers.selection)
        if not layers:
            raise BracketError(
                "layers",
                "three image layers of one shape, or a stack of three planes",
                f"{len(viewer.layers)} layers without such",
                "Open the frames of a bracket, or try File › Open Sample › AFUNet HDR.",
            )
    if not isinstance(layers, (list, tuple)):
        layers = [layers]
    names = [layer.name for layer in viewer.layers]
    missing = [layer for layer in layers if isinstance(layer, str) and layer not in names]
    if missing:
        raise ArgumentError(
            "layers", "names of layers in the viewer", ", ".join(map(repr, missing)), f"There are {names}."
        )
    chosen = [viewer.layers[layer] if isinstance(layer, str) else layer for layer in layers]
    return (stack_source(chosen[0]) if len(chosen) == 1 else bracket_source(chosen)), chosen


def resolve_exposures(layers: Sequence[Image], count: int) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """EV or seconds of every frame from the layers' metadata or files; refused where one is unknown."""
    known = stack_exposures(layers[0], count) if len(layers) == 1 else [layer_exposure(layer) for layer in layers]
    ev, times = common_exposures(known)
    if ev is not None or times is not None:
        return ev, times
    missing = [index + 1 for index, exposure in enumerate(known) if exposure.value is None]
    raise ExposureError(
        "exposures",
        "an exposure for every frame",
        f"none for frame {', '.join(map(str, missing or range(1, count + 1)))}",
        "Give ev=(-2, 0, 2) or times=(1/100, 1/25, 1/6).",
    )


def as_script(source: BracketSource, layer_names: Sequence[str], settings: MergeSettings) -> str:
    """Return Python that repeats a merge: in napari's console with the layers, or by itself from their files."""
    chosen: Any = list(layer_names) if len(layer_names) > 1 else layer_names[0]
    arguments = "".join(f"    {key}={value!r},\n" for key, value in settings.changed().items())
    lines = [
        "import napari",
        "from afunet_core import write_image",
        "from napari_afunet import merge_layers",
        "",
        "viewer = napari.current_viewer()",
        "is_script = viewer is None  # not in napari's console",
        "viewer = viewer or napari.Viewer()",
        f"layers = {chosen!r}",
    ]
    paths = list(dict.fromkeys(path for path in source.paths if path))
    if paths:
        ours = all(Path(path).suffix.lower() in RAW_SUFFIXES for path in paths)  # napari's reader opens the others
        plugin = ", plugin='napari-afunet'" if ours else ""
        lines += [f"if {layer_names[0]!r} not in viewer.layers:"]
        lines += [f"    layers = viewer.open({paths!r}, stack=False{plugin})"]
    lines += ["result = merge_layers(", "    viewer,", "    layers,"]
    script = "\n".join(lines) + "\n" + arguments + ")\n"
    output = str(Path(paths[0]).with_name("merged.exr")) if paths else "merged.exr"
    return script + (
        "print(result.radiance.shape, result.info)\n"
        f"# write_image({output!r}, result.radiance, metadata=result.info)\n"
        "if is_script:\n    napari.run()\n"
    )


def _floats(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)
