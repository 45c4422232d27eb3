"""The same network, exactly, in bounded memory and cache-sized pieces.

Nothing in AFUNet but the channel fusion looks further than its window and one pixel around, and the channel fusion sees
the image only through sums over pixels. So each stage runs as passes that walk down the image in strips of window rows:

1. *alignment*: attention in windows, then the 3×3 refinement one row behind;
2. *fusion*: all Swin blocks and the convolution in one sweep, each as far behind the one before as its shift demands,
   in place in a buffer of a few dozen rows, while the channel sums accumulate;
3. *update*: with the sums complete, channel fusion, data consistency and the new estimate, again one row behind.

Between passes only whole features rest, in memory or in a scratch file. The result is that of the plain forward up to
the rounding of floating-point sums, for any size of the pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.errors import ArgumentError, MergeCancelled
from afunet_core.model.afunet import AFUNet, Stage, StageState, check_frames
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.fusion import SwinBlock
from afunet_core.model.heads import AnchoredHead, anchored_merge, times_from_means
from afunet_core.model.kernels import (
    AlignmentKernel,
    ChannelFusionKernel,
    ConsistencyKernel,
    Numerics,
    PreparedMLP,
    SwinKernel,
    Workspace,
    convolution,
    depthwise,
)
from afunet_core.model.pieces import Plane, RowBuffer, Scratch, Workers, column_ranges, row_ranges

__all__ = ["stream"]

CACHE_BYTES = 3 << 19
"""What the logits of one piece may take: measured best on CPUs with 1 MiB of second-level cache a core."""
MOST_WORKERS = 8
"""More would wait for Python's lock between their operations."""

Progress = Callable[[int, int, str], None]


def stream(
    model: AFUNet,
    frames: Tensor,
    *,
    memory_budget: int | None = None,
    stages: bool = False,
    on_progress: Progress | None = None,
    should_cancel: Callable[[], bool] | None = None,
    precision: torch.dtype | str | None = None,
    piece_windows: int | None = None,
) -> Tensor | tuple[Tensor, list[StageState]]:
    """Run the network piecewise; the result is ``model(frames)`` in eval mode, without gradients.

    Args:
        model: the network; its device is where the pieces are computed.
        frames: ``B×18×H×W`` network input, on any device.
        memory_budget: bytes the features may take in memory; the rest goes to a scratch file (None: all in memory).
        stages: also return the state after every stage, as :meth:`AFUNet.forward_stages` does.
        on_progress: called as ``on_progress(done, total, message)``; ``done`` counts pieces and never decreases.
        should_cancel: asked between pieces.
        precision: ``torch.float32`` (default: that of the parameters), ``"bfloat16"``, … of features and products; sums
            over pixels are float32 at least.
        piece_windows: windows per piece (None: what measured fastest).

    Returns:
        ``B×3×H×W`` radiance, and the list of :class:`StageState` if ``stages``.

    Raises:
        ShapeError: for an input that is not ``B×18×H×W``.
        MergeCancelled: when ``should_cancel`` said so.
    """
    check_frames(frames)
    dtype = _dtype(model, precision)
    batch, _, height, width = frames.shape
    outer = _wide(next(model.parameters()).dtype)
    radiance = torch.empty(batch, 3, height, width, dtype=outer, device=frames.device)
    run = _Run(model, dtype, (batch, height, width), piece_windows, on_progress, should_cancel)
    states = [run.empty_state(batch, outer, frames.device) for _ in model.stages] if stages else []
    with torch.inference_mode(), torch.autocast(run.device.type, enabled=False), run.workers:
        for index in range(batch):
            with Scratch(memory_budget, run.device, run.dtype) as scratch:
                run.image(
                    frames[index], radiance[index], scratch, [[part[index] for part in state] for state in states]
                )
    return (radiance, states) if stages else radiance


