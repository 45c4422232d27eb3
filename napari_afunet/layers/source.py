"""Layers in: their pixels plane by plane, and where the result belongs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer

from afunet_core.errors import ArgumentError, BracketError, ShapeError
from napari_afunet.layers.file_facts import common_facts, layer_facts, layer_path
from napari_afunet.layers.selection import full_resolution

_LARGEST_PREVIEW = 512  # pixels along the longer side
_SMALLEST = 16
_TURNED = 1e-4  # part of a pixel a pixel, by which frames on one grid may differ in scale and rotation
_SHIFTED = 0.01  # of a pixel


@dataclass(frozen=True, eq=False)
class Placement:
    """Place of an image in the world, which result layers copy. One entry per axis, without the RGB axis."""

    # from pixels to the world, (N + 1)×(N + 1): scale, translation, rotation, shear and affine in one
    matrix: np.ndarray
    units: tuple[str, ...]  # of the world's axes
    axis_labels: tuple[str, ...]

    @classmethod
    def of(cls, layer: Layer, drop: int = 0) -> Self:
        """Return the place of a layer, without its first ``drop`` axes."""
        corner = np.asarray(layer.data_to_world(np.zeros(layer.ndim)), float)
        matrix = np.eye(layer.ndim + 1)
        matrix[:-1, -1] = corner
        for axis, unit in enumerate(np.eye(layer.ndim)):
            matrix[:-1, axis] = np.asarray(layer.data_to_world(unit), float) - corner
        return cls(matrix, tuple(map(str, layer.units)), tuple(layer.axis_labels)).without_first(drop)

    @property
    def scale(self) -> tuple[float, ...]:
        """World units a pixel, along each axis of the data."""
        return tuple(float(value) for value in np.linalg.norm(self.matrix[:-1, :-1], axis=0))

    @property
    def translate(self) -> tuple[float, ...]:
        """World position of the first pixel's centre."""
        return tuple(float(value) for value in self.matrix[:-1, -1])

    def __str__(self) -> str:
        scale, translation = (", ".join(f"{value:.6g}" for value in values) for values in (self.scale, self.translate))
        return f"scale ({scale}), translation ({translation})" + ("" if self.is_upright else ", rotation or shear")

    @property
    def is_upright(self) -> bool:
        """True without rotation, shear or reflection: the axes of the data are those of the world."""
        turned = self.matrix[:-1, :-1]
        return bool(np.allclose(turned, np.diag(np.diag(turned))) and (np.diag(turned) > 0).all())

    def arguments(self) -> dict[str, Any]:
        """Return keyword arguments for adding a layer here."""
        place = {"units": self.units, "axis_labels": self.axis_labels}
        if self.is_upright:
            return {"scale": self.scale, "translate": self.translate, **place}
        return {"affine": self.matrix, **place}

    def apply_to(self, layer: Layer) -> None:
        """Move a layer here."""
        if self.is_upright:
            layer.affine = np.eye(len(self.matrix))
            layer.scale, layer.translate = self.scale, self.translate
        else:
            layer.scale, layer.translate = (1,) * layer.ndim, (0,) * layer.ndim
            layer.affine = self.matrix

    def without_first(self, count: int = 1) -> Self:
        """Return the place without the first axes."""
        matrix = np.delete(np.delete(self.matrix, range(count), 0), range(count), 1)
        return type(self)(matrix, self.units[count:], self.axis_labels[count:])

    def with_first(self, label: str) -> Self:
        """Return the place with a further axis in front, of which one step is one unit."""
        matrix = np.eye(len(self.matrix) + 1)
        matrix[1:, 1:] = self.matrix
        return type(self)(matrix, ("pixel", *self.units), (label, *self.axis_labels))

    def sampled(self, start: Sequence[float], steps: Sequence[float] = (1, 1)) -> Self:
        """Return the place of the pixels from ``start`` on, in steps, along the last two axes."""
        matrix = self.matrix.copy()
        matrix[:, -1] += matrix[:, -3:-1] @ np.asarray(start, float)
        matrix[:, -3:-1] *= np.asarray(steps, float)
        return replace(self, matrix=matrix)


