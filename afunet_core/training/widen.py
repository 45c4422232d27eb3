"""Widening of a trained network: the wider one starts out as nearly the same function.

Old channels, hidden units and heads keep their weights at their new places. New channels of the features start at zero,
and the layers that read them stay as they were drawn, so that a gradient reaches the layers that write them at once.
New hidden units and heads are drawn, and the layers that read them start at zero there.

Three places take all channels together, and need more:

* The norm of the embedding. New channels in front of it are mixtures of the old ones, with the same mean and nearly the
  same variance; behind it they are zero. (With zeros in front of it, the shipped ``full`` lost 0.3 dB.)
* The norms of the blocks. With zeros among them, the channels have ``r = C_old / C_new`` of their mean and nearly ``r``
  of their variance. The scale corrects the variance. For the mean, new channels leave the norm as minus what it
  subtracted, and the layers behind it read them as that. What remains is of second order: the variance is larger by
  ``r·(1 − r)·mean²``.
* Channel attention, where its heads get larger: the softmax has more keys to share between. The layer behind it makes
  up for their number, as if all keys were alike. With more heads of the same size instead, nothing changes.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from afunet_core.model.afunet import AFUNet, Embedding
from afunet_core.model.attention import ChannelCrossAttention, WindowCrossAttention, WindowSelfAttention
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.layers import MLP
from afunet_core.model.stages import ChannelFusion, DataConsistency, SpatialAlignment, SpatialFusion, Stage, SwinBlock

__all__ = ["widen"]

WindowAttention = WindowSelfAttention | WindowCrossAttention
Attention = WindowAttention | ChannelCrossAttention


@torch.no_grad()
def widen(model: AFUNet, config: AFUNetConfig) -> AFUNet:
    """Make a wider network that computes nearly what ``model`` does.

    :func:`afunet_core.training.deepen.grow` deepens too.

    Args:
        model: the trained network.
        config: more channels, at least as many heads of at least the same sizes, otherwise the same.

    Returns:
        A new network; ``model`` is left alone.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> narrow = AFUNet(AFUNetConfig(embed_dim=12, depths=(1,), fusion_heads=1)).eval()
        >>> wide = widen(narrow, AFUNetConfig(embed_dim=24, depths=(1,), fusion_heads=2)).eval()
        >>> frames = torch.rand(1, 18, 16, 16)
        >>> bool((wide(frames) - narrow(frames)).abs().mean() < 0.01)
        True
    """
    narrow, wide = AFUNet(model.config), AFUNet(config)
    narrow.load_state_dict(model.state_dict())  # whatever device and precision
    _Widening(narrow, wide).network()
    return wide.to(next(model.parameters()))


class _Widening:
    """Carries the weights of one network over to a wider one, part by part."""

    def __init__(self, old: AFUNet, new: AFUNet) -> None:
        self.old, self.new = old, new
        self.narrow, self.wide = old.config.branch_dim, new.config.branch_dim

    def channels(self, size: int) -> Tensor:
        """Return the places of the channels of one branch, or of the three together."""
        return places(self.narrow, self.wide, parts=size // self.narrow)

    def network(self) -> None:
        old, new = self.old, self.new
        self.embedding(old.embed, new.embed)
        for ours, theirs in zip(old.stages, new.stages, strict=True):
            self.stage(cast(Stage, ours), cast(Stage, theirs))
        branch = self.channels(self.narrow)
        # The skip takes the embedding before its norm, where new channels are not zero.
        place_layer(old.skip, new.skip, branch, branch, silent_rows=True, silent_columns=True)
        place_layer(old.head.conv, new.head.conv, torch.arange(old.head.conv.out_channels), branch)

    def embedding(self, old: Embedding, new: Embedding) -> None:
        branch, added = self.channels(self.narrow), self.wide - self.narrow
        for ours, theirs in ((old.under, new.under), (old.reference, new.reference), (old.over, new.over)):
            place_layer(ours, theirs, branch, torch.arange(ours.in_channels))
            mixed = mixtures(flat_response(ours, self.old.config), added)
            theirs.weight[self.narrow :] = (mixed @ ours.weight.flatten(1)).reshape(-1, *ours.weight.shape[1:])
            cast(Tensor, theirs.bias)[self.narrow :] = mixed @ cast(Tensor, ours.bias)
        only_mean = added == 1 and self.narrow > 1
        self.norm(old.norm, new.norm, math.sqrt(self.narrow / self.wide) if only_mean else 1.0)
        new.norm.weight[other_places(self.channels(3 * self.narrow), 3 * self.wide)] = 0.0
        if self.old.config.dormant_norm:
            self.norm(old.dormant_norm, new.dormant_norm, 1.0)

    def stage(self, old: Stage, new: Stage) -> None:
        for name in ("align_under", "align_over", "fuse_under", "fuse_over", "consistency"):
            ours, theirs = getattr(old, name), getattr(new, name)
            if isinstance(ours, SpatialAlignment):
                self.mlp(ours.degrade, theirs.degrade)
                self.cross_attention(ours.attention, theirs.attention)
                self.depthwise(ours.refine, theirs.refine)
            elif isinstance(ours, ChannelFusion):
                self.channel_attention(ours.attention, theirs.attention)
                self.depthwise(ours.refine, theirs.refine)
            elif isinstance(ours, DataConsistency):
                self.mlp(ours.transpose, theirs.transpose)
                self.mlp(ours.inverse, theirs.inverse)
                theirs.beta_under.copy_(ours.beta_under)
                theirs.beta_over.copy_(ours.beta_over)
        self.spatial_fusion(old.fuse, new.fuse)
        self.mlp(old.update, new.update)

    def spatial_fusion(self, old: SpatialFusion, new: SpatialFusion) -> None:
        for ours, theirs in zip(old.blocks, new.blocks, strict=True):
            self.block(cast(SwinBlock, ours), cast(SwinBlock, theirs))
        joined = self.channels(old.conv.in_channels)
        place_layer(old.conv, new.conv, joined, joined, silent_rows=True)

    def block(self, old: SwinBlock, new: SwinBlock) -> None:
        scale = math.sqrt(self.narrow / self.wide)
        self.norm(old.norm1, new.norm1, scale)
        self.self_attention(old.attention, new.attention)
        self.behind_norm(old.norm1, new.attention.qkv, part_places(old.attention, new.attention, 3))
        self.norm(old.norm2, new.norm2, scale)
        self.mlp(old.mlp, new.mlp)
        self.behind_norm(old.norm2, new.mlp.fc1, torch.arange(old.mlp.fc1.out_features))

    def norm(self, old: nn.LayerNorm, new: nn.LayerNorm, scale: float) -> None:
        channels = self.channels(len(old.weight))
        new.weight[channels] = old.weight
        new.weight.mul_(scale)
        new.bias[channels] = old.bias

    def behind_norm(self, norm: nn.LayerNorm, layer: nn.Linear, rows: Tensor) -> None:
        """Read the new channels of a norm, which are all minus the mean taken off, as what is left of the mean."""
        columns = self.channels(len(norm.weight))
        weight, fresh = layer.weight[rows], other_places(columns, layer.in_features)
        drawn, left = weight[:, fresh], (weight[:, columns] * norm.weight).mean(1, keepdim=True)
        layer.weight[rows[:, None], fresh] = drawn - drawn.mean(1, keepdim=True) + left

    def mlp(self, old: MLP, new: MLP) -> None:
        inputs, outputs = self.channels(old.fc1.in_features), self.channels(old.fc2.out_features)
        hidden = torch.arange(old.fc1.out_features)
        place_layer(old.fc1, new.fc1, hidden, inputs)
        place_layer(old.fc2, new.fc2, outputs, hidden, silent_rows=True, silent_columns=True)

    def depthwise(self, old: nn.Conv2d, new: nn.Conv2d) -> None:
        place_layer(old, new, self.channels(self.narrow), torch.arange(1), silent_rows=True)

    def self_attention(self, old: WindowSelfAttention, new: WindowSelfAttention) -> None:
        place_layer(old.qkv, new.qkv, part_places(old, new, 3), self.channels(old.qkv.in_features))
        self.window_attention(old, new, new.qkv, new.qkv, first_key=new.qkv.in_features)

    def cross_attention(self, old: WindowCrossAttention, new: WindowCrossAttention) -> None:
        branch = self.channels(self.narrow)
        place_layer(old.query, new.query, part_places(old, new, 1), branch)
        place_layer(old.key_value, new.key_value, part_places(old, new, 2), branch)
        self.window_attention(old, new, new.query, new.key_value, first_key=0)

    def window_attention(
        self, old: WindowAttention, new: WindowAttention, query: nn.Linear, key: nn.Linear, first_key: int
    ) -> None:
        """Widen what both kinds share; queries are the first outputs of their layer, keys begin at ``first_key``."""
        heads = part_places(old, new, 1)
        query.weight[heads] *= old.scale / new.scale  # larger heads scale their logits down
        query.bias[heads] *= old.scale / new.scale
        key.weight[first_key + new_dimensions(old, new)] = 0.0  # drawn queries meet zeros: the logits stay
        key.bias[first_key + new_dimensions(old, new)] = 0.0
        new.position_bias[:, : old.heads] = old.position_bias
        channels = self.channels(old.project.in_features)
        place_layer(old.project, new.project, channels, heads, silent_rows=True, silent_columns=True)

    def channel_attention(self, old: ChannelCrossAttention, new: ChannelCrossAttention) -> None:
        heads, branch = part_places(old, new, 1), self.channels(self.narrow)
        for name in ("query", "key", "value"):
            place_layer(getattr(old, name), getattr(new, name), heads, branch)
        # Zero keys would not do, logits are cosines: the keys stay drawn, and their values are zero.
        new.value.weight[new_dimensions(old, new)] = 0.0
        place_layer(old.project, new.project, branch, heads, silent_rows=True, silent_columns=True)
        new.project.weight *= head_size(new) / head_size(old)
        new.temperature[: old.heads] = old.temperature


def places(old: int, new: int, parts: int = 1) -> Tensor:
    """Return where entries of an axis of ``parts`` parts of ``old`` go when each part grows to ``new`` entries.

    Example:
        >>> places(2, 3, parts=3).tolist()
        [0, 1, 3, 4, 6, 7]
    """
    return (torch.arange(parts)[:, None] * new + torch.arange(old)).flatten()


def other_places(taken: Tensor, size: int) -> Tensor:
    """Return the places of an axis of ``size`` that are not taken.

    Example:
        >>> other_places(places(2, 3, parts=2), 6).tolist()
        [2, 5]
    """
    free = torch.ones(size, dtype=torch.bool)
    free[taken] = False
    return free.nonzero().flatten()


def head_size(attention: Attention) -> int:
    """Return the dimensions of one head."""
    return attention.project.in_features // attention.heads


def part_places(old: Attention, new: Attention, parts: int) -> Tensor:
    """Return the places of the old heads in a layer for ``parts`` of query, key and value; new heads stand last.

    Example:
        >>> part_places(WindowCrossAttention(2, 1, 2), WindowCrossAttention(6, 2, 2), parts=2).tolist()
        [0, 1, 6, 7]
    """
    heads = places(head_size(old), head_size(new), old.heads)
    return torch.cat([heads + part * new.project.in_features for part in range(parts)])


def new_dimensions(old: Attention, new: Attention) -> Tensor:
    """Return the dimensions that the old heads have grown by.

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
    """Compute the response of an embedding to a flat area: ``channels×(colours + agreement maps + 1)``, bias last.

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
    """Mix channels so that, put beside them, the mixtures keep their mean and (nearly) their variance.

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
    share = float(power[:kept].sum() / power.sum())
    # At right angles to each other and to "all alike"; which ones does not matter.
    drawn = torch.cat([response.new_ones(count, 1), torch.randn(count, kept).to(response)], dim=1)
    spread = torch.linalg.qr(drawn)[0][:, 1:]
    return mean + math.sqrt(count / channels / share) * spread @ directions[:, :kept].T
