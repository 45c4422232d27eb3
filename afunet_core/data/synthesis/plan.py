"""All that is drawn for a bracket, before anything is rendered.

Every bracket draws from a generator of its own in one order: kind, exposures and motion; then, since the canvas has
to be as large as the motion needs, the scene, objects, shake, sensor and registration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from afunet_core.data.synthesis.alignment_artifacts import Misalignment, draw_misalignment
from afunet_core.data.synthesis.camera import Camera, draw_camera
from afunet_core.data.synthesis.config import KINDS, Kind, SynthesisConfig
from afunet_core.data.synthesis.lighting import Background, draw_background
from afunet_core.data.synthesis.motion import SceneMotion, draw_motion, draw_shake
from afunet_core.data.synthesis.objects import MovingObject, draw_objects
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.data.synthesis.sensor import Sensor, draw_sensor

# Bicubic interpolation reaches two pixels around a position, which may lie between pixels.
_CUBIC_REACH = 3


@dataclass(frozen=True)
class ShotPlan:
    """Facts that are known before the canvas is."""

    kind: Kind  # "static", "camera", "objects" or "both"
    times: tuple[float, float, float]  # the three exposure times, 1 for the shortest
    registered: bool  # whether the frames will be registered
    motion: SceneMotion  # of camera and scene


@dataclass(frozen=True)
class BracketPlan:
    """A bracket that can be rendered; nothing is random any more."""

    shot: ShotPlan  # kind, exposures, motion
    ranges: np.ndarray  # 3×2×2, for each instant and axis the smallest and the largest displacement, in pixels
    background: Background  # the scene
    objects: tuple[MovingObject, ...]  # that move in front of it, those further behind first
    shake: np.ndarray | None  # 3×2 vectors of blur, or None
    sensor: Sensor  # the camera
    misalignment: Misalignment | None  # what registration leaves; None where the frames are as taken
    followed: bool  # whether what moved is brought to where the reference shows it
    # with a response curve and processing of its own, or None for one that is exactly as stated
    camera: Camera | None = None

    @property
    def margin(self) -> int:
        """Pixels by which the canvas is larger than the frames on every side."""
        return _margin(self.shot, self.ranges)

    @property
    def displaced(self) -> tuple[int, ...]:
        """The instants at which the frame does not show the scene straight on."""
        return tuple(np.flatnonzero(self.ranges.any(axis=(1, 2))).tolist())


def draw_shot(rng: np.random.Generator, config: SynthesisConfig, size: tuple[int, int], kind: Kind | None) -> ShotPlan:
    """Kind (where not given), exposures and motion of a bracket of `size`."""
    if kind is None:
        kind = KINDS[rng.choice(len(KINDS), p=np.array(config.kind_weights) / sum(config.kind_weights))]
    first, second = config.ev_steps[rng.integers(len(config.ev_steps))]
    registered = kind in ("camera", "both") and bool(rng.random() < config.registered_share)
    times = (1.0, 2.0**first, 2.0 ** (first + second))
    return ShotPlan(kind, times, registered, draw_motion(rng, config, size, kind, registered))


def draw_plan(
    rng: np.random.Generator,
    config: SynthesisConfig,
    banks: tuple[SceneBank, SceneBank],
    size: tuple[int, int],
    shot: ShotPlan,
    ranges: np.ndarray,
) -> BracketPlan:
    """Draw the rest of a bracket after its shot, displaced in these ``ranges``; objects come from the second bank."""
    times, moving_camera = np.array(shot.times), shot.kind in ("camera", "both")
    margin = _margin(shot, ranges)
    canvas = (size[0] + 2 * margin, size[1] + 2 * margin)
    background = draw_background(rng, config, banks[0], canvas, times)
    moving_things = shot.kind in ("objects", "both")
    objects = draw_objects(rng, config, banks[1], size, times) if moving_things else []
    shakes = moving_camera and rng.random() < config.blur_share
    vectors = draw_shake(rng, config) if shakes else None
    sensor = draw_sensor(rng, config, times)
    misalignment = draw_misalignment(rng, config, size) if shot.registered else None
    steady = shot.registered or shot.kind == "objects"
    followed = steady and bool(rng.random() < config.followed_share)
    # Drawn last, and only where asked for: without cameras a seed gives the bracket that it always gave.
    real = config.camera_share > 0 and rng.random() < config.camera_share
    camera = draw_camera(rng, config.camera_curves) if real else None
    return BracketPlan(shot, ranges, background, tuple(objects), vectors, sensor, misalignment, followed, camera)


def _margin(shot: ShotPlan, ranges: np.ndarray) -> int:
    return int(np.ceil(np.abs(ranges).max())) + _CUBIC_REACH if shot.motion.moves else 0
