"""VGG-19 features: the network itself, the loss on them, and files that are not VGG-19."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from afunet_core import losses
from afunet_core.errors import ArgumentError, CheckpointError, ShapeError
from afunet_core.losses.perceptual import VGGFeatures
from afunet_core.radiometry import mu_law

LAYERS = ("relu1_1", "relu2_1", "relu3_1")
SHAPES = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128)}
"""Convolutions of torchvision's VGG-19 up to conv3_1, by their index in ``features``."""


@pytest.fixture(scope="module")
def state():
    generator = torch.Generator().manual_seed(3)
    tensors = {"classifier.0.weight": torch.zeros(2, 2)}
    for index, (wide, narrow) in SHAPES.items():
        weight = torch.randn(wide, narrow, 3, 3, generator=generator) / (3 * narrow**0.5)
        tensors |= {f"features.{index}.weight": weight}
        tensors |= {f"features.{index}.bias": 0.1 * torch.randn(wide, generator=generator)}
    return tensors


@pytest.fixture
def file(tmp_path, state):
    torch.save(state, tmp_path / "vgg19.pth")
    return tmp_path / "vgg19.pth"


def sequential(state):
    """VGG-19 to relu3_1 as torchvision writes it."""
    modules: list[nn.Module] = []
    for index, (wide, narrow) in SHAPES.items():
        if index in (5, 10):
            modules.append(nn.MaxPool2d(2, 2))
        modules += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU()]
    network = nn.Sequential(*modules)
    network.load_state_dict({key[9:]: value for key, value in state.items() if key.startswith("features.")})
    return network


def test_features_are_those_of_vgg(checks, file, state):
    picture = checks.uniform(2, 3, 16, 24, dtype=torch.float32)
    mean = torch.tensor([0.485, 0.456, 0.406], device=checks.device).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], device=checks.device).view(3, 1, 1)
    expected = sequential(state).to(checks.device)((picture - mean) / std)
    features = VGGFeatures.from_file(file, LAYERS).to(checks.device)(picture)
    assert tuple(features) == LAYERS
    checks.close(features["relu3_1"], expected.detach(), tolerance=1e-5)


def test_loss_sums_the_layers(checks, file):
    pair = checks.uniform(2, 3, 8, 10, low=0.05), checks.uniform(2, 3, 8, 10, low=0.05, seed=1)
    features = VGGFeatures.from_file(file, ("relu1_1", "relu2_1"))
    found, wanted = (features(mu_law(x)) for x in pair)
    expected = sum((found[layer] - wanted[layer]).abs().mean() for layer in wanted)
    checks.close(losses.perceptual_loss(*pair, features), expected)
    apart = losses.perceptual_loss(*pair, features, reduction="none")
    checks.close(apart[:1], losses.perceptual_loss(pair[0][:1], pair[1][:1], features, reduction="none"))
    module = losses.VGGPerceptualLoss(features)
    assert torch.equal(module(*pair), losses.perceptual_loss(*pair, features))
    assert not list(module.parameters())
    assert set(module.state_dict()) >= {"features.relu1_1_weight", "features.relu2_1_bias"}
    both = losses.HDRLoss(radiance=0, perceptual=0.005, features=features)
    checks.close(both(*pair), losses.mu_l1_loss(*pair) + 0.005 * expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (7, 5)])
def test_tiny_pictures(checks, file, size):
    loss = losses.VGGPerceptualLoss(VGGFeatures.from_file(file, LAYERS))
    assert torch.isfinite(loss(checks.uniform(1, 3, *size), checks.uniform(1, 3, *size, seed=1)))


def test_wrong_layers_and_grey_are_refused(file):
    for layers in (("relu9_1",), ()):
        with pytest.raises(ArgumentError, match="layers: expected names from relu1_1 to relu5_4"):
            VGGFeatures.from_file(file, layers)
    loss, grey = losses.VGGPerceptualLoss(VGGFeatures.from_file(file, LAYERS)), torch.zeros(1, 1, 8, 8)
    with pytest.raises(ShapeError, match="Repeat a grey channel"):
        loss(grey, grey)


def test_code_in_a_pickle_never_runs(tmp_path):
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
    ("tensors", "message"),
    [
        ({"weight": torch.zeros(3)}, r"features\.0\.weight: .* got nothing"),
        ([1, 2], "not a state dict"),
        ({"features.0.weight": torch.zeros(8, 3, 3, 3)}, r"\(64, 3, 3, 3\) of VGG-19, got \(8, 3, 3, 3\)"),
        ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, r"features\.0\.bias"),
    ],
)
def test_files_of_other_contents(tmp_path, tensors, message):
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message):
        VGGFeatures.from_file(tmp_path / "other.pth")


def test_files_that_end_too_soon(tmp_path, file):
    with pytest.raises(CheckpointError, match=r"features\.12\.weight"):
        VGGFeatures.from_file(file)
    file.write_bytes(file.read_bytes()[:1000])
    for path in (file, tmp_path / "none.pth"):
        for load in (losses.VGGPerceptualLoss, lambda path: losses.HDRLoss(perceptual=1, features=str(path))):
            with pytest.raises(CheckpointError, match="cannot be read"):
                load(path)
