"""Parameters and floating-point operations of a configuration, without computing anything.

Counts the matrix products and convolutions, two operations a multiply-add, as papers do; leaves out norms,
activations and softmaxes, a few percent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import AFUNetConfig

PUBLISHED_PARAMETERS = 1_162_035  # parameters of the published configuration [paper, Table 1]
PUBLISHED_GFLOP = 43.7  # operations reported by the paper for 128×128, at two operations a multiply-add


class Complexity(NamedTuple):
    """Size and cost of a configuration: parameters, and operations for one image."""

    parameters: int
    flops: int


def complexity(config: AFUNetConfig, height: int = 128, width: int = 128) -> Complexity:
    """Count parameters, used or not, and operations for a bracket of ``height × width`` pixels."""
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in AFUNet(config).parameters())
    return Complexity(parameters, count_flops(config, height, width))


def count_flops(config: AFUNetConfig, height: int, width: int) -> int:
    """Count operations for one bracket of ``height × width`` pixels; what padding adds is counted.

    The channel attention counts as the paper writes it; here value, attention and projection are one matrix.
    """
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:  # shapes alone
        AFUNet(config).eval()(torch.empty(1, 18, height, width))
    executed = int(counter.get_total_flops())
    if not config.channel_fusion:
        return executed
    rows, columns = (-(-size // config.multiple) * config.window_size for size in (height, width))
    dim, per_head = config.branch_dim, config.branch_dim // config.channel_heads
    more = (dim**2 + per_head * dim) * rows * columns - (per_head * dim**2 + dim**3)
    return executed + 4 * config.stages * more  # two operations a multiply-add, two sides
