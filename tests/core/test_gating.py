"""The classical merge where nothing moved, the network where something did."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from afunet_core.baselines import weighted_merge
from afunet_core.bracket import Bracket
from afunet_core.data.scenes import SceneBank
from afunet_core.data.synthesis import SynthesisConfig, Synthesizer
from afunet_core.gating import blend_at_rest, rest_map
from afunet_core.merging import merge
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import AFUNetConfig


@pytest.fixture(scope="module")
def network() -> AFUNet:
    """Untrained: whatever it contributes is far from the truth, and so is seen."""
    torch.manual_seed(0)
    return AFUNet(AFUNetConfig(embed_dim=12, depths=(1,), fusion_heads=1, dormant_norm=False)).eval()


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    return Synthesizer(SceneBank.procedural(0), SynthesisConfig.evaluation(16))


def bracket_of(batch) -> Bracket:
    frames = list(batch.frames[0][:, None])
    return Bracket(frames, times=batch.times[0].tolist(), encoding="gamma", override=True)


@pytest.mark.parametrize("seed", range(3))
def test_a_scene_at_rest_is_merged_by_the_classic(network, synthesizer, seed):
    bracket = bracket_of(synthesizer.sample(1, 96, torch.Generator().manual_seed(seed), kind="static"))
    result = merge(bracket, model=network)
    expected = weighted_merge(bracket)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(result.radiance, expected)
    assert result.info["at_rest"] == 1.0
    assert result.maps["rest"].min() == 1.0


def test_the_network_decides_where_something_moved(network):
    """A square that moves on a grey wall: the network around it, the classic far away."""
    frames = []
    for index, time in enumerate((1.0, 4.0, 16.0)):
        radiance = torch.full((1, 3, 160, 160), 0.02)
        radiance[:, :, 20:40, 20 + 12 * index : 40 + 12 * index] = 0.005
        frames.append((radiance * time).clamp(0, 1) ** (1 / 2.2))
    bracket = Bracket(frames, times=(1.0, 4.0, 16.0), encoding="gamma")
    result = merge(bracket, model=network, align="off")
    alone = merge(bracket, model=network, align="off", method="afunet").radiance
    classic = weighted_merge(bracket)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result.radiance[25:35, 25:60], alone[25:35, 25:60], atol=1e-6)
    np.testing.assert_allclose(result.radiance[120:, 120:], classic[120:, 120:], atol=1e-6)
    assert 0 < result.info["at_rest"] < 1
    assert result.maps["rest"].shape == (160, 160)


def test_motion_is_noticed_in_every_kind_of_motion(synthesizer):
    for kind in ("objects", "both"):
        bracket = bracket_of(synthesizer.sample(1, 96, torch.Generator().manual_seed(5), kind=kind))
        assert rest_map(bracket).mean() < 0.95, kind


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (17, 8)])
def test_any_size(size):
    frames = [torch.full((1, 3, *size), value) for value in (0.1, 0.2, 0.4)]
    bracket = Bracket(frames, times=(1.0, 2.0, 4.0), encoding="linear")
    assert torch.equal(rest_map(bracket), torch.ones(size))


def test_blend_is_a_mean_of_both():
    network, weighted = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    rest = torch.rand(2, 4, 5)
    expected = rest[:, None] * weighted + (1 - rest[:, None]) * network
    torch.testing.assert_close(blend_at_rest(network, weighted, rest), expected)
