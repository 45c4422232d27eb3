"""The classical merge for scenes at rest, the network for all others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from afunet_core.baselines import weighted_merge
from afunet_core.bracket import Bracket
from afunet_core.data.scenes import SceneBank
from afunet_core.data.synthesis import SynthesisConfig, Synthesizer
from afunet_core.gating import is_at_rest
from afunet_core.merging import merge
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import COMPACT, AFUNetConfig


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
def test_a_scene_at_rest_is_merged_by_the_classic_if_the_head_never_learned_to_agree_with_it(
    network, synthesizer, seed
):
    bracket = bracket_of(synthesizer.sample(1, 96, torch.Generator().manual_seed(seed), kind="static"))
    result = merge(bracket, model=network)
    expected = weighted_merge(bracket)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(result.radiance, expected)
    assert result.info["at_rest"] is True
    with_stages = merge(bracket, model=network, stages=True)
    np.testing.assert_array_equal(with_stages.radiance, expected)
    assert with_stages.stages is not None


@pytest.fixture(scope="module")
def resting(synthesizer):
    """A bracket at rest, the classical merge, and the image of an untrained network with our head."""
    bracket = bracket_of(synthesizer.sample(1, 96, torch.Generator().manual_seed(5), kind="static"))
    torch.manual_seed(0)
    model = AFUNet(replace(COMPACT, embed_dim=12, depths=(1,), fusion_heads=1)).eval()
    with torch.no_grad():
        model.head.conv.bias.fill_(2.0)
    return bracket, model, weighted_merge(bracket)[0].permute(1, 2, 0).numpy()


def test_at_rest_the_shadows_are_the_networks_and_the_rest_the_classics(resting):
    bracket, model, classic = resting
    network = merge(bracket, model=model, method="afunet", align="off").radiance
    result = merge(bracket, model=model)
    assert result.info["at_rest"] is True
    level = bracket.frames[bracket.reference][0].permute(1, 2, 0).numpy()
    dark, bright = level < 0.3, level > 0.6
    assert dark.any()
    assert bright.any()
    np.testing.assert_allclose(result.radiance[dark], network[dark], atol=1e-6)
    np.testing.assert_allclose(result.radiance[bright], classic[bright], atol=1e-6)
    assert np.abs(network - classic)[bright].max() > 0.01


def test_counts_at_rest_are_the_classics(resting):
    bracket, model, classic = resting
    result = merge(bracket, model=model, units="counts")
    np.testing.assert_allclose(result.radiance, classic * bracket.scale, rtol=1e-6)


def test_the_network_decides_when_something_moved(network):
    """A square that moves on a grey wall."""
    frames = []
    for index, time in enumerate((1.0, 4.0, 16.0)):
        radiance = torch.full((1, 3, 160, 160), 0.02)
        radiance[:, :, 20:40, 20 + 12 * index : 40 + 12 * index] = 0.005
        frames.append((radiance * time).clamp(0, 1) ** (1 / 2.2))
    bracket = Bracket(frames, times=(1.0, 4.0, 16.0), encoding="gamma")
    result = merge(bracket, model=network, align="off")
    assert result.info["at_rest"] is False
    np.testing.assert_array_equal(result.radiance, merge(bracket, model=network, align="off", method="afunet").radiance)


@pytest.mark.parametrize("kind", ["camera", "objects", "both"])
@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_motion_is_noticed(synthesizer, kind, seed):
    batch = synthesizer.sample(1, 96, torch.Generator().manual_seed(seed), kind=kind)
    assert not is_at_rest(bracket_of(batch))


def test_one_moving_sample_keeps_the_batch_from_rest():
    still = torch.full((1, 3, 64, 64), 0.02)
    moved = still.clone()
    moved[..., :20, :20] = 0.002
    frames = [torch.cat([still, still]) ** (1 / 2.2), (4 * torch.cat([still, moved])) ** (1 / 2.2)]
    bracket = Bracket(frames, times=(1.0, 4.0), encoding="gamma", override=True)
    assert is_at_rest(bracket, 1)
    assert not is_at_rest(bracket, 2)


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (17, 8)])
def test_any_size(size):
    frames = [torch.full((1, 3, *size), value) for value in (0.1, 0.2, 0.4)]
    assert is_at_rest(Bracket(frames, times=(1.0, 2.0, 4.0), encoding="linear"))
