"""Growth of a trained network, deeper and wider (Net2Net)."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import nn

from afunet_core.errors import ArgumentError
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.stages import Stage, SwinBlock
from afunet_core.training.widen import widen

__all__ = ["grow"]

HEADS = ("fusion_heads", "alignment_heads", "channel_heads")
GROWING = ("depths", "embed_dim", *HEADS, "drop_path")
"""Fields that may differ: everything else changes the shape or the meaning of what was learned."""

ADVICE = "A network can grow, not shrink."


def grow(model: AFUNet, config: AFUNetConfig) -> AFUNet:
    """Make a larger network of ``config`` that starts out as ``model``.

    **Deepened**, it computes exactly the same. New blocks stand behind the old ones of their stage, with their last
    layers at zero: they add nothing yet. New stages stand behind the old ones, with an update of zero: they hand the
    estimate on as it is.

    **Widened**, it computes nearly the same: norms and channel attention run over all channels, and new ones cannot be
    hidden from them altogether (:mod:`afunet_core.training.widen` says what is left). From 48 to 72 channels, the
    mean PSNR-μ of the shipped ``full`` over four rendered brackets changed by at most 0.03 dB, a single one by 0.1 dB.

    Training starts where the smaller network stopped, not from noise (Chen, Goodfellow and Shlens, "Net2Net", ICLR
    2016, widen and deepen in the same way).

    Args:
        model: the trained network.
        config: at least as many stages, each of at least as many blocks; at least as many channels
            (``embed_dim``) and heads, no head smaller than it was; otherwise the same.

    Returns:
        A new network; ``model`` is left alone.

    Raises:
        ArgumentError: if ``config`` differs in anything else, or is smaller.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> small = AFUNet(AFUNetConfig(embed_dim=12, depths=(1,), fusion_heads=1)).eval()
        >>> large = grow(small, AFUNetConfig(embed_dim=12, depths=(2, 1), fusion_heads=1)).eval()
        >>> frames = torch.rand(1, 18, 16, 16)
        >>> torch.allclose(small(frames), large(frames), atol=1e-6)
        True
        >>> large = grow(small, AFUNetConfig(embed_dim=24, depths=(2, 1), fusion_heads=2)).eval()
        >>> bool((small(frames) - large(frames)).abs().mean() < 0.01)
        True
    """
    _check_larger(model.config, config)
    if config.embed_dim > model.config.embed_dim:
        model = widen(model, replace(config, depths=model.config.depths))
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
        raise ArgumentError("config.depths", f"at least {old.depths}", new.depths, ADVICE)
    if new.embed_dim < old.embed_dim:
        raise ArgumentError("config.embed_dim", f"at least {old.embed_dim}", new.embed_dim, ADVICE)
    for name in HEADS:
        # All heads, whether of a branch or of the three together, get their size from embed_dim in the same way.
        before, after = getattr(old, name), getattr(new, name)
        smaller = new.embed_dim * before < old.embed_dim * after
        if after < before or smaller:
            expected = f"{before} to {before * new.embed_dim // old.embed_dim}"
            raise ArgumentError(f"config.{name}", expected, after, f"{ADVICE} Nor can one of its heads.")
