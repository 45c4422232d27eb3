"""Means and extremes over windows, against pooling layers and by their definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from afunet_core.errors import ArgumentError
from afunet_core.ops.box_filter import block_mean, reduction, window_max, window_mean, window_min

sizes = st.integers(1, 19)
sides = st.sampled_from([1, 3, 5, 7, 11, 15])


@settings(max_examples=40)
@given(sizes, sizes, sides, st.integers(0, 1000))
def test_same_as_pooling(height: int, width: int, side: int, seed: int) -> None:
    values = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    half = side // 2
    mean = F.avg_pool2d(values, side, 1, half, count_include_pad=False)
    torch.testing.assert_close(window_mean(values, side), mean)
    # Pooling refuses padding of more than half its window, and pads with minus infinity.
    largest = F.max_pool2d(values, side, 1, half)
    assert torch.equal(window_max(values, side), largest)
    assert torch.equal(window_min(values, side), -F.max_pool2d(-values, side, 1, half))


def test_a_broken_value_spoils_only_its_windows() -> None:
    values = torch.zeros(1, 1, 9, 9)
    values[..., 4, 4] = torch.nan
    broken = window_mean(values, 3).isnan()[0, 0]
    assert int(broken.sum()) == 9
    assert bool(broken[3:6, 3:6].all())


@pytest.mark.parametrize("side", [0, 2, -3])
@pytest.mark.parametrize("function", [window_mean, window_max, window_min])
def test_windows_have_a_middle(function, side: int) -> None:
    with pytest.raises(ArgumentError, match="side"):
        function(torch.zeros(1, 1, 4, 4), side)


@settings(max_examples=40)
@given(sizes, sizes, st.integers(1, 9), st.integers(0, 1000))
def test_blocks_same_as_pooling(height: int, width: int, side: int, seed: int) -> None:
    values = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if min(height, width) >= side:
        torch.testing.assert_close(block_mean(values, side), F.avg_pool2d(values, side))


def test_blocks_of_large_images_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.rand(1, 3, 70, 64)
    whole = block_mean(values, 4)
    monkeypatch.setattr("afunet_core.ops.box_filter.STRIP_PIXELS", 64 * 4 * 3)
    assert torch.equal(block_mean(values, 4), whole)


@pytest.mark.parametrize("function", [window_mean, window_max, window_min, block_mean])
def test_gradients(function) -> None:
    values = torch.rand(1, 2, 6, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: function(x, 2 if function is block_mean else 3), values)


@pytest.mark.parametrize(("size", "factor"), [((1000, 1500), 2), ((10, 10), 1), ((4000, 6000), 8)])
def test_reduction_is_the_least_power_of_two(size: tuple[int, int], factor: int) -> None:
    assert reduction(*size, pixels=0.45e6) == factor
