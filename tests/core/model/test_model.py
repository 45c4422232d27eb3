"""The network: shapes, variants, gradients, padding, and what its heads promise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.model.afunet import AFUNet, pad_to_multiple
from afunet_core.model.config import VARIANTS, AFUNetConfig
from afunet_core.model.heads import anchored_merge, estimate_times, frame_log_precision
from afunet_core.model.streaming.stream import stream
from afunet_core.radiometry import network_input

TINY = AFUNetConfig(
    embed_dim=12, depths=(2, 1), window_size=4, fusion_heads=2, alignment_heads=2, dormant_norm=False, drop_path=0.0
)
TINY_ANCHORED = replace(TINY, downscale=2, head="anchored", mu_input=True, agreement_input=True)


def make_model(config: AFUNetConfig, seed: int = 0) -> AFUNet:
    torch.manual_seed(seed)
    return AFUNet(config).eval()


@pytest.mark.parametrize("config", [TINY, TINY_ANCHORED], ids=["direct", "anchored"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 90), (16, 16), (33, 21)])
def test_any_size_gives_finite_radiance_of_that_size(config, size):
    frames = torch.rand(2, 18, *size)
    radiance, states = make_model(config).forward_stages(frames)
    assert radiance.shape == (2, 3, *size)
    assert torch.isfinite(radiance).all()
    folded = tuple(-(-side // config.downscale) for side in size)
    assert [tuple(part.shape) for state in states for part in state] == [(2, 4, *folded)] * 6


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_variant_is_built_and_differentiable(name):
    variant = VARIANTS[name]
    small = replace(variant, embed_dim=12, depths=(1,) * variant.stages, fusion_heads=2, dormant_norm=False)
    model = make_model(small)
    model(torch.rand(1, 18, 16, 16)).square().mean().backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    # In the last stage of an FA network nothing comes after the alignment, so it cannot learn.
    last = f"stages.{variant.stages - 1}.align_"
    assert [key for key in without if not (variant.order == "FA" and key.startswith(last))] == []


def test_black_frames_have_finite_gradients():
    model = make_model(TINY_ANCHORED)
    frames = torch.zeros(1, 18, 8, 8, requires_grad=True)
    model(frames).sum().backward()
    assert torch.isfinite(frames.grad).all()


@pytest.mark.parametrize("shape", [(18, 8, 8), (1, 17, 8, 8), (1, 18, 0, 8), (1, 18, 8, 0)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ShapeError, match="B×18×H×W"):
        make_model(TINY)(torch.zeros(shape))


def test_times_given_replace_those_estimated_from_the_frames():
    """B5: an augmentation that changes the encoded frames and not the radiance would make the estimate wrong."""
    model, frames = make_model(TINY_ANCHORED), torch.rand(2, 18, 8, 8)
    times = estimate_times(frames)
    assert torch.equal(model(frames, times), model(frames))
    augmented = frames.clone()
    for slot in range(3):
        augmented[:, 6 * slot + 3 : 6 * slot + 6] *= 0.9
    assert not torch.allclose(model(augmented), model(augmented, times), atol=1e-5)
    per_sample = model(frames, torch.tensor([[1.0, 4.0, 16.0], [1.0, 2.0, 4.0]]))
    torch.testing.assert_close(per_sample[:1], model(frames[:1], [1, 4, 16]))
    torch.testing.assert_close(per_sample[1:], model(frames[1:], [1.0, 2.0, 4.0]))
    torch.testing.assert_close(stream(model, frames, times=[1, 4, 16]), model(frames, [1, 4, 16]), rtol=0, atol=2e-5)


@pytest.mark.parametrize("times", [[-2.0, 0.0, 2.0], torch.tensor([1.0, 4.0, math.inf]), [1.0, 4.0], "124", None])
def test_times_that_no_shutter_has_are_refused(times):
    frames = [torch.rand(1, 3, 8, 8) for _ in range(3)]
    with pytest.raises(ArgumentError, match="times"):
        network_input(frames, times)
    if times is not None:
        with pytest.raises(ArgumentError, match="times"):
            make_model(TINY_ANCHORED)(torch.rand(1, 18, 8, 8), times)


@pytest.mark.parametrize(
    ("change", "name"),
    [({"embed_dim": 10}, "embed_dim"), ({"depths": ()}, "depths"), ({"window_size": 7}, "window_size"),
     ({"fusion_heads": 5}, "fusion_heads"), ({"order": "AA"}, "order"), ({"head": "none"}, "head"),
     ({"drop_path": 1.0}, "drop_path"), ({"downscale": 0}, "downscale"), ({"mlp_ratio": 0}, "mlp_ratio")],
)  # fmt: skip
def test_impossible_configurations_are_named(change, name):
    with pytest.raises(ArgumentError, match=name):
        AFUNetConfig(**change)


def test_padding_reflects_where_it_can_and_repeats_where_it_cannot():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    padded = pad_to_multiple(image, 4)
    assert torch.equal(padded[0, 0, 3], image[0, 0, 1])
    single = pad_to_multiple(torch.full((1, 1, 1, 1), 3.0), 8)
    assert torch.equal(single, torch.full((1, 1, 8, 8), 3.0))


class TestAnchoredHead:
    def bracket(self, radiance: torch.Tensor, times=(1.0, 4.0, 16.0)) -> torch.Tensor:
        frames = [(radiance * t).clamp(0, 1) ** (1 / 2.2) for t in times]
        return network_input(frames, torch.tensor(times))

    def test_times_are_read_from_the_frames(self):
        frames = self.bracket(torch.rand(2, 3, 8, 8) * 0.05)
        torch.testing.assert_close(estimate_times(frames), torch.tensor([[1.0, 4, 16]]).expand(2, 3), rtol=1e-3, atol=0)

    def test_agreeing_frames_are_returned_whatever_the_trust(self):
        """All sources equal: any weights give the same radiance."""
        radiance = torch.rand(1, 3, 8, 8) * 0.9 + 0.05
        frames = self.bracket(radiance)
        trust = torch.randn(1, 4, 8, 8)
        merged = anchored_merge(frames, estimate_times(frames), radiance, trust)
        torch.testing.assert_close(merged, radiance, atol=2e-3, rtol=1e-3)

    def test_longer_exposures_weigh_more_and_only_the_shortest_where_the_others_clip(self):
        for level, expected in ((0.2, torch.tensor([1.0, 4.0, 16.0]) / 21), (1.0, torch.tensor([1.0, 0, 0]))):
            precision = frame_log_precision(torch.full((1, 3, 3, 1, 1), level), torch.tensor([[1.0, 4.0, 16.0]]))
            torch.testing.assert_close(precision.softmax(1)[0, :, 0, 0, 0], expected, rtol=1e-5, atol=1e-4)

    def test_a_trusted_prior_wins(self):
        prior = torch.rand(1, 3, 4, 4)
        trust = torch.full((1, 4, 4, 4), -40.0)
        trust[:, 3] = 40
        frames = self.bracket(torch.rand(1, 3, 4, 4))
        merged = anchored_merge(frames, estimate_times(frames), prior, trust)
        torch.testing.assert_close(merged, prior, atol=2e-3, rtol=0)

    def test_no_trust_is_final(self):
        """However small a trust has become, a gradient can still raise it."""
        frames = self.bracket(torch.rand(1, 3, 4, 4) * 0.05)
        trust = torch.zeros(1, 4, 4, 4)
        trust[:, 2] = -30
        trust.requires_grad_()
        anchored_merge(frames, estimate_times(frames), torch.rand(1, 3, 4, 4), trust)[:, 0].sum().backward()
        assert (trust.grad[:, 2].abs() > 1e-9).all()


def test_stochastic_depth_only_acts_in_training():
    config = replace(TINY, drop_path=0.9)
    frames = torch.rand(1, 18, 8, 8)
    model = make_model(config)
    plain = make_model(TINY)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(frames), plain(frames))
    model.train()
    torch.manual_seed(3)
    assert not torch.equal(model(frames), plain(frames))
