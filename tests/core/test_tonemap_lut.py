"""Pictures looked up instead of computed: the operators' own results, at every exposure, whatever comes in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.tonemap import OPERATORS, tone_map
from afunet_core.tonemap_lut import LivePicture


def computed(radiance, operator, ev):
    planes = radiance[None] if radiance.ndim == 2 else radiance[..., :3].transpose(2, 0, 1)
    shown = tone_map(torch.from_numpy(np.ascontiguousarray(planes))[None], operator, ev=ev)[0] * 255
    return shown.permute(1, 2, 0).numpy().reshape(*radiance.shape[:2], -1)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("ev", [-8.0, -0.7, 0.0, 3.0, 9.0])
@pytest.mark.parametrize("shape", [(40, 50, 3), (40, 50), (40, 50, 4)])
def test_looked_up_is_computed_within_a_step(operator, ev, shape):
    radiance = (np.random.default_rng(0).random(shape) ** 6 * 1.5).astype(np.float32)
    radiance[:3] = 0
    shown = LivePicture(radiance).render(operator, ev)
    assert shown.dtype == np.uint8
    assert shown.shape == (shape[:2] if len(shape) == 2 else (*shape[:2], 3))
    difference = np.abs(shown.reshape(*shape[:2], -1) - computed(radiance, operator, ev))
    assert difference.max() <= 1.5
    assert difference.mean() < 0.3  # rounding alone gives 0.25
    assert (shown[:3] == 0).all()


def test_colours_beside_black_channels_stay():
    """Luminance moves the steps of all channels; those of black must not come round to white."""
    radiance = np.zeros((1, 3, 3), np.float32)
    radiance[0, :, 0] = (1e-6, 1e-3, 1000.0)
    shown = LivePicture(radiance).render("reinhard", 4.0)
    assert (shown[..., 1:] == 0).all()
    assert 0 < shown[0, 0, 0] < shown[0, 1, 0] < shown[0, 2, 0] == 255


@settings(max_examples=40)
@given(
    arrays(np.float32, (3, 4, 3), elements=st.floats(width=32)), st.sampled_from(list(OPERATORS)), st.floats(-20, 20)
)
def test_whatever_comes_in_a_picture_comes_out(radiance, operator, ev):
    shown = LivePicture(radiance).render(operator, ev)
    dark = np.isnan(radiance) | (radiance <= 0)
    assert (shown[dark] == 0).all()


def test_mistakes_are_named():
    with pytest.raises(ShapeError, match="H×W×3"):
        LivePicture(np.zeros((2, 3, 2), np.float32))
    with pytest.raises(ArgumentError, match="operator"):
        LivePicture(np.zeros((2, 3), np.float32)).render("magic")
    with pytest.raises(ArgumentError, match="ev"):
        LivePicture(np.zeros((2, 3), np.float32)).render("filmic", float("nan"))
