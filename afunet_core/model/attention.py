"""Attention in windows and across channels, on features that travel as ``B×H×W×C`` (channels last).

Window attention is written as explicit batched products, which on CPUs run faster than fused attention for windows
this small.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from afunet_core.model.layers import contiguous_if_exporting


def split_windows(features: Tensor, window: int) -> Tensor:
    """Cut ``B×H×W×C`` into ``(B·windows)×window²×C``; height and width are multiples of ``window``."""
    b, h, w, c = features.shape
    tiles = features.reshape(b, h // window, window, w // window, window, c)
    return contiguous_if_exporting(tiles.permute(0, 1, 3, 2, 4, 5)).reshape(-1, window * window, c)


def merge_windows(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """Inverse of :func:`split_windows`."""
    c = windows.shape[-1]
    tiles = windows.reshape(-1, height // window, width // window, window, window, c)
    return contiguous_if_exporting(tiles.permute(0, 1, 3, 2, 4, 5)).reshape(-1, height, width, c)


def shift_mask(height: int, width: int, window: int, shift: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Logits of −100, windows×window²×window², between pixels that the cyclic shift brought from opposite borders."""

    def region(size: int) -> Tensor:
        position = torch.arange(size, device=device)
        return (position >= size - window).int() + (position >= size - shift).int()

    label = (region(height)[:, None] * 3 + region(width)[None, :])[None, :, :, None]
    tokens = split_windows(label, window).squeeze(-1)
    different = tokens[:, None, :] != tokens[:, :, None]
    return different.to(dtype) * -100.0


class _WindowAttention(nn.Module):
    """Scaled dot-product attention with a learned relative position bias."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window, self.scale = heads, window, (dim // heads) ** -0.5
        self.position_bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.project = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.position_bias, std=0.02)

    def bias(self) -> Tensor:
        """Position bias as ``heads×tokens×tokens``.

        Its index is made anew: a buffer that no checkpoint holds would be lost by ``to_empty``.
        """
        pixel = torch.arange(self.window, device=self.position_bias.device)
        offset = pixel[:, None] - pixel[None, :] + self.window - 1
        index = (offset[:, None, :, None] * (2 * self.window - 1) + offset[None, :, None, :]).flatten()
        return self.position_bias[index].T.reshape(self.heads, self.window**2, self.window**2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """``windows×tokens×C`` each → the same; ``mask`` is ``windows per image×tokens×tokens``."""
        windows, tokens, dim = query.shape

        def split(x: Tensor) -> Tensor:
            return x.reshape(windows, tokens, self.heads, dim // self.heads).transpose(1, 2)

        logits = (split(query) * self.scale) @ split(key).transpose(-2, -1)
        logits = logits + self.bias().to(logits.dtype)
        if mask is not None:
            per_image = mask.shape[0]
            logits = logits.reshape(-1, per_image, self.heads, tokens, tokens) + mask[:, None]
            logits = logits.reshape(windows, self.heads, tokens, tokens)
        out = logits.softmax(dim=-1) @ split(value)
        return self.project(out.transpose(1, 2).reshape(windows, tokens, dim))


class WindowSelfAttention(_WindowAttention):
    """Self-attention inside windows, with one joint projection for query, key and value."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__(dim, heads, window)
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """``windows×tokens×C`` → the same."""
        query, key, value = self.qkv(windows).chunk(3, dim=-1)
        return self.attend(query, key, value, mask)


class WindowCrossAttention(_WindowAttention):
    """Attention inside windows: query from one feature, key and value from another (Eq. 12)."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__(dim, heads, window)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Both ``windows×tokens×C`` → the same."""
        key, value = self.key_value(context).chunk(2, dim=-1)
        return self.attend(self.query(query), key, value, None)


class ChannelCrossAttention(nn.Module):
    """Channel-to-channel attention whose context is every pixel of the image.

    Query and key enter only through sums over pixels (their Gram matrix and their norms), see :meth:`statistics`; with
    those known, the result is a per-pixel linear map, see :meth:`mixing`. This makes exact streaming possible.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.project = nn.Linear(dim, dim, bias=False)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def statistics(self, source: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over pixels of ``B×…×C`` features: Gram ``B×heads×c×c``, squared norms of query and key ``B×heads×c``.

        Accumulated in float32 at least, whatever the precision of the features.
        """
        batch, dim = source.shape[0], source.shape[-1]
        query, key = self.query(source), self.key(context)
        wide = torch.promote_types(query.dtype, torch.float32)
        with full_precision(source.device):
            shape = batch, -1, self.heads, dim // self.heads
            query, key = (part.reshape(shape).permute(0, 2, 3, 1).to(wide) for part in (query, key))
            return query @ key.transpose(-2, -1), query.square().sum(-1), key.square().sum(-1)

    def mixing(self, statistics: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """One ``B×C×C`` matrix per image from context to output: value, attention and projection in one."""
        gram, query_square, key_square = statistics
        with full_precision(gram.device):
            # Keeps the gradient of the root finite at zero without changing any value that matters.
            tiny = 1e-30 if gram.dtype == torch.float32 else 1e-60
            query_norm, key_norm = ((square + tiny).sqrt().clamp_min(1e-12) for square in (query_square, key_square))
            logits = gram / (query_norm[..., :, None] * key_norm[..., None, :]) * self.temperature
            attention = logits.softmax(dim=-1)
            dim = self.value.weight.shape[0]
            wide = attention.dtype
            value = self.value.weight.to(wide).reshape(self.heads, dim // self.heads, dim)
            # bmm, not @: exported programs must not ask whether there is one sample or more, as broadcasting does.
            value = value.expand(attention.shape[0], -1, -1, -1)
            mixed = torch.bmm(attention.flatten(0, 1), value.flatten(0, 1)).reshape(-1, dim, dim)
            return self.project.weight.to(wide) @ mixed

    def forward(self, source: Tensor, context: Tensor) -> Tensor:
        """``B×H×W×C`` each → the same."""
        batch, h, w, dim = context.shape
        mix = self.mixing(self.statistics(source, context)).to(context.dtype)
        return torch.bmm(context.reshape(batch, h * w, dim), mix.transpose(1, 2)).reshape(batch, h, w, dim)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off, where the device has one (``meta`` has none)."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
