"""Evidence of motion: every kind is noticed, and a scene at rest is recognised."""

from __future__ import annotations

import pytest
import torch

from afunet_core.bracket.bracket import Bracket
from afunet_core.merging.evidence import AT_REST, is_at_rest
from afunet_core.motion.ghosts import ghost_map
from scenes import synthetic_bracket


@pytest.mark.parametrize("kind", ["camera", "objects", "both"])
@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_motion_is_noticed(kind, seed):
    assert not is_at_rest(synthetic_bracket(seed, kind)[0])


def test_what_is_fainter_than_the_noise_of_a_pixel_is_noticed():
    """A dark square crosses a dark wall: two deviations of a pixel of the reference, no more."""
    generator, frames = torch.Generator().manual_seed(0), []
    for index, time in enumerate((1.0, 4.0, 16.0)):
        radiance = torch.full((1, 3, 160, 160), 0.003)
        radiance[..., 40:90, 30 + 40 * index : 70 + 40 * index] = 0.0043
        noise = torch.randn(radiance.shape, generator=generator)
        exposed = radiance * time + (2e-4 * radiance * time + 2e-3**2).sqrt() * noise
        frames.append(exposed.clamp(0, 1) ** (1 / 2.2))
    bracket = Bracket(frames, times=(1.0, 4.0, 16.0), encoding="gamma")
    assert ghost_map(bracket, block=1).mean() <= AT_REST
    assert ghost_map(bracket, block=2).mean() > AT_REST
    assert not is_at_rest(bracket)


@pytest.mark.parametrize("seed", range(8))
def test_rest_is_recognised(seed):
    assert is_at_rest(synthetic_bracket(40 + seed)[0])


def test_one_moving_sample_keeps_the_batch_from_rest():
    still = torch.full((1, 3, 64, 64), 0.02)
    moved = still.clone()
    moved[..., :20, :20] = 0.002
    frames = [torch.cat([still, still]) ** (1 / 2.2), (4 * torch.cat([still, moved])) ** (1 / 2.2)]
    bracket = Bracket(frames, times=(1.0, 4.0), encoding="gamma", override=True)
    assert is_at_rest(bracket.with_frames([frame[:1] for frame in bracket.frames]))
    assert not is_at_rest(bracket)


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (17, 8)])
def test_any_size(size):
    frames = [torch.full((1, 3, *size), value) for value in (0.1, 0.2, 0.4)]
    assert is_at_rest(Bracket(frames, times=(1.0, 2.0, 4.0), encoding="linear"))
