from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from afunet_core.errors import ArgumentError, CheckpointError, ShapeError
from afunet_core.losses import hdr as losses
from afunet_core.losses.perceptual import VGGFeatures
from afunet_core.metrics import psnr_linear
from afunet_core.radiometry import mu_law

WIDTHS = {"1_1": (3, 64), "1_2": (64, 64), "2_1": (64, 128), "2_2": (128, 128), "3_1": (128, 256)}
TORCHVISION_INDEX = {"1_1": 0, "1_2": 2, "2_1": 5, "2_2": 7, "3_1": 10}


@pytest.fixture
def pair(checks):
    return checks.uniform(2, 3, 8, 10, low=0.05), checks.uniform(2, 3, 8, 10, low=0.05, seed=1)


@pytest.fixture(scope="module")
def convolutions():
    """Small random values in the shapes of VGG-19 up to conv3_1."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: (
            torch.randn(wide, narrow, 3, 3, generator=generator) / (3 * narrow**0.5),
            0.1 * torch.randn(wide, generator=generator),
        )
        for name, (narrow, wide) in WIDTHS.items()
    }


@pytest.fixture
def normalised_file(tmp_path, convolutions):
    state = {"preprocess.weight": 2 * torch.eye(3).flip(0).reshape(3, 3, 1, 1), "preprocess.bias": -torch.ones(3)}
    for name, (weight, bias) in convolutions.items():
        state |= {f"conv{name}.weight": weight, f"conv{name}.bias": bias}
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "vgg.safetensors")
    return tmp_path / "vgg.safetensors"


@pytest.fixture
def torchvision_file(tmp_path, convolutions):
    state = {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}
    for name, index in TORCHVISION_INDEX.items():
        state[f"features.{index}.weight"], state[f"features.{index}.bias"] = convolutions[name]
    torch.save(state, tmp_path / "vgg19.pth")
    return tmp_path / "vgg19.pth"


def sequential(convolutions, padding_mode):
    """VGG-19 to relu3_1 as anyone would write it, for comparison."""
    modules: list[nn.Module] = []
    for name, (weight, bias) in convolutions.items():
        if name in ("2_1", "3_1"):
            modules.append(nn.MaxPool2d(2, 2))
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, padding_mode=padding_mode)
        conv.load_state_dict({"weight": weight, "bias": bias})
        modules += [conv, nn.ReLU()]
    return nn.Sequential(*modules)


class TestValues:
    def test_mu_l1(self, checks, pair):
        prediction, target = pair
        expected = np.abs(np.log(1 + 5000 * prediction.numpy()) - np.log(1 + 5000 * target.numpy())).mean() / np.log(
            5001
        )
        checks.close(losses.mu_l1_loss(*pair), expected)

    def test_radiance(self, checks, pair):
        prediction, target = pair
        difference = prediction - target
        checks.close(losses.radiance_loss(*pair, kind="l1"), difference.abs().mean())
        rms = 10 ** (-psnr_linear(*pair) / 20)
        checks.close(losses.radiance_loss(*pair), rms.mean(), tolerance=1e-9)

    def test_radiance_sees_what_mu_hides(self, checks):
        shadow, highlight = torch.full((1, 3, 4, 4), 0.01), torch.full((1, 3, 4, 4), 0.8)
        near_shadow, near_highlight = shadow * 1.1, highlight * 1.1
        ratio = lambda loss: loss(near_highlight, highlight) / loss(near_shadow, shadow)  # noqa: E731
        assert ratio(losses.radiance_loss) > 20 * ratio(losses.mu_l1_loss)

    @pytest.mark.parametrize("norm", ["backward", "ortho"])
    def test_fourier(self, checks, pair, norm):
        spectra = [np.fft.rfft2(mu_law(x).numpy(), norm=norm) for x in pair]
        stacked = [np.stack([s.real, s.imag]) for s in spectra]
        checks.close(losses.fourier_l1_loss(*pair, norm=norm), np.abs(stacked[0] - stacked[1]).mean(), tolerance=1e-9)
        linear = np.fft.rfft2((pair[0] - pair[1]).numpy())
        checks.close(losses.fourier_l1_loss(*pair, mu=None), (np.abs(linear.real) + np.abs(linear.imag)).mean() / 2)

    def test_sum(self, checks, pair):
        loss = losses.HDRLoss(mu_l1=2.0, radiance=0.3, fourier=0.005)
        terms = loss.terms(*pair)
        assert set(terms) == {"mu_l1", "radiance", "fourier"}
        checks.close(terms["fourier"], losses.fourier_l1_loss(*pair))
        expected = 2 * losses.mu_l1_loss(*pair) + 0.3 * losses.radiance_loss(*pair) + 0.005 * terms["fourier"]
        checks.close(loss(*pair), expected)
        assert set(losses.HDRLoss(radiance=0).terms(*pair)) == {"mu_l1"}


LOSSES = {
    "mu_l1": (losses.mu_l1_loss, losses.MuL1Loss()),
    "radiance": (losses.radiance_loss, losses.RadianceLoss()),
    "radiance_l1": (lambda p, t: losses.radiance_loss(p, t, "l1"), losses.RadianceLoss("l1")),
    "fourier": (losses.fourier_l1_loss, losses.FourierL1Loss()),
    "hdr": (losses.HDRLoss(), losses.HDRLoss()),
}


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_gradients(self, checks, name):
        checks.gradients(LOSSES[name][0], checks.uniform(2, 1, 3, 4, low=0.05), checks.uniform(2, 1, 3, 4, seed=1))

    def test_zero_for_equal_images_with_a_finite_gradient(self, checks, name):
        target = checks.uniform(1, 3, 6, 6)
        target[..., 0] = 0
        assert LOSSES[name][0](target, target).item() == pytest.approx(0, abs=2e-6)
        checks.finite_gradients(lambda p: LOSSES[name][0](p, target), target)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_half_precision_is_averaged_in_single(self, checks, pair, name, dtype):
        low = [x.to(dtype) for x in pair]
        loss = LOSSES[name][0](*low)
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        checks.close(loss, LOSSES[name][0](*(x.double() for x in low)), tolerance=1e-4)

    def test_module_twin(self, checks, pair, name):
        checks.twins(LOSSES[name][1], LOSSES[name][0], *pair)

    def test_shapes(self, pair, name):
        with pytest.raises(ShapeError, match="prediction: expected B×C×H×W like the target"):
            LOSSES[name][0](pair[0][:, :1], pair[1])


class TestPerceptual:
    def test_normalised_file_is_vgg(self, checks, normalised_file, convolutions):
        picture = checks.uniform(2, 3, 16, 24, dtype=torch.float32)
        expected = sequential(convolutions, "reflect").to(checks.device)(2 * picture.flip(1) - 1)
        features = VGGFeatures.from_file(normalised_file).to(checks.device)(picture)
        assert list(features) == ["relu1_1", "relu2_1", "relu3_1"]
        checks.close(features["relu3_1"], expected.detach(), tolerance=1e-5)

    def test_torchvision_file_is_vgg(self, checks, torchvision_file, convolutions):
        picture = checks.uniform(2, 3, 16, 24, dtype=torch.float32)
        mean = torch.tensor([0.485, 0.456, 0.406], device=checks.device).view(3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225], device=checks.device).view(3, 1, 1)
        expected = sequential(convolutions, "zeros").to(checks.device)((picture - mean) / std)
        features = VGGFeatures.from_file(torchvision_file, ("relu3_1",)).to(checks.device)(picture)
        assert list(features) == ["relu3_1"]
        checks.close(features["relu3_1"], expected.detach(), tolerance=1e-5)

    def test_loss_sums_the_layers(self, checks, normalised_file, pair):
        features = VGGFeatures.from_file(normalised_file, ("relu1_1", "relu2_1"))
        found, wanted = (features(mu_law(x)) for x in pair)
        expected = sum((found[layer] - wanted[layer]).abs().mean() for layer in wanted)
        checks.close(losses.perceptual_loss(*pair, features), expected)
        module = losses.VGGPerceptualLoss(normalised_file, ("relu1_1", "relu2_1"))
        checks.twins(module, lambda p, t: losses.perceptual_loss(p, t, features), *pair)
        both = losses.HDRLoss(radiance=0, perceptual=0.005, features=features)
        checks.close(both(*pair), losses.mu_l1_loss(*pair) + 0.005 * expected)
        from_path = losses.HDRLoss(mu_l1=0, radiance=0, perceptual=1, features=str(normalised_file))
        checks.close(from_path(*pair), losses.VGGPerceptualLoss(normalised_file)(*pair))

    def test_gradient_reaches_the_prediction_only(self, checks, normalised_file):
        loss = losses.VGGPerceptualLoss(normalised_file)
        assert not list(loss.parameters())
        assert not loss.state_dict()
        target = checks.uniform(1, 3, 5, 6, low=0.1)
        checks.gradients(lambda p: loss(p, target), checks.uniform(1, 3, 5, 6, low=0.1, seed=1))

    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (7, 5)])
    def test_tiny_pictures(self, checks, normalised_file, torchvision_file, size):
        for path in (normalised_file, torchvision_file):
            loss = losses.VGGPerceptualLoss(path)
            assert torch.isfinite(loss(checks.uniform(1, 3, *size), checks.uniform(1, 3, *size, seed=1)))

    def test_layers_the_file_does_not_hold(self, normalised_file):
        with pytest.raises(ArgumentError, match="layers: expected names from relu1_1 to relu3_1, got 'relu5_1'"):
            VGGFeatures.from_file(normalised_file, ("relu5_1",))
        with pytest.raises(ArgumentError, match="at least one layer"):
            VGGFeatures.from_file(normalised_file, ())

    def test_grey_is_refused_with_advice(self, normalised_file):
        loss, grey = losses.VGGPerceptualLoss(normalised_file), torch.zeros(1, 1, 8, 8)
        with pytest.raises(ShapeError, match="Repeat a grey channel"):
            loss(grey, grey)


class TestFilesThatAreNotVGG:
    def test_missing(self, tmp_path):
        for name in ("none.safetensors", "none.pth"):
            with pytest.raises(CheckpointError, match="cannot be read"):
                VGGFeatures.from_file(tmp_path / name)

    def test_truncated(self, normalised_file, torchvision_file):
        for path in (normalised_file, torchvision_file):
            path.write_bytes(path.read_bytes()[:1000])
            with pytest.raises(CheckpointError, match="cannot be read"):
                VGGFeatures.from_file(path)

    def test_code_in_a_pickle_never_runs(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (open, (str(tmp_path / "exploded"), "w"))

        (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"features.0.weight": Bomb()}))
        torch.save({"features.0.weight": Bomb()}, tmp_path / "zip.pth")
        for name in ("bomb.pth", "zip.pth"):
            with pytest.raises(CheckpointError):
                VGGFeatures.from_file(tmp_path / name)
        assert not (tmp_path / "exploded").exists()

    @pytest.mark.parametrize(
        ("state", "message"),
        [
            ({"weight": torch.zeros(3)}, "neither 'preprocess.weight' nor"),
            ([1, 2], "not a state dict"),
            ({"features.0.weight": torch.zeros(8, 3, 3, 3), "features.0.bias": torch.zeros(8)}, "conv1_1 has shape"),
            ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, "lacks|gaps"),
        ],
    )
    def test_other_contents(self, tmp_path, state, message):
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match=message):
            VGGFeatures.from_file(tmp_path / "other.pth")

    def test_gaps(self, normalised_file, tmp_path):
        from safetensors.torch import load_file

        state = load_file(normalised_file)
        del state["conv1_2.weight"]
        save_file(state, tmp_path / "gap.safetensors")
        with pytest.raises(CheckpointError, match="without gaps"):
            VGGFeatures.from_file(tmp_path / "gap.safetensors")


def test_argument_errors():
    with pytest.raises(ArgumentError, match="kind"):
        losses.radiance_loss(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), "huber")
    with pytest.raises(ArgumentError, match="fourier: expected a weight of at least 0"):
        losses.HDRLoss(fourier=-1)
    with pytest.raises(ArgumentError, match="one weight above 0"):
        losses.HDRLoss(mu_l1=0, radiance=0)
    with pytest.raises(ArgumentError, match="features: expected VGG-19 features"):
        losses.HDRLoss(perceptual=0.005)


class TestDecibelLoss:
    def test_ten_decibels_are_one_order_in_each_domain(self):
        from afunet_core.metrics import psnr_linear, psnr_mu

        torch.manual_seed(0)
        truth = torch.rand(1, 3, 8, 8, dtype=torch.float64)
        found = (truth + 0.1 * torch.rand_like(truth)).clamp(0, 1)
        loss = losses.decibel_loss(found, truth, linear=0.5, floor=0.0)
        expected = -(psnr_mu(found, truth) + 0.5 * psnr_linear(found, truth)) / 10
        torch.testing.assert_close(loss, expected.to(loss).squeeze(), atol=1e-9, rtol=0)

    def test_each_sample_pulls_alike(self):
        """Scaling a sample's error does not change how hard a relative improvement of it is rewarded."""
        truth = torch.full((2, 3, 4, 4), 0.5, dtype=torch.float64)
        error = torch.tensor([1e-3, 1e-1], dtype=torch.float64).reshape(2, 1, 1, 1)
        scale = torch.ones(2, 1, 1, 1, dtype=torch.float64, requires_grad=True)
        losses.decibel_loss(truth + scale * error, truth, floor=0.0).backward()
        torch.testing.assert_close(scale.grad[0], scale.grad[1], rtol=0.25, atol=0)

    def test_gradient_is_finite_at_the_truth(self):
        found = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
        losses.decibel_loss(found, torch.full((1, 3, 4, 4), 0.5)).backward()
        assert torch.isfinite(found.grad).all()
