"""Ghost maps: still scenes stay dark under noise; what moved lights up, whatever the frames saturate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.errors import ArgumentError
from afunet_core.motion.ghosts import ghost_map
from scenes import blobs, photographed

TIMES = (1.0, 4.0, 16.0)


def stack(*lights: Tensor, encoding: str = "gamma", reference: int = 1, noise: float = 0.003) -> ExposureStack:
    frames = photographed(lights * 3 if len(lights) == 1 else lights, TIMES, encoding, noise**2, noise / 3, seed=0)
    return ExposureStack(tuple(frames), torch.tensor(TIMES), encoding, reference=reference)


def scene() -> Tensor:
    return 10 ** (2.5 * blobs(60, 80, 10) - 2.5)


@pytest.mark.parametrize("noise", [0.001, 0.02])
@pytest.mark.parametrize("encoding", ["gamma", "srgb", "linear"])
def test_a_still_scene_has_no_ghosts(noise: float, encoding: str) -> None:
    still = ghost_map(stack(scene(), encoding=encoding, noise=noise))
    assert still.shape == (60, 80)
    assert still.mean() < 0.01


@pytest.mark.parametrize("reference", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_what_moved_lights_up_and_nothing_else(reference: int, factor: float) -> None:
    lights = [torch.full((1, 3, 60, 80), 0.04) for _ in range(3)]
    lights[reference][..., 20:40, 30:50] *= factor
    ghosts = ghost_map(stack(*lights, reference=reference))
    assert ghosts[22:38, 32:48].min() > 0.9
    ghosts[16:44, 26:54] = 0
    assert ghosts.max() < 0.1


def test_saturation_disagrees_with_what_is_darker_alone() -> None:
    bright, dark = torch.full((1, 3, 20, 20), 0.7), torch.full((1, 3, 20, 20), 0.05)
    assert ghost_map(stack(bright)).max() < 0.05  # the frames clip at different radiances
    assert ghost_map(stack(dark, bright, bright)).min() > 0.9


def test_errors_and_dirt() -> None:
    bracket = stack(scene())
    with pytest.raises(ArgumentError, match="sample"):
        ghost_map(bracket, sample=1)
    bracket.frames[0][..., :5, :] = float("nan")
    assert np.isfinite(ghost_map(bracket)).all()
