"""Growing a trained network: the same image at first, and every new part can learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from afunet_core.errors import ArgumentError
from afunet_core.model.config import COMPACT, AFUNetConfig
from afunet_core.model.growth import grow

SMALL = AFUNetConfig(embed_dim=12, depths=(1, 2), fusion_heads=1, drop_path=0.0)
SMALL_ANCHORED = replace(COMPACT, embed_dim=12, depths=(1, 2), fusion_heads=1)


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
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    frames, target = torch.rand(1, 18, 16, 16), torch.rand(1, 3, 16, 16)
    for _ in range(2):
        optimizer.zero_grad()
        (grown(frames) - target).abs().mean().backward()
        optimizer.step()
    new = [name for name, _ in grown.named_parameters() if name not in model.state_dict()]
    assert new
    # The sides of the last stage end in its channel fusion, so nothing new is without a use.
    silent = [name for name, p in grown.named_parameters() if name in new and (p.grad is None or not p.grad.any())]
    assert silent == []


def test_the_original_is_left_alone(drawn):
    model = drawn(SMALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    grown = grow(model, replace(SMALL, depths=(2, 2)))
    with torch.no_grad():
        for parameter in grown.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"embed_dim": 24}, "embed_dim"), ({"depths": (1,)}, "depths"), ({"depths": (1, 1, 5)}, "depths")],
    ids=str,
)
def test_refuses_what_is_not_growth(drawn, changes, named):
    with pytest.raises(ArgumentError, match=named):
        grow(drawn(SMALL), replace(SMALL, **changes))
