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

from afunet_core.model.afunet import Stage
from afunet_core.model.fusion import SwinBlock
from afunet_core.model.streaming.buffers import RowBuffer, Scratch
from afunet_core.model.streaming.folded_layers import Numerics, PreparedMLP, convolution, depthwise
from afunet_core.model.streaming.kernels import AlignmentKernel, ChannelFusionKernel, ConsistencyKernel, SwinKernel
from afunet_core.model.streaming.threads import Workers
from afunet_core.model.streaming.tiling import Cutting

__all__ = ["Features", "Machinery", "StageKernels", "align", "fuse", "update"]


class Features:
    """The planes that rest between passes.

    Args:
        scratch: where they are kept.
        height, width: of the padded features.
        dim: channels of one branch.
    """

    def __init__(self, scratch: Scratch, height: int, width: int, dim: int) -> None:
        self.under, self.estimate, self.over = (scratch.plane(height, width, dim) for _ in range(3))
        self.side_under, self.residual, self.side_over = (scratch.plane(height, width, dim) for _ in range(3))
        self.observed, self.skipped = (scratch.plane(height, width, dim) for _ in range(2))
        self.state = (self.under, self.estimate, self.over)
        self.fused = (self.side_under, self.residual, self.side_over)


class StageKernels:
    """One stage, prepared."""

    def __init__(self, stage: Stage, numerics: Numerics) -> None:
        dtype = numerics.product
        self.align: AlignmentKernel | None = None
        if stage.align_under is not None and stage.align_over is not None:
            under, over = stage.align_under, stage.align_over
            self.align = AlignmentKernel(under, over, numerics)
            self.align_refine = depthwise([under.refine, over.refine], numerics.feature)
        self.blocks = [SwinKernel(cast(SwinBlock, block), numerics) for block in stage.fuse.blocks]
        self.conv = convolution(stage.fuse.conv, dtype)
        self.fuse: list[ChannelFusionKernel] = []
        if stage.fuse_under is not None and stage.fuse_over is not None:
            fusions = [stage.fuse_under, stage.fuse_over]
            self.fuse = [ChannelFusionKernel(fusion, numerics) for fusion in fusions]
            self.fuse_refine = depthwise([fusion.refine for fusion in fusions], numerics.feature)
        self.consistency = None if stage.consistency is None else ConsistencyKernel(stage.consistency, dtype)
        self.update = PreparedMLP(stage.update, dtype)


@dataclass
class Machinery:
    """What every pass works with.

    Args:
        cutting: strips and pieces.
        workers: run the pieces of a strip.
        dtype: of features.
        sums: dtype of sums over the whole image.
        device: where pieces are computed.
        tick: to be called with the name of the pass after every strip.
    """

    cutting: Cutting
    workers: Workers
    dtype: torch.dtype
    sums: torch.dtype
    device: torch.device
    tick: Callable[[str], None]

    def rows(self, channels: int) -> RowBuffer:
        """An empty sliding buffer of whole rows."""
        return RowBuffer(self.cutting.width, channels, self.dtype, self.device)

    def ready(self, available: int) -> int:
        """How far a 3×3 kernel gets when its input is finished down to ``available``."""
        return available if available == self.cutting.height else max(available - 1, 0)


def align(kernels: StageKernels, features: Features, work: Machinery, name: str) -> None:
    """α₁ and α₃ → the new ones."""
    assert kernels.align is not None
    cutting, dim = work.cutting, features.under.channels
    sides, window = (features.under, features.over), cutting.window
    degraded, aligned = work.rows(2 * dim), work.rows(2 * dim)
    written = 0
    for start, stop in cutting.strips:
        under, estimate, over = (plane.read(start, stop) for plane in features.state)
        d, r = degraded.grow(stop - start), aligned.grow(stop - start)
        tasks = [
            partial(kernels.align, under[box], estimate[box], over[box], d[box], r[box])
            for box in cutting.boxes(stop - start, cutting.width, window, window)
        ]
        work.workers.run(tasks)
        ready = work.ready(stop)
        out = [plane.room(written, ready) for plane in sides]

        def refine(left: int, right: int, first: int, last: int, out: list[Tensor]) -> None:
            result = kernels.align_refine(aligned.haloed(first, last, cutting.height, left, right))
            result += degraded.rows(first, last)[:, left:right]
            for target, part in zip(out, result.chunk(2, dim=-1), strict=True):
                target[:, left:right] = part

        work.workers.run(partial(refine, *ends, written, ready, out) for ends in cutting.columns(ready - written))
        for plane, rows in zip(sides, out, strict=True):
            plane.write(written, rows)
        written = ready
        degraded.drop(written)
        aligned.drop(written - 1)
        work.tick(f"{name}: alignment")


