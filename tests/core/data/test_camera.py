"""Cameras of the synthesis: response curves, what processing does to the frames, and how nearly it is undone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from afunet_core.data.synthesis import SynthesisConfig, Synthesizer
from afunet_core.data.synthesis.camera import Camera, draw_camera, photograph, response_table, through_lens
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.data.synthesis.sensor import Sensor, draw_noise
from afunet_core.errors import ArgumentError, ImageFileError
from afunet_core.radiometry import encode

GAINS = np.array([[1.0], [4.0], [16.0]]).repeat(3, axis=1)
SENSOR = Sensor(GAINS, 0.0, 0.0, None, 0.0, 2.2, False, None, None)
NOISY = replace(SENSOR, photon_noise=1e-3, read_noise=2e-3, noise_seed=3)


def perfect(**changes) -> Camera:
    """A camera of exactly gamma 2.2 that does nothing else."""
    nothing = dict.fromkeys(("vignetting", "glare", "glare_long", "denoising", "sharpening"), 0.0)
    exact = {"response": np.linspace(0, 1, 513)[None].repeat(3, axis=0), "recovered": 1.0, "residual": np.zeros((3, 4))}
    exact |= {"gains": np.ones((3, 3)), "saturation": np.ones(3), "shoulder": 1e-4, "axis": (0.0, 0.0)}
    return Camera(**{**nothing, **exact, "denoising_radius": 1.0, "quality": None, "subsampled": False, **changes})


def s_curve() -> np.ndarray:
    u = np.linspace(0, 1, 513)
    return (u**1.4 / (u**1.4 + (1 - u) ** 1.1))[None].repeat(3, axis=0)


def light(seed: int = 0, side: int = 32) -> torch.Tensor:
    """One scene without detail, three instants."""
    ramp = torch.logspace(-3, 0.2, side)
    return ramp.expand(3, 3, side, side).clone() * torch.linspace(0.7, 1.0, side)[:, None]


@pytest.fixture
def basis(tmp_path: Path) -> str:
    """A basis of response curves around an S-curve, as measured ones are stored."""
    irradiance = np.linspace(0, 1, 256)
    mean = np.interp(irradiance ** (1 / 2.2), np.linspace(0, 1, 513), s_curve()[0])
    waves = np.stack([np.sin(np.pi * order * irradiance) for order in range(1, 12)]) * 0.02
    path = tmp_path / "curves.npz"
    np.savez(path, irradiance=irradiance, mean=mean, components=waves)
    return str(path)


@pytest.mark.parametrize("measured", [False, True], ids=["own family", "from a basis"])
def test_response_curves_rise_from_black_to_white(measured, basis):
    rng = np.random.default_rng(0)
    for _ in range(50):
        response = draw_camera(rng, basis if measured else None).response
        assert response[:, 0] == pytest.approx([0, 0, 0])
        assert response[:, -1] == pytest.approx([1, 1, 1])
        assert np.diff(response).min() > 0


def test_a_file_without_curves_is_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, something=np.zeros(3))
    with pytest.raises(ImageFileError, match="irradiance, mean and components"):
        response_table(str(path))


@pytest.mark.parametrize(("curved", "recovered"), [(False, 1.0), (True, 1.0), (True, 0.0)])
def test_frames_are_the_clipped_exposure_but_for_a_curve_that_is_not_known(curved, recovered):
    camera = perfect(response=s_curve(), recovered=recovered) if curved else perfect()
    frames = photograph(light(), SENSOR, camera, None)
    expected = encode((light() * torch.tensor([1.0, 4.0, 16.0]).view(3, 1, 1, 1)).clamp(0, 1))
    if recovered == 0.0:
        expected = torch.from_numpy(np.interp(expected.numpy(), np.linspace(0, 1, 513), s_curve()[0])).float()
    torch.testing.assert_close(frames, expected, rtol=0, atol=2e-3)


def test_what_is_left_of_the_curve_is_a_relative_error_of_the_light():
    scene = light() / 40  # nothing clips
    camera = perfect(residual=np.array([[0.1, 0, 0, 0], [0, 0, 0, 0], [-0.05, 0, 0, 0]]))
    ratio = (photograph(scene, SENSOR, camera, None) / photograph(scene, SENSOR, perfect(), None)) ** 2.2
    for channel, expected in enumerate((1.1, 1.0, 0.95)):
        assert float(ratio[:, channel].median()) == pytest.approx(expected, abs=1e-3)


def test_channels_clip_where_the_camera_says():
    camera = perfect(saturation=np.array([0.9, 0.95, 1.0]))
    frames = photograph(light() * 10, SENSOR, camera, None)
    assert frames[2].amax((1, 2)).pow(2.2).tolist() == pytest.approx([0.9, 0.95, 1.0], abs=2e-3)


def test_denoising_leaves_less_noise_that_is_alike_in_neighbours():
    scene = torch.full((3, 3, 64, 64), 0.02)
    noise = draw_noise(NOISY, scene)
    raw, smooth = (photograph(scene, NOISY, perfect(denoising=share), noise)[2, 0] for share in (0.0, 0.9))

    def neighbours(picture: torch.Tensor) -> float:
        centred = picture - picture.mean()
        return float((centred[:, 1:] * centred[:, :-1]).mean() / centred.square().mean())

    assert float(smooth.std()) < 0.6 * float(raw.std())
    assert abs(neighbours(raw)) < 0.1
    assert neighbours(smooth) > 0.4


def test_sharpening_overshoots_at_edges():
    scene = light()
    scene[..., 16:] = scene[..., 16:] * 3
    plain, sharp = (photograph(scene, SENSOR, perfect(sharpening=gain), None)[0, 0] for gain in (0.0, 0.8))
    assert float((sharp[:, 16] - plain[:, 16]).mean()) > 0.01
    assert float((sharp[:, 15] - plain[:, 15]).mean()) < -0.01


def test_a_lens_darkens_the_corners_and_veils_the_dark():
    dark = torch.zeros(3, 3, 32, 32)
    dark[..., 12:20, 12:20] = 2.0
    veiled = through_lens(dark, perfect(glare=0.01))
    assert float(veiled[..., 0, 0].min()) > 0
    corner = through_lens(torch.ones(3, 3, 32, 32), perfect(vignetting=0.2))
    assert float(corner[..., 16, 16].mean()) == pytest.approx(1.0, abs=0.01)
    assert float(corner[..., 0, 0].mean()) == pytest.approx(0.9, abs=0.01)


def sample(size: int = 64, enlarge: int = 1, **changes):
    maker = Synthesizer(SceneBank.procedural(0), SynthesisConfig(**changes))
    return maker.sample(4, size, torch.Generator().manual_seed(2), enlarge=enlarge)


def test_cameras_photograph_the_same_scenes():
    plain, real = sample(), sample(camera_share=1.0)
    assert plain.kind == real.kind
    assert not torch.equal(plain.frames, real.frames)
    assert float((plain.truth - real.truth).abs().max()) < 0.4  # the lens: vignetting and glare
    assert 0 <= real.frames.min() <= real.frames.max() <= 1


def test_enlarged_scenes_are_soft():
    def detail(truth: torch.Tensor) -> float:
        return float((truth[..., 1:] - truth[..., :-1]).abs().mean() / truth.mean())

    still = {"followed_share": 0.0, "kind_weights": (1.0, 0.0, 0.0, 0.0)}
    sharp, soft = sample(64, **still), sample(64, 2, **still)
    assert soft.frames.shape == sharp.frames.shape
    assert detail(soft.truth) < 0.8 * detail(sharp.truth)
    with pytest.raises(ArgumentError, match="multiples of 2"):
        sample(65, 2)
