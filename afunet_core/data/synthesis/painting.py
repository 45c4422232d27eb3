"""Moving objects put before the instants of a bracket, in place and in linear light.

An object at one instant is a *sighting*, rendered in a window that holds it. Sightings of about the same size are
rendered together; then they are laid over their frames in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import kornia
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from afunet_core.data.synthesis.objects import FAR_AWAY, MovingObject
from afunet_core.data.synthesis.sampling import pixel_grid, tensor

# Sightings are rendered together while the largest window has at most this many times the pixels of the smallest.
_ALIKE = 2.0


class Sighting(NamedTuple):
    """An object at one instant (0 to 2), and the rows and columns of the frame that hold it."""

    thing: MovingObject
    instant: int
    rows: slice
    columns: slice


def find_sightings(thing: MovingObject, ranges: np.ndarray, margin: int, size: tuple[int, int]) -> Iterator[Sighting]:
    """Find where an object is seen; ``ranges`` and ``margin`` bound displacements (see `Motion`)."""
    # A pixel that shows a place p of the scene is at p minus its displacement.
    centres, reach = thing.centres.tolist(), thing.reach() + margin
    visible = [centre for centre in centres if max(map(abs, centre)) < FAR_AWAY / 2]
    limits = [(min(places) - reach, math.ceil(max(places) + reach)) for places in zip(*visible, strict=True)]
    for instant, centre in enumerate(centres):
        half, window = thing.half_extent(instant), []
        for axis in (1, 0):
            nearest, furthest = ranges[instant, axis].tolist()
            start = math.floor(max(centre[axis] - half[axis] - furthest, limits[axis][0], 0.0))
            stop = min(math.floor(centre[axis] + half[axis] - nearest) + 1, limits[axis][1], size[1 - axis])
            window.append(slice(start, stop))
        if all(side.start < side.stop for side in window):
            yield Sighting(thing, instant, *window)


def paint(radiance: Tensor, displacement: Tensor, sightings: Sequence[Sighting]) -> Tensor:
    """Put objects, those further behind first, before 3×3×H×W instants, in place; return their coverage 1×H×W.

    A pixel shows the scene at its place plus the displacement, 3×H×W×2.
    """
    height, width = radiance.shape[-2:]
    passed, seen_at = radiance.new_zeros(1, height, width), pixel_grid(height, width, radiance.device) + displacement
    windows = [seen_at[seen.instant, seen.rows, seen.columns] for seen in sightings]
    rendered: dict[int, tuple[Tensor, Tensor]] = {}
    for places in _alike(windows):
        group = sorted(places, key=lambda place: sightings[place].thing.shape)
        positions = pad_sequence([windows[place].flatten(0, 1) for place in group], batch_first=True)
        colours, coverages = render_objects(
            positions, [sightings[place].thing for place in group], [sightings[place].instant for place in group]
        )
        rendered.update(zip(group, zip(colours, coverages, strict=True), strict=True))
    for place, (seen, window) in enumerate(zip(sightings, windows, strict=True)):
        shape, count = window.shape[:2], window.shape[0] * window.shape[1]  # its pixels form one long row
        colour, coverage = (values[:, :count].unflatten(1, shape) for values in rendered[place])
        radiance[seen.instant, :, seen.rows, seen.columns].lerp_(colour, coverage.expand_as(colour))
        covered = passed[:, seen.rows, seen.columns]
        torch.maximum(covered, coverage, out=covered)
    return passed


def _alike(windows: Sequence[Tensor]) -> Iterator[list[int]]:
    """The places of windows in groups of similar size."""
    group: list[int] = []
    for place in sorted(range(len(windows)), key=lambda place: windows[place].numel()):
        if group and windows[place].numel() > _ALIKE * windows[group[0]].numel():
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def render_objects(positions: Tensor, things: Sequence[MovingObject], instants: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Render N objects, each at one instant and seen at its own positions N×P×2: N×3×P radiance and N×1×P coverage."""
    poses = [_pose(thing, instant) for thing, instant in zip(things, instants, strict=True)]
    columns = tensor(np.array(poses)).to(positions.device).T[..., None]
    centre_x, centre_y, x_x, x_y, y_x, y_y, bend, steepness, opacity, zoom_x, zoom_y = columns
    offset_x, offset_y = positions[..., 0] - centre_x, positions[..., 1] - centre_y
    x, y = torch.addcmul(offset_x * x_x, offset_y, x_y), torch.addcmul(offset_x * y_x, offset_y, y_y)
    x, y = torch.addcmul(x, bend, torch.sin(2.1 * y)), torch.addcmul(y, bend, torch.sin(2.6 * x + 1.0))
    coverage = (_inside(x, y, things) * steepness + 0.5).clamp(0, 1) * opacity
    places = torch.stack([x * zoom_x, y * zoom_y], dim=1)
    return _sample_textures([thing.texture for thing in things], places), coverage[:, None]


