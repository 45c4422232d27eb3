"""Values too dark to tell: they take what a longer frame shows, but nothing that moved."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import afunet_core as af
from afunet_core.motion.shadows import complete_shadows, darkest_light
from scenes import blobs, photographed

TIMES = (1.0, 4.0, 16.0)
DARK = (..., slice(None), slice(0, 96))
"""The part of the scene that only the longest frame records."""


def scene(seed: int = 0) -> Tensor:
    """A lit room beside a dark one, whose texture spans a stop and a half."""
    light = blobs(192, 256, seed=seed) ** 3
    light[DARK] = 3e-4 * 3 ** light[DARK].clamp(0, 1)
    return light


def crushed(light: Tensor) -> Tensor:
    """An S-shaped curve that cuts off black."""
    value = light ** (1 / 2.2)
    value = 0.4 * value + 0.6 * value * value * (3 - 2 * value)
    return ((value - 0.012) / (1 - 0.012)).clamp(min=0)


def photographs(*lights: Tensor) -> af.Bracket:
    """JPEG files two stops apart of one scene, or of one for each frame."""
    frames = []
    for picture in photographed(lights * 3 if len(lights) == 1 else lights, TIMES, crushed, 1e-4, 6e-4):
        stored = io.BytesIO()
        Image.fromarray((255 * picture[0].permute(1, 2, 0)).round().byte().numpy()).save(stored, "JPEG", quality=92)
        frames.append(np.asarray(Image.open(stored)))
    bracket = af.Bracket(frames, times=TIMES, reference=1)
    assert bracket.metadata["calibration"]["curve_found"]
    return bracket


def stops_off(image: np.ndarray, light: Tensor, where: tuple) -> np.ndarray:
    """Errors of small blocks: what noise leaves of single pixels is not asked."""
    shown = torch.from_numpy(image).movedim(-1, 0)[None][where].double()
    shown, truth = (F.avg_pool2d(part, 4) for part in (shown, light[where].double()))
    return (shown.clamp(min=1e-9) / truth).log2().numpy()


@pytest.mark.parametrize(("method", "moves"), [("auto", False), ("auto", True), ("weighted", False)])
def test_dark_codes_of_the_reference_do_not_veto_a_longer_frame(method: str, moves: bool) -> None:
    """Nor do they where something else moves."""
    light, other = scene(), scene()
    other[..., 40:90, 150:200] = 0.5 * torch.tensor([1.0, 0.2, 0.1]).view(1, 3, 1, 1)
    bracket = photographs(light, light, other if moves else light)
    assert float(bracket.frames[1][DARK].median()) < 0.7 * darkest_light(bracket) ** (1 / 2.2)
    merged = af.merge(bracket, method=method, model="compact")
    assert not (moves and merged.info["at_rest"])
    off = stops_off(merged.radiance, light, (..., slice(None), slice(0, 80)))
    assert abs(float(np.median(off))) < 0.3
    assert float(np.percentile(off, 2)) > -0.8


def test_a_dark_channel_is_completed_beside_others_that_are_hardly_dark() -> None:
    """Shaded yellow stone: red and green are at the end of the fade, and what they say there is no contradiction."""
    light = scene()
    level = scene(1)[DARK].clamp(0, 1) ** 0.2
    light[DARK] = level * torch.tensor([1.0, 0.75, 0.2]).view(1, 3, 1, 1) * 0.015
    bracket = photographs(light)
    completed = complete_shadows(bracket).frames[1][DARK][:, 2].mean() ** 2.2
    expected = (bracket.frames[2][DARK][:, 2] ** 2.2).mean() * bracket.times[1] / bracket.times[2]
    assert float((completed / expected).log2().abs()) < 0.3


@pytest.mark.parametrize("brightness", [0.02, 0.3])
def test_what_moved_in_before_the_dark_stays_out(brightness: float) -> None:
    light, other = scene(), scene()
    other[..., 60:110, 20:70] = brightness
    bracket = photographs(light, light, other)
    completed = complete_shadows(bracket).frames[1][..., 66:104, 26:64]
    assert float((completed - bracket.frames[1][..., 66:104, 26:64]).abs().max()) < 0.01


def test_dark_things_that_belong_to_what_moved_stay_out() -> None:
    """A person in a dark shirt: the shirt alone could be anything dark, the arm tells that they were not there."""
    light, changes = scene(), []
    for arm in (False, True):
        other = light.clone()
        other[..., 50:80, 30:60] = 1e-3
        if arm:
            other[..., 80:100, 30:60] = 0.05
        bracket = photographs(light, light, other)
        change = (complete_shadows(bracket).frames[1] - bracket.frames[1]).abs()
        changes.append(float(change[..., 70:78, 36:54].mean()))
    assert changes[1] < 0.5 * changes[0]


def test_frames_whose_curve_is_known_are_left_alone() -> None:
    frames = [(scene() * time).clamp(0, 1) ** (1 / 2.2) for time in TIMES]
    bracket = af.Bracket(frames, times=TIMES)
    assert darkest_light(bracket) == 0
    assert complete_shadows(bracket) is bracket


def test_a_clipped_reference_stays_as_it_is_where_a_short_frame_contradicts_it() -> None:
    """Weighted merge: hair before a bright window, in the short frame alone, made pixels of all colours."""
    hair = (..., slice(60, 100), slice(120, 160))
    bright, covered = scene(), scene()
    bright[hair] = 0.9
    covered[hair] = torch.tensor([0.004, 0.002, 0.001]).view(1, 3, 1, 1)
    merged = af.merge(photographs(covered, bright, bright), method="weighted", align="off")
    inside = torch.from_numpy(merged.radiance).movedim(-1, 0)[None][hair][..., 6:-6, 6:-6]
    assert float((inside.amax(1) / inside.amin(1)).quantile(0.99)) < 1.1
    assert float((inside * TIMES[1] / TIMES[0]).median()) == pytest.approx(1.0, abs=0.15)
