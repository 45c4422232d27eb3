"""What widening does to one layer: where old weights go, and what stands in the new places."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from afunet_core.model.attention import ChannelCrossAttention, WindowCrossAttention, WindowSelfAttention
from afunet_core.model.config import AFUNetConfig

__all__ = [
    "flat_response",
    "head_size",
    "mixtures",
    "new_dimensions",
    "other_places",
    "part_places",
    "place_layer",
    "places",
]

WindowAttention = WindowSelfAttention | WindowCrossAttention
Attention = WindowAttention | ChannelCrossAttention


def places(old: int, new: int, parts: int = 1) -> Tensor:
    """Where the entries of an axis of ``parts`` parts of ``old`` go when each part grows to ``new`` entries.

    Example:
        >>> places(2, 3, parts=3).tolist()
        [0, 1, 3, 4, 6, 7]
    """
    return (torch.arange(parts)[:, None] * new + torch.arange(old)).flatten()


def other_places(taken: Tensor, size: int) -> Tensor:
    """The places of an axis of ``size`` that are not taken.

    Example:
        >>> other_places(places(2, 3, parts=2), 6).tolist()
        [2, 5]
    """
    free = torch.ones(size, dtype=torch.bool)
    free[taken] = False
    return free.nonzero().flatten()


def head_size(attention: Attention) -> int:
    """Dimensions of one head."""
    return attention.project.in_features // attention.heads


def part_places(old: Attention, new: Attention, parts: int) -> Tensor:
    """Places of the old heads in a layer for ``parts`` of query, key and value; new heads stand behind the old ones.

    Example:
        >>> part_places(WindowCrossAttention(2, 1, 2), WindowCrossAttention(6, 2, 2), parts=2).tolist()
        [0, 1, 6, 7]
    """
    heads = places(head_size(old), head_size(new), old.heads)
    return torch.cat([heads + part * new.project.in_features for part in range(parts)])


def new_dimensions(old: Attention, new: Attention) -> Tensor:
    """What the old heads have grown by.

    Example:
        >>> new_dimensions(WindowCrossAttention(2, 1, 2), WindowCrossAttention(6, 2, 2)).tolist()
        [2]
    """
    return other_places(part_places(old, new, 1), old.heads * head_size(new))


def place_layer(
    old: nn.Linear | nn.Conv2d,
    new: nn.Linear | nn.Conv2d,
    rows: Tensor,
    columns: Tensor,
    silent_rows: bool = False,
    silent_columns: bool = False,
) -> None:
    """Copy a layer into a larger one.

    Args:
        old, new: the layers; ``new`` as it was drawn.
        rows, columns: places of the old outputs and inputs.
        silent_rows: new outputs are zero instead of drawn.
        silent_columns: new inputs are not looked at yet.
    """
    if silent_rows:
        new.weight[other_places(rows, len(new.weight))] = 0.0
    if silent_columns:
        new.weight[:, other_places(columns, new.weight.shape[1])] = 0.0
    new.weight[rows[:, None], columns] = old.weight
    if old.bias is not None and new.bias is not None:
        if silent_rows:
            new.bias.zero_()
        new.bias[rows] = old.bias


def flat_response(conv: nn.Conv2d, config: AFUNetConfig) -> Tensor:
    """What an embedding answers to an area of one colour: ``channels×(colours + agreement maps + 1)``, bias last.

    Example:
        >>> from afunet_core.model.config import COMPACT
        >>> flat_response(nn.Conv2d(COMPACT.embedding_inputs, 16, 3), COMPACT).shape
        torch.Size([16, 15])
    """
    taps, pixels = conv.weight.sum((2, 3)), config.downscale**2
    folded = (9 if config.mu_input else 6) * pixels
    colours = taps[:, :folded].unflatten(1, (-1, pixels)).sum(-1)
    return torch.cat([colours, taps[:, folded:], cast(Tensor, conv.bias)[:, None]], dim=1)


def mixtures(response: Tensor, count: int) -> Tensor:
    """Mixtures of channels that, put beside the channels, change neither their mean nor (nearly) their variance.

    Each is the mean of the channels, plus directions in which the channels differ that sum to zero over the mixtures.
    There are fewer mixtures than directions, so the directions are those of the strongest responses. A single mixture
    can only be the mean; the variance then shrinks by the number of channels.

    Args:
        response: ``channels×…``, see :func:`flat_response`.
        count: how many mixtures.

    Returns:
        ``count×channels``.

    Example:
        >>> response = torch.rand(6, 4)
        >>> both = torch.cat([response, mixtures(response, 5) @ response])
        >>> variance, before = both.var(0, correction=0), response.var(0, correction=0)
        >>> torch.allclose(both.mean(0), response.mean(0)), torch.allclose(variance, before)
        (True, True)
    """
    channels = len(response)
    mean = response.new_full((count, channels), 1 / channels)
    kept = min(count - 1, channels - 1, response.shape[1])
    if kept < 1:
        return mean
    directions, strength, _ = torch.linalg.svd(response - response.mean(0), full_matrices=False)
    power = strength.square()
    told = float(power[:kept].sum() / power.sum())
    # At right angles to each other and to "all alike"; which ones does not matter.
    drawn = torch.cat([response.new_ones(count, 1), torch.randn(count, kept).to(response)], dim=1)
    spread = torch.linalg.qr(drawn)[0][:, 1:]
    return mean + math.sqrt(count / channels / told) * spread @ directions[:, :kept].T