def _pose(thing: MovingObject, instant: int) -> list[float]:
    """The numbers of an object at an instant that `render_objects` asks for."""
    radius, angle = float(thing.radii[instant]), float(thing.angles[instant])
    cos, sin, tall = math.cos(angle), math.sin(angle), radius * thing.aspect
    # One scale in both directions, whatever the aspect: a texture squeezed into a wire would be aliased.
    zoom = 0.8 / max(1.0, thing.aspect)
    return [
        *thing.centres[instant],
        *(cos / radius, sin / radius, -sin / tall, cos / tall),
        thing.wobble[instant],
        radius * min(1.0, thing.aspect) / thing.edge,
        thing.opacity,
        *(zoom, zoom * thing.aspect),
    ]


def _inside(x: Tensor, y: Tensor, things: Sequence[MovingObject]) -> Tensor:
    """N×P signed distance to the outlines in units of the radius, positive inside; near enough for a soft edge."""
    distances = []
    for shape, run in groupby(range(len(things)), key=lambda place: things[place].shape):
        places = list(run)
        chosen = slice(places[0], places[-1] + 1)
        waves = [things[place].harmonics for place in places]
        longest = max(map(len, waves))
        padded = np.array([[*wave, *[(0.0, 0.0, 0.0)] * (longest - len(wave))] for wave in waves])
        harmonics = tensor(padded.reshape(len(places), longest, 3)).to(x.device)
        distances.append(_OUTLINES[shape](x[chosen], y[chosen], harmonics))
    return torch.cat(distances)


def _bar(x: Tensor, y: Tensor, harmonics: Tensor) -> Tensor:
    return torch.minimum(1 - x.abs(), 1 - y.abs())


def _ellipse(x: Tensor, y: Tensor, harmonics: Tensor) -> Tensor:
    return 1 - _radius(x, y)


def _polygon(x: Tensor, y: Tensor, harmonics: Tensor) -> Tensor:
    corners, roundness, phase = harmonics[:, 0].T[..., None]
    distance, half_sector = _radius(x, y), torch.pi / corners
    folded = torch.remainder(torch.atan2(y, x) + phase, 2 * half_sector) - half_sector
    flat = torch.cos(half_sector) - distance * torch.cos(folded)
    return flat * (1 - roundness) + (1 - distance) * roundness


def _blob(x: Tensor, y: Tensor, harmonics: Tensor) -> Tensor:
    direction, outline = torch.atan2(y, x), 1 - _radius(x, y)
    for order, amplitude, phase in harmonics.permute(1, 2, 0)[..., None]:
        outline = torch.addcmul(outline, amplitude, torch.cos(order * direction + phase))
    return outline


_OUTLINES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "bar": _bar,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "blob": _blob,
}


def _radius(x: Tensor, y: Tensor) -> Tensor:
    return torch.sqrt(x * x + y * y + 1e-6)


def _sample_textures(textures: Sequence[Tensor], places: Tensor) -> Tensor:
    """Sample N textures 3×h×w at N×2×P places, where ±1 are their edges and beyond them their mirror images: N×3×P."""
    height, width = (max(texture.shape[axis] for texture in textures) + 1 for axis in (1, 2))
    rest = ((0, width - texture.shape[2], 0, height - texture.shape[1]) for texture in textures)
    padded = [F.pad(texture, sides, mode="replicate") for texture, sides in zip(textures, rest, strict=True)]
    stack = torch.stack(padded).to(places.device)
    # There and back in four units; the distance from a whole number of turns leads from edge to edge.
    turns = places / 4 + 0.25
    scale = [(4 * texture.shape[2] / (width - 1), 4 * texture.shape[1] / (height - 1)) for texture in textures]
    first = places.new_tensor([1 + 1 / (width - 1), 1 + 1 / (height - 1)])[:, None]
    x, y = ((turns - turns.round()).abs() * places.new_tensor(scale)[..., None] - first).unbind(1)
    x, y = x[:, None], y[:, None]
    return kornia.geometry.remap(stack, x, y, "bilinear", "border", True, normalized_coordinates=True)[:, :, 0]
