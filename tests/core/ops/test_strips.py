"""Large images are worked on in strips: the same result, without a second image in memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.motion import ghosts
from afunet_core.motion.ghosts import ghost_map
from afunet_core.ops import warp as warping
from afunet_core.ops.strips import enlarged_rows, in_strips
from afunet_core.ops.warp import valid_area, warp_homography, warp_rows
from afunet_core.registration import align
from afunet_core.registration.align import align_frame, covered_share

HEIGHT, WIDTH = 61, 47


def picture(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def motion(degrees: float, x: float, y: float, tilt: float = 0.0) -> Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s, x], [s, c, y], [tilt, -tilt, 1.0]], dtype=torch.float64)


MOTIONS = [
    motion(0, 0, 0),
    motion(3, 4.3, -2.8),
    motion(-80, 5, 60),
    motion(171.3, 50.2, 58.4, 1e-3),
    motion(0, 0, 500),
]


@pytest.mark.parametrize("homography", MOTIONS)
def test_rows_of_a_warp_are_those_of_the_whole(homography: Tensor) -> None:
    image = picture(0, 2, 3, HEIGHT, WIDTH)
    whole, covered = warp_homography(image.sqrt(), homography)
    for start, stop in ((0, 10), (10, 11), (11, HEIGHT)):
        rows, valid = warp_rows(image, homography, start, stop, torch.sqrt)
        torch.testing.assert_close(rows, whole[..., start:stop, :], rtol=0, atol=2e-4)
        assert torch.equal(valid, covered[..., start:stop, :])


@pytest.mark.parametrize("homography", MOTIONS)
def test_an_aligned_frame_does_not_show_its_strips(homography: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, reference = picture(1, 1, 3, HEIGHT, WIDTH), picture(2, 1, 3, HEIGHT, WIDTH)
    area = valid_area(homography, HEIGHT, WIDTH)
    # What needs gradients is still warped whole.
    whole, covered = align_frame(frame.clone().requires_grad_(), homography, reference, 1.0, 4.0)
    for module in (warping, align):
        monkeypatch.setattr(module, "STRIP_PIXELS", 8 * WIDTH)
    strips, valid = align_frame(frame, homography, reference, 1.0, 4.0)
    torch.testing.assert_close(strips, whole.detach(), rtol=0, atol=1e-3)  # the root is steep near black
    assert torch.equal(valid, covered)
    assert torch.equal(valid_area(homography, HEIGHT, WIDTH), area)


def scene(still: bool) -> Bracket:
    light = picture(4, 1, 3, HEIGHT, WIDTH)
    frames = [(light * time / 4 + 1e-3).clamp(0, 1) ** (1 / 2.2) for time in (1.0, 4.0, 16.0)]
    if not still:
        frames[0][..., 20:30, 5:25] = 0.9
    return Bracket(frames, times=(1, 4, 16), override=True)


def test_a_ghost_map_does_not_show_its_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ghost_map(scene(still=False))
    monkeypatch.setattr(ghosts, "STRIP_PIXELS", 4 * WIDTH)
    np.testing.assert_allclose(ghost_map(scene(still=False)), whole, atol=1e-6)
    assert whole[25, 15] > 0.9


def test_strips_keep_gradients() -> None:
    x = picture(6, 1, 2, 9, 5).requires_grad_()
    in_strips(torch.sin, x, pixels=10).sum().backward()
    torch.testing.assert_close(x.grad, x.detach().cos())


def test_the_overlap_of_a_large_frame_is_told_from_some_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = torch.tensor([[0.99, -0.14, 20.0], [0.14, 0.99, -31.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    exact = float(valid_area(turned, 300, 400).float().mean())
    assert covered_share(turned, 300, 400) == pytest.approx(exact, abs=1e-6)
    monkeypatch.setattr(align, "STRIP_PIXELS", 400 * 30)
    assert covered_share(turned, 300, 400) == pytest.approx(exact, abs=0.01)


def test_enlarged_rows_are_those_of_the_whole_map() -> None:
    small = picture(0, 1, 2, 4, 5)
    whole = torch.nn.functional.interpolate(small, size=(16, 20), mode="bilinear")
    for rows in (slice(0, 2), slice(3, 9), slice(14, 16)):
        torch.testing.assert_close(enlarged_rows(small, rows, 16, 20), whole[..., rows, :])