def _dtype(model: AFUNet, precision: torch.dtype | str | None) -> torch.dtype:
    if precision is None:
        return next(model.parameters()).dtype
    dtype = getattr(torch, precision, None) if isinstance(precision, str) else precision
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ArgumentError("precision", "a floating dtype such as 'float32' or 'bfloat16'", precision)
    return dtype


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class _StageKernels:
    """One stage, prepared."""

    def __init__(self, stage: Stage, numerics: Numerics) -> None:
        dtype = numerics.product
        self.align: list[AlignmentKernel] = []
        if stage.align_under is not None and stage.align_over is not None:
            sides = [stage.align_under, stage.align_over]
            self.align = [AlignmentKernel(side, numerics) for side in sides]
            self.align_refine = depthwise([side.refine for side in sides], numerics.feature)
        self.blocks = [SwinKernel(cast(SwinBlock, block), numerics) for block in stage.fuse.blocks]
        self.conv = convolution(stage.fuse.conv, dtype)
        self.fuse: list[ChannelFusionKernel] = []
        if stage.fuse_under is not None and stage.fuse_over is not None:
            fusions = [stage.fuse_under, stage.fuse_over]
            self.fuse = [ChannelFusionKernel(fusion, numerics) for fusion in fusions]
            self.fuse_refine = depthwise([fusion.refine for fusion in fusions], numerics.feature)
        self.consistency = None if stage.consistency is None else ConsistencyKernel(stage.consistency, dtype)
        self.update = PreparedMLP(stage.update, dtype)


