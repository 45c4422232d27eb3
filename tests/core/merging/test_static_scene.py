"""The classical merge for scenes at rest, denoised within the noise; the network for all others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from afunet_core.baselines.noise_optimal import noise_optimal_merge
from afunet_core.baselines.weighted import weighted_merge
from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel, estimate_noise
from afunet_core.merging import static_scene
from afunet_core.merging.pipeline import merge
from afunet_core.merging.static_scene import AT_REST, denoise_classic, denoise_guided, is_at_rest, within_noise
from afunet_core.metrics import psnr_mu
from afunet_core.motion.ghosts import ghost_map
from scenes import photographed, synthetic_bracket, tiny_network

TIMES = (1.0, 4.0, 16.0)


class TestRest:
    @pytest.mark.parametrize("kind", ["camera", "objects", "both"])
    @pytest.mark.parametrize("seed", range(3))
    def test_every_kind_of_motion_is_noticed(self, kind, seed):
        assert not is_at_rest(synthetic_bracket(seed, kind)[0])

    @pytest.mark.parametrize("seed", range(8))
    def test_rest_is_recognised(self, seed):
        assert is_at_rest(synthetic_bracket(40 + seed)[0])

    def test_what_is_fainter_than_the_noise_of_a_pixel_is_noticed(self):
        """A dark square crosses a dark wall: two deviations of a pixel of the reference, no more."""
        lights = [torch.full((1, 3, 160, 160), 0.003) for _ in TIMES]
        for index, light in enumerate(lights):
            light[..., 40:90, 30 + 40 * index : 70 + 40 * index] = 0.0043
        bracket = Bracket(photographed(lights, TIMES, read=2e-3, bits=0, seed=0), times=TIMES)
        assert ghost_map(bracket, block=1).mean() <= AT_REST
        assert not is_at_rest(bracket)

    def test_one_moving_sample_keeps_the_batch_from_rest(self):
        still = torch.full((1, 3, 64, 64), 0.02)
        moved = still.clone()
        moved[..., :20, :20] = 0.002
        frames = [torch.cat([still, still]) ** (1 / 2.2), (4 * torch.cat([still, moved])) ** (1 / 2.2)]
        bracket = Bracket(frames, times=(1.0, 4.0), encoding="gamma", override=True)
        assert is_at_rest(bracket.with_frames([frame[:1] for frame in bracket.frames]))
        assert not is_at_rest(bracket)


@pytest.fixture(scope="module")
def resting():
    """A bracket at rest, its truth, and the classical merge."""
    bracket, truth = synthetic_bracket(5)
    return bracket, truth, weighted_merge(bracket)[0].permute(1, 2, 0).numpy()


class TestMerge:
    @pytest.mark.parametrize("seed", range(3))
    def test_at_rest_no_network_has_a_part_in_the_result(self, seed):
        network, (bracket, _) = tiny_network(), synthetic_bracket(seed)
        expected = denoise_classic(bracket.select((0, 1, 2), reference=1), estimate_noise(bracket))
        for stages in (False, True):
            result = merge(bracket, model=network, stages=stages)
            np.testing.assert_array_equal(result.radiance, expected[0].permute(1, 2, 0).numpy())
            assert result.info["at_rest"] is True
            assert (result.stages is not None) is stages

    def test_a_bracket_that_does_not_tell_its_noise_is_left_to_the_classic(self):
        frames = [torch.full((1, 3, 12, 16), value) for value in (0.1, 0.2, 0.4)]
        bracket = Bracket(frames, times=(1.0, 2.0, 4.0), encoding="linear")
        assert denoise_classic(bracket, estimate_noise(bracket)) is None
        np.testing.assert_allclose(merge(bracket, model=tiny_network()).radiance, 0.1, rtol=1e-6)

    def test_counts_at_rest_are_the_classics(self, resting):
        bracket, _, classic = resting
        result = merge(bracket, model=tiny_network(), units="counts")
        np.testing.assert_allclose(result.radiance, classic * bracket.scale, rtol=1e-6)

    def test_the_network_decides_when_something_moved(self):
        """A square that moves on a grey wall."""
        lights = [torch.full((1, 3, 160, 160), 0.02) for _ in TIMES]
        for index, light in enumerate(lights):
            light[..., 20:40, 20 + 12 * index : 40 + 12 * index] = 0.005
        bracket = Bracket(photographed(lights, TIMES, gain=0.0, read=0.0, bits=0), times=TIMES)
        result, by_network = (merge(bracket, model=tiny_network(), align="off", method=m) for m in ("auto", "afunet"))
        assert result.info["at_rest"] is False
        np.testing.assert_array_equal(result.radiance, by_network.radiance)


class TestDenoising:
    """Against scenes whose truth is known."""

    @staticmethod
    def scene(seed: int = 0, size: int = 96, deviation: float = 0.02) -> tuple[torch.Tensor, ...]:
        """A ramp with an edge, the same with noise, and its variance."""
        truth = torch.linspace(0.05, 0.4, size).expand(1, 3, size, size).clone()
        truth[..., size // 2 :, :] += 0.3
        noise = deviation * torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
        return truth, truth + noise, torch.full_like(truth, deviation**2)

    def test_it_comes_nearer_to_the_truth_by_the_noise_that_is_given(self, resting):
        bracket, truth, _ = resting
        classic, denoised = noise_optimal_merge(bracket), denoise_classic(bracket, estimate_noise(bracket))
        assert float(psnr_mu(denoised, truth)) > float(psnr_mu(classic, truth)) + 0.5
        clean, noisy = (denoise_classic(bracket, noise) for noise in (NoiseModel(1e-9, 1e-6), NoiseModel(1e-3, 1e-2)))
        assert float((clean - classic).abs().mean()) < 0.1 * float((noisy - classic).abs().mean())

    @pytest.mark.parametrize("deviation", [0.005, 0.02])
    def test_noise_falls_and_edges_stay(self, deviation):
        truth, noisy, variance = self.scene(deviation=deviation)
        cleaned = denoise_guided(noisy, variance)
        assert float((cleaned - truth).square().mean()) < 0.4 * float((noisy - truth).square().mean())
        step = (cleaned[..., 48, :] - cleaned[..., 47, :]).mean()
        assert abs(float(step) - 0.3) < 0.03
        assert float((cleaned - truth)[..., 46:50, :].abs().mean()) < 2 * deviation

    @pytest.mark.parametrize("error", [0.0, 0.005, 0.02, 0.05, 0.2, 1.0])
    @pytest.mark.parametrize("width", [1, 5, 40])
    def test_never_worse_than_the_classic_whatever_the_filter_does(self, error, width):
        truth, classic, variance = self.scene(seed=width)
        generator = torch.Generator().manual_seed(7)
        blobs = torch.randn(1, 3, 96 // width + 2, 96 // width + 2, generator=generator)
        wrong = torch.nn.functional.interpolate(blobs, scale_factor=float(width), mode="nearest")[..., :96, :96]
        result = within_noise(truth + error * wrong, classic, variance)
        ratio = float((result - truth).square().mean()) / float((classic - truth).square().mean())
        assert ratio < (0.25 if error == 0 else 1.03)

    def test_without_noise_it_is_the_classic(self):
        truth, classic, variance = self.scene()
        torch.testing.assert_close(within_noise(truth, classic, 0 * variance), classic, atol=0, rtol=0)
        assert torch.isfinite(within_noise(0 * truth, 0 * classic, 0 * variance)).all()
        grey = self.scene(deviation=0.0)[0]
        torch.testing.assert_close(denoise_guided(grey, torch.zeros_like(grey)), grey, rtol=1e-3, atol=1e-3)

    def test_strips_do_not_show(self, resting, monkeypatch):
        bracket, _, _ = resting
        whole = denoise_classic(bracket, estimate_noise(bracket))
        monkeypatch.setattr(static_scene, "_STRIP_PIXELS", 20 * 96)
        torch.testing.assert_close(denoise_classic(bracket, estimate_noise(bracket)), whole, atol=1e-6, rtol=1e-5)
