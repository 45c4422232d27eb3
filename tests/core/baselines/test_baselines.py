from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from afunet_core import baselines
from afunet_core.baselines.noise_optimal import noise_optimal_merge, where_moved
from afunet_core.bracket.stack import ExposureStack
from afunet_core.camera.noise import NoiseModel
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.radiometry import encode, to_radiance
from scenes import photographed

TIMES = (1.0, 4.0, 16.0)


def shoot(radiance, times=TIMES, encoding="gamma", noise=0.0):
    """Frames of a still scene, with Gaussian sensor noise before the encoding."""
    frames = photographed(radiance, times, encoding, gain=0.0, read=noise, bits=0)
    return ExposureStack(tuple(frames), torch.tensor(times, dtype=torch.float64), encoding, reference=1)


@pytest.fixture
def scene(checks):
    """Three decades of radiance, smooth and bright enough to saturate the longer frames in places."""
    coarse = checks.uniform(2, 3, 4, 5, low=-3.0, high=0.0)
    return 10 ** torch.nn.functional.interpolate(coarse, (32, 41), mode="bilinear")


class TestWeightedMerge:
    @pytest.mark.parametrize("encoding", ["gamma", "srgb", "linear"])
    def test_recovers_a_still_scene(self, checks, scene, encoding):
        checks.close(baselines.weighted_merge(shoot(scene, encoding=encoding)), scene, tolerance=1e-6)

    def test_is_the_quotient_its_weights_promise(self, checks, scene):
        bracket = shoot(scene, noise=0.01)
        weights = baselines.merge_weights(bracket.frames, bracket.times)
        radiances = torch.stack([to_radiance(f, t) for f, t in zip(bracket.frames, bracket.times, strict=True)])
        checks.close(baselines.weighted_merge(bracket), (weights * radiances).sum(0) / weights.sum(0))

    def test_weights_fall_smoothly_and_never_vanish_together(self, checks):
        ramp = torch.linspace(0, 1, 1001, dtype=torch.float64).view(1, 1, 1, -1)
        weights = baselines.merge_weights([ramp] * 3, TIMES)
        short, normal, over = weights.flatten(1)
        assert (short == 1).all()
        assert normal[:900].allclose(torch.tensor(4.0, dtype=torch.float64))
        assert normal[991:].abs().max() == 0
        assert (normal.diff() <= 0).all()
        assert normal.diff().abs().max() < 4 * 0.02  # no jump: nothing flickers where values cross the fade
        checks.close(over, 4 * normal)

    def test_times_per_sample(self, checks, scene):
        bracket = shoot(scene, noise=0.01)
        times = torch.tensor([[1.0, 4.0, 16.0], [1.0, 2.0, 4.0]])
        together = baselines.merge_frames(bracket.frames, times)
        for index in range(2):
            alone = baselines.merge_frames([f[index : index + 1] for f in bracket.frames], times[index])
            checks.close(together[index : index + 1], alone)

    def test_errors(self):
        frame = torch.zeros(1, 3, 4, 4)
        with pytest.raises(ShapeError, match=r"frames\[1\]"):
            baselines.merge_frames([frame, frame[..., :2]], [1.0, 2.0])
        with pytest.raises(ShapeError, match=r"times: expected shape \(2,\)"):
            baselines.merge_frames([frame] * 2, TIMES)
        with pytest.raises(ArgumentError, match=r"times: .*from exposure values in stops they are 2 \*\* ev"):
            baselines.merge_frames([frame] * 2, [-2.0, 2.0])


def test_reference_only_is_the_reference(checks, scene):
    bracket = shoot(scene)
    checks.close(baselines.reference_only(bracket), scene.clamp(max=1 / 4))


