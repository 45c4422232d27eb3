"""Growing a trained network: the same image at first, or nearly, and every new part can learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from afunet_core.errors import ArgumentError
from afunet_core.model.afunet import AFUNet
from afunet_core.model.attention import shift_mask
from afunet_core.model.config import COMPACT, AFUNetConfig
from afunet_core.training.deepen import grow
from afunet_core.training.widen import mixtures, places

SMALL = AFUNetConfig(embed_dim=12, depths=(1, 2), fusion_heads=1, drop_path=0.0)
SMALL_ANCHORED = replace(COMPACT, embed_dim=12, depths=(1, 2), fusion_heads=1)

WIDER = {"embed_dim": 30, "fusion_heads": 2}
"""Heads of the fusion grow from 12 to 15, the others from 2 to 5."""


@pytest.mark.parametrize("small", [SMALL, SMALL_ANCHORED], ids=["direct", "anchored"])
@pytest.mark.parametrize("depths", [(3, 2), (1, 2, 2), (2, 4, 1, 1)], ids=str)
def test_computes_the_same(drawn, small, depths):
    model, frames = drawn(small), torch.rand(2, 18, 20, 27)
    grown = grow(model, replace(small, depths=depths)).eval()
    assert grown.config.depths == depths
    with torch.no_grad():
        torch.testing.assert_close(grown(frames), model(frames), atol=1e-6, rtol=0)


def test_every_new_part_learns(drawn):
    """Zeroed last layers get a gradient at once, and with one step what is before them does too."""
    model = drawn(SMALL_ANCHORED)
    grown = grow(model, replace(SMALL_ANCHORED, depths=(2, 2, 1)))
    _take_steps(grown, 1)
    new = [name for name, _ in grown.named_parameters() if name not in model.state_dict()]
    assert new
    # The sides of the last stage end in its channel fusion, so nothing new is without a use.
    silent = [name for name, p in grown.named_parameters() if name in new and (p.grad is None or not p.grad.any())]
    assert silent == []


def test_everything_learns_in_a_wider_network(drawn):
    """Every output and every input of every layer, new or old, within two steps."""
    grown = grow(drawn(SMALL_ANCHORED), replace(SMALL_ANCHORED, **WIDER, depths=(2, 2, 1)))
    _take_steps(grown, 2)
    silent = []
    for name, parameter in grown.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if name.endswith(("qkv.bias", "key_value.bias")):
            continue  # a key's bias moves all logits alike: there is nothing to learn for it
        for axis in range(min(gradient.dim(), 2)):
            reached = gradient.transpose(0, axis).reshape(gradient.shape[axis], -1).any(dim=1)
            silent += [(name, axis, int(place)) for place in (~reached).nonzero()]
    assert silent == []


def _take_steps(grown: AFUNet, count: int) -> None:
    """After these, the gradient of one more step is in place."""
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    # Large enough for every distance inside a shifted window.
    frames, target = torch.rand(1, 18, 48, 48), torch.rand(1, 3, 48, 48)
    for step in range(count + 1):
        optimizer.zero_grad()
        (grown(frames) - target).abs().mean().backward()
        if step < count:
            optimizer.step()


@torch.no_grad()
def _difference(narrow, config):
    torch.manual_seed(0)
    frames = torch.rand(2, 18, 20, 27)
    return (grow(narrow, config).eval()(frames) - narrow(frames)).abs().mean()


NARROW = replace(COMPACT, embed_dim=24, depths=(1, 2), fusion_heads=2)
WIDE = replace(NARROW, embed_dim=48, depths=(2, 2, 1), fusion_heads=3, channel_heads=4)
"""Heads of the fusion grow from 12 to 16, of the alignment from 4 to 8; those of the channel fusion stay at 4."""


@pytest.mark.parametrize(
    ("wide", "tolerance"), [(WIDE, 0.002), (replace(WIDE, channel_heads=2), 0.008)], ids=["more heads", "larger heads"]
)
def test_a_wider_network_computes_nearly_the_same(drawn, wide, tolerance):
    """The output varies by 0.2; the next test shows what the tolerance tells apart."""
    assert _difference(drawn(NARROW), wide) < tolerance


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("places", lambda old, new, parts=1: torch.arange(parts * old)),  # branches run together
        ("part_places", lambda old, new, parts: torch.arange(parts * old.project.in_features)),  # query, key, value do
        (
            "part_places",  # heads do
            lambda old, new, parts: places(old.project.in_features, new.project.in_features, parts),
        ),
        ("mixtures", lambda response, count: torch.zeros(count, len(response))),
        ("_Widening.behind_norm", lambda *_: None),
    ],
    ids=["branches", "query-key-value", "heads", "zeros before the first norm", "mean not made up for"],
)
def test_widening_wrongly_would_be_noticed(drawn, monkeypatch, name, wrong):
    monkeypatch.setattr(f"afunet_core.training.widen.{name}", wrong)
    assert _difference(drawn(NARROW), WIDE) > 1.5 * 0.002


def _spread(features, parts=1):
    """Features of a narrow network as a wide one has them: new channels at zero."""
    new = WIDE.branch_dim - NARROW.branch_dim
    return torch.cat([F.pad(part, (0, new)) for part in features.chunk(parts, dim=-1)], dim=-1)


@pytest.mark.parametrize("name", ["align_under", "align_over", "fuse_under", "fuse_over", "consistency"])
@torch.no_grad()
def test_what_is_exact_in_a_wider_network(drawn, name):
    narrow = drawn(NARROW)
    old, new = (getattr(network.stages[1], name) for network in (narrow, grow(narrow, WIDE).eval()))
    features = torch.randn(3 if name == "consistency" else 2, 2, 16, 16, NARROW.branch_dim)
    torch.testing.assert_close(new(*_spread(features)), _spread(old(*features)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("index", [0, 1], ids=["plain", "shifted"])
@torch.no_grad()
def test_blocks_of_a_wider_network_lose_the_variance_of_a_mean_only(drawn, index):
    narrow = drawn(NARROW)
    old = narrow.stages[1].fuse.blocks[index]
    for layer in (old.attention.project, old.mlp.fc2):  # what they add has no mean
        layer.weight -= layer.weight.mean(0)
        layer.bias -= layer.bias.mean()
    new = grow(narrow, WIDE).eval().stages[1].fuse.blocks[index]
    mask = shift_mask(16, 16, 8, 4, torch.device("cpu"), torch.float32) if index else None
    features = torch.randn(2, 16, 16, NARROW.embed_dim)
    features = features - features.mean(-1, keepdim=True)
    # A norm's epsilon does not grow with the variance, hence not 0. Without what makes up for the mean: 0.015 at 0.1.
    for mean, tolerance in ((0.0, 1e-5), (0.1, 2e-3)):
        shifted = features + mean
        difference = new(_spread(shifted, 3), mask) - _spread(old(shifted, mask), 3)
        assert difference.abs().mean() < tolerance


@pytest.mark.parametrize("count", [1, 3, 8, 20])
def test_mixtures_leave_mean_and_variance(count):
    """Of what their directions hold: all of it, from as many mixtures as channels on."""
    response = torch.randn(8, 5)
    both = torch.cat([response, mixtures(response, count) @ response])
    torch.testing.assert_close(both.mean(0), response.mean(0))
    total, before = both.var(0, correction=0).sum(), response.var(0, correction=0).sum()
    torch.testing.assert_close(total, before * (8 / 9 if count == 1 else 1))


@pytest.mark.parametrize("small", [SMALL, replace(SMALL, channel_fusion=False, alignment=False)], ids=["all", "plain"])
@pytest.mark.parametrize("embed_dim", [18, 42], ids=str)
def test_widens_without_optional_parts_and_at_other_ratios(drawn, small, embed_dim):
    assert _difference(drawn(small), replace(small, embed_dim=embed_dim)) < 0.02


@pytest.mark.parametrize("changes", [{"depths": (2, 2)}, WIDER], ids=["deeper", "wider"])
def test_the_original_is_left_alone(drawn, changes):
    model = drawn(SMALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grown = grow(model, replace(SMALL, **changes))
    with torch.no_grad():
        for parameter in grown.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mlp_ratio": 3.0}, "mlp_ratio"),
        ({"depths": (1,)}, "depths"),
        ({"depths": (1, 1, 5)}, "depths"),
        ({"embed_dim": 6}, "embed_dim"),
        ({"alignment_heads": 1}, "alignment_heads"),
        ({"channel_heads": 4}, "channel_heads"),
        ({"embed_dim": 24, "fusion_heads": 4}, "fusion_heads"),
    ],
    ids=str,
)
def test_refuses_what_is_not_growth(drawn, changes, named):
    with pytest.raises(ArgumentError, match=named):
        grow(drawn(SMALL), replace(SMALL, **changes))
