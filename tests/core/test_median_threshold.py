"""Ward's alignment finds known shifts, whatever the exposure, and where OpenCV is installed agrees with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from afunet_core.baselines import weighted_merge
from afunet_core.bracket import Bracket
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.median_threshold import median_threshold_merge, median_threshold_shifts, shift_frame
from afunet_core.metrics import psnr_mu

HEIGHT, WIDTH, ROOM = 300, 401, 64


def scene(seed: int, margin: int = ROOM) -> Tensor:
    """Radiance with detail at every scale, larger than a frame by a margin on all sides."""
    generator = torch.Generator().manual_seed(seed)
    size = (HEIGHT + 2 * margin, WIDTH + 2 * margin)
    octaves = [
        F.interpolate(torch.rand(1, 3, size[0] // k, size[1] // k, generator=generator), size=size, mode="bicubic")
        for k in (64, 16, 4)
    ]
    return torch.stack(octaves).mean(0).clamp(0.01, 1)


def view(light: Tensor, right: int, down: int, time: float) -> Tensor:
    """A frame whose content lies so many pixels right of and below that of the frame at 0, 0."""
    window = light[..., ROOM - down : ROOM - down + HEIGHT, ROOM - right : ROOM - right + WIDTH]
    return (window * time).clamp(0, 1) ** (1 / 2.2)


@settings(max_examples=15, deadline=None)
@given(st.integers(-25, 25), st.integers(-25, 25), st.sampled_from((0.4, 1.0, 2.5)), st.integers(0, 9))
def test_known_shifts_are_found_at_any_exposure(right: int, down: int, time: float, seed: int) -> None:
    light = scene(seed)
    shifts = median_threshold_shifts([view(light, right, down, time), view(light, 0, 0, 1.0)], 1)
    assert (shifts[0, 0] - torch.tensor([-right, -down])).abs().max() <= 1
    assert shifts[1].tolist() == [[0, 0]]


def test_samples_of_a_batch_move_on_their_own() -> None:
    light = scene(1), scene(2)
    wanted = [(5, -3), (-17, 8)]
    reference = torch.cat([view(one, 0, 0, 1.0) for one in light])
    moved = torch.cat([view(one, *shift, 0.5) for one, shift in zip(light, wanted, strict=True)])
    found = median_threshold_shifts([reference, moved])
    assert found.shape == (2, 2, 2)
    assert found[1].tolist() == [[-right, -down] for right, down in wanted]
    back = shift_frame(moved, found[1])
    inner = (..., slice(20, -20), slice(20, -20))
    torch.testing.assert_close(back[inner] ** 2.2, reference[inner] ** 2.2 * 0.5, rtol=0, atol=1e-5)


@pytest.mark.parametrize("limit", [1, 3])
def test_levels_bound_the_shift(limit: int) -> None:
    light = scene(3)
    shifts = median_threshold_shifts([view(light, 0, 0, 1.0), view(light, 30, 30, 1.0)], max_bits=limit)
    assert int(shifts.abs().max()) <= 2**limit - 1


@pytest.mark.parametrize("frame", [torch.zeros(1, 3, 64, 80), torch.ones(1, 1, 1, 1), torch.full((1, 1, 3, 200), 0.5)])
def test_without_contrast_nothing_moves(frame: Tensor) -> None:
    assert not median_threshold_shifts([frame, frame]).any()


def test_odd_sizes_and_strips_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    light = scene(4)
    frames = [view(light, 0, 0, 1.0)[..., :299, :399], view(light, 7, -9, 0.5)[..., :299, :399]]
    whole = median_threshold_shifts(frames)
    monkeypatch.setattr("afunet_core.median_threshold.STRIP_PIXELS", 4 * 399)
    assert torch.equal(median_threshold_shifts(frames), whole)
    assert whole[1].tolist() == [[-7, 9]]


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-1, 4), (500, -500)])
def test_a_shift_repeats_the_border(shift: tuple[int, int]) -> None:
    frame = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    y = (torch.arange(9) - shift[1]).clamp(0, 8)
    x = (torch.arange(11) - shift[0]).clamp(0, 10)
    assert torch.equal(shift_frame(frame, shift), frame[:, :, y][..., x])


def test_the_merge_of_a_shifted_bracket_is_better_for_it() -> None:
    light = 0.05 * scene(5)  # the longest frame clips nothing: half of a frame must not be at its limit
    frames = [view(light, *shift, time) for shift, time in (((6, 2), 1.0), ((0, 0), 4.0), ((-3, -5), 16.0))]
    bracket = Bracket(frames, times=(1, 4, 16), override=True)
    truth = view(light, 0, 0, 1.0) ** 2.2
    inner = (..., slice(8, -8), slice(8, -8))
    before, after = (psnr_mu(f(bracket)[inner], truth[inner]) for f in (weighted_merge, median_threshold_merge))
    assert float(after) > float(before) + 20


def test_agrees_with_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    for seed, (right, down) in enumerate([(4, 7), (-12, 3), (21, -26)]):
        light = scene(seed)
        frames = [view(light, 0, 0, 1.0), view(light, right, down, 0.5)]
        grey = [cv2.cvtColor(np.ascontiguousarray((f[0].permute(1, 2, 0) * 255).byte().numpy()), cv2.COLOR_RGB2GRAY)
                for f in frames]  # fmt: skip
        theirs = torch.tensor(cv2.createAlignMTB(6).calculateShift(*grey))
        assert (median_threshold_shifts(frames)[1, 0] - theirs).abs().max() <= 1


def test_errors_say_what_is_wrong() -> None:
    frame = torch.rand(1, 3, 8, 8)
    with pytest.raises(ShapeError, match="frames"):
        median_threshold_shifts([])
    with pytest.raises(ShapeError, match="channels"):
        median_threshold_shifts([frame[:, :2]])
    with pytest.raises(ShapeError, match=r"frames\[1\]"):
        median_threshold_shifts([frame, frame[..., :4]])
    with pytest.raises(ArgumentError, match="reference"):
        median_threshold_shifts([frame], 1)
    with pytest.raises(ArgumentError, match="max_bits"):
        median_threshold_shifts([frame], max_bits=0)
    with pytest.raises(ArgumentError, match="exclude"):
        median_threshold_shifts([frame], exclude=float("nan"))
    with pytest.raises(ShapeError, match="frame"):
        shift_frame(frame[0], (0, 0))
    with pytest.raises(ShapeError, match="shift"):
        shift_frame(frame, torch.zeros(3, 2))
