"""Parameters and floating-point operations of a configuration, by formula.

Counts the matrix products and convolutions, two operations a multiply-add, as papers do; leaves out norms,
activations and softmaxes, a few percent.
"""

from __future__ import annotations

from typing import NamedTuple

from afunet_core.model.config import AFUNetConfig

PUBLISHED_PARAMETERS = 1_162_035  # parameters of the published configuration [paper, Table 1]
PUBLISHED_GFLOP = 43.7  # operations reported by the paper for 128×128, at two operations a multiply-add


class Complexity(NamedTuple):
    """Size and cost of a configuration: parameters, and operations for one image."""

    parameters: int
    flops: int


def complexity(config: AFUNetConfig, height: int = 128, width: int = 128) -> Complexity:
    """Count parameters, and operations for a bracket of ``height × width`` pixels.

    Example:
        >>> complexity(AFUNetConfig()).parameters
        1162035
    """
    return Complexity(count_parameters(config), count_flops(config, height, width))


def count_parameters(config: AFUNetConfig) -> int:
    """Count learned numbers, with the norm that published checkpoints carry but never use."""
    from afunet_core.model.afunet import AFUNet

    return sum(parameter.numel() for parameter in AFUNet(config).parameters())


def count_flops(config: AFUNetConfig, height: int, width: int, folded: bool = False) -> int:
    """Count operations for one bracket of ``height × width`` pixels; what padding adds is counted.

    ``folded`` counts the channel attention as this package computes it (value, attention and projection as one matrix
    for the whole image) instead of as the paper writes it.
    """
    fold, dim = config.downscale, config.branch_dim
    rows, columns = (-(-size // config.multiple) * config.multiple // fold for size in (height, width))
    pixels = rows * columns
    maps = {"direct": 3, "anchored": 7}[config.head] * fold**2
    embedding = 3 * 9 * config.embedding_inputs * dim
    decoding = 9 * dim * dim + 9 * dim * maps
    per_image = 0
    stages = 0
    for depth in config.depths:
        products, once = _stage(config, depth, folded)
        stages, per_image = stages + products, per_image + once
    return 2 * ((embedding + stages + decoding) * pixels + per_image)


def _stage(config: AFUNetConfig, depth: int, folded: bool) -> tuple[int, int]:
    """Count multiply-adds of one stage: for each pixel, and once for the image."""
    dim, joined, tokens = config.branch_dim, config.embed_dim, config.window_size**2
    hidden, joined_hidden = int(dim * config.mlp_ratio), int(joined * config.mlp_ratio)
    mlp = 2 * dim * hidden
    block = 4 * joined**2 + 2 * tokens * joined + 2 * joined * joined_hidden
    products = depth * block + 9 * joined**2  # spatial fusion
    products += 3 * dim * hidden + hidden * dim  # update
    once = 0
    if config.alignment:
        products += 2 * (mlp + 4 * dim**2 + 2 * tokens * dim + 9 * dim)
    if config.channel_fusion:
        per_head = dim // config.channel_heads
        gram = 2 * dim**2 + per_head * dim
        apply = dim**2 if folded else 2 * dim**2 + per_head * dim
        products += 2 * (gram + apply + 9 * dim)
        once += 2 * (per_head * dim**2 + dim**3) if folded else 0
    if config.data_consistency:
        products += 2 * mlp
    return products, once
