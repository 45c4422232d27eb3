"""Borders of an aligned frame, where it has nothing of its own."""

from __future__ import annotations

import torch

from afunet_core.radiometry import encode, expose, linearize, to_radiance
from afunet_core.registration.frames import align_frame

SHIFT = torch.tensor([[1.0, 0.0, 4.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def fill(reference_level: float, frame_level: float, time: float) -> tuple[float, float]:
    """Level in the uncovered strip of a flat frame, and what the reference alone would put there."""
    frame, reference = torch.full((1, 3, 8, 16), frame_level), torch.full((1, 3, 8, 16), reference_level)
    aligned, valid = align_frame(frame, SHIFT, reference, time, 4.0)
    assert not valid[..., :4].any()
    assert valid[..., 4:].all()
    told = expose(to_radiance(reference, 4.0), time)
    return float(aligned[0, 0, 4, 1]), float(told[0, 0, 4, 1])


def test_a_reference_fills_the_border_and_a_clipped_one_only_bounds_it_from_below():
    level, told = fill(reference_level=0.6, frame_level=0.9, time=1.0)
    assert level == told
    bright, told = fill(reference_level=1.0, frame_level=0.9, time=1.0)
    assert abs(bright - 0.9) < 1e-6 < 0.9 - told
    dark, told = fill(reference_level=1.0, frame_level=0.1, time=1.0)
    assert dark == told


def test_truth_is_nearer_than_with_the_reference_alone():
    """A bright sky that the reference clips: its gradient goes on beyond the border of the short frame."""
    radiance = torch.linspace(0.8, 0.5, 32).expand(1, 3, 8, 32)
    short, reference = encode(radiance), encode((4 * radiance).clamp(0, 1))
    moved = torch.cat([short[..., 4:], short[..., -4:]], dim=-1)  # the camera turned right: the left 4 columns are lost
    aligned, valid = align_frame(moved, SHIFT, reference, 1.0, 4.0)
    lost = ~valid.expand_as(radiance)
    error = (linearize(aligned) - radiance)[lost].abs().mean()
    alone = (to_radiance(reference, 4.0) - radiance)[lost].abs().mean()
    assert error < 0.1 * alone
