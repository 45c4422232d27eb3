"""The passes of one stage: each walks down the image in strips, and finishes a feature that the next one needs.

1. *alignment*: attention in windows, then the 3×3 refinement one row behind;
2. *fusion*: all Swin blocks and the convolution in one sweep, each as far behind the one before as its shift demands,
   in place in a buffer of a few dozen rows, while the channel sums accumulate;
3. *update*: with the sums complete, channel fusion, data consistency and the new estimate, again one row behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from afunet_core.model.stages import Stage, SwinBlock
from afunet_core.model.streaming.buffers import RowBuffer, Scratch
from afunet_core.model.streaming.folded_layers import (
    FoldedChannelFusion,
    FoldedConsistency,
    FoldedMLP,
    convolution,
    depthwise,
    wide,
)
from afunet_core.model.streaming.threads import Workers
from afunet_core.model.streaming.tiling import Tiling
from afunet_core.model.streaming.window_attention import FoldedAlignment, FoldedSwinBlock


class Features:
    """The features of ``dim`` channels that are kept between passes."""

    def __init__(self, scratch: Scratch, height: int, width: int, dim: int) -> None:
        self.under, self.estimate, self.over = (scratch.store(height, width, dim) for _ in range(3))
        self.side_under, self.residual, self.side_over = (scratch.store(height, width, dim) for _ in range(3))
        self.observed, self.skipped = (scratch.store(height, width, dim) for _ in range(2))
        self.state = (self.under, self.estimate, self.over)
        self.fused = (self.side_under, self.residual, self.side_over)


class FoldedStage:
    """The folded layers of one stage."""

    def __init__(self, stage: Stage, dtype: torch.dtype) -> None:
        self.align: FoldedAlignment | None = None
        if stage.align_under is not None and stage.align_over is not None:
            under, over = stage.align_under, stage.align_over
            self.align = FoldedAlignment(under, over, dtype)
            self.align_refine = depthwise([under.refine, over.refine], wide(dtype))
        self.blocks = [FoldedSwinBlock(cast(SwinBlock, block), dtype) for block in stage.fuse.blocks]
        self.conv = convolution(stage.fuse.conv, dtype)
        self.fuse: list[FoldedChannelFusion] = []
        if stage.fuse_under is not None and stage.fuse_over is not None:
            fusions = [stage.fuse_under, stage.fuse_over]
            self.fuse = [FoldedChannelFusion(fusion, dtype) for fusion in fusions]
            self.fuse_refine = depthwise([fusion.refine for fusion in fusions], wide(dtype))
        self.consistency = None if stage.consistency is None else FoldedConsistency(stage.consistency, dtype)
        self.update = FoldedMLP(stage.update, dtype)


@dataclass
class PassContext:
    """The sizes, dtypes and workers that all passes share."""

    tiling: Tiling  # strips and tiles
    workers: Workers  # run the tiles of a strip
    dtype: torch.dtype  # of features
    device: torch.device  # where tiles are computed
    tick: Callable[[str], None]  # called with the name of the pass after every strip
    counted: Tensor | None = None  # height×width×1, 1.0 where channel statistics are taken; None for everywhere

    def rows(self, channels: int) -> RowBuffer:
        """An empty sliding buffer of whole rows."""
        return RowBuffer(self.tiling.width, channels, self.dtype, self.device)

    def ready(self, available: int) -> int:
        """Rows that a 3×3 kernel can finish when its input is finished down to ``available``."""
        return available if available == self.tiling.height else max(available - 1, 0)


def align(folded: FoldedStage, features: Features, context: PassContext, name: str) -> None:
    """Update α₁ and α₃ by spatial alignment."""
    assert folded.align is not None
    tiling, dim = context.tiling, features.under.channels
    sides, window = (features.under, features.over), tiling.window
    degraded, aligned = context.rows(2 * dim), context.rows(2 * dim)
    written = 0
    for start, stop in tiling.strips:
        under, estimate, over = (store.read(start, stop) for store in features.state)
        d, r = degraded.grow(stop - start), aligned.grow(stop - start)
        for left, right in tiling.columns(start, stop) if tiling.active is not None else []:
            # Beside active windows α₁ and α₃ stay as they are.
            d[:, left:right] = torch.cat((under[:, left:right], over[:, left:right]), -1)
            r[:, left:right] = 0
        tasks = [
            partial(folded.align, under[box], estimate[box], over[box], d[box], r[box])
            for box in tiling.tiles(start, 0, stop - start, tiling.width, window, window)
        ]
        context.workers.run(tasks)
        ready = context.ready(stop)
        out = [store.output(written, ready) for store in sides]

        def refine(left: int, right: int, first: int, last: int, out: list[Tensor]) -> None:
            result = folded.align_refine(aligned.haloed(first, last, tiling.height, left, right))
            result += degraded.rows(first, last)[:, left:right]
            for target, part in zip(out, result.chunk(2, dim=-1), strict=True):
                target[:, left:right] = part

        context.workers.run(partial(refine, *ends, written, ready, out) for ends in tiling.columns(written, ready))
        for store, rows in zip(sides, out, strict=True):
            store.write(written, rows)
        written = ready
        degraded.drop(written)
        aligned.drop(written - 1)
        context.tick(f"{name}: alignment")


def fuse(folded: FoldedStage, features: Features, context: PassContext, name: str) -> None:
    """Compute u_s, r, v_s and the channel statistics from α₁, x, α₃."""
    tiling, dim = context.tiling, features.under.channels
    buffer = context.rows(3 * dim)
    behind = [0] * (len(folded.blocks) + 1)  # rows that each block, and the convolution, has finished
    sums: list[Tensor] = []
    for start, stop in tiling.strips:
        joined, parts = buffer.grow(stop - start), [store.read(start, stop) for store in features.state]

        def join(left: int, right: int, joined: Tensor, parts: list[Tensor]) -> None:
            for index, part in enumerate(parts):
                joined[:, left:right, index * dim : (index + 1) * dim] = part[:, left:right]

        context.workers.run(partial(join, *ends, joined, parts) for ends in tiling.columns(start, stop))
        available = stop
        for index, block in enumerate(folded.blocks):
            ready = tiling.reached(available, block.shift)
            context.workers.run(_block_tiles(block, buffer, tiling, behind[index], ready))
            behind[index] = available = ready
        ready = context.ready(available)
        if ready > behind[-1]:
            _finish_fusion(folded, features, context, buffer, behind[-1], ready, sums)
            behind[-1] = ready
            buffer.drop(ready - 1)
        context.tick(f"{name}: fusion")
    for side, fusion in enumerate(folded.fuse if sums else []):
        fusion.finish(*sums[3 * side : 3 * side + 3])


def _block_tiles(
    block: FoldedSwinBlock, buffer: RowBuffer, tiling: Tiling, start: int, stop: int
) -> list[Callable[[], None]]:
    """The tiles of one block between two rows."""
    tiles: list[Callable[[], None]] = []
    for top, bottom, left, right, height, width in tiling.areas(start, stop, block.shift):
        area = buffer.rows(top, bottom)[:, left:right]
        for box in tiling.tiles(top, left, bottom - top, right - left, height, width):
            tiles.append(partial(block, area[box], height, width))
    return tiles


def _finish_fusion(
    folded: FoldedStage,
    features: Features,
    context: PassContext,
    buffer: RowBuffer,
    start: int,
    stop: int,
    sums: list[Tensor],
) -> None:
    """Convolve rows ``start`` to ``stop`` and add the residual; their channel statistics are added to ``sums``."""
    joined = [store.read(start, stop) for store in features.state]
    out = [store.output(start, stop) for store in features.fused]
    columns, dim = context.tiling.columns(start, stop), features.under.channels
    exact = torch.float32 if context.device.type == "mps" else torch.float64  # of sums over the whole image
    found: list[list[Tensor]] = [[] for _ in columns]

    def convolve(index: int, left: int, right: int) -> None:
        result = folded.conv(buffer.haloed(start, stop, context.tiling.height, left, right))
        for part, before, target in zip(result.chunk(3, dim=-1), joined, out, strict=True):
            torch.add(part, before[:, left:right], out=target[:, left:right])
        counted = None if context.counted is None else context.counted[start:stop, left:right]
        parts = [part[:, left:right] for part in (joined[1], out[0], out[2])]
        estimate, *sides = ((part if counted is None else part * counted).reshape(-1, dim) for part in parts)
        for fusion, side in zip(folded.fuse, sides, strict=False):
            found[index] += [value.to(exact) for value in fusion.statistics(side, estimate)]

    context.workers.run(partial(convolve, index, *ends) for index, ends in enumerate(columns))
    for store, rows in zip(features.fused, out, strict=True):
        store.write(start, rows)
    for part in found:  # always in the same order, whichever worker came first
        sums[:] = [a + b for a, b in zip(sums, part, strict=True)] if sums else part


def update(folded: FoldedStage, features: Features, context: PassContext, name: str) -> None:
    """Compute the new x from u_s, r, v_s and x."""
    tiling, dim = context.tiling, features.under.channels
    buffer = context.rows(2 * dim)
    written = 0
    for start, stop in tiling.strips:
        ready = stop
        if folded.fuse:
            mixed = buffer.grow(stop - start)
            before = features.estimate.read(start, stop)
            sides = [features.side_under.read(start, stop), features.side_over.read(start, stop)]

            def attend(left: int, right: int, mixed: Tensor, before: Tensor, sides: list[Tensor]) -> None:
                estimate = before[:, left:right].reshape(-1, dim)
                for index, (fusion, side) in enumerate(zip(folded.fuse, sides, strict=True)):
                    result = fusion(side[:, left:right].reshape(-1, dim), estimate)
                    mixed[:, left:right, index * dim : (index + 1) * dim] = result.view(mixed.shape[0], -1, dim)

            context.workers.run(partial(attend, *ends, mixed, before, sides) for ends in tiling.columns(start, stop))
            ready = context.ready(stop)
        rows = [store.read(written, ready) for store in (features.estimate, features.observed, *features.fused)]
        out = features.estimate.output(written, ready)

        def finish(left: int, right: int, first: int, last: int, rows: list[Tensor], out: Tensor) -> None:
            estimate, observed, under, residual, over = (part[:, left:right].reshape(-1, dim) for part in rows)
            if folded.fuse:
                refined = folded.fuse_refine(buffer.haloed(first, last, tiling.height, left, right))
                under, over = (part.reshape(-1, dim) for part in refined.chunk(2, dim=-1))
            u, v = under + estimate, over + estimate
            preliminary = estimate if folded.consistency is None else folded.consistency(observed, u, v)
            new = folded.update(torch.cat([u, preliminary, v], dim=-1)) + residual
            out[:, left:right] = new.view(last - first, -1, dim)

        context.workers.run(
            partial(finish, *ends, written, ready, rows, out) for ends in tiling.columns(written, ready)
        )
        features.estimate.write(written, out)
        written = ready
        buffer.drop(written - 1)
        context.tick(f"{name}: update")
