"""A larger network that starts out as a smaller, trained one."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import nn

from afunet_core.errors import ArgumentError
from afunet_core.model.afunet import AFUNet, Stage
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.fusion import SwinBlock

__all__ = ["grow"]

GROWING = ("depths", "drop_path")
"""What may differ: everything else changes the shape or the meaning of what was learned."""


def grow(model: AFUNet, config: AFUNetConfig) -> AFUNet:
    """A network of ``config`` that computes what ``model`` does, and can learn more.

    New blocks stand behind the old ones of their stage, with their last layers at zero: they add nothing yet. New
    stages stand behind the old ones, with an update of zero: they hand the estimate on as it is. Training starts where
    the smaller network stopped, not from noise (Chen, Goodfellow and Shlens, "Net2Net", ICLR 2016, widen and deepen
    in the same way).

    Args:
        model: the trained network.
        config: at least as many stages, each of at least as many blocks; otherwise the same.

    Returns:
        A new network; ``model`` is left alone.

    Raises:
        ArgumentError: if ``config`` differs in anything else, or is smaller.

    Example:
        >>> small = AFUNet(AFUNetConfig(embed_dim=12, depths=(1,), fusion_heads=1)).eval()
        >>> large = grow(small, AFUNetConfig(embed_dim=12, depths=(2, 1), fusion_heads=1)).eval()
        >>> frames = torch.rand(1, 18, 16, 16)
        >>> torch.allclose(small(frames), large(frames), atol=1e-6)
        True
    """
    _check_larger(model.config, config)
    grown = AFUNet(config)
    with torch.no_grad():
        for index, child in enumerate(grown.stages):
            stage = cast(Stage, child)
            if index < model.config.stages:
                for block in list(stage.fuse.blocks)[model.config.depths[index] :]:
                    _silence(cast(SwinBlock, block).attention.project, cast(SwinBlock, block).mlp.fc2)
            else:
                _silence(stage.update.fc2)
                conv, of_estimate = stage.fuse.conv, slice(config.branch_dim, 2 * config.branch_dim)
                assert conv.bias is not None
                conv.weight[of_estimate] = 0.0
                conv.bias[of_estimate] = 0.0
    trained = model.state_dict()
    grown.load_state_dict({**grown.state_dict(), **trained})
    return grown.to(next(model.parameters()))


def _silence(*layers: nn.Linear) -> None:
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def _check_larger(old: AFUNetConfig, new: AFUNetConfig) -> None:
    same = replace(new, **{name: getattr(old, name) for name in GROWING})
    if same != old:
        differing = [name for name in old.to_dict() if getattr(same, name) != getattr(old, name)]
        raise ArgumentError("config", f"a network that differs only in {', '.join(GROWING)}", ", ".join(differing))
    deeper = all(ours >= theirs for ours, theirs in zip(new.depths, old.depths, strict=False))
    if new.stages < old.stages or not deeper:
        raise ArgumentError("config.depths", f"at least {old.depths}", new.depths, "A network can grow, not shrink.")
