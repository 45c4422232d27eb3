"""Dense motion: known motions are found, between pixels too; what cannot be known is told apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from afunet_core.errors import ShapeError
from afunet_core.motion.optical_flow import flow_inconsistency, optical_flow
from scenes import blobs


@pytest.fixture
def texture() -> Tensor:
    """Smooth blobs at several scales, 1×1×120×160, without anything that repeats."""
    return torch.stack([blobs(120, 160, cell, cell, "bicubic")[:, :1] for cell in (4, 10, 20)]).mean(0)


def inner(flow: Tensor, margin: int = 32) -> Tensor:
    return flow[..., margin:-margin, margin:-margin]


@settings(max_examples=12)
@given(x=st.integers(-12, 12), y=st.integers(-12, 12))
def test_whole_shifts_are_found(x: int, y: int) -> None:
    """Up to a tenth of the picture in any direction, from nothing but the pictures."""
    picture = blobs(120, 156, 6, seed=5, mode="bicubic")[:, :1]
    flow = inner(optical_flow(picture, picture.roll((y, x), dims=(-2, -1))))
    wrong = (flow - torch.tensor([x, y], dtype=torch.float32)[:, None, None]).norm(dim=1)
    assert float(wrong.median()) < 0.15
    assert float((wrong < 0.5).float().mean()) > 0.95


def test_motion_between_pixels_is_found(texture: Tensor) -> None:
    """A zoom moves every pixel by another fraction; an independent resampling makes the second picture."""
    height, width = texture.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    truth = 0.03 * torch.stack((x - width / 2, y - height / 2))[None].float()
    # The second picture shows at p + flow(p) what the first shows at p: the first at the inverse of the zoom.
    grid = F.affine_grid(torch.eye(2, 3)[None] / 1.03, [1, 1, height, width], align_corners=False)
    zoomed = F.grid_sample(texture, grid, mode="bicubic", padding_mode="border", align_corners=False)
    wrong = (inner(optical_flow(texture, zoomed) - truth, 24)).norm(dim=1)
    assert float(wrong.mean()) < 0.2


def test_a_thing_and_its_background_move_apart(texture: Tensor) -> None:
    """A square that moved by 9 pixels over a background at rest: each has its own motion."""
    thing = (0.5 + 0.5 * texture.flip(-1))[..., 40:80, 50:90]
    before, after = texture * 0.5, texture * 0.5
    before, after = before.clone(), after.clone()
    before[..., 40:80, 60:100] = thing
    after[..., 40:80, 69:109] = thing
    flow = optical_flow(before, after)
    assert flow[0, 0, 50:70, 70:90].median().item() == pytest.approx(9, abs=0.3)
    assert flow[0, :, :25].abs().median() < 0.1


def test_what_is_hidden_is_inconsistent(texture: Tensor) -> None:
    """There and back lead home where both pictures show the thing; not where it is covered in one of them."""
    before, after = texture.clone(), texture.clone()
    after[..., 40:80, 60:100] = texture.flip(-2)[..., 30:70, 20:60]
    missed = flow_inconsistency(optical_flow(before, after), optical_flow(after, before))
    assert missed[..., 50:70, 70:90].mean() > 5 * missed[..., :20, :].mean()


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (33, 31), (64, 17)])
def test_odd_sizes(checks: Any, size: tuple[int, int]) -> None:
    """Every size has an answer of its size, finite, and none where nothing moved."""
    picture = checks.uniform(1, 1, *size, dtype=torch.float32)
    flow = optical_flow(picture, picture)
    assert flow.shape == (1, 2, *size)
    assert bool(flow.isfinite().all())
    assert float(flow.abs().max()) < 0.6


def test_wrong_shapes_are_told(checks: Any) -> None:
    """Colour, or two sizes, are no pair of pictures."""
    grey = checks.uniform(1, 1, 8, 8)
    with pytest.raises(ShapeError, match="reference"):
        optical_flow(checks.uniform(1, 3, 8, 8), grey)
    with pytest.raises(ShapeError, match="moving"):
        optical_flow(grey, checks.uniform(1, 1, 8, 9))
