"""A sample bracket: a hand-held camera, a rolling ball, a lit headlight, and the truth to compare with.

The scene is the motorcycle of the Middlebury stereo set, which scikit-image bundles (released as CC0 by Daniel
Scharstein), lit anew so that its range exceeds any single frame, with a rendered ball. The seed is fixed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from afunet_core.errors import ArgumentError, DependencyError

Array = NDArray[np.float64]

EV = (-2.0, 0.0, 2.0)
HEIGHT, WIDTH = 480, 720
# The camera's pose in each frame relative to the reference: degrees of roll, pixels right, pixels down.
SHAKE = ((0.35, 4.2, -2.6), (0.0, 0.0, 0.0), (-0.30, -3.4, 3.1))
# Where the ball touches the floor (x, in pixels) and how far it has turned (radians) in each frame.
BALL_RADIUS, BALL_FLOOR = 46.0, 452.0
BALL = ((262.0, 0.0), (330.0, 1.48), (398.0, 2.96))


class DemoBracket(NamedTuple):
    """Three frames, their exposures and what the merge should find."""

    frames: list[NDArray[np.uint16]]  # three ``H×W×3`` uint16 arrays, gamma 2.2, shortest first
    ev: tuple[float, float, float]  # the exposure of each frame in EV
    # ``H×W×3`` float32 linear radiance at the instant and pose of the middle frame; 1.0 = saturation of the shortest
    truth: NDArray[np.float32]


def demo_bracket(*, motion: bool = True, reduction: int = 1) -> DemoBracket:
    """Photograph the demonstration scene three times.

    Args:
        motion: with camera shake and the ball rolling; ``False`` is the same scene from a tripod, everything at rest.
        reduction: 1 is 480×720 pixels; 2, 3, … average blocks of that many pixels (smaller and faster, for tests).

    Returns:
        The bracket, with the truth for its middle frame.

    Raises:
        ArgumentError: when ``reduction`` is not one of 1, 2, 3, …, 16.
        DependencyError: without the extra ``samples``.

    Example:
        >>> frames, ev, truth = demo_bracket(reduction=8)
        >>> frames[0].shape, frames[0].dtype.name, ev
        ((60, 90, 3), 'uint16', (-2.0, 0.0, 2.0))
        >>> bool(truth.max() > 0.5 and truth.min() >= 0)
        True
    """
    if not (isinstance(reduction, int) and 1 <= reduction <= 16):
        raise ArgumentError("reduction", "a whole number from 1 to 16", reduction, "1 is the full 480×720 scene.")
    room = _room()
    random = np.random.default_rng(7)
    middle = _crop(_with_ball(room, *BALL[1]), SHAKE[1])
    frames = []
    for index, ev in enumerate(EV):
        moves = motion and index != 1
        radiance = _crop(_with_ball(room, *BALL[index]), SHAKE[index]) if moves else middle
        frames.append(_photograph(_reduce(radiance, reduction), 2.0 ** (ev - EV[0]), random))
    return DemoBracket(frames, EV, _reduce(middle, reduction).astype(np.float32))


def _room() -> Array:
    """Render the garage in linear radiance, lit by a window in the door and by the motorcycle's own headlight."""
    try:
        from scipy.ndimage import gaussian_filter
        from skimage import data
    except ImportError as error:
        advice = "pip install 'napari-afunet[samples]'"
        raise DependencyError(f"The sample bracket needs scikit-image and SciPy: {advice}.") from error

    photo = data.stereo_motorcycle()[0].astype(np.float64) / 255.0
    light = photo**2.2
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float64)

    # Daylight falls from the door onto the bench and the floor; the rest of the garage is dim.
    daylight = np.exp(-(((x - 240) / 190) ** 2) - ((y - 150) / 260) ** 2)
    beam = np.exp(-(((x - 640) / 120) ** 2) - ((y - 330) / 150) ** 2)
    room = light * (0.016 + 0.17 * daylight + 0.13 * beam)[..., None] * (1.0, 0.93, 0.82)

    room = _blend(room, _window(x, y), _inside(x, y, 183, 296, -9, 90))
    lamp_distance = np.hypot((x - 541) / 23, (y - 154) / 31)
    lens = 0.55 + 0.45 * light.mean(-1) / 0.6  # the reflector's facets stay visible
    glow = np.clip(1.15 - lamp_distance**2, 0, 1)[..., None] * lens[..., None] * np.array((0.95, 0.86, 0.66))
    room = _blend(room, np.maximum(glow, room), np.clip((1.08 - lamp_distance) * 8, 0, 1))

    # A lens scatters a little of the brightest light; without this veil a lamp looks pasted on.
    bloom = 0.05 * gaussian_filter(room, (7, 7, 0)) + 0.045 * gaussian_filter(room, (34, 34, 0))
    return np.clip(room + bloom, 0, 0.98)


