"""Run the network in bounded memory, tile by tile, with the result of its forward pass.

Nothing in AFUNet but the channel fusion looks further than its window and one pixel around, and that depends on the
image only through sums over pixels. So each stage runs as passes down the image in strips of window rows (`passes`);
between them only whole features are kept, in memory or in a scratch file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from afunet_core.errors import ArgumentError, MergeCancelled
from afunet_core.model.afunet import AFUNet, StageState, check_network_input
from afunet_core.model.attention import full_precision
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.heads import AnchoredHead
from afunet_core.model.stages import Stage
from afunet_core.model.streaming.buffers import Scratch
from afunet_core.model.streaming.folded_layers import wide
from afunet_core.model.streaming.passes import Features, FoldedStage, PassContext, align, fuse, update
from afunet_core.model.streaming.rows import FrameRows, FrameSource
from afunet_core.model.streaming.threads import Workers
from afunet_core.model.streaming.tiling import Tiling, row_ranges
from afunet_core.radiometry import exposure_times
from afunet_core.utils.progress import OnProgress, ShouldCancel

__all__ = ["stream"]

# Most bytes of the logits of one tile. Half of it fits the caches better, but twice the calls cost more than that.
CACHE_BYTES = 3 << 20
# In one strip: more of them shorten the wait for the last tile of a step, fewer fit the caches better.
TILES_PER_WORKER = 4
MOST_WORKERS = 8  # more would wait for Python's lock between their operations


def stream(
    model: AFUNet,
    frames: Tensor | FrameSource,
    *,
    times: Tensor | Sequence[float] | None = None,
    memory_budget: int | None = None,
    stages: bool = False,
    maps: bool = False,
    where: Tensor | None = None,
    on_progress: OnProgress | None = None,
    should_cancel: ShouldCancel | None = None,
    precision: torch.dtype | None = None,
    tile_windows: int | None = None,
) -> Tensor | tuple[Tensor, list[StageState]]:
    """Run the network tile by tile; the result is ``model(frames)`` in eval mode, without gradients.

    Args:
        model: the network; its device is where the tiles are computed.
        frames: ``B×18×H×W`` network input, on any device; or a source that makes its rows when they are asked for.
        times: relative exposure times of a tensor, as for :meth:`AFUNet.forward`; a source knows its own.
        memory_budget: bytes the features may take in memory; the rest goes to a scratch file (None: all in memory).
        stages: also return the state after every stage, as :meth:`AFUNet.forward_stages` does.
        maps: return what the anchored head decodes instead of the image: the prior (3 channels) and the log-trusts (4).
        where: ``H×W``, where the blocks of attention are applied, in all windows that touch it; elsewhere features
            stay what they were. An approximation; ``None`` applies them everywhere.
        on_progress: called as ``on_progress(done, total, message)``; ``done`` counts tiles and never decreases.
        should_cancel: asked between tiles.
        precision: dtype of products (default: that of the parameters); features, and sums over pixels, are float32 at
            least.
        tile_windows: windows per tile (None: what measured fastest).

    Returns:
        ``B×3×H×W`` radiance (``B×7×H×W`` if ``maps``), and the list of :class:`StageState` if ``stages``.

    Raises:
        ShapeError: for an input that is not ``B×18×H×W``.
        ArgumentError: for the maps of a network with a direct head.
        MergeCancelled: when ``should_cancel`` returns True.
    """
    if isinstance(frames, Tensor):
        check_network_input(frames)
        known = None if times is None else exposure_times(times, frames).expand(frames.shape[0], 3)
        source = FrameSource(frames, known)
    else:
        source = frames
    dtype = next(model.parameters()).dtype if precision is None else precision
    if not dtype.is_floating_point:
        raise ArgumentError("precision", "a floating dtype such as torch.bfloat16", dtype)
    batch, _, height, width = source.shape
    outer = wide(next(model.parameters()).dtype)
    if maps and not isinstance(model.head, AnchoredHead):
        raise ArgumentError("maps", "a network with an anchored head", model.config.head, "Use compact or full.")
    image = torch.empty if where is None else torch.zeros
    radiance = image(batch, 7 if maps else 3, height, width, dtype=outer, device=source.device)
    run = _Run(model, dtype, (batch, height, width), tile_windows, on_progress, should_cancel, where)
    shape = batch, model.config.branch_dim, *run.crop
    make = partial(torch.empty, shape, dtype=outer, device=source.device)
    states = [StageState(make(), make(), make()) for _ in model.stages] if stages else []
    with torch.inference_mode(), full_precision(run.device), run.workers:
        for index in range(batch):
            with Scratch(memory_budget, run.device, run.dtype, where is not None) as scratch:
                run.image(
                    source, index, radiance[index], scratch, [[part[index] for part in state] for state in states]
                )
    return (radiance, states) if stages else radiance


def check_cancel(should_cancel: ShouldCancel | None) -> None:
    """Raise :class:`MergeCancelled` if the caller asked for it."""
    if should_cancel is not None and should_cancel():
        raise MergeCancelled("The merge was cancelled.")


class _Run:
    """One call of :func:`stream`: sizes, folded layers, workers and progress."""

    def __init__(
        self,
        model: AFUNet,
        dtype: torch.dtype,
        shape: tuple[int, int, int],
        tile_windows: int | None,
        on_progress: OnProgress | None,
        should_cancel: ShouldCancel | None,
        where: Tensor | None,
    ) -> None:
        self.model, self.config = model, model.config
        self.dtype = wide(dtype)  # of features; only products are narrower
        self.device = next(model.parameters()).device
        batch, self.image_height, self.image_width = shape
        config, window = self.config, self.config.window_size
        height, width = (-(-size // config.multiple) * window for size in shape[1:])
        self.crop = -(-self.image_height // config.downscale), -(-self.image_width // config.downscale)
        tile = tile_windows or _best_tile(self.device, dtype, config)
        on_cpu = self.device.type == "cpu"  # there one worker a core that PyTorch may use, elsewhere one
        large = on_cpu and height * width > 2 * tile * window**2
        threads = min(torch.get_num_threads(), MOST_WORKERS) if large else 1
        strip = tile * (TILES_PER_WORKER * threads if on_cpu else 1)
        active = None if where is None else _active(where, config.downscale, height, width)
        self.tiling = Tiling(height, width, window, tile, strip, active)
        self.workers = Workers(threads, self.check)
        self.on_progress, self.should_cancel = on_progress, should_cancel
        passes = 2 + sum(2 + config.alignment for _ in config.depths)
        self.done, self.total = 0, batch * passes * len(self.tiling.strips)
        self.folded = [FoldedStage(cast(Stage, stage), dtype) for stage in model.stages]
        # Channel statistics are those of what is computed: of features that no attention saw they would be other ones.
        counted = None if active is None else torch.from_numpy(active)[..., None].to(self.device, self.dtype)
        self.context = PassContext(self.tiling, self.workers, self.dtype, self.device, self.tick, counted)

    def check(self) -> None:
        """Raise :class:`MergeCancelled` if the caller asked for it."""
        check_cancel(self.should_cancel)

    def tick(self, message: str) -> None:
        """Report that one more strip of one pass is done."""
        self.done += 1
        if self.on_progress is not None:
            self.on_progress(self.done, self.total, message)
        self.check()

    def image(
        self, frames: FrameSource, index: int, radiance: Tensor, scratch: Scratch, states: list[list[Tensor]]
    ) -> None:
        """Compute one sample: ``radiance`` ``3×H×W`` (or maps, ``7×H×W``) and the ``states``, written in place."""
        size = self.tiling.height, self.tiling.width
        features = Features(scratch, *size, self.config.branch_dim)
        source = FrameRows(self.model, frames, index, size, self.dtype)
        self.embed(source, features)
        for number, folded in enumerate(self.folded):
            steps = [fuse, update]
            if folded.align is not None:
                steps.insert(0 if self.config.order == "AF" else 2, align)
            for step in steps:
                step(folded, features, self.context, f"stage {number + 1} of {len(self.folded)}")
            for part, store in zip(states[number] if states else [], features.state, strict=bool(states)):
                rows, columns = self.crop
                for start, stop in row_ranges(rows, self.tiling.strip_rows):
                    part[:, start:stop] = store.read(start, stop)[:, :columns].permute(2, 0, 1)
        self.reconstruct(source, features, radiance)

    def embed(self, source: FrameRows, features: Features) -> None:
        """Compute the normalised α₁, y₂, α₃ of the frames, and the feature that skips all stages."""

        def strip(start: int, stop: int) -> None:
            under, reference, over, skipped = source.embedding(start, stop)
            stores = features.under, features.over, features.estimate, features.observed, features.skipped
            for store, part in zip(stores, (under, over, reference, reference, skipped), strict=True):
                rows = store.output(start, stop)
                for left, right in self.tiling.columns(start, stop):  # memory that is not written is not taken
                    rows[:, left:right] = part[:, left:right]
                store.write(start, rows)

        self._independent(strip, "embedding")

    def reconstruct(self, source: FrameRows, features: Features, radiance: Tensor) -> None:
        """Decode x, the skip connection and the frames into radiance."""
        fold = self.config.downscale

        def strip(start: int, stop: int) -> None:
            estimate, skipped = (
                store.read(max(start - reach, 0), min(stop + reach, self.tiling.height))
                for store, reach in ((features.estimate, 1), (features.skipped, 2))
            )
            image = source.decoded(start, stop, estimate, skipped, maps=len(radiance) == 7)
            kept = max(min(stop * fold, self.image_height) - start * fold, 0)
            radiance[:, start * fold : start * fold + kept] = image[:, :kept, : self.image_width]

        self._independent(strip, "reconstruction")

    def _independent(self, strip: Callable[[int, int], None], name: str) -> None:
        """Run a pass whose rows are independent of each other: every strip is shared out evenly."""
        for start, stop in self.tiling.strips:
            if not self.tiling.columns(start, stop):
                self.tick(name)
                continue
            share = -(-(stop - start) // self.workers.count)
            self.workers.run(partial(strip, start + a, start + b) for a, b in row_ranges(stop - start, share))
            self.tick(name)


def _active(where: Tensor, fold: int, height: int, width: int) -> NDArray[np.bool_]:
    """Reduce a mask of the picture to one of the padded features."""
    mask = F.max_pool2d((where[None, None] > 0).float(), fold, ceil_mode=True)[0, 0].bool().cpu().numpy()
    return np.pad(mask, ((0, height - mask.shape[0]), (0, width - mask.shape[1])))


def _best_tile(device: torch.device, product: torch.dtype, config: AFUNetConfig) -> int:
    """Windows per tile: as many as keep the logits in a core's share of the cache, or fill another device."""
    if device.type != "cpu":
        return 4096
    logits = config.fusion_heads * config.window_size**4 * product.itemsize
    return max(4, CACHE_BYTES // logits)
