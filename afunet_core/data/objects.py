"""Things that move on their own in front of a scene: shapes with soft edges, cut from other pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.data.config import SynthesisConfig
from afunet_core.data.draws import log_uniform, tensor, uniform
from afunet_core.data.lighting import object_texture
from afunet_core.data.scenes import SceneBank

__all__ = ["MovingObject", "composite", "draw_objects"]

_INSTANTS = np.array([-1.0, 0.0, 1.0])
_FAR_AWAY = 1.0e4
_SHAPES = ("blob", "blob", "blob", "ellipse", "polygon", "bar")


@dataclass(frozen=True)
class MovingObject:
    """A textured shape with a pose at each of the three instants.

    Attributes:
        texture: 3×h×w radiance.
        shape: "blob", "ellipse", "polygon" or "bar".
        harmonics: of a blob's outline, (order, amplitude, phase) each; of a polygon, one (corners, roundness, phase).
        aspect: height over width.
        centres: 3×2 positions on the canvas, in pixels.
        radii: 3 sizes (half the width), in pixels.
        angles: 3 rotations, in radians.
        wobble: 3 amplitudes of bending, relative to the radius.
        edge: width of the soft edge, in pixels.
        opacity: 1 for solid things, less for glass, smoke and things blurred by their speed.
    """

    texture: Tensor
    shape: str
    harmonics: tuple[tuple[float, float, float], ...]
    aspect: float
    centres: np.ndarray
    radii: np.ndarray
    angles: np.ndarray
    wobble: np.ndarray
    edge: float
    opacity: float = 1.0

    def reach(self) -> float:
        """No part of the object is further than this from its centre, in pixels."""
        return float(self.radii.max()) * 1.75 * max(1.0, self.aspect) + self.edge + 2

    def render(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Radiance (3×3×h×w) and coverage (3×1×h×w) seen at 3×h×w×2 canvas positions."""

        def column(values: np.ndarray) -> Tensor:
            return tensor(values).to(positions.device)[:, None, None]

        offset = positions - column(self.centres)
        radius, cos, sin = column(self.radii), column(np.cos(self.angles)), column(np.sin(self.angles))
        x = (offset[..., 0] * cos + offset[..., 1] * sin) / radius
        y = (offset[..., 1] * cos - offset[..., 0] * sin) / (radius * self.aspect)
        bend = column(self.wobble)
        x, y = x + bend * torch.sin(2.1 * y), y + bend * torch.sin(2.6 * x + 1.0)
        inside = self._inside(x, y) * radius * min(1.0, self.aspect)
        coverage = (inside / self.edge + 0.5).clamp(0, 1) * self.opacity
        texture = self.texture.to(positions.device).expand(len(x), -1, -1, -1)
        # One scale in both directions, whatever the aspect: a texture squeezed into a wire would be aliased.
        grid = torch.stack([x, y * self.aspect], dim=-1) * (0.8 / max(1.0, self.aspect))
        radiance = F.grid_sample(texture, grid, "bilinear", "reflection", align_corners=False)
        return radiance, coverage[:, None]

    def _inside(self, x: Tensor, y: Tensor) -> Tensor:
        """Signed distance to the outline in units of the radius, positive inside; near enough for a soft edge."""
        if self.shape == "bar":
            return torch.minimum(1 - x.abs(), 1 - y.abs())
        distance = torch.sqrt(x * x + y * y + 1e-6)
        if self.shape == "ellipse":
            return 1 - distance
        direction = torch.atan2(y, x)
        if self.shape == "polygon":
            corners, roundness, phase = self.harmonics[0]
            sector = 2 * np.pi / corners
            folded = torch.remainder(direction + phase, sector) - sector / 2
            flat = np.cos(sector / 2) - distance * torch.cos(folded)
            return flat * (1 - roundness) + (1 - distance) * roundness
        outline = torch.ones_like(x)
        for order, amplitude, phase in self.harmonics:
            outline = outline + amplitude * torch.cos(order * direction + phase)
        return outline - distance


