"""The kernels as differentiable functions of float32 features ``B×H×W×C``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["align_windows", "swin_block"]


def swin_block(
    kernels: ctypes.CDLL, features: Tensor, parameters: Sequence[Tensor], heads: int, shift: int, kept: Tensor
) -> Tensor:
    """A Swin block (:class:`afunet_core.model.fusion.SwinBlock`) with windows of 8×8.

    Args:
        kernels: what :func:`afunet_core.native.build.library` returns.
        features: ``B×H×W×C``, height and width multiples of 8, C from 16 on.
        parameters: gain and offset of the first norm, weight and bias of the joint projection, position table,
            weight and bias of the output projection, second norm, and both layers of the MLP.
        heads: of attention; C / heads is even and at most 32.
        shift: of the windows.
        kept: ``2×B`` factors of the two residuals, drawn by stochastic depth; 1 without it.
    """
    batch, height, width, channels = features.shape
    shape = (batch, height, width, shift, channels, parameters[9].shape[0], heads, torch.get_num_threads())
    return _SwinBlock.apply(kernels, shape, kept, features, *parameters)


def align_windows(
    kernels: ctypes.CDLL, side: Tensor, estimate: Tensor, parameters: Sequence[Tensor], heads: int, kept: Tensor
) -> tuple[Tensor, Tensor]:
    """:meth:`afunet_core.model.alignment.SpatialAlignment.attend` with windows of 8×8: ``d`` and ``r``.

    Args:
        kernels, heads: as for :func:`swin_block`.
        side, estimate: ``B×H×W×C`` each.
        parameters: both layers of the MLP, weight and bias each, then of the query, of key and value together, the
            position table, and weight and bias of the output projection.
        kept: a factor for each sample, drawn by stochastic depth; 1 without it.
    """
    batch, height, width, channels = side.shape
    shape = (batch, height, width, channels, parameters[0].shape[0], heads, torch.get_num_threads())
    return _AlignWindows.apply(kernels, shape, kept, side, estimate, *parameters)


class _SwinBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: ctypes.CDLL, shape: tuple[int, ...], kept: Tensor, features: Tensor, *parameters: Tensor
    ) -> Tensor:
        features, kept = features.contiguous(), kept.float().contiguous()
        result = torch.empty_like(features)
        pictures = map(_address, (kept, features, result))
        kernels.afunet_swin_forward(_integers(shape), _addresses(parameters), *pictures)
        ctx.save_for_backward(kept, features, *parameters)
        ctx.kernels, ctx.shape = kernels, shape
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        kept, features, *parameters = ctx.saved_tensors
        leaving, sums = torch.empty_like(features), [torch.zeros_like(parameter) for parameter in parameters]
        pictures = map(_address, (kept, features, gradient := gradient.contiguous(), leaving))
        ctx.kernels.afunet_swin_backward(_integers(ctx.shape), _addresses(parameters), *pictures, _addresses(sums))
        return None, None, None, leaving, *sums


class _AlignWindows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernels: ctypes.CDLL,
        shape: tuple[int, ...],
        kept: Tensor,
        side: Tensor,
        estimate: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        kept, side, estimate = kept.float().contiguous(), side.contiguous(), estimate.contiguous()
        degraded, result = torch.empty_like(side), torch.empty_like(side)
        pictures = map(_address, (kept, side, estimate, degraded, result))
        kernels.afunet_align_forward(_integers(shape), _addresses(parameters), *pictures)
        ctx.save_for_backward(kept, side, estimate, *parameters)
        ctx.kernels, ctx.shape = kernels, shape
        return degraded, result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_degraded: Tensor, of_result: Tensor) -> tuple[Any, ...]:
        kept, side, estimate, *parameters = ctx.saved_tensors
        arriving = [of_degraded.contiguous(), of_result.contiguous()]
        leaving, sums = [torch.empty_like(side) for _ in range(2)], [torch.zeros_like(p) for p in parameters]
        pictures = map(_address, (kept, side, estimate, *arriving, *leaving))
        ctx.kernels.afunet_align_backward(_integers(ctx.shape), _addresses(parameters), *pictures, _addresses(sums))
        return None, None, None, *leaving, *sums


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


def _integers(values: tuple[int, ...]) -> ctypes.Array[ctypes.c_int]:
    return (ctypes.c_int * len(values))(*values)