def fuse(kernels: StageKernels, features: Features, work: Machinery, name: str) -> None:
    """α₁, x, α₃ → u_s, r, v_s, and the channel statistics."""
    cutting, dim = work.cutting, features.under.channels
    buffer = work.rows(3 * dim)
    behind = [0] * (len(kernels.blocks) + 1)  # rows that each block, and the convolution, has finished
    sums: list[Tensor] = []
    for start, stop in cutting.strips:
        joined, parts = buffer.grow(stop - start), [plane.read(start, stop) for plane in features.state]

        def join(left: int, right: int, joined: Tensor, parts: list[Tensor]) -> None:
            for index, part in enumerate(parts):
                joined[:, left:right, index * dim : (index + 1) * dim] = part[:, left:right]

        work.workers.run(partial(join, *ends, joined, parts) for ends in cutting.columns(stop - start))
        available = stop
        for index, block in enumerate(kernels.blocks):
            ready = cutting.reached(available, block.shift)
            work.workers.run(_block_pieces(block, buffer, cutting, behind[index], ready))
            behind[index] = available = ready
        ready = work.ready(available)
        if ready > behind[-1]:
            _finish_fusion(kernels, features, work, buffer, behind[-1], ready, sums)
            behind[-1] = ready
            buffer.drop(ready - 1)
        work.tick(f"{name}: fusion")
    for side, fusion in enumerate(kernels.fuse):
        fusion.finish(*sums[3 * side : 3 * side + 3])


def _block_pieces(
    block: SwinKernel, buffer: RowBuffer, cutting: Cutting, start: int, stop: int
) -> list[Callable[[], None]]:
    """The pieces of one block between two rows."""
    pieces: list[Callable[[], None]] = []
    for top, bottom, left, right, height, width in cutting.areas(start, stop, block.shift):
        area = buffer.rows(top, bottom)[:, left:right]
        for box in cutting.boxes(bottom - top, right - left, height, width):
            pieces.append(partial(block, area[box], height, width))
    return pieces


def _finish_fusion(
    kernels: StageKernels,
    features: Features,
    work: Machinery,
    buffer: RowBuffer,
    start: int,
    stop: int,
    sums: list[Tensor],
) -> None:
    """Convolution and residual of rows ``start`` to ``stop``; their channel statistics are added to ``sums``."""
    joined = [plane.read(start, stop) for plane in features.state]
    out = [plane.room(start, stop) for plane in features.fused]
    columns, dim = work.cutting.columns(stop - start), features.under.channels
    found: list[list[Tensor]] = [[] for _ in columns]

    def convolve(index: int, left: int, right: int) -> None:
        result = kernels.conv(buffer.haloed(start, stop, work.cutting.height, left, right))
        for part, before, target in zip(result.chunk(3, dim=-1), joined, out, strict=True):
            torch.add(part, before[:, left:right], out=target[:, left:right])
        estimate = joined[1][:, left:right].reshape(-1, dim)
        for fusion, side in zip(kernels.fuse, (out[0], out[2]), strict=False):
            flat = side[:, left:right].reshape(-1, dim)
            found[index] += [value.to(work.sums) for value in fusion.statistics(flat, estimate)]

    work.workers.run(partial(convolve, index, *ends) for index, ends in enumerate(columns))
    for plane, rows in zip(features.fused, out, strict=True):
        plane.write(start, rows)
    for piece in found:  # always in the same order, whichever worker came first
        sums[:] = [a + b for a, b in zip(sums, piece, strict=True)] if sums else piece


def update(kernels: StageKernels, features: Features, work: Machinery, name: str) -> None:
    """u_s, r, v_s and x → the new x."""
    cutting, dim = work.cutting, features.under.channels
    buffer = work.rows(2 * dim)
    written = 0
    for start, stop in cutting.strips:
        ready = stop
        if kernels.fuse:
            mixed = buffer.grow(stop - start)
            before = features.estimate.read(start, stop)
            sides = [features.side_under.read(start, stop), features.side_over.read(start, stop)]

            def attend(left: int, right: int, mixed: Tensor, before: Tensor, sides: list[Tensor]) -> None:
                estimate = before[:, left:right].reshape(-1, dim)
                for index, (fusion, side) in enumerate(zip(kernels.fuse, sides, strict=True)):
                    result = fusion(side[:, left:right].reshape(-1, dim), estimate)
                    mixed[:, left:right, index * dim : (index + 1) * dim] = result.view(mixed.shape[0], -1, dim)

            work.workers.run(partial(attend, *ends, mixed, before, sides) for ends in cutting.columns(stop - start))
            ready = work.ready(stop)
        rows = [plane.read(written, ready) for plane in (features.estimate, features.observed, *features.fused)]
        out = features.estimate.room(written, ready)

        def finish(left: int, right: int, first: int, last: int, rows: list[Tensor], out: Tensor) -> None:
            estimate, observed, under, residual, over = (part[:, left:right].reshape(-1, dim) for part in rows)
            if kernels.fuse:
                refined = kernels.fuse_refine(buffer.haloed(first, last, cutting.height, left, right))
                under, over = (part.reshape(-1, dim) for part in refined.chunk(2, dim=-1))
            u, v = under + estimate, over + estimate
            preliminary = estimate if kernels.consistency is None else kernels.consistency(observed, u, v)
            new = kernels.update(torch.cat([u, preliminary, v], dim=-1)) + residual
            out[:, left:right] = new.view(last - first, -1, dim)

        work.workers.run(partial(finish, *ends, written, ready, rows, out) for ends in cutting.columns(ready - written))
        features.estimate.write(written, out)
        written = ready
        buffer.drop(written - 1)
        work.tick(f"{name}: update")