def draw_objects(
    rng: np.random.Generator,
    config: SynthesisConfig,
    bank: SceneBank,
    size: tuple[int, int],
    margin: int,
    times: np.ndarray,
) -> list[MovingObject]:
    """Random objects for a picture of `size` on a canvas that is larger by `margin` on every side."""
    crowd = max(1.0, (size[0] * size[1]) ** 0.5 / 192)
    count = round(int(rng.integers(config.object_count[0], config.object_count[1] + 1)) * crowd)
    return [_draw_object(rng, config, bank, size, margin, times) for _ in range(count)]


def _draw_object(
    rng: np.random.Generator,
    config: SynthesisConfig,
    bank: SceneBank,
    size: tuple[int, int],
    margin: int,
    times: np.ndarray,
) -> MovingObject:
    radius = min(log_uniform(rng, config.object_radius), 0.45 * min(size))
    shape, aspect, harmonics = _draw_outline(rng)
    if shape == "bar":  # branches, wires, poles, legs
        radius = min(1.5 * radius, 60.0)
        aspect = log_uniform(rng, (max(0.02, min(0.8 / radius, 0.4)), 0.5))
    step = log_uniform(rng, config.object_displacement)
    heading = rng.uniform(0, 2 * np.pi)
    velocity = step * np.array([np.cos(heading), np.sin(heading)])
    centre = rng.random(2) * np.array([size[1], size[0]]) + margin
    centres = centre + _INSTANTS[:, None] * velocity + rng.normal(size=(3, 2)) * step * rng.uniform(0, 0.3)
    if rng.random() < config.passing_share:  # there in one frame only
        centres[np.arange(3) != rng.integers(3)] = _FAR_AWAY
    lively = min(1.0, step / 5)
    return MovingObject(
        texture=object_texture(rng, config, bank, radius, times),
        shape=shape,
        harmonics=harmonics,
        aspect=aspect,
        centres=centres,
        radii=radius * (1 + _INSTANTS * rng.uniform(-0.15, 0.15) * lively),
        angles=rng.uniform(0, 2 * np.pi) + _INSTANTS * rng.normal() * 0.25 * lively,
        wobble=rng.normal(size=3) * 0.12 * lively + rng.normal() * 0.1,
        edge=uniform(rng, (0.8, 2.0) if rng.random() < 0.8 else (2.0, 6.0)),
        opacity=1.0 if rng.random() < 0.9 else uniform(rng, (0.4, 0.9)),
    )


def _draw_outline(rng: np.random.Generator) -> tuple[str, float, tuple[tuple[float, float, float], ...]]:
    shape = _SHAPES[rng.integers(len(_SHAPES))]
    aspect = log_uniform(rng, (0.4, 2.0))
    turn = (0.0, 2 * np.pi)
    if shape == "polygon":
        return shape, aspect, ((float(rng.integers(3, 7)), uniform(rng, (0.0, 0.4)), uniform(rng, turn)),)
    if shape == "blob":
        waves = [(float(k), uniform(rng, (0.0, 0.45 / k)), uniform(rng, turn)) for k in (2, 3, 4, 5, 7)]
        return shape, aspect, tuple(waves)
    return shape, aspect, ()


def composite(radiance: Tensor, positions: Tensor, thing: MovingObject, margin: int) -> Tensor | None:
    """Put an object before the three instants, in place and in linear light.

    Args:
        radiance: 3×3×H×W, changed.
        positions: 3×H×W×2 canvas positions of its pixels, at most `margin` away from pixel + margin.
        thing: the object.
        margin: of the canvas, in pixels.

    Returns:
        1×H×W: how much of each pixel it covers at any instant; None if it is not seen.
    """
    height, width = radiance.shape[-2:]
    visible = thing.centres[np.abs(thing.centres).max(axis=1) < _FAR_AWAY / 2] - margin
    reach = thing.reach() + margin
    left, top = np.floor(visible.min(axis=0) - reach).astype(int).clip(0, (width, height))
    right, bottom = np.ceil(visible.max(axis=0) + reach).astype(int).clip(0, (width, height))
    if right <= left or bottom <= top:
        return None
    box = (..., slice(int(top), int(bottom)), slice(int(left), int(right)))
    colour, alpha = thing.render(positions[:, box[1], box[2]])
    radiance[box] = torch.lerp(radiance[box], colour, alpha.expand_as(colour))
    passed = radiance.new_zeros(1, height, width)
    passed[box] = alpha.amax(dim=0)
    return passed
