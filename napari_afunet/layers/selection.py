"""Selection of the layers that make a bracket: by exposure where it is known, else by brightness."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Layer

from napari_afunet.layers.exposures import layer_exposure, stack_exposures
from napari_afunet.layers.file_facts import is_result_file

KEY = "afunet"  # key under which this plugin keeps its notes in ``layer.metadata``
MOST_FRAMES = 15  # frames of a bracket that the widget takes


def candidate_layers(layers: Iterable[Layer]) -> list[Image]:
    """Image layers that may be frames: not results of this plugin, at least two-dimensional."""
    from napari.layers import Image

    return [layer for layer in layers if isinstance(layer, Image) and not _is_result(layer) and layer.ndim >= 2]


def guess_layers(layers: Iterable[Layer], selected: Iterable[Layer] = ()) -> list[Image]:
    """Return the layers that look like a bracket, shortest exposure first, else the last stack that does, else none.

    Two or more selected layers of one shape are taken at their word. Otherwise the newest layers of one shape are, all
    of them, back to where an exposure comes a second time, for there another bracket begins. Two layers are a bracket
    if their exposures are known and differ, three or more in any case.
    """
    candidates = candidate_layers(layers)
    wanted = set(selected)
    chosen = [layer for layer in candidates if layer in wanted]
    if len(chosen) < 2 or len({_kind(layer) for layer in chosen}) > 1:
        groups: dict[tuple[Any, ...], list[Image]] = {}
        for layer in candidates:
            groups.setdefault(_kind(layer), []).append(layer)
        brackets = [group for group in groups.values() if len(group) >= 3 or _is_pair(group)]
        if not brackets:
            return [layer for layer in candidates if layer.ndim >= 3 and _is_bracket(layer)][-1:]
        newest = max(brackets, key=lambda group: (knows_exposures(group), candidates.index(group[-1])))
        chosen = list(_newest_bracket(newest))
    return by_exposure(chosen[-MOST_FRAMES:])


def by_exposure(layers: Sequence[Image]) -> list[Image]:
    """Shortest first: by exposure where every layer has one, else by brightness."""
    known = [layer_exposure(layer).value for layer in layers]
    values = [value for value in known if value is not None]
    if len(values) < len(layers):
        values = [_brightness(layer) for layer in layers]
    return [layer for _, layer in sorted(zip(values, layers, strict=True), key=lambda pair: pair[0])]


def _is_bracket(stack: Image) -> bool:
    """Return True if the planes along the first axis look like frames: three, or all with exposures."""
    count = full_resolution(stack).shape[0]
    known = 2 <= count <= MOST_FRAMES and None not in [each.value for each in stack_exposures(stack, count)]
    return count == 3 or known


def _newest_bracket(layers: Sequence[Image]) -> Sequence[Image]:
    """The last layers whose exposures differ, if they are three or more; else all.

    One of unknown exposure among them is one of them: it is asked for. Those before all that are known are not.
    """
    newest: list[Image] = []
    exposures: list[float | None] = []
    for layer in reversed(layers):
        exposure = layer_exposure(layer).value
        if exposure is not None and exposure in exposures:
            break
        newest.append(layer)
        exposures.append(exposure)
    while exposures and exposures[-1] is None:
        newest.pop()
        exposures.pop()
    return newest if len(newest) >= 3 else layers


def _kind(layer: Image) -> tuple[Any, ...]:
    """Return what all frames of a bracket share: the size, and colour, with or without an alpha channel."""
    return (*full_resolution(layer).shape[: layer.ndim], layer.rgb)


def _is_pair(layers: Sequence[Image]) -> bool:
    exposures = {layer_exposure(layer).value for layer in layers}
    return len(layers) == len(exposures) == 2 and None not in exposures


def knows_exposures(layers: Sequence[Image]) -> bool:
    """Return True if the exposure of every layer is known."""
    return all(layer_exposure(layer).value is not None for layer in layers)


def _is_result(layer: Layer) -> bool:
    note = layer.metadata.get(KEY)
    return (isinstance(note, dict) and "role" in note) or is_result_file(layer)


def full_resolution(layer: Image) -> Any:
    """The pixels at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def _brightness(layer: Image) -> float:
    """Mean of about a hundred thousand pixels of the coarsest level's middle plane."""
    data = layer.data[-1] if layer.multiscale else layer.data
    planes = data.ndim - (3 if layer.rgb else 2)
    plane = data[tuple(size // 2 for size in data.shape[:planes])]
    step = max(1, math.isqrt(int(np.prod(plane.shape[:2])) // 100_000))
    return float(np.nanmean(np.asarray(plane[::step, ::step], dtype=np.float64)))
