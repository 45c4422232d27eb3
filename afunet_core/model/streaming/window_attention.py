"""Attention inside windows, prepared for piecewise execution: no mask, few operations, buffers that keep their place.

A piece of 48 windows takes two milliseconds in some twenty operations. Beside that, what Python and PyTorch do to look
at one buffer as another shape is no trifle, and other threads wait for it: so buffers are laid out in every shape that
is needed once, as *rooms*, and then only filled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.model.attention import _WindowAttention
from afunet_core.model.streaming.folded_layers import Affine, Linear, Numerics, side_by_side, stacked

__all__ = ["WindowKernel", "in_windows", "window_room"]

LOG2_E, LN_2 = math.log2(math.e), math.log(2)


class WindowKernel:
    """Attention inside windows of ``height×width`` pixels, the modules' window or a part of it cut by the border.

    At the border of the image the cyclic shift joins pixels that must not see each other; the module lowers their
    logits by 100. Here such a window is cut into its parts, each with its part of the position bias: what remains of
    attention through a logit of −100 is far below the resolution of the result.

    Args:
        attentions: modules that work side by side, each on channels and heads of its own.
        query, key, value: what makes each of them of what the attention sees, for all modules together.
        numerics: how to compute.
    """

    def __init__(
        self, attentions: Sequence[_WindowAttention], query: Affine, key: Affine, value: Affine, numerics: Numerics
    ) -> None:
        self.heads, self.window = sum(attention.heads for attention in attentions), attentions[0].window
        self.size = query[0].shape[0] // self.heads
        self.numerics = numerics
        # Logits in units of log 2, for exp2: four times as fast as exp on CPUs.
        scale = attentions[0].scale * LOG2_E
        query = query[0] * scale, query[1] * scale
        self.full_bias = torch.cat([attention.bias().detach() for attention in attentions]) * LOG2_E
        self.biases: dict[tuple[int, int], Tensor] = {}
        project = side_by_side([attention.project for attention in attentions])
        self.parts = Linear(*stacked(query, key), numerics.product)
        self.across = numerics.product == torch.bfloat16 and self.parts.fused is not None
        if self.across:
            self._prepare_across(value, project)
        else:
            self.parts = Linear(*stacked(query, key, value), numerics.product)
            self.project = Linear(*project, numerics.product)

    def bias(self, height: int, width: int) -> Tensor:
        """Position bias ``heads×tokens×tokens`` of a window of this size."""
        if (height, width) not in self.biases:
            index = torch.arange(self.window**2, device=self.full_bias.device).reshape(self.window, self.window)
            kept = index[:height, :width].flatten()
            part = self.full_bias[:, kept][..., kept]
            self.biases[height, width] = part.to(self.numerics.product).contiguous()
        return self.biases[height, width]

    def attend(self, seen: Tensor, height: int, width: int) -> Tensor:
        """``(windows·tokens)×inputs`` → ``(windows·tokens)×C``, projected."""
        seen = seen.to(self.numerics.product)
        tokens = height * width
        key = (type(self), "attention", seen.shape, tokens)
        if self.across:
            make = partial(_AcrossRoom, self, seen, tokens)
            return self._attend_across(seen, self.numerics.workspace.arrange(key, make), height, width)
        room = self.numerics.workspace.arrange(key, partial(_Room, self, seen, tokens))
        room.parts.copy_(self.parts(seen).as_strided(*room.joint))
        self.logits(room, height, width)
        direct = seen.device.type == "cpu" and seen.dtype != torch.float16
        total = _exponentiate(room.logits) if direct else None
        if total is None:
            if direct:  # beyond the range of the exponential: start again and subtract the largest logit first
                self.logits(room, height, width)
            torch.softmax(room.logits * LN_2, dim=-1, out=room.logits)
        torch.bmm(room.logits, room.value, out=room.mixed)
        if total is None:
            room.wide.copy_(room.mixed)
        else:
            torch.mul(room.mixed, total.reciprocal_()[..., None], out=room.wide)
        room.merged.copy_(room.gathered)
        return self.project(room.flat)

    def logits(self, room: _QueryKey, height: int, width: int) -> None:
        """Query times key plus position bias, ``windows·heads×tokens×tokens``, in units of log 2."""
        bias = self.bias(height, width)
        if room.logits.device.type == "cpu":  # the product adds in passing what is laid out ready for it
            spread = self.numerics.workspace.repeat((id(self), height, width), bias, room.windows)
            torch.baddbmm(spread, room.query, room.key, out=room.logits)
        else:
            torch.bmm(room.query, room.key, out=room.logits)
            room.logits.view(room.windows, *bias.shape).add_(bias)

    # bfloat16 on CPUs: the values lie across, channels by tokens. Products with 64 columns instead of a few are faster,
    # heads need not be gathered and scattered, and a row of ones among the values sums the weights in passing.

    def _prepare_across(self, value: Affine, project: Affine) -> None:
        """Rows of the value's product, a row of zeros after each head's; the projection with its bias as last row."""
        weight, dtype = value[0], self.numerics.product
        rows = F.pad(weight.unflatten(0, (self.heads, -1)), (0, 0, 0, 1)).flatten(0, 1)
        self.value = rows.detach()[None].to(dtype)
        # The weights of a token sum to one: a bias of the values passes through as it is.
        bias = project[1] + project[0] @ value[1]
        self.out = torch.cat([project[0].T, bias[None]]).detach()[None].to(dtype)

    def _attend_across(self, seen: Tensor, room: _AcrossRoom, height: int, width: int) -> Tensor:
        room.parts.copy_(self.parts(seen).as_strided(*room.joint))
        columns = seen.view(room.windows, height * width, -1).transpose(1, 2)
        torch.bmm(self.value.expand(room.windows, -1, -1), columns, out=room.values)
        room.ones.fill_(1.0)
        self.logits(room, height, width)
        room.logits.exp2_()
        torch.bmm(room.value, room.weights, out=room.mixed)
        if not _in_range(room.total):
            self.logits(room, height, width)
            torch.softmax(room.logits * LN_2, dim=-1, out=room.logits)
            torch.bmm(room.value, room.weights, out=room.mixed)
        torch.div(room.sums, room.total, out=room.means)
        room.last.fill_(1.0)
        return torch.bmm(room.merged, self.out.expand(room.windows, -1, -1)).view(len(seen), -1)


class _QueryKey:
    """Buffers for the first half of attention: ``parts`` takes the product, ``query`` and ``key`` lie in it."""

    def __init__(self, kernel: WindowKernel, seen: Tensor, tokens: int, count: int) -> None:
        heads, size, self.windows = kernel.heads, kernel.size, len(seen) // tokens
        self.dtype, self.device, self.take = seen.dtype, seen.device, kernel.numerics.workspace.take
        self.parts = self.take("parts", (count, self.windows, heads, tokens, size), self.dtype, self.device)
        row = count * heads * size
        #: Shape and strides under which the product, ``tokens×(part, head, channel)``, lies like ``parts``.
        self.joint = self.parts.shape, (heads * size, tokens * row, size, row, 1)
        self.query, self.key = self.parts[0].flatten(0, 1), self.parts[1].flatten(0, 1).transpose(1, 2)
        self.logits = self.take("logits", (self.windows * heads, tokens, tokens), self.dtype, self.device)


class _Room(_QueryKey):
    """All buffers of attention with the values lying as they come."""

    def __init__(self, kernel: WindowKernel, seen: Tensor, tokens: int) -> None:
        super().__init__(kernel, seen, tokens, 3)
        windows, heads, size, feature = self.windows, kernel.heads, kernel.size, kernel.numerics.feature
        self.value = self.parts[2].flatten(0, 1)
        self.mixed = self.take("mixed", (windows * heads, tokens, size), self.dtype, self.device)
        self.wide = self.mixed
        if self.dtype != feature:
            self.wide = self.take("wide", (windows * heads, tokens, size), feature, self.device)
        self.gathered = self.wide.view(windows, heads, tokens, size).transpose(1, 2)
        self.merged = self.take("merged", (windows, tokens, heads, size), feature, self.device)
        self.flat = self.merged.view(windows * tokens, heads * size)


class _AcrossRoom(_QueryKey):
    """All buffers of attention with the values lying across."""

    def __init__(self, kernel: WindowKernel, seen: Tensor, tokens: int) -> None:
        super().__init__(kernel, seen, tokens, 2)
        windows, heads, size = self.windows, kernel.heads, kernel.size
        self.values = self.take("values", (windows, heads * (size + 1), tokens), self.dtype, self.device)
        self.value = self.values.view(windows * heads, size + 1, tokens)
        self.ones = self.value[:, size]
        self.weights = self.logits.transpose(1, 2)
        self.mixed = self.take("mixed", (windows * heads, size + 1, tokens), self.dtype, self.device)
        mixed = self.mixed.view(windows, heads, size + 1, tokens)
        self.sums, self.total = mixed[:, :, :size], mixed[:, :, size:]
        merged = self.take("merged", (windows, heads * size + 1, tokens), self.dtype, self.device)
        self.merged, self.last = merged.transpose(1, 2), merged[:, heads * size]
        self.means = merged[:, : heads * size].unflatten(1, (heads, size))


def _exponentiate(logits: Tensor) -> Tensor | None:
    """``2**logits`` in place and its sums over the last axis, or None if a row overflows or vanishes.

    Without the usual subtraction of the largest logit, which saves a pass. Attention is a ratio: as long as the sum
    is far from both ends of the range of float32 (bfloat16 has the same), nothing is lost.
    """
    total = logits.exp2_().sum(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return total if _in_range(total) else None


def _in_range(total: Tensor) -> bool:
    """Whether sums of exponentials are far from both ends of the range of float32, and numbers at all."""
    low, high = total.aminmax()
    return low.item() > 1e-25 and high.item() < 1e35


class _WindowRoom:
    """The windows of a piece, laid out for products: as rows of tokens, and in the order of the piece."""

    def __init__(self, name: str, shape: tuple[int, ...], window: tuple[int, int], take: partial[Tensor]) -> None:
        rows, columns, dim = shape
        height, width = window
        windows = take(name, (rows * columns // (height * width), height * width, dim))
        self.flat = windows.view(-1, dim)
        self.tiles = windows.view(rows // height, columns // width, height, width, dim).transpose(1, 2)


def window_room(
    name: str, shape: tuple[int, ...], window: tuple[int, int], dtype: torch.dtype, device: torch.device, n: Numerics
) -> _WindowRoom:
    """Room for a piece ``rows×columns×C`` in windows: ``flat`` tokens by channels, ``tiles`` as :func:`in_windows`."""
    take = partial(n.workspace.take, dtype=dtype, device=device)
    return n.workspace.arrange((name, shape, window, dtype), partial(_WindowRoom, name, shape, window, take))


def in_windows(piece: Tensor, height: int, width: int) -> Tensor:
    """``rows×columns×C`` seen as ``down×height×across×width×C``."""
    rows, columns, dim = piece.shape
    return piece.view(rows // height, height, columns // width, width, dim)