@dataclass(frozen=True)
class BracketSource:
    """The pixels of a bracket, detached from the layers they came from (which may be deleted meanwhile)."""

    names: tuple[str, ...]  # of the frames, in the order of the exposures
    frames: tuple[Any, ...]  # arrays ``(plane axes…, H, W[, channels])``, possibly lazy
    planes: tuple[int, ...]  # shape of the plane axes (Z, T, channels); ``()`` for a single image
    placement: Placement  # of the result
    paths: tuple[str | None, ...] = ()  # files the frames came from, where known
    # identities of the layers they came from, to find them whatever they are called by now
    layers: tuple[str, ...] = ()
    encoding: str | None = None  # what all layers or their files state, else ``None``
    # name and matrix to linear sRGB of the files' colours, as a bracket's metadata have it
    colour: dict[str, Any] | None = field(default=None, compare=False)
    window: tuple[slice, slice] | None = field(default=None, compare=False)

    @property
    def plane_count(self) -> int:
        """Number of images to merge."""
        return math.prod(self.planes)

    @property
    def shape(self) -> tuple[int, int]:
        """H, W of one plane, after cropping to the window."""
        height, width = self.frames[0].shape[len(self.planes) : len(self.planes) + 2]
        if self.window is None:
            return height, width
        rows, columns = self.window
        return len(range(height)[rows]), len(range(width)[columns])

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], list[np.ndarray]]]:
        """One plane after the other: its index and the frames in memory."""
        for index in np.ndindex(self.planes):
            planes = (frame[index] for frame in self.frames)
            if self.window is not None:
                planes = (plane[self.window] for plane in planes)
            yield index, [np.asarray(plane) for plane in planes]

    def cropped(self, rows: slice, columns: slice) -> Self:
        """Only a window of every plane, for a preview; slices with steps take every so many pixels."""
        place = self.placement.sampled((rows.start, columns.start), (rows.step or 1, columns.step or 1))
        return replace(self, placement=place, window=(rows, columns))

    def of_channel(self, channel: str | None) -> Self:
        """Only one channel of colour frames; grey ones are as they are."""
        from afunet_core.bracket.options import CHANNELS

        if channel is None:
            return self
        if channel not in CHANNELS:
            raise ArgumentError("channel", "one of " + ", ".join(CHANNELS), repr(channel))
        number, grey = CHANNELS.index(channel), len(self.planes) + 2
        return replace(self, frames=tuple(f if f.ndim == grey else f[..., number] for f in self.frames))

    def at(self, index: Sequence[int]) -> Self:
        """Only one plane."""
        frames = tuple(frame[tuple(index)] for frame in self.frames)
        single = self.placement.without_first(len(self.planes))
        return replace(self, frames=frames, planes=(), placement=single)

    def seen(self, viewer: ViewerModel, layer: Image) -> Self:
        """Only the plane and the window of a layer that are on the canvas, coarse enough to merge in a moment."""
        height, width = self.shape
        corners = np.asarray(layer.corner_pixels)[:, -2:]
        factor = layer.downsample_factors[layer.data_level][-2:] if layer.multiscale else (1, 1)
        top, left = np.floor(corners[0] * factor).astype(int)
        bottom, right = np.ceil(corners[1] * factor).astype(int) + 1
        rows, columns = _within(top, bottom, height), _within(left, right, width)
        step = max(1, math.ceil(max(rows.stop - rows.start, columns.stop - columns.start) / _LARGEST_PREVIEW))
        source = self
        if self.planes:
            position = layer.world_to_data(viewer.dims.point[-layer.ndim :])[-len(self.planes) - 2 : -2]
            source = self.at([int(np.clip(round(p), 0, n - 1)) for p, n in zip(position, self.planes, strict=True)])
        return source.cropped(slice(rows.start, rows.stop, step), slice(columns.start, columns.stop, step))


