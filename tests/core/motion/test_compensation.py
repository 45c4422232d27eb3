"""Things that moved between the frames are brought to where the reference shows it, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import afunet_core as af
from afunet_core.bracket.stack import ExposureStack
from afunet_core.motion import compensation as motion_compensation
from afunet_core.motion.compensation import follow_motion
from afunet_core.radiometry import expose
from scenes import blobs

TIMES = torch.tensor([1.0, 4.0, 16.0])


def scene(place: int, bright: float = 0.1, thing: bool = True) -> Tensor:
    """1×3×96×128 radiance: texture, and a textured square whose left edge is at ``place``."""
    picture = 0.005 + 0.04 * blobs(96, 128, 8, 8, "bicubic")
    if thing:
        picture[..., 34:66, place : place + 32] = bright * (0.4 + 0.6 * blobs(32, 32, 8, 9, "bicubic"))
    return picture


def stack(*radiance: Tensor) -> ExposureStack:
    frames = tuple(expose(light, time).clamp(0, 1) for light, time in zip(radiance, TIMES, strict=True))
    return ExposureStack(frames, TIMES, reference=1)


@pytest.fixture
def moved() -> ExposureStack:
    """A thing moves by nine pixels from frame to frame."""
    return stack(scene(39), scene(48), scene(57))


@pytest.fixture
def still() -> ExposureStack:
    return stack(*(scene(48),) * 3)


def test_a_moved_thing_is_brought_back(moved: ExposureStack, still: ExposureStack) -> None:
    """After following, the outer frames show it where the reference does."""
    found, shares = follow_motion(moved)
    for index in (0, 2):
        before = (moved.frames[index] - still.frames[index]).abs()
        after = (found[index] - still.frames[index]).abs()
        inside = (..., slice(38, 62), slice(52, 76))
        assert float(after[inside].mean()) < 0.5 * float(before[inside].mean())
        assert float(after.mean()) < float(before.mean())
        assert 0.02 < shares[0][index] < 0.4
    assert found[1] is moved.frames[1]


def test_a_thing_the_reference_clips_is_brought_back() -> None:
    """Only its outline tells: inside, the reference is white. What the short frame recorded arrives with it."""
    moved = stack(scene(39, bright=0.9), scene(48, bright=0.9), scene(48, bright=0.9))
    still = stack(*(scene(48, bright=0.9),) * 3)
    inside = (0, slice(None), slice(38, 62), slice(52, 76))
    assert float((moved.frames[1][inside] > 0.97).float().mean()) > 0.9
    found, _ = follow_motion(moved)
    before = (moved.frames[0] - still.frames[0])[inside].abs().mean()
    assert float((found[0] - still.frames[0])[inside].abs().mean()) < 0.5 * float(before)


def test_what_is_at_rest_is_left_alone(still: ExposureStack) -> None:
    """Bit for bit, with the noise of a camera."""
    generator = torch.Generator().manual_seed(0)
    noise = [0.004 * torch.randn(frame.shape, generator=generator) for frame in still.frames]
    still = replace(still, frames=tuple((f + n).clamp(0, 1) for f, n in zip(still.frames, noise, strict=True)))
    found, shares = follow_motion(still)
    assert all(a is b for a, b in zip(found, still.frames, strict=True))
    assert shares == [[0.0, 0.0, 0.0]]


def test_what_only_one_frame_shows_does_little_harm() -> None:
    """There is no motion to follow. Nothing far from it changes, nor any other frame, and it itself hardly."""
    passing = stack(scene(48), scene(48, thing=False), scene(48, thing=False))
    found, _ = follow_motion(passing)
    far = torch.ones_like(found[0], dtype=torch.bool)
    far[..., 18:82, 32:96] = False
    assert torch.equal(found[0][far], passing.frames[0][far])
    assert found[2] is passing.frames[2]
    truth = stack(*(scene(48, thing=False),) * 3).frames[0]
    assert float((found[0] - truth).abs().mean()) < 1.1 * float((passing.frames[0] - truth).abs().mean())


def test_samples_of_a_batch_are_judged_one_by_one(moved: ExposureStack, still: ExposureStack) -> None:
    """A sample at rest stays as it is beside one in motion."""
    frames = tuple(torch.cat(pair) for pair in zip(still.frames, moved.frames, strict=True))
    found, shares = follow_motion(replace(still, frames=frames))
    alone, _ = follow_motion(moved)
    assert shares[0] == [0.0, 0.0, 0.0]
    for index in range(3):
        assert torch.equal(found[index][0], still.frames[index][0])
        assert torch.allclose(found[index][1], alone[index][0], atol=1e-6)


def test_strips_change_nothing(checks: Any, moved: ExposureStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows are moved at a time; and of large frames motion is found at half the size."""
    whole, _ = follow_motion(moved)
    monkeypatch.setattr(motion_compensation, "STRIP_PIXELS", 7 * 128)
    for a, b in zip(whole, follow_motion(moved)[0], strict=True):
        checks.close(a, b, 1e-4)
    monkeypatch.setattr(motion_compensation, "WORKING_PIXELS", 96 * 128 / 2)
    inside = (..., slice(40, 60), slice(54, 74))
    found = (follow_motion(moved)[0][0] - whole[0])[inside].abs().mean()
    assert float(found) < 0.2 * float((moved.frames[0] - whole[0])[inside].abs().mean())


def test_merge_follows_unless_told_not_to() -> None:
    """A thing that the reference clips: ``align="auto"`` finds it and says so, ``"camera"`` does not look for it."""
    moved = stack(scene(39, bright=0.9), scene(48, bright=0.9), scene(48, bright=0.9))
    bracket = af.Bracket([frame[0].permute(1, 2, 0).numpy() for frame in moved.frames], times=TIMES.tolist())
    truth = scene(48, bright=0.9)[0].permute(1, 2, 0).numpy()
    results = {align: af.merge(bracket, model="compact", align=align) for align in ("auto", "camera")}
    shares = results["auto"].info["followed"]
    assert set(shares) == {bracket.names[0], bracket.names[2]}
    assert 0.02 < shares[bracket.names[0]] < 0.4
    assert "followed" not in results["camera"].info
    errors = {align: np.abs(result.radiance - truth).mean() for align, result in results.items()}
    assert errors["auto"] < 0.7 * errors["camera"]
