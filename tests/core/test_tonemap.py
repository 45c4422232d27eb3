from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from afunet_core import radiometry, tonemap
from afunet_core.errors import ArgumentError, ShapeError

OPERATORS = list(tonemap.OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
class TestEveryOperator:
    def test_ev_doubles_the_light(self, checks, name):
        radiance = checks.uniform(1, 3, 8, 8)
        checks.close(tonemap.tone_map(radiance, name, ev=1.5), tonemap.tone_map(radiance * 2**1.5, name))

    def test_black_is_black_and_brighter_is_never_darker(self, name):
        greys = torch.cat([torch.zeros(1), torch.logspace(-6, 2, 400)]).double().expand(1, 3, 1, -1)
        shown = tonemap.tone_map(greys, name)
        assert shown[..., 0].abs().max() == 0
        assert (shown.diff() >= -1e-9).all()
        assert shown[..., -1].min().item() == pytest.approx(1.0, abs=1e-12)

    def test_greyscale_equals_equal_channels(self, checks, name):
        grey = checks.uniform(1, 1, 5, 5)
        checks.close(tonemap.tone_map(grey, name).expand(1, 3, 5, 5), tonemap.tone_map(grey.expand(1, 3, 5, 5), name))

    def test_large_images_go_in_strips_unseen(self, checks, name):
        radiance = checks.uniform(1, 3, 300, 500)
        whole = tonemap.tone_map(radiance, name)
        checks.close(whole[..., 130:140, :], tonemap.tone_map(radiance[..., 130:140, :], name))

    def test_gradients_are_finite_at_black_and_beyond_white(self, checks, name):
        radiance = torch.tensor([-1.0, 0.0, 1.0, 50.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
        checks.finite_gradients(lambda x: tonemap.tone_map(x, name), radiance)

    @settings(max_examples=25)
    @given(st.lists(st.floats(width=32), min_size=12, max_size=12), st.sampled_from([torch.float16, torch.float32]))
    def test_whatever_comes_in_a_picture_comes_out(self, name, values, dtype):
        shown = tonemap.tone_map(torch.tensor(values, dtype=torch.float32).to(dtype).view(1, 3, 2, 2), name)
        assert torch.isfinite(shown).all()
        assert 0 <= shown.min() <= shown.max() <= 1


class TestValues:
    def test_exposure_is_a_camera(self, checks):
        radiance = checks.uniform(1, 3, 4, 4)
        checks.close(tonemap.exposure(radiance, ev=2.0), radiometry.expose(radiance, 4.0, "srgb"))
        checks.close(tonemap.exposure(radiance, encoding="gamma", gamma=1.8), radiance ** (1 / 1.8))

    def test_reinhard_follows_the_paper(self, checks):
        light = checks.uniform(1, 3, 4, 4, high=0.2)
        red, green, blue = (light[:, i] * 16 for i in range(3))
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        display = luminance * (1 + luminance / 16**2) / (1 + luminance)
        shown = radiometry.linearize(tonemap.reinhard(light), "srgb")
        unclipped = (shown < 1).all(1)
        mixed = 0.2126 * shown[:, 0] + 0.7152 * shown[:, 1] + 0.0722 * shown[:, 2]
        assert unclipped.sum() > 8
        checks.close(mixed[unclipped], display[unclipped], tolerance=1e-6)
        ratios = shown[:, 0] / shown[:, 1]
        checks.close(ratios[unclipped], (light[:, 0] / light[:, 1])[unclipped], tolerance=1e-5)

    def test_reinhard_white_point(self):
        white = torch.full((1, 3, 1, 1), 0.25, dtype=torch.float64)
        assert tonemap.reinhard(white, white=0.25).min() == pytest.approx(1.0)
        assert tonemap.reinhard(white * 0.99, white=0.25).max() < 1

    def test_filmic_follows_narkowicz(self, checks):
        x = np.linspace(0, 1, 50) * 8
        linear = np.clip((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
        expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        checks.close(tonemap.filmic(torch.linspace(0, 1, 50, dtype=torch.float64)), expected, tolerance=1e-9)


@pytest.mark.parametrize("gain", [1.0, 16.0])
def test_automatic_ev_brings_the_average_to_grey(checks, gain):
    radiance = checks.uniform(1, 1, 32, 32, low=0.001, high=0.05)
    ev = tonemap.automatic_ev(radiance, gain=gain)
    assert torch.log(radiance * 2**ev * gain).mean().exp().item() == pytest.approx(0.18)
    dirty = torch.tensor([math.nan, math.inf, 0.09, 0.09]).view(1, 1, 1, 4)
    assert tonemap.automatic_ev(dirty) == pytest.approx(1.0)
    assert tonemap.automatic_ev(torch.zeros(1, 3, 2, 2)) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            partial(tonemap.tone_map, operator="gamma"),
            ArgumentError,
            "operator: expected one of mu_law, .* got 'gamma'",
        ),
        *(
            (partial(tonemap.tone_map, operator=name, ev=math.inf), ArgumentError, "ev: expected a finite")
            for name in OPERATORS
        ),
        *(
            (partial(tonemap.tone_map, operator=name, burn=1), ArgumentError, f"parameters: .* for {name}")
            for name in OPERATORS
        ),
        (lambda x: tonemap.ToneMap("gamma"), ArgumentError, "operator"),
        (lambda x: tonemap.reinhard(x[:, :2]), ShapeError, "1 or 3 channels"),
        (partial(tonemap.reinhard, white=0.0), ArgumentError, "white"),
        (partial(tonemap.filmic, gain=-1.0), ArgumentError, "gain"),
        (partial(tonemap.automatic_ev, key=0.0), ArgumentError, "key"),
    ],
)
def test_what_cannot_be_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.zeros(1, 3, 2, 2))