def _within(start: int, stop: int, size: int) -> slice:
    """At least a few pixels, inside the image."""
    start, stop = max(0, min(start, size - _SMALLEST)), min(size, max(stop, start + _SMALLEST, _SMALLEST))
    return slice(start, stop)


def bracket_source(layers: Sequence[Image]) -> BracketSource:
    """The frames of layers that lie on the same grid; the result takes the place of the middle one."""
    advice = "Choose one layer per frame."
    if len(layers) < 2:
        raise BracketError("layers", "three image layers", f"{len(layers)}", advice)
    if len({id(layer) for layer in layers}) < len(layers):
        raise BracketError("layers", "three different layers", "the same layer twice", advice)
    chosen = layers[len(layers) // 2]
    _require_same_grid(layers, chosen)
    facts = [layer_facts(layer) for layer in layers]
    frames = [fact.as_core_reads(full_resolution(layer)) for fact, layer in zip(facts, layers, strict=True)]
    planes = chosen.ndim - 2
    for layer, frame in zip(layers, frames, strict=True):
        size, first = ("×".join(map(str, each.shape[: planes + 2])) for each in (frame, frames[0]))
        if size != first:
            expected = f"{first} ({'planes×' if planes else ''}height×width) as in {layers[0].name!r}"
            raise ShapeError(f"layer {layer.name!r}", expected, size, "Crop or resize the frames to the same size.")
    return BracketSource(
        tuple(layer.name for layer in layers),
        tuple(frames),
        tuple(frames[0].shape[:planes]),
        Placement.of(chosen),
        tuple(layer_path(layer) for layer in layers),
        tuple(str(layer.unique_id) for layer in layers),
        *common_facts(facts),
    )


def stack_source(layer: Image) -> BracketSource:
    """The planes along the first axis of one layer as the frames of a bracket."""
    data = full_resolution(layer)
    if layer.ndim < 3 or data.shape[0] < 2:
        expected, advice = (
            "a stack with one plane per frame along its first axis",
            "or three layers with one frame each.",
        )
        raise BracketError(f"layer {layer.name!r}", expected, f"shape {data.shape}", f"Choose another layer, {advice}")
    names = tuple(f"{layer.name} [{index}]" for index in range(data.shape[0]))
    frames = tuple(data[index] for index in range(data.shape[0]))
    path = layer_path(layer)
    planes = tuple(data.shape[1 : layer.ndim - 2])
    stated = common_facts([layer_facts(layer)])
    place, count = Placement.of(layer, drop=1), len(names)
    return BracketSource(names, frames, planes, place, (path,) * count, (str(layer.unique_id),) * count, *stated)


def _require_same_grid(layers: Sequence[Image], reference: Image) -> None:
    for layer in layers:
        if layer.ndim != reference.ndim or layer.rgb != reference.rgb:
            expected = f"{reference.ndim} dimensions, {'colour' if reference.rgb else 'grey'}, as {reference.name!r}"
            actual = f"{layer.ndim} dimensions, {'colour' if layer.rgb else 'grey'}"
            raise ShapeError(f"layer {layer.name!r}", expected, actual, "Convert or split the layer so that all agree.")
        ours, theirs = (Placement.of(each) for each in (layer, reference))
        moved = np.linalg.solve(theirs.matrix, ours.matrix) - np.eye(len(ours.matrix))  # in pixels of the reference
        if np.abs(moved[:, :-1]).max() > _TURNED or np.abs(moved[:, -1]).max() > _SHIFTED:
            raise BracketError(
                f"layer {layer.name!r}",
                f"the place of {reference.name!r}, {theirs}",
                f"{ours}",
                "Give all frames one place (right click a layer › Copy scale and transforms › Copy all to clipboard, "
                "then Apply on the others), or crop them alike; the merge aligns hand-held frames by itself.",
            )
