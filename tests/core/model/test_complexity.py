"""The cost of a configuration against the paper, and how it grows."""

from __future__ import annotations

from itertools import pairwise

from afunet_core import AFUNetConfig
from afunet_core.model.complexity import PUBLISHED_GFLOP, PUBLISHED_PARAMETERS, complexity, count_flops
from afunet_core.model.config import COMPACT, VARIANTS

SMALL = AFUNetConfig(embed_dim=36, depths=(1, 2), fusion_heads=3)


def test_the_published_figures() -> None:
    cost = complexity(AFUNetConfig(), 128, 128)
    assert cost.parameters == PUBLISHED_PARAMETERS
    assert cost.flops == 43_742_134_272  # by formula, layer for layer
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
