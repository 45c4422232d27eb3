"""The network against the fixture made with the authors' published code (float32, CPU)."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.published_names import to_published

FIXTURE = Path(__file__).with_name("afunet_4stage.npz")


def fixture_parameters(model: AFUNet, seed: int) -> None:
    """Fill the network by the rule the fixture was made with (a seeded draw per published name)."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            key = to_published(name)
            draw = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(tuple(parameter.shape))
            one = key.endswith("temperature") or ("norm" in key and key.endswith("weight"))
            half = key.startswith(("beta1", "beta2"))
            base = 1.0 if one else 0.5 if half else 0.0
            scale = 0.01 if key == "out.0.weight" else 0.05
            parameter.copy_(torch.from_numpy(np.asarray(base + scale * draw, dtype=np.float32)))


@pytest.fixture(scope="module")
def fixture() -> dict[str, np.ndarray]:
    with np.load(FIXTURE) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    ("dtype", "output_tolerance", "feature_tolerance"), [(torch.float32, 1e-4, 1e-3), (torch.float64, 1e-5, 1e-4)]
)
def test_agrees_with_the_published_code(fixture, dtype, output_tolerance, feature_tolerance):
    model = AFUNet(AFUNetConfig(depths=tuple(fixture["depths"])))
    fixture_parameters(model, int(fixture["seed"]))
    model = model.to(dtype).eval()
    padded: list[torch.Tensor] = []
    hooks = [stage.register_forward_hook(lambda _m, _i, out: padded.append(out)) for stage in model.stages]
    with torch.inference_mode():
        output, states = model.forward_stages(torch.from_numpy(fixture["input"]).to(dtype))
    for hook in hooks:
        hook.remove()
    assert np.abs(output.numpy() - fixture["output"]).max() < output_tolerance
    for stage, features in enumerate(padded, start=1):
        for name, ours in zip(("alpha1", "x", "alpha3"), features, strict=True):
            error = np.abs(ours.permute(0, 3, 1, 2).numpy() - fixture[f"{name}_{stage}"]).max()
            assert error < feature_tolerance, f"{name}_{stage}: {error}"
    assert [tuple(state.under.shape) for state in states] == [(1, 24, 21, 27)] * 4