class TestExposureFusion:
    @staticmethod
    def pictures(height, width, seed=0):
        """A textured 8-bit bracket, nothing clipped: OpenCV gives flat areas no weight at all, we do."""
        texture = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
        texture = cv2.normalize(cv2.GaussianBlur(texture, (0, 0), 1.0), None, 0, 1, cv2.NORM_MINMAX)
        return [np.round(np.clip(texture * gain, 0.02, 0.98) * 255).astype(np.uint8) for gain in (0.3, 0.6, 0.98)]

    @pytest.mark.parametrize(
        ("size", "worst", "mean"),
        [((64, 64), 5e-2, 2e-4), ((96, 128), 5e-2, 2e-4), ((128, 200), 5e-2, 2e-4), ((61, 87), 1.0, 3e-3)],
    )
    def test_agrees_with_opencv(self, size, worst, mean):
        # Pixels with no contrast or no colour differ (OpenCV adds 1e-12 to the product, we floor each factor), and
        # so do the borders of odd pyramid levels.
        pictures = self.pictures(*size)
        theirs = cv2.createMergeMertens(1, 1, 1).process(pictures).clip(0, 1)
        frames = [torch.from_numpy(p).permute(2, 0, 1)[None].double() / 255 for p in pictures]
        difference = np.abs(baselines.fuse_frames(frames)[0].permute(1, 2, 0).numpy() - theirs)
        assert difference.max() < worst
        assert difference.mean() < mean

    def test_asks_before_every_pass_over_a_plane(self):
        """Of 12 megapixels all planes together take seconds, and a cancel must not wait for them."""
        asked = []
        baselines.fuse_frames([torch.rand(1, 3, 8, 8)] * 2, lambda: asked.append(1))
        levels, frames, passes = 3, 2, 2
        assert len(asked) >= levels * frames * passes * (3 + 3 + 1)  # halved, doubled, weights halved

    def test_linear_brackets_are_encoded_first(self, checks, scene):
        linear, gamma = shoot(scene, encoding="linear"), shoot(scene)
        checks.close(baselines.exposure_fusion(linear), baselines.exposure_fusion(gamma), tolerance=1e-6)

    def test_slopes_at_black_and_white_are_finite(self, checks):
        black = torch.zeros(1, 3, 4, 4)
        checks.finite_gradients(lambda a, b: baselines.fuse_frames((a, b)), black, torch.ones_like(black))


class TestContradictions:
    """The weighted merge where something moved: a colour that some frame recorded."""

    @staticmethod
    def merged(short, long, reference=0):
        frames = tuple(encode(torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1)) for v in (short, long))
        stack = ExposureStack(frames, torch.tensor([1.0, 16.0]), reference=reference)
        return noise_optimal_merge(stack, NoiseModel(1e-4, 1e-3)).flatten()

    @pytest.mark.parametrize("reference", [0, 1])
    def test_no_colour_of_two_things(self, checks, reference):
        grey, pale = (0.01, 0.01, 0.01), (1.0, 0.8, 0.6)  # the light in each frame
        recorded = (torch.tensor(grey), torch.tensor(pale) / 16)[reference]
        checks.close(self.merged(grey, pale, reference), recorded.double(), tolerance=1e-6)

    def test_agreeing_frames_keep_each_channel_that_they_recorded(self):
        light = torch.tensor((0.2, 0.04, 0.001), dtype=torch.float64)
        noisy = light + torch.tensor((0.0, 0.002, -0.0009), dtype=torch.float64)
        merged = self.merged(noisy.tolist(), (16 * light).clamp(max=1).tolist())
        assert ((merged - light).abs() < 0.1 * (noisy - light).abs() + 1e-6).all()

    def test_one_channel_that_a_camera_bent_is_no_motion(self):
        merged = self.merged((0.2, 0.1, 0.001), (1.0, 1.0, 0.3))
        assert float(merged[2]) > 0.01


@pytest.mark.parametrize(("darkest", "moved"), [(0.0, 1.0), (0.01, 0.0)])
def test_a_crushed_dark_value_does_not_contradict_a_clipped_frame(darkest, moved):
    """A red cloth: its green and blue are crushed in the short frame and clipped in one that is six stops longer."""
    short, long = (torch.tensor(c).view(1, 3, 1, 1) for c in ((0.3, 0.002, 0.002), (1.0, 1.0, 1.0)))
    shares = [torch.ones_like(short), torch.zeros_like(long)]
    assert abs(float(where_moved(shares, [short, long], (1.0, 64.0), darkest)) - moved) < 0.05
