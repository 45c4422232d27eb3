"""Let the modules of a network use the kernels."""

from __future__ import annotations

import ctypes
from functools import partial

import torch
from torch import Tensor, nn

from afunet_core.model.alignment import SpatialAlignment
from afunet_core.model.attention import WindowCrossAttention, WindowSelfAttention
from afunet_core.model.fusion import SwinBlock
from afunet_core.model.layers import DropPath
from afunet_core.native.build import library
from afunet_core.native.functions import align_windows, swin_block

__all__ = ["accelerate"]

WINDOW = 8
NARROWEST, LARGEST_HEAD = 16, 32


def accelerate(model: nn.Module) -> bool:
    """Let a network on the CPU compute its windows with the compiled kernels, in bfloat16 with float32 sums.

    The kernels are for windows of 8×8, as published. They leave no trace in the parameters, so that optimiser,
    checkpoints and averages work as before; results agree with the modules under bfloat16 autocast within rounding.

    Args:
        model: a network, or a part of one, changed in place. Parts with parameters of another type than float32, or
            on another device than the CPU, are left as they are; later on they must not be moved.

    Returns:
        Whether any module uses them: False without a C++ compiler, or for sizes they are not made for.

    Example:
        >>> from afunet_core.model.afunet import AFUNet, AFUNetConfig
        >>> accelerate(AFUNet(AFUNetConfig(embed_dim=12, depths=(1,), fusion_heads=1)))  # branches of 4 channels
        False
    """
    modules = [module for module in model.modules() if _suitable(module)]
    kernels = library() if modules else None
    if kernels is None:
        return False
    for module in modules:
        if isinstance(module, SwinBlock):
            module.kernel = partial(_swin, kernels, module)
        elif isinstance(module, SpatialAlignment):
            module.kernel = partial(_align, kernels, module)
    return True


def _suitable(module: nn.Module) -> bool:
    if not isinstance(module, SwinBlock | SpatialAlignment):
        return False
    attention = module.attention
    if any(p.dtype != torch.float32 or p.device.type != "cpu" for p in module.parameters()):
        return False
    channels = attention.project.out_features
    size = channels // attention.heads
    return module.window == WINDOW and channels >= NARROWEST and size % 2 == 0 and size <= LARGEST_HEAD


def _swin(kernels: ctypes.CDLL, block: SwinBlock, features: Tensor) -> Tensor:
    attention: WindowSelfAttention = block.attention
    layers = (block.norm1, attention.qkv, attention.project, block.norm2, block.mlp.fc1, block.mlp.fc2)
    norm1, qkv, project, norm2, fc1, fc2 = ([layer.weight, layer.bias] for layer in layers)
    parameters = [*norm1, *qkv, attention.position_bias, *project, *norm2, *fc1, *fc2]
    kept = torch.stack([_kept(block.drop_path, features.shape[0]) for _ in range(2)])
    return swin_block(kernels, features.float(), parameters, attention.heads, block.shift, kept)


def _align(kernels: ctypes.CDLL, alignment: SpatialAlignment, side: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    attention: WindowCrossAttention = alignment.attention
    layers = (alignment.degrade.fc1, alignment.degrade.fc2, attention.query, attention.key_value, attention.project)
    fc1, fc2, query, key_value, project = ([layer.weight, layer.bias] for layer in layers)
    parameters = [*fc1, *fc2, *query, *key_value, attention.position_bias, *project]
    kept = _kept(alignment.drop_path, side.shape[0])
    return align_windows(kernels, side.float(), estimate.float(), parameters, attention.heads, kept)


def _kept(drop_path: DropPath, batch: int) -> Tensor:
    factors = drop_path.draw(batch, torch.device("cpu"))
    return torch.ones(batch) if factors is None else factors