class _Run:
    """One call of :func:`stream`: sizes, prepared kernels, workers and progress."""

    def __init__(
        self,
        model: AFUNet,
        dtype: torch.dtype,
        shape: tuple[int, int, int],
        piece_windows: int | None,
        on_progress: Progress | None,
        should_cancel: Callable[[], bool] | None,
    ) -> None:
        self.model, self.config = model, model.config
        self.dtype = _wide(dtype)  # of features; only products are narrower
        self.device = next(model.parameters()).device
        self.sums = torch.float32 if self.device.type == "mps" else torch.float64
        batch, self.image_height, self.image_width = shape
        fold, self.window, self.dim = self.config.downscale, self.config.window_size, self.config.branch_dim
        self.reach = self.window * self.config.reach
        self.height = -(-self.image_height // self.config.multiple) * self.reach
        self.width = -(-self.image_width // self.config.multiple) * self.reach
        self.crop = -(-self.image_height // fold), -(-self.image_width // fold)
        self.piece = piece_windows or _best_piece(self.device, dtype, self.config)
        windows = self.height * self.width // self.window**2
        threads = _workers(self.device) if windows > 2 * self.piece else 1
        strip_windows = self.piece * (2 * threads if self.device.type == "cpu" else 1)
        self.strips = row_ranges(
            self.height, self.reach * max(1, strip_windows * self.window**2 // (self.width * self.reach))
        )
        self.workers = Workers(threads, self.check)
        self.on_progress, self.should_cancel = on_progress, should_cancel
        passes = 2 + sum(2 + self.config.alignment for _ in self.config.depths)
        self.done, self.total = 0, batch * passes * len(self.strips)
        numerics = Numerics(dtype, self.dtype, Workspace())
        self.kernels = [_StageKernels(cast(Stage, stage), numerics) for stage in model.stages]
        embed = model.embed
        self.embed_convs = [convolution(layer, self.dtype) for layer in (embed.under, embed.reference, embed.over)]
        self.skip = convolution(model.skip, self.dtype)
        self.head = convolution(model.head.conv, self.dtype)

    def empty_state(self, batch: int, dtype: torch.dtype, device: torch.device) -> StageState:
        shape = (batch, self.dim, *self.crop)
        return StageState(*(torch.empty(shape, dtype=dtype, device=device) for _ in range(3)))

    def check(self) -> None:
        """Stop here if the caller wants it."""
        if self.should_cancel is not None and self.should_cancel():
            raise MergeCancelled("The merge was cancelled.")

    def tick(self, message: str) -> None:
        """One more strip of one pass is done."""
        self.done += 1
        if self.on_progress is not None:
            self.on_progress(self.done, self.total, message)
        self.check()

    def image(self, frames: Tensor, radiance: Tensor, scratch: Scratch, states: list[list[Tensor]]) -> None:
        """One bracket ``18×H×W`` → ``radiance`` ``3×H×W`` and the ``states``, all written in place."""
        features = _Features(scratch, self.height, self.width, self.dim)
        source = _FrameRows(frames, self)
        self.embed(source, features)
        for index, kernels in enumerate(self.kernels):
            name = f"stage {index + 1} of {len(self.kernels)}"
            steps = [self.fuse, self.update]
            if kernels.align:
                steps.insert(0 if self.config.order == "AF" else 2, self.align)
            for step in steps:
                step(kernels, features, name)
            for part, plane in zip(states[index] if states else [], features.state, strict=bool(states)):
                rows, columns = self.crop
                for start, stop in row_ranges(rows, self.strips[0][1]):
                    part[:, start:stop] = plane.read(start, stop)[:, :columns].permute(2, 0, 1)
        self.reconstruct(source, features, radiance)

    # ------------------------------------------------------------------------------------------------- the passes

    def embed(self, source: _FrameRows, features: _Features) -> None:
        """Frames → normalised α₁, y₂, α₃."""
        norm = self.model.embed.norm

        def strip(start: int, stop: int) -> None:
            inputs = source.embedded(start, stop)
            parts = [conv(frame) for conv, frame in zip(self.embed_convs, inputs, strict=True)]
            joined = torch.cat(parts, dim=-1)
            joined = F.layer_norm(
                joined, joined.shape[-1:], norm.weight.to(self.dtype), norm.bias.to(self.dtype), norm.eps
            )
            under, reference, over = joined.to(self.dtype).chunk(3, dim=-1)
            features.under.write(start, under)
            features.over.write(start, over)
            features.estimate.write(start, reference)
            features.observed.write(start, reference)

        self._independent(strip, "embedding")

    def align(self, kernels: _StageKernels, features: _Features, name: str) -> None:
        """α₁ and α₃ → the new ones."""
        dim, sides = self.dim, (features.under, features.over)
        degraded, aligned = self._rows(2 * dim), self._rows(2 * dim)
        written = 0
        for start, stop in self.strips:
            estimate = features.estimate.read(start, stop)
            d, r = degraded.grow(stop - start), aligned.grow(stop - start)
            tasks = []
            for side, (plane, kernel) in enumerate(zip(sides, kernels.align, strict=True)):
                rows, part = plane.read(start, stop), slice(side * dim, (side + 1) * dim)
                span = self.window * kernel.dilation
                tasks += [
                    partial(kernel, rows[box], estimate[box], d[box][..., part], r[box][..., part])
                    for box in self._boxes(0, stop - start, span, 0, self.width, span)
                ]
            self.workers.run(tasks)
            ready = stop if stop == self.height else stop - 1
            out = [plane.room(written, ready) for plane in sides]

            def refine(left: int, right: int, first: int, last: int, out: list[Tensor]) -> None:
                result = kernels.align_refine(aligned.haloed(first, last, self.height, left, right))
                result = result + degraded.rows(first, last)[:, left:right]
                for target, part in zip(out, result.chunk(2, dim=-1), strict=True):
                    target[:, left:right] = part

            self.workers.run(
                partial(refine, *columns, written, ready, out) for columns in self._columns(ready - written)
            )
            for plane, rows in zip(sides, out, strict=True):
                plane.write(written, rows)
            written = ready
            degraded.drop(written)
            aligned.drop(written - 1)
            self.tick(f"{name}: alignment")

    def fuse(self, kernels: _StageKernels, features: _Features, name: str) -> None:
        """α₁, x, α₃ → u_s, r, v_s, and the channel statistics."""
        dim = self.dim
        buffer = self._rows(3 * dim)
        behind = [0] * (len(kernels.blocks) + 1)  # rows that each block, and the convolution, has finished
        sums: list[Tensor] = []
        for start, stop in self.strips:
            rows = buffer.grow(stop - start)
            for index, plane in enumerate(features.state):
                rows[..., index * dim : (index + 1) * dim] = plane.read(start, stop)
            available = stop
            for index, block in enumerate(kernels.blocks):
                ready = self._reach(available, block.shift)
                self.workers.run(self._block_tasks(block, buffer, behind[index], ready))
                behind[index] = available = ready
            ready = available if available == self.height else max(available - 1, 0)
            if ready > behind[-1]:
                self._finish_fusion(kernels, features, buffer, behind[-1], ready, sums)
                behind[-1] = ready
                buffer.drop(ready - 1)
            self.tick(f"{name}: fusion")
        for side, fusion in enumerate(kernels.fuse):
            fusion.finish(*sums[3 * side : 3 * side + 3])

    def _finish_fusion(
        self, kernels: _StageKernels, features: _Features, buffer: RowBuffer, start: int, stop: int, sums: list[Tensor]
    ) -> None:
        joined = [plane.read(start, stop) for plane in features.state]
        out = [plane.room(start, stop) for plane in features.fused]
        columns = self._columns(stop - start)
        found: list[list[Tensor]] = [[] for _ in columns]

        def convolve(index: int, left: int, right: int) -> None:
            result = kernels.conv(buffer.haloed(start, stop, self.height, left, right))
            for part, before, target in zip(result.chunk(3, dim=-1), joined, out, strict=True):
                torch.add(part, before[:, left:right], out=target[:, left:right])
            estimate = joined[1][:, left:right].reshape(-1, self.dim)
            for fusion, side in zip(kernels.fuse, (out[0], out[2]), strict=False):
                flat = side[:, left:right].reshape(-1, self.dim)
                found[index] += [value.to(self.sums) for value in fusion.statistics(flat, estimate)]

        self.workers.run(partial(convolve, index, *ends) for index, ends in enumerate(columns))
        for plane, rows in zip(features.fused, out, strict=True):
            plane.write(start, rows)
        for piece in found:
            sums[:] = [a + b for a, b in zip(sums, piece, strict=True)] if sums else piece

    def update(self, kernels: _StageKernels, features: _Features, name: str) -> None:
        """u_s, r, v_s and x → the new x."""
        dim = self.dim
        buffer = self._rows(2 * dim)
        written = 0
        for start, stop in self.strips:
            ready = stop
            if kernels.fuse:
                a = buffer.grow(stop - start)
                before = features.estimate.read(start, stop)
                sides = [features.side_under.read(start, stop), features.side_over.read(start, stop)]

                def attend(left: int, right: int, a: Tensor, before: Tensor, sides: list[Tensor]) -> None:
                    estimate = before[:, left:right].reshape(-1, dim)
                    for index, (fusion, side) in enumerate(zip(kernels.fuse, sides, strict=True)):
                        mixed = fusion(side[:, left:right].reshape(-1, dim), estimate)
                        a[:, left:right, index * dim : (index + 1) * dim] = mixed.view(a.shape[0], -1, dim)

                self.workers.run(partial(attend, *ends, a, before, sides) for ends in self._columns(stop - start))
                ready = stop if stop == self.height else stop - 1
            estimate, out = features.estimate.read(written, ready), features.estimate.room(written, ready)
            observed = features.observed.read(written, ready)
            fused = [plane.read(written, ready) for plane in features.fused]

            def finish(
                left: int,
                right: int,
                first: int,
                last: int,
                estimate: Tensor,
                observed: Tensor,
                fused: list[Tensor],
                out: Tensor,
            ) -> None:
                before = estimate[:, left:right].reshape(-1, dim)
                under, residual, over = (rows[:, left:right].reshape(-1, dim) for rows in fused)
                if kernels.fuse:
                    refined = kernels.fuse_refine(buffer.haloed(first, last, self.height, left, right))
                    under, over = (part.reshape(-1, dim) for part in refined.chunk(2, dim=-1))
                u, v = under + before, over + before
                preliminary = before
                if kernels.consistency is not None:
                    preliminary = kernels.consistency(observed[:, left:right].reshape(-1, dim), u, v)
                new = kernels.update(torch.cat([u, preliminary, v], dim=-1)) + residual
                out[:, left:right] = new.view(last - first, -1, dim)

            self.workers.run(
                partial(finish, *ends, written, ready, estimate, observed, fused, out)
                for ends in self._columns(ready - written)
            )
            features.estimate.write(written, out)
            written = ready
            buffer.drop(written - 1)
            self.tick(f"{name}: update")

    def reconstruct(self, source: _FrameRows, features: _Features, radiance: Tensor) -> None:
        """x, the skip connection and the frames → radiance."""
        fold = self.config.downscale
        anchored = isinstance(self.model.head, AnchoredHead)
        times = source.times() if anchored else None

        def strip(start: int, stop: int) -> None:
            first, last = max(start - 1, 0), min(stop + 1, self.height)
            rows = features.estimate.read(first, last).to(self.dtype) + source.skip(first, last)
            maps = self.head(_pad(rows, start == 0, stop == self.height))
            maps = F.pixel_shuffle(maps.permute(2, 0, 1)[None], fold)
            image = torch.sigmoid(maps[:, :3])
            if times is not None:
                image = anchored_merge(source.rows(start * fold, stop * fold).to(self.dtype), times, image, maps[:, 3:])
            kept = min(stop * fold, self.image_height) - start * fold
            radiance[:, start * fold : start * fold + kept] = image[0, :, :kept, : self.image_width]

        self._independent(strip, "reconstruction")

    # -------------------------------------------------------------------------------------------------- cutting up

    def _rows(self, channels: int) -> RowBuffer:
        return RowBuffer(self.width, channels, self.dtype, self.device)

    def _independent(self, strip: Callable[[int, int], None], name: str) -> None:
        for group in range(0, len(self.strips), self.workers.count):
            strips = self.strips[group : group + self.workers.count]
            self.workers.run(partial(strip, *ends) for ends in strips)
            for _ in strips:
                self.tick(name)

    def _reach(self, available: int, shift: int) -> int:
        """How far a block gets when its input is finished down to ``available``."""
        if available == self.height:
            return available
        return max((available - shift) // self.window * self.window + shift, 0) if available >= shift else 0

    def _block_tasks(self, block: SwinKernel, buffer: RowBuffer, start: int, stop: int) -> list[Callable[[], None]]:
        """The pieces of one block between two rows, windows cut by the border of the image apart."""
        tasks: list[Callable[[], None]] = []
        for top, bottom, height in self._spans(start, stop, self.height, block.shift):
            for left, right, width in self._spans(0, self.width, self.width, block.shift):
                area = buffer.rows(top, bottom)[:, left:right]
                for box in self._boxes(0, bottom - top, height, 0, right - left, width):
                    tasks.append(partial(block, area[box], height, width))
        return tasks

    def _spans(self, start: int, stop: int, size: int, shift: int) -> list[tuple[int, int, int]]:
        """Ranges between ``start`` and ``stop`` with the size of the windows in each."""
        spans = []
        if shift and start == 0 < stop:
            spans.append((0, shift, shift))
            start = shift
        tail = shift if shift and stop == size else 0
        if stop - tail > start:
            spans.append((start, stop - tail, self.window))
        if tail:
            spans.append((size - (self.window - shift), size, self.window - shift))
        return spans

    def _boxes(
        self, top: int, bottom: int, height: int, left: int, right: int, width: int
    ) -> list[tuple[slice, slice]]:
        """Cut an area into pieces of about ``self.piece`` windows, cut between blocks of ``height×width``."""
        piece = max(1, self.piece * self.window**2 // max(height * width, self.window**2))
        across = (right - left) // width
        columns = column_ranges(left, right, width, piece)
        rows = column_ranges(top, bottom, height, max(1, piece // across) if across else 1)
        return [(slice(*y), slice(*x)) for y in rows for x in columns]

    def _columns(self, rows: int) -> list[tuple[int, int]]:
        """Cut the width into ranges with about ``self.piece`` windows' worth of pixels in ``rows`` rows."""
        pixels = 2 * self.piece * self.window**2
        return column_ranges(0, self.width, 1, max(1, pixels // max(rows, 1))) if rows else []


class _Features:
    """The planes that rest between passes."""

    def __init__(self, scratch: Scratch, height: int, width: int, dim: int) -> None:
        def plane() -> Plane:
            return scratch.plane(height, width, dim)

        self.under, self.estimate, self.over = plane(), plane(), plane()
        self.side_under, self.residual, self.side_over = plane(), plane(), plane()
        self.observed = plane()
        self.state = (self.under, self.estimate, self.over)
        self.fused = (self.side_under, self.residual, self.side_over)


class _FrameRows:
    """The padded network input of one image, a few rows at a time."""

    def __init__(self, frames: Tensor, run: _Run) -> None:
        self.frames, self.run = frames, run
        fold = run.config.downscale
        self.fold, self.rows_padded, self.columns_padded = fold, run.height * fold, run.width * fold

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows of the padded input, ``1×18×rows×W``, on the device."""
        height, width = self.frames.shape[1:]
        inside = self.frames[:, start : min(stop, height)]
        if stop > height:
            beyond = _padding(height, self.rows_padded)[max(start, height) - height : stop - height]
            inside = torch.cat([inside, self.frames[:, beyond]], dim=1)
        if self.columns_padded > width:
            inside = torch.cat([inside, inside[:, :, _padding(width, self.columns_padded)]], dim=2)
        return inside[None].to(self.run.device, self.run.dtype)

    def embedded(self, start: int, stop: int, frames: tuple[int, ...] = (0, 1, 2)) -> list[Tensor]:
        """What the convolution of each frame sees to make feature rows ``start`` to ``stop``, halo included."""
        first, last = max(start - 1, 0), min(stop + 1, self.run.height)
        inputs = self.run.model.embed.frame_inputs(self.rows(first * self.fold, last * self.fold))
        return [_pad(inputs[index][0], start == 0, stop == self.run.height) for index in frames]

    def skip(self, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` of the skip connection, made again from the reference frame."""
        first, last = max(start - 1, 0), min(stop + 1, self.run.height)
        reference = self.run.embed_convs[1](self.embedded(first, last, (1,))[0])
        return self.run.skip(_pad(reference, start == 0, stop == self.run.height))

    def times(self) -> Tensor:
        """Exposure times ``1×3``: what :func:`estimate_times` finds, from sums over strips."""
        sums = torch.zeros(2, 3, dtype=torch.float64)
        for start, stop in row_ranges(self.frames.shape[1], self.run.strips[0][1] * self.fold):
            rows = self.frames[:, start:stop].unflatten(0, (3, 2, 3)).to(self.run.dtype)
            linear = rows[:, 1].clamp(0, 1).pow(2.2)
            sums += torch.stack([part.sum((1, 2, 3)).double().cpu() for part in (rows[:, 0], linear)])
        radiance, linear = sums / (3 * self.frames.shape[1] * self.frames.shape[2])
        return times_from_means(radiance, linear)[None].to(self.run.device, self.run.dtype)


def _padding(size: int, padded: int) -> list[int]:
    """Where :func:`pad_to_multiple` takes the rows (or columns) beyond ``size`` from.

    Example:
        >>> _padding(5, 8), _padding(2, 8)
        ([3, 2, 1], [1, 1, 1, 1, 1, 1])
    """
    if padded - size < size:
        return [2 * (size - 1) - index for index in range(size, padded)]
    return [size - 1] * (padded - size)


def _pad(rows: Tensor, top: bool, bottom: bool) -> Tensor:
    """One reflected column at both sides, and one reflected row where the rows end at a border of the image."""
    return F.pad(rows.permute(2, 0, 1)[None], (1, 1, int(top), int(bottom)), mode="reflect")[0].permute(1, 2, 0)


def _workers(device: torch.device) -> int:
    """Single-threaded workers: the cores of a CPU that PyTorch may use; other devices run in the calling thread."""
    return min(torch.get_num_threads(), MOST_WORKERS) if device.type == "cpu" else 1


def _best_piece(device: torch.device, product: torch.dtype, config: AFUNetConfig) -> int:
    """Windows per piece: as many as let the logits stay in a core's share of the cache, or fill another device."""
    if device.type != "cpu":
        return 4096
    logits = config.fusion_heads * config.window_size**4 * product.itemsize
    return max(4, CACHE_BYTES // logits)
