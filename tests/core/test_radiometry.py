from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb

from afunet_core import radiometry
from afunet_core.errors import ArgumentError, ShapeError

ENCODINGS = radiometry.ENCODINGS


class TestEncodings:
    @pytest.mark.parametrize("encoding", ENCODINGS)
    @pytest.mark.parametrize("gamma", [0.5, 1.0, 1.8, 2.2])
    def test_encode_inverts_linearize(self, checks, encoding, gamma):
        image = torch.linspace(0, 1, 513, dtype=torch.float64)
        # The sRGB standard rounds its two pieces, which leaves a step of a few 1e-8 at the knee.
        there_and_back = radiometry.encode(radiometry.linearize(image, encoding, gamma), encoding, gamma)
        checks.close(there_and_back, image, tolerance=1e-6 if encoding == "srgb" else None)

    def test_srgb_agrees_with_kornia(self, checks):
        image = checks.uniform(2, 3, 16, 16)
        checks.close(radiometry.linearize(image, "srgb"), rgb_to_linear_rgb(image))
        checks.close(radiometry.encode(image, "srgb"), linear_rgb_to_rgb(image))

    def test_gamma_agrees_with_numpy(self, checks):
        image = checks.uniform(50, low=-0.2, high=1.5)
        checks.close(radiometry.linearize(image), np.maximum(image.cpu().numpy(), 0) ** 2.2)
        checks.close(radiometry.encode(image), np.maximum(image.cpu().numpy(), 0) ** (1 / 2.2))

    @pytest.mark.parametrize("function", [radiometry.linearize, radiometry.encode])
    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_gradients_are_finite_at_and_below_black(self, checks, function, encoding):
        image = torch.tensor([-0.1, 0.0, 1e-6, 1.0, 1.5], device=checks.device)
        gamma = torch.tensor(2.2, device=checks.device)
        checks.finite_gradients(lambda x: function(x, encoding), image)
        if encoding == "gamma":
            at_black = checks.finite_gradients(lambda x, g: function(x, encoding, g), image, gamma)[0][1]
            assert at_black == 0

    @pytest.mark.parametrize("function", [radiometry.linearize, radiometry.encode])
    def test_errors_name_the_argument(self, function):
        with pytest.raises(ArgumentError, match=r"encoding: expected one of gamma, srgb, linear, got 'log'"):
            function(torch.zeros(1), "log")
        for gamma in (0.0, -1.0, math.inf):
            with pytest.raises(ArgumentError, match="gamma: expected a finite number above 0"):
                function(torch.zeros(1), "gamma", gamma)


class TestRadiance:
    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_expose_inverts_to_radiance_below_saturation(self, checks, encoding):
        image = checks.uniform(2, 3, 5, 7)
        radiance = radiometry.to_radiance(image, 4.0, encoding)
        checks.close(radiometry.expose(radiance, 4.0, encoding), image, tolerance=1e-6)

    def test_the_sensor_saturates(self, checks):
        radiance = torch.tensor([-0.5, 0.1, 0.5, 2.0], device=checks.device)
        checks.close(radiometry.expose(radiance, 4.0, "linear"), [0.0, 0.4, 1.0, 1.0])
        checks.close(radiometry.expose(radiance, 4.0, "linear", clip=False), [-2.0, 0.4, 2.0, 8.0])

    @pytest.mark.parametrize("function", [radiometry.to_radiance, radiometry.expose])
    def test_contract(self, checks, function):
        image = checks.uniform(2, 3, 4, 5, high=0.2)
        time = torch.tensor([1.0, 4.0], device=checks.device)
        checks.gradients(lambda x, t, g: function(x, t, "gamma", g), image + 0.01, time, torch.tensor(2.2))


class TestMuLaw:
    @pytest.mark.parametrize("mu", [0.5, 100.0, 5000.0])
    def test_definition(self, checks, mu):
        x = checks.uniform(100, high=4.0)
        checks.close(radiometry.mu_law(x, mu), np.log(1 + mu * x.cpu().numpy()) / np.log(1 + mu))

    @given(st.floats(-10, 1e6, allow_nan=False))
    def test_inverse(self, x):
        there = radiometry.mu_law(x)
        assert isinstance(there, float)  # a number stays a number
        assert radiometry.inverse_mu_law(there) == pytest.approx(x, rel=1e-9, abs=1e-12)
        tensor = torch.tensor(x, dtype=torch.float64)
        assert float(radiometry.mu_law(tensor)) == pytest.approx(there, rel=1e-12)
        assert float(radiometry.inverse_mu_law(radiometry.mu_law(tensor))) == pytest.approx(x, rel=1e-9, abs=1e-12)

    @pytest.mark.parametrize("function", [radiometry.mu_law, radiometry.inverse_mu_law])
    def test_smooth_through_zero(self, checks, function):
        slope = checks.finite_gradients(function, torch.tensor([-1e-12, 0.0, 1e-12], dtype=torch.float64))[0]
        checks.close(slope, slope[1].expand(3), tolerance=1e-6)
        assert slope[1] > 0


class TestNetworkInput:
    def test_radiance_before_picture_for_each_frame(self, checks):
        frames = [checks.uniform(2, 3, 4, 5, seed=seed) for seed in range(3)]
        result = radiometry.network_input(frames, torch.tensor([1.0, 4.0, 16.0]))
        assert result.shape == (2, 18, 4, 5)
        for index, time in enumerate((1.0, 4.0, 16.0)):
            radiance, picture = result[:, 6 * index : 6 * index + 3], result[:, 6 * index + 3 : 6 * index + 6]
            checks.close(radiance, frames[index] ** 2.2 / time)
            assert torch.equal(picture, frames[index])

    @pytest.mark.parametrize("encoding", ["srgb", "linear"])
    def test_other_encodings_become_gamma(self, checks, encoding):
        light = [checks.uniform(1, 3, 4, 4, seed=seed) for seed in range(3)]
        times = torch.tensor([1.0, 2.0, 4.0])
        gamma_frames = [radiometry.encode(frame) for frame in light]
        other_frames = [radiometry.encode(frame, encoding) for frame in light]
        expected = radiometry.network_input(gamma_frames, times)
        checks.close(radiometry.network_input(other_frames, times, encoding), expected, tolerance=1e-6)

    def test_times_per_sample(self, checks):
        frames = [checks.uniform(2, 3, 4, 4, seed=seed) for seed in range(3)]
        times = torch.tensor([[1.0, 4.0, 16.0], [1.0, 2.0, 8.0]])
        result = radiometry.network_input(frames, times)
        for index in range(2):
            alone = radiometry.network_input([frame[index : index + 1] for frame in frames], times[index].tolist())
            checks.close(result[index : index + 1], alone)

    def test_errors(self):
        frame = torch.zeros(1, 3, 4, 4)
        for frames, times, message in (
            ([frame] * 2, [1.0, 4.0], r"frames: expected 3 frames.*got 2"),
            ([frame, torch.zeros(1, 3, 4, 5), frame], [1.0, 4.0, 16.0], r"frames\[1\].*\(1, 3, 4, 5\)"),
            ([frame[0]] * 3, [1.0, 4.0, 16.0], r"frames\[0\]"),
            ([frame] * 3, torch.ones(2, 3), r"times: expected shape \(3,\) or \(1, 3\)"),
        ):
            with pytest.raises(ShapeError, match=message):
                radiometry.network_input(frames, times)
