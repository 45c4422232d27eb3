"""Things that move on their own in front of a scene: shapes with soft edges, cut from other pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.lighting import object_texture
from afunet_core.data.synthesis.sampling import log_uniform, uniform
from afunet_core.data.synthesis.scenes import SceneBank

_INSTANTS = np.array([-1.0, 0.0, 1.0])
# Where an object is at an instant that does not see it.
FAR_AWAY = 1.0e4
_SHAPES = ("blob", "blob", "blob", "ellipse", "polygon", "bar")


@dataclass(frozen=True)
class MovingObject:
    """A textured shape with a pose at each of the three instants."""

    texture: Tensor  # 3×h×w radiance
    shape: str  # "blob", "ellipse", "polygon" or "bar"
    # of a blob's outline, (order, amplitude, phase) each; of a polygon, one (corners, roundness, phase)
    harmonics: tuple[tuple[float, float, float], ...]
    aspect: float  # height over width
    centres: np.ndarray  # 3×2 positions (x, y) in the scene, in pixels of an undisplaced frame
    radii: np.ndarray  # 3 sizes (half the width), in pixels
    angles: np.ndarray  # 3 rotations, in radians
    wobble: np.ndarray  # 3 amplitudes of bending, relative to the radius
    edge: float  # width of the soft edge, in pixels
    opacity: float = 1.0  # 1 for solid things, less for glass, smoke and things blurred by their speed

    def reach(self) -> float:
        """Nothing of the object is drawn further than this from its centre, in pixels."""
        return float(self.radii.max()) * 1.75 * max(1.0, self.aspect) + self.edge + 2

    def half_extent(self, instant: int) -> tuple[float, float]:
        """Bound, in x and y, how far the object with its soft edge reaches from its centre, in pixels."""
        radius, angle = float(self.radii[instant]), float(self.angles[instant])
        edge = self.edge / (2 * radius * min(1.0, self.aspect))  # in radii, like the outline
        outline = 1 + edge
        if self.shape == "blob":
            outline += sum(abs(amplitude) for _, amplitude, _ in self.harmonics)
        if self.shape == "polygon":  # beside a corner the distance grows more slowly than along the radius
            corners, roundness, _ = self.harmonics[0]
            outline = 1 + edge / (math.cos(math.pi / corners) * (1 - roundness) + roundness)
        cos, sin, bend = abs(math.cos(angle)), abs(math.sin(angle)), abs(float(self.wobble[instant]))

        def extent(along: float, across: float) -> float:
            body = along + across if self.shape == "bar" else math.hypot(along, across)
            return radius * (body * outline + (along + across) * bend) + 0.01

        return extent(cos, sin * self.aspect), extent(sin, cos * self.aspect)


def draw_objects(
    rng: np.random.Generator, config: SynthesisConfig, bank: SceneBank, size: tuple[int, int], times: np.ndarray
) -> list[MovingObject]:
    """Random objects for a picture of `size`."""
    crowd = max(1.0, (size[0] * size[1]) ** 0.5 / 192)
    count = round(int(rng.integers(config.object_count[0], config.object_count[1] + 1)) * crowd)
    return [_draw_object(rng, config, bank, size, times) for _ in range(count)]


def _draw_object(
    rng: np.random.Generator, config: SynthesisConfig, bank: SceneBank, size: tuple[int, int], times: np.ndarray
) -> MovingObject:
    radius = min(log_uniform(rng, config.object_radius), 0.45 * min(size))
    shape, aspect, harmonics = _draw_outline(rng)
    if shape == "bar":  # branches, wires, poles, legs
        radius = min(1.5 * radius, 60.0)
        aspect = log_uniform(rng, (max(0.02, min(0.8 / radius, 0.4)), 0.5))
    step = log_uniform(rng, config.object_displacement)
    heading = rng.uniform(0, 2 * np.pi)
    velocity = step * np.array([np.cos(heading), np.sin(heading)])
    centre = rng.random(2) * np.array([size[1], size[0]])
    centres = centre + _INSTANTS[:, None] * velocity + rng.normal(size=(3, 2)) * step * rng.uniform(0, 0.3)
    if rng.random() < config.passing_share:  # there in one frame only
        centres[np.arange(3) != rng.integers(3)] = FAR_AWAY
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
