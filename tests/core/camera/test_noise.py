"""Noise, black level and the noise-optimal merge, against a camera whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import afunet_core as af
from afunet_core.baselines.noise_optimal import noise_optimal_merge
from afunet_core.baselines.weighted import weighted_merge
from afunet_core.camera.noise import NoiseModel, estimate_noise
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.io import write_image

WHITE, BLACK, GAIN, READ = 4095, 100.0, 0.5, 4.0  # 12 bits; counts an electron; counts
SECONDS = (1 / 64, 1 / 16, 1 / 4, 1.0)
LEVELS = 0.95 * 10 ** -np.arange(0, 5.01, 0.5)  # radiance of the fluorescent strips, five decades
STRIP = 64


def phantom() -> np.ndarray:
    """Strips of even brightness, each 64×128 pixels."""
    return np.repeat(LEVELS, STRIP)[:, None] * np.ones((1, 128))


def photograph(radiance: np.ndarray, seconds: float, random: np.random.Generator, dark: Any = BLACK) -> np.ndarray:
    electrons = random.poisson(radiance * (WHITE - BLACK) / GAIN * seconds / min(SECONDS))
    counts = electrons * GAIN + dark + READ * random.standard_normal(radiance.shape)
    return np.clip(np.round(counts), 0, WHITE).astype(np.uint16)


def series(seed: int = 0, seconds: tuple[float, ...] = SECONDS, dark: Any = BLACK) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [photograph(phantom(), t, random, dark) for t in seconds]


def bracket(frames: list[np.ndarray] | None = None, **options: object) -> af.Bracket:
    defaults = {"times": SECONDS, "encoding": "linear", "bit_depth": 12, "black_level": BLACK}
    return af.Bracket(frames or series(), **{**defaults, **options})


def strip_means(image: np.ndarray) -> np.ndarray:
    return image.reshape(len(LEVELS), -1).mean(1)


class TestFluorescence:
    def test_linear_over_five_decades(self) -> None:
        """Below 2 % wherever the mean of a strip can be known to 2 % at all (three standard errors below that)."""
        result = af.merge(bracket(), method="weighted", align="off")
        means = strip_means(result.radiance)
        photons = LEVELS * 64 * (WHITE - BLACK) / GAIN  # in the longest exposure, were it not saturated
        pixels = STRIP * 128
        deviation = np.sqrt(photons + (READ / GAIN) ** 2) / photons / np.sqrt(pixels)
        knowable = 3 * deviation < 0.02
        assert knowable[LEVELS >= 0.95e-4].all()  # four decades for certain
        np.testing.assert_allclose(means[knowable], LEVELS[knowable], rtol=0.02)
        np.testing.assert_array_less(np.abs(means / LEVELS - 1), np.maximum(0.02, 4 * deviation))  # and never a bias
        saturated = series()[-1].reshape(len(LEVELS), -1).min(1) == WHITE
        assert saturated.sum() >= 3
        np.testing.assert_allclose(means[saturated], LEVELS[saturated], rtol=0.002)

    def test_same_units_out(self) -> None:
        """A strip that the shortest frame records well has the counts it had there."""
        result = af.merge(bracket(), method="weighted", align="off", units="counts")
        expected = series()[0][:STRIP].astype(float).mean() - BLACK
        assert strip_means(result.radiance)[0] == pytest.approx(expected, rel=0.002)
        assert result.info["units"] == "counts"
        assert result.info["scale"] == WHITE - BLACK
        assert result.info["black_level"] == BLACK
        assert result.info["noise"]["counts_per_electron"] == pytest.approx(GAIN, rel=0.06)
        assert result.info["noise"]["read_noise_counts"] == pytest.approx(READ, rel=0.06)


class TestNoise:
    def test_weights_of_one_over_variance_reach_the_theoretical_variance(self) -> None:
        """And beat weights of time where read noise rules."""
        taken, dim = bracket(), slice(9 * STRIP, None)
        model = NoiseModel.from_counts(GAIN, READ, WHITE - BLACK)
        merged, by_time = noise_optimal_merge(taken, model)[0, 0], weighted_merge(taken)[0, 0]
        assert merged[dim].std() < 0.8 * by_time[dim].std()
        times = np.array(SECONDS) / min(SECONDS)
        for index in (5, 7, 9):  # in the first of these the longest frame is just not saturated
            precision = (times**2 / (model.gain * LEVELS[index] * times + model.read_noise**2)).sum()
            found = float(merged[index * STRIP : (index + 1) * STRIP].std())
            assert found == pytest.approx(precision**-0.5, rel=0.05)

    @pytest.mark.parametrize("gain", [2e-5, 2e-3])
    @pytest.mark.parametrize("read", [1e-3, 1e-2])
    def test_estimate(self, gain: float, read: float) -> None:
        """The variance over the recorded range, the only thing that weights depend on."""
        generator = torch.Generator().manual_seed(0)
        light, frames = 10 ** -(3 * torch.rand(1, 1, 256, 256, generator=generator)), []
        for time in (1.0, 4.0, 16.0):
            noise = (gain * light * time + read**2).sqrt() * torch.randn(light.shape, generator=generator)
            frames.append((0.1 + 0.9 * (light * time + noise)).clamp(0, 1))
        model = estimate_noise(af.Bracket(frames, ev=(0, 2, 4), encoding="linear", black_level=0.1))
        assert model is not None
        for value in (0.01, 0.1, 0.6):
            expected = gain * value + read**2
            assert float(model.variance(torch.tensor(value))) == pytest.approx(expected, rel=0.2)

    def test_motion_does_not_pass_for_noise(self) -> None:
        frames = series()
        frames[1] = frames[1].copy()
        frames[1][:, :20] = np.roll(frames[1], STRIP, axis=0)[:, :20]
        model = estimate_noise(bracket(frames))
        assert model is not None
        assert model.gain * (WHITE - BLACK) == pytest.approx(GAIN, rel=0.3)  # a sixth of the picture is ten times wrong

    def test_nothing_to_learn_from(self) -> None:
        black, white = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
        assert estimate_noise(af.Bracket([black, white], ev=(0, 3), encoding="linear")) is None
        merged = noise_optimal_merge(af.Bracket([black, white], ev=(0, 3), encoding="linear"))
        assert torch.isfinite(merged).all()
        for numbers in ((-1.0, 0.1), (0.0, 0.0), (float("nan"), 0.1), (0.1, float("inf"))):
            with pytest.raises(ArgumentError, match="expected"):
                NoiseModel(*numbers)


class TestBlackLevel:
    def test_estimate_is_within_a_tenth_of_a_count(self) -> None:
        """And within a half where something moves."""
        frames = series()
        assert bracket(frames, black_level="auto").black_level == pytest.approx(BLACK, abs=0.1)
        frames[3][:, :25] = frames[3][::-1, :25].copy()
        assert bracket(frames, black_level="auto", override=True).black_level == pytest.approx(BLACK, abs=0.5)

    def test_dark_frame_removes_its_pattern(self, tmp_path: Path) -> None:
        pattern = BLACK + np.random.default_rng(3).uniform(-40, 400, phantom().shape).round()
        frames = series(dark=pattern)
        path = tmp_path / "dark.tif"
        write_image(path, pattern.astype(np.float32))
        for dark in (pattern.astype(np.uint16), torch.from_numpy(pattern), path):
            merged = af.merge(bracket(frames, black_level=dark), method="weighted", align="off")
            counts = merged.radiance.reshape(len(LEVELS), -1) * merged.info["scale"]
            expected = LEVELS * (WHITE - BLACK)
            np.testing.assert_allclose(counts.mean(1)[1:9], expected[1:9], rtol=0.02)

    def test_saturated_pixels_of_a_dark_frame_stay_saturated(self) -> None:
        dark = np.array([[0.0, 400.0, 0.0]])
        frames = [np.array([[0, 500, 800]], np.uint16), np.array([[10, 1023, 1023]], np.uint16)]
        taken = af.Bracket(frames, ev=(0, 2), encoding="linear", bit_depth=10, black_level=dark)
        assert taken.frames[1][0, 0, 0].tolist() == pytest.approx([10 / 1023, 1.0, 1.0])

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"black_level": "auto", "encoding": "gamma"}, ArgumentError),
            ({"black_level": "dusk.tif"}, af.ImageFileError),
            ({"black_level": np.zeros((3, 3))}, ShapeError),
            ({"black_level": np.zeros(3)}, ArgumentError),
            ({"black_level": np.full(phantom().shape, np.nan)}, ArgumentError),
            ({"black_level": WHITE}, ArgumentError),
        ],
    )
    def test_refusals(self, options: dict[str, object], error: type[Exception]) -> None:
        with pytest.raises(error, match=r"black_level|dusk"):
            bracket(**options)
