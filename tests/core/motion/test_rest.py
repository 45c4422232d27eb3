"""Places at rest: real cameras pass, what moved does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.motion.rest import rest_map
from scenes import blobs, photographed


def scene() -> Tensor:
    return blobs(128, 160) ** 2 * 0.5 + 0.01


def stack(first: Tensor, second: Tensor, time: float = 4.0) -> ExposureStack:
    """Two frames of eight bits, the second the reference."""
    frames = photographed((first, second), (0.5, 0.5 * time), gain=1e-4)
    return ExposureStack(tuple(frames), torch.tensor([1.0, time]), reference=1)


@pytest.mark.parametrize("time", [2.0, 4.0, 16.0])
def test_a_still_scene_is_at_rest(time: float) -> None:
    assert float(rest_map(stack(scene(), scene(), time), 0)[0].mean()) > 0.99


def test_a_colour_that_is_off_by_a_tenth_and_half_a_pixel_are_forgiven() -> None:
    light = scene()
    tinted = light * torch.tensor([1.12, 1.0, 0.88]).view(1, 3, 1, 1)
    assert float(rest_map(stack(tinted, light), 0)[0].mean()) > 0.98
    shifted = 0.7 * light + 0.3 * torch.roll(light, 1, -1)
    assert float(rest_map(stack(shifted, light), 0)[0][..., 8:-8].mean()) > 0.98


@pytest.mark.parametrize("contrast", [0.2, 2.5])
def test_what_moved_is_found_whole(contrast: float) -> None:
    light = scene()
    moved = light.clone()
    moved[..., 40:70, 60:80] *= contrast
    rest = rest_map(stack(moved, light), 0)[0]
    assert float(rest[..., 44:66, 64:76].max()) < 0.2
    assert float(rest[..., :16, :40].min()) > 0.9
    assert 0 <= float(rest.min()) <= float(rest.max()) <= 1
    assert max(float(rest.diff(dim=axis).abs().max()) for axis in (-1, -2)) < 0.2  # the map is smooth


def test_saturation_contradicts_only_what_is_darker() -> None:
    light = scene()
    bright = light.clone()
    bright[..., 30:60, 30:60] = 1.8  # saturated in the reference, recorded by the short frame
    assert float(rest_map(stack(bright, bright), 0)[0][..., 36:54, 36:54].min()) > 0.9
    gone = bright.clone()
    gone[..., 30:60, 30:60] = 0.05
    assert float(rest_map(stack(gone, bright), 0)[0][..., 36:54, 36:54].max()) < 0.1


def test_a_colour_beyond_the_limit_may_be_drawn_to_white() -> None:
    """As an orange parasol in the sun: its red saturates even the short frame, and the long one draws it white."""
    orange, white = scene(), scene()
    patch = (slice(None), slice(None), slice(30, 60), slice(30, 60))
    orange[patch] = torch.tensor([4.0, 0.4, 0.1]).view(1, 3, 1, 1)
    white[patch] = 4.0
    assert float(rest_map(stack(orange, white), 0)[0][..., 36:54, 36:54].min()) > 0.9
    gone = scene()
    gone[patch] = torch.tensor([0.4, 0.4, 0.1]).view(1, 3, 1, 1)  # no red that could have got into the blue
    assert float(rest_map(stack(gone, white), 0)[0][..., 36:54, 36:54].max()) < 0.1
