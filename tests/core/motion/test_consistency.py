"""Agreement of frames that may be clipped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import afunet_core as af
from afunet_core.camera.noise import NoiseModel
from afunet_core.camera.saturation import unsaturated
from afunet_core.merging.frame_selection import select_frames
from afunet_core.merging.multi_frame import combine_frames
from afunet_core.motion.consistency import agreement, radiance_gap, spread_over

SIZE, NOISE = 96, NoiseModel(1e-4, 1e-3)


def plaza() -> Tensor:
    """A bright square, clipped in the reference, with some texture; the shade around it is not."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    texture = 1 + 0.1 * torch.sin(x * 0.3) * torch.sin(y * 0.2)
    bright = ((x - 48).abs() < 36) & ((y - 48).abs() < 36)
    return (torch.where(bright, 0.3, 0.05) * texture).expand(1, 3, SIZE, SIZE)


def walker(scene: Tensor, left: int) -> Tensor:
    """Dark trousers, which contradict a clipped reference, and a white shirt, which does not."""
    shown = scene.clone()
    shown[..., 48:70, left : left + 12] = 0.02
    shown[..., 26:48, left : left + 12] = 0.45
    return shown


def test_the_gap_between_intervals_is_signed_and_vanishes_where_they_overlap(checks: Any) -> None:
    low, other = checks.uniform(2, 50), checks.uniform(2, 50, seed=1)
    high, other_high = low + checks.uniform(2, 50, seed=2), other + checks.uniform(2, 50, seed=3)
    gap = radiance_gap(low, high, other, other_high)
    overlapping = (low <= other_high) & (other <= high)
    assert 0 < int(overlapping.sum()) < overlapping.numel()
    assert torch.equal(gap == 0, overlapping)
    assert torch.equal(gap, -radiance_gap(other, other_high, low, high))
    assert torch.equal(gap > 0, other > high)


class TestAgreement:
    def test_noise_agrees_and_motion_does_not(self) -> None:
        generator = torch.Generator().manual_seed(1)
        image = plaza()
        variance = torch.full_like(image, 1e-4)
        noisy = image + 1e-2 * torch.randn(image.shape, generator=generator)
        one = torch.ones_like(image)
        assert float((agreement(image, noisy, variance, 1.0, one) > 0.5).float().mean()) > 0.99
        moved = agreement(image, walker(image, 40), variance, 1.0, one)
        assert float(moved[..., 30:44, 43:49].max()) == 0
        assert float(moved[..., :20].min()) == 1

    def test_saturated_values_have_no_say(self) -> None:
        image = torch.full((1, 3, 9, 9), 0.5)
        trust = unsaturated(torch.ones_like(image))
        assert float(trust.max()) == 0
        assert float(agreement(image, image / 4, torch.full_like(image, 1e-4), 9.0, trust).min()) == 1

    def test_contradictions_spread_over_what_is_connected(self) -> None:
        wrong, differs = torch.zeros(2, 1, 1, 40, 60)
        differs[..., 10:20, 10:20] = 1  # one thing
        differs[..., 10:20, 40:50] = 1  # another
        wrong[..., 18, 12] = 1
        reached = spread_over(wrong, differs)
        assert float(reached[..., 11:19, 11:19].min()) > 0.4
        assert float(reached[..., 40:50].max()) == 0
        assert float(reached[..., 30:, :].max()) == 0


class TestCombination:
    def test_short_frames_must_agree_among_themselves(self) -> None:
        """Motion in highlights that all three of the network's frames clip is shown once."""
        y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        times = [2.0**k for k in range(7)]
        truth, frames = [], []
        for index, time in enumerate(times):
            lamp = (y - 48).square() + (x - 48 - 10 * (index == 0)).square() < 12**2
            truth.append(torch.where(lamp, 0.9, 0.3).expand(1, 3, SIZE, SIZE))
            frames.append((truth[-1] * time).clamp(0, 1) ** (1 / 2.2))
        bracket = af.Bracket(frames, times=times, reference=5, override=True)
        plan = select_frames(bracket)
        assert plan.three[0] == 3  # saturates at 1/8: the lamp and its surroundings are beyond
        picture = truth[1].clamp(max=1 / times[3])
        combined = combine_frames(picture, bracket, plan, NOISE).image
        away, inside = ((y - 48).square() + (x - 48).square()).sqrt().sub(12).gt(3), truth[1] > 0.8
        assert float((combined - 0.3)[..., away].abs().amax()) < 0.03  # no trace of the first frame's lamp
        assert float(combined[inside].amin()) > 0.49  # the second frame's, as bright at least as it could record