def _window(x: Array, y: Array) -> Array:
    """Sky, clouds, a line of trees and the bars of the window."""
    clouds = 0.5 + 0.5 * np.sin(x / 17 + 2 * np.sin(y / 13)) * np.sin(y / 9 + 1.5 * np.sin(x / 23))
    sky = np.array((0.28, 0.42, 0.66)) + clouds[..., None] ** 2 * np.array((0.55, 0.42, 0.24))
    crowns = 64 + 6 * np.sin(x / 11) + 2.5 * np.sin(x / 4.1 + 1) + np.sin(x / 1.7)
    leaves = (0.7 + 0.3 * np.sin(x / 3.3 + y / 2.1) * np.sin(y / 4.7 - x / 5.9))[..., None] * np.array(
        (0.052, 0.085, 0.036)
    )
    scene = _blend(sky, leaves, np.clip(y - crowns, 0, 1))
    bars = np.clip(2.6 - np.minimum(np.abs(x - 240), np.abs(y - 40)), 0, 1)
    return _blend(scene, np.full_like(scene, 0.035), bars)


def _with_ball(room: Array, centre: float, turned: float) -> Array:
    """Draw the ball standing on the floor at ``centre``, having turned by ``turned`` radians."""
    from scipy.ndimage import gaussian_filter

    y, x = np.mgrid[: room.shape[0], : room.shape[1]].astype(np.float64)
    middle = BALL_FLOOR - BALL_RADIUS
    u, v = (x - centre) / BALL_RADIUS, (y - middle) / BALL_RADIUS
    inside = u**2 + v**2
    depth = np.sqrt(np.clip(1 - inside, 0, 1))

    # Six gores of colour around an axis that points half towards the camera, so that rolling shows.
    roll_u, roll_v = u * np.cos(turned) + v * np.sin(turned), v * np.cos(turned) - u * np.sin(turned)
    tilt_v, tilt_d = roll_v * 0.82 - depth * 0.57, roll_v * 0.57 + depth * 0.82
    gores = np.floor((np.arctan2(tilt_v, roll_u) / np.pi + 1) * 3).astype(int) % 3
    paint = np.array(((0.85, 0.83, 0.78), (0.80, 0.10, 0.07), (0.05, 0.22, 0.62)))[gores]
    paint = np.where((tilt_d > 0.955)[..., None], np.array((0.85, 0.83, 0.78)), paint)
    paint = gaussian_filter(paint, (0.7, 0.7, 0))

    # Lit by the window from above left and by the headlight from the right, with a small highlight of each.
    day = np.clip(-0.55 * u - 0.65 * v + 0.52 * depth, 0, 1)
    lamp = np.clip(0.75 * u - 0.45 * v + 0.48 * depth, 0, 1)
    shade = (0.012 + 0.10 * day)[..., None] + 0.075 * lamp[..., None] * np.array((1.0, 0.9, 0.7))
    shine = 0.35 * day**60 + 0.22 * lamp**60
    ball = paint * shade + shine[..., None]

    shadow = np.exp(-(((x - centre) / (BALL_RADIUS * 1.05)) ** 2) - ((y - BALL_FLOOR + 3) / 11) ** 2)
    scene = room * (1 - 0.78 * shadow)[..., None]
    return _blend(scene, ball, np.clip((1 - np.sqrt(inside)) * BALL_RADIUS, 0, 1))


def _crop(scene: Array, pose: tuple[float, float, float]) -> Array:
    """Cut the 480×720 field of view of a camera in ``pose``."""
    from scipy.ndimage import affine_transform

    roll, right, down = pose
    if pose == (0.0, 0.0, 0.0):
        top, left = (scene.shape[0] - HEIGHT) // 2, (scene.shape[1] - WIDTH) // 2
        return scene[top : top + HEIGHT, left : left + WIDTH]
    angle = np.deg2rad(roll)
    turn = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
    centre = np.array(((scene.shape[0] - HEIGHT) // 2 + HEIGHT / 2, (scene.shape[1] - WIDTH) // 2 + WIDTH / 2))
    offset = centre + np.array((down, right)) - turn @ np.array((HEIGHT / 2, WIDTH / 2))
    # Interpolated in a compressed domain, so that the cubic does not ring around the lamp.
    warped = [
        affine_transform(scene[..., c] ** 0.25, turn, offset, (HEIGHT, WIDTH), order=3, mode="nearest")
        for c in range(3)
    ]
    return np.clip(np.stack(warped, -1), 0, None) ** 4


def _photograph(radiance: Array, time: float, random: np.random.Generator) -> NDArray[np.uint16]:
    """Take one frame of a camera with photon and read noise: exposed, clipped, gamma encoded, 16 bits."""
    exposed = radiance * time
    noise = np.sqrt(exposed / 9000 + 0.0006**2) * random.standard_normal(radiance.shape)
    encoded = np.clip(exposed + noise, 0, 1) ** (1 / 2.2)
    return np.round(encoded * 65535).astype(np.uint16)


def _reduce(image: Array, factor: int) -> Array:
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return blocks.mean((1, 3))


def _blend(below: Array, above: Array, opacity: Array) -> Array:
    return below + opacity[..., None] * (above - below)


def _inside(x: Array, y: Array, left: float, right: float, top: float, bottom: float) -> Array:
    """Return 1 inside a rectangle, with an edge of one pixel."""
    return np.clip(np.minimum.reduce([x - left, right - x, y - top, bottom - y]), 0, 1)
