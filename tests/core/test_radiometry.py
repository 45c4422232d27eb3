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
    def test_black_and_saturation_are_fixed_points(self, checks, encoding):
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        checks.close(radiometry.linearize(ends, encoding), ends)
        checks.close(radiometry.encode(ends, encoding), ends)

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
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_gradients_are_finite_at_and_below_black(self, checks, function, encoding, dtype):
        image = torch.tensor([-0.1, 0.0, 1e-6, 1.0, 1.5], dtype=dtype, device=checks.device)
        gamma = torch.tensor(2.2, dtype=dtype, device=checks.device)
        checks.finite_gradients(lambda x: function(x, encoding), image)
        if encoding == "gamma":
            at_black = checks.finite_gradients(lambda x, g: function(x, encoding, g), image, gamma)[0][1]
            assert at_black == 0

    @pytest.mark.parametrize("function", [radiometry.linearize, radiometry.encode])
    def test_errors_name_the_argument(self, function):
        image = torch.zeros(1)
        with pytest.raises(ArgumentError, match=r"encoding: expected one of gamma, srgb, linear, got 'log'"):
            function(image, "log")
        for gamma in (0.0, -1.0, math.nan, math.inf):
            with pytest.raises(ArgumentError, match="gamma: expected a finite number above 0"):
                function(image, "gamma", gamma)


class TestRadiance:
    def test_long_frames_come_down_by_their_time(self, checks):
        image = checks.uniform(1, 3, 4, 4)
        checks.close(radiometry.to_radiance(image, 16.0), image**2.2 / 16)

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
    @pytest.mark.parametrize("time", [torch.tensor(4.0), torch.tensor([4.0])])
    def test_one_time_for_a_batch(self, checks, function, time):
        images = checks.uniform(3, 3, 3, 3)
        checks.close(function(images, time.to(checks.device)), function(images, 4.0))

    @pytest.mark.parametrize("function", [radiometry.to_radiance, radiometry.expose])
    def test_contract(self, checks, function):
        image = checks.uniform(2, 3, 4, 5, high=0.2)
        time = torch.tensor([1.0, 4.0], device=checks.device)
        checks.gradients(lambda x, t, g: function(x, t, "gamma", g), image + 0.01, time, torch.tensor(2.2))

    @pytest.mark.parametrize("time", [0.0, -1.0, math.nan, math.inf])
    def test_times_that_no_shutter_has(self, time):
        with pytest.raises(ArgumentError, match="time: expected a finite number above 0"):
            radiometry.to_radiance(torch.zeros(1), time)


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

    def test_infinite_and_undefined_light(self):
        x = torch.tensor([math.inf, -math.inf, math.nan])
        y = radiometry.mu_law(x)
        assert y[0] == math.inf
        assert y[1] == -math.inf
        assert y[2].isnan()

    @pytest.mark.parametrize("mu", [0.0, -1.0, math.nan, math.inf])
    @pytest.mark.parametrize("function", [radiometry.mu_law, radiometry.inverse_mu_law])
    def test_errors(self, function, mu):
        with pytest.raises(ArgumentError, match="mu: expected a finite number above 0"):
            function(0.5, mu)


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

    def test_contract(self, checks):
        frames = [checks.uniform(1, 3, 2, 2, low=0.1, seed=seed) for seed in range(3)]
        times = torch.tensor([1.0, 4.0, 16.0])
        for encoding in ENCODINGS:
            checks.gradients(lambda a, b, c, t, e=encoding: radiometry.network_input((a, b, c), t, e), *frames, times)

    def test_errors(self):
        frame = torch.zeros(1, 3, 4, 4)
        with pytest.raises(ShapeError, match=r"frames: expected 3 frames.*got 2"):
            radiometry.network_input([frame] * 2, [1.0, 4.0])
        with pytest.raises(ShapeError, match=r"frames\[1\].*\(1, 3, 4, 5\)"):
            radiometry.network_input([frame, torch.zeros(1, 3, 4, 5), frame], [1.0, 4.0, 16.0])
        with pytest.raises(ShapeError, match=r"frames\[0\]"):
            radiometry.network_input([torch.zeros(3, 4, 4)] * 3, [1.0, 4.0, 16.0])
        with pytest.raises(ShapeError, match=r"times: expected shape \(3,\) or \(1, 3\)"):
            radiometry.network_input([frame] * 3, torch.ones(2, 3))
        with pytest.raises(ArgumentError, match="encoding"):
            radiometry.network_input([frame] * 3, [1.0, 4.0, 16.0], "log")


def test_module_twins(checks):
    image = checks.uniform(2, 3, 4, 4)
    times = torch.tensor([1.0, 4.0])
    checks.twins(radiometry.ToRadiance("linear"), lambda x, t: radiometry.to_radiance(x, t, "linear"), image, times)
    checks.twins(radiometry.Expose(clip=False), lambda x, t: radiometry.expose(x, t, clip=False), image, times)
    with pytest.raises(ArgumentError, match="mu"):
        radiometry.MuLaw(-1.0)
    with pytest.raises(ArgumentError, match="encoding"):
        radiometry.Linearize("log")
