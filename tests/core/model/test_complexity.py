"""The cost formula against the operations torch executes, and against the paper."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from afunet_core import AFUNet, AFUNetConfig
from afunet_core.model.complexity import PUBLISHED_GFLOP, PUBLISHED_PARAMETERS, complexity, count_flops
from afunet_core.model.config import COMPACT, VARIANTS

SMALL = AFUNetConfig(embed_dim=36, depths=(1, 2), fusion_heads=3)
CHANGES: list[dict[str, Any]] = [
    {},
    {"alignment": False},
    {"channel_fusion": False},
    {"data_consistency": False},
    {"order": "FA"},
    {"downscale": 2, "head": "anchored", "mu_input": True},
    {"window_size": 4, "channel_heads": 3, "mlp_ratio": 1.5},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("size", [(16, 16), (21, 27)])
def test_the_formula_counts_what_torch_executes(change: dict[str, Any], size: tuple[int, int]) -> None:
    config = replace(SMALL, **change)
    model = AFUNet(config).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 18, *size))
    assert count_flops(config, *size, folded=True) == counter.get_total_flops()


def test_the_compact_model_as_shipped() -> None:
    model = AFUNet(COMPACT).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 18, 32, 32))
    assert count_flops(COMPACT, 32, 32, folded=True) == counter.get_total_flops()


def test_the_published_figures() -> None:
    cost = complexity(AFUNetConfig(), 128, 128)
    assert cost.parameters == PUBLISHED_PARAMETERS
    assert round(cost.flops / 1e9, 1) == PUBLISHED_GFLOP


def test_parts_cost_something() -> None:
    costs = {name: complexity(config) for name, config in VARIANTS.items()}
    for part in ("M2", "M3", "M4"):
        assert costs["M1"].flops < costs[part].flops < costs["published"].flops
        assert costs["M1"].parameters < costs[part].parameters < costs["published"].parameters
    assert 5 * complexity(COMPACT).flops < costs["published"].flops
    stages = [costs[f"stages-{count}"].flops for count in range(2, 7)]
    assert stages == sorted(stages)
    assert len({after - before for before, after in pairwise(stages)}) == 1


def test_padding_is_counted() -> None:
    assert count_flops(SMALL, 9, 9) == count_flops(SMALL, 16, 16) == 4 * count_flops(SMALL, 8, 8)
