"""The classical merge for scenes at rest, the network for all others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from afunet_core.baselines.noise_optimal import noise_optimal_merge
from afunet_core.baselines.weighted import weighted_merge
from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel, estimate_noise
from afunet_core.merging import static_scene
from afunet_core.merging.pipeline import merge
from afunet_core.merging.static_scene import denoise_classic, within_noise
from afunet_core.metrics import psnr_mu
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import COMPACT
from scenes import synthetic_bracket, tiny_network


@pytest.mark.parametrize("seed", range(3))
def test_at_rest_no_network_has_a_part_in_the_result(seed):
    network, (bracket, _) = tiny_network(), synthetic_bracket(seed)
    result = merge(bracket, model=network)
    three = bracket.select((0, 1, 2), reference=1)
    expected = denoise_classic(three, estimate_noise(bracket))[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(result.radiance, expected)
    assert result.info["at_rest"] is True
    with_stages = merge(bracket, model=network, stages=True)
    np.testing.assert_array_equal(with_stages.radiance, expected)
    assert with_stages.stages is not None


@pytest.fixture(scope="module")
def resting():
    """A bracket at rest, its truth, and the classical merge."""
    bracket, truth = synthetic_bracket(5)
    return bracket, truth, weighted_merge(bracket)[0].permute(1, 2, 0).numpy()


def test_denoising_comes_nearer_to_the_truth(resting):
    bracket, truth, _ = resting
    classic, denoised = noise_optimal_merge(bracket), denoise_classic(bracket, estimate_noise(bracket))
    assert float(psnr_mu(denoised, truth)) > float(psnr_mu(classic, truth)) + 0.5


def test_a_bracket_that_does_not_tell_its_noise_is_left_to_the_classic():
    frames = [torch.full((1, 3, 12, 16), value) for value in (0.1, 0.2, 0.4)]
    bracket = Bracket(frames, times=(1.0, 2.0, 4.0), encoding="linear")
    assert denoise_classic(bracket, estimate_noise(bracket)) is None
    model = AFUNet(replace(COMPACT, embed_dim=12, depths=(1,), fusion_heads=1)).eval()
    np.testing.assert_allclose(merge(bracket, model=model).radiance, 0.1, rtol=1e-6)


def test_the_noise_given_is_believed(resting):
    bracket, _, _ = resting
    optimal = noise_optimal_merge(bracket)
    clean, noisy = (denoise_classic(bracket, noise) for noise in (NoiseModel(1e-9, 1e-6), NoiseModel(1e-3, 1e-2)))
    assert float((clean - optimal).abs().mean()) < 0.1 * float((noisy - optimal).abs().mean())


class TestWithinNoise:
    """Against scenes whose truth is known."""

    @staticmethod
    def scene(seed: int = 0, size: int = 96, deviation: float = 0.02) -> tuple[torch.Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        truth = torch.linspace(0.05, 0.4, size).expand(1, 3, size, size).clone()
        noise = deviation * torch.randn(truth.shape, generator=generator)
        reference = truth ** (1 / 2.2)
        return truth, truth + noise, torch.full_like(truth, deviation**2), reference

    def test_the_truth_is_taken(self):
        truth, classic, variance, reference = self.scene()
        result = within_noise(truth, classic, variance, torch.zeros_like(reference))
        assert float((result - truth).square().mean()) < 0.25 * float((classic - truth).square().mean())

    def test_in_the_lights_the_mean_of_the_classic_is_kept(self):
        truth, classic, variance, _ = self.scene()
        biased = truth + 0.01  # half a deviation, everywhere
        dark, light = (within_noise(biased, classic, variance, torch.full_like(truth, level)) for level in (0.0, 1.0))
        assert float((dark - truth).mean()) > 0.004
        assert abs(float((light - truth).mean())) < 0.001

    @pytest.mark.parametrize("error", [0.0, 0.005, 0.02, 0.05, 0.2, 1.0])
    @pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("width", [1, 5, 40])
    def test_never_worse_than_the_classic_whatever_the_network_does(self, error, level, width):
        truth, classic, variance, _ = self.scene(seed=width)
        generator = torch.Generator().manual_seed(7)
        blobs = torch.randn(1, 3, 96 // width + 2, 96 // width + 2, generator=generator)
        wrong = torch.nn.functional.interpolate(blobs, scale_factor=float(width), mode="nearest")[..., :96, :96]
        result = within_noise(truth + error * wrong, classic, variance, torch.full_like(truth, level))
        assert float((result - truth).square().mean()) < 1.03 * float((classic - truth).square().mean())

    def test_without_noise_it_is_the_classic(self):
        truth, classic, variance, reference = self.scene()
        result = within_noise(truth, classic, torch.zeros_like(variance), reference)
        torch.testing.assert_close(result, classic, atol=0, rtol=0)
        assert torch.isfinite(within_noise(0 * truth, 0 * classic, 0 * variance, reference)).all()

    def test_gradients(self):
        generator = torch.Generator().manual_seed(0)
        network, classic, variance, reference = torch.rand(4, 1, 2, 5, 6, generator=generator, dtype=torch.float64)
        inputs = [x.requires_grad_() for x in (network, classic, 0.1 + variance, 0.32 + 0.2 * reference)]
        assert torch.autograd.gradcheck(within_noise, inputs, fast_mode=True)

    def test_strips_do_not_show(self, resting, monkeypatch):
        bracket, _, _ = resting
        whole = denoise_classic(bracket, estimate_noise(bracket))
        monkeypatch.setattr(static_scene, "_STRIP_PIXELS", 20 * 96)
        torch.testing.assert_close(denoise_classic(bracket, estimate_noise(bracket)), whole, atol=1e-6, rtol=1e-5)


def test_counts_at_rest_are_the_classics(resting):
    bracket, _, classic = resting
    result = merge(bracket, model=tiny_network(), units="counts")
    np.testing.assert_allclose(result.radiance, classic * bracket.scale, rtol=1e-6)


def test_the_network_decides_when_something_moved():
    """A square that moves on a grey wall."""
    network, frames = tiny_network(), []
    for index, time in enumerate((1.0, 4.0, 16.0)):
        radiance = torch.full((1, 3, 160, 160), 0.02)
        radiance[:, :, 20:40, 20 + 12 * index : 40 + 12 * index] = 0.005
        frames.append((radiance * time).clamp(0, 1) ** (1 / 2.2))
    bracket = Bracket(frames, times=(1.0, 4.0, 16.0), encoding="gamma")
    result = merge(bracket, model=network, align="off")
    assert result.info["at_rest"] is False
    np.testing.assert_array_equal(result.radiance, merge(bracket, model=network, align="off", method="afunet").radiance)
