"""Agreement of frames that may be clipped."""

from __future__ import annotations

from typing import Any

import torch

from afunet_core.camera.saturation import unsaturated
from afunet_core.motion.consistency import agreement, radiance_gap, spread_over
from scenes import blobs


def test_the_gap_between_intervals_is_signed_and_vanishes_where_they_overlap(checks: Any) -> None:
    low, other = checks.uniform(2, 50), checks.uniform(2, 50, seed=1)
    high, other_high = low + checks.uniform(2, 50, seed=2), other + checks.uniform(2, 50, seed=3)
    gap = radiance_gap(low, high, other, other_high)
    overlapping = (low <= other_high) & (other <= high)
    assert 0 < int(overlapping.sum()) < overlapping.numel()
    assert torch.equal(gap == 0, overlapping)
    assert torch.equal(gap, -radiance_gap(other, other_high, low, high))
    assert torch.equal(gap > 0, other > high)


def test_noise_agrees_and_motion_does_not() -> None:
    generator = torch.Generator().manual_seed(1)
    image = 0.05 + 0.25 * blobs(96, 96)
    variance, one = torch.full_like(image, 1e-4), torch.ones_like(image)
    noisy = image + 1e-2 * torch.randn(image.shape, generator=generator)
    assert float((agreement(image, noisy, variance, 1.0, one) > 0.5).float().mean()) > 0.99
    moved = image.clone()
    moved[..., 26:70, 40:52] = 0.45
    found = agreement(image, moved, variance, 1.0, one)
    assert float(found[..., 30:66, 43:49].max()) == 0
    assert float(found[..., :20].min()) == 1


def test_saturated_values_have_no_say() -> None:
    image = torch.full((1, 3, 9, 9), 0.5)
    trust = unsaturated(torch.ones_like(image))
    assert float(trust.max()) == 0
    assert float(agreement(image, image / 4, torch.full_like(image, 1e-4), 9.0, trust).min()) == 1


def test_contradictions_spread_over_what_is_connected() -> None:
    wrong, differs = torch.zeros(2, 1, 1, 40, 60)
    differs[..., 10:20, 10:20] = 1  # one thing
    differs[..., 10:20, 40:50] = 1  # another
    wrong[..., 18, 12] = 1
    reached = spread_over(wrong, differs)
    assert float(reached[..., 11:19, 11:19].min()) > 0.4
    assert float(reached[..., 40:50].max()) == 0
    assert float(reached[..., 30:, :].max()) == 0
