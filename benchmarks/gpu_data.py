"""Brackets for `gpu_training.py`: worker processes, and stores on the device."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
import time
from multiprocessing.connection import Connection, wait
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from afunet_core.data.synthesis.brackets import Synthesizer, SyntheticBatch
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.scenes import SceneBank

__all__ = ["LARGE", "SMALL", "Store", "Workers"]

SMALL, LARGE = 128, 256
"""Sides of the brackets: as the shipped models were trained, and for looking at half the size."""
CHUNKS = {SMALL: 8, LARGE: 2}
"""Brackets that a worker sends at a time: about 3 MB."""
LARGE_SHARE = 0.3
"""Of the chunks; they take half of the workers' time."""
SOFT_SHARE = 0.8
"""Of the large brackets: enlarged before they are recorded, as pictures of many megapixels are soft."""
WHITE = 65535

Chunk = tuple[np.ndarray, np.ndarray]  # n×12×H×W uint16: nine planes of frames, three of truth; n×3 times


def encode_chunk(batch: SyntheticBatch) -> Chunk:
    """Frames and truth, both as encoded 16-bit values."""
    truth = batch.truth.clamp(0, 1) ** (1 / 2.2)
    planes = torch.cat([batch.frames.flatten(1, 2), truth], dim=1)
    return (planes * WHITE).round().to(torch.int32).numpy().astype(np.uint16), batch.times.numpy().astype(np.float32)


def make_chunks(
    bank: SceneBank, curves: str | None, seed: int, end: float, sink: Connection, inherited: list[Connection]
) -> None:
    """A worker process: chunks into the pipe, which waits for its reader, until the time is over or nobody reads."""
    for end_of_parent in inherited:  # else a pipe would still have a reader when the parent is gone
        end_of_parent.close()
    torch.set_num_threads(1)
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    # Following costs two thirds of the time of all synthesis; half of the usual share leaves more brackets.
    common: dict[str, Any] = {"camera_share": 0.5, "camera_curves": curves}
    makers = {
        SMALL: Synthesizer(bank, SynthesisConfig(followed_share=0.3, **common)),
        LARGE: Synthesizer(bank, SynthesisConfig(followed_share=0.15, **common)),
    }
    with contextlib.suppress(BrokenPipeError):
        while time.time() < end:
            side = LARGE if rng.random() < LARGE_SHARE else SMALL
            enlarge = 2 if side == LARGE and rng.random() < SOFT_SHARE else 1
            sink.send(encode_chunk(makers[side].sample(CHUNKS[side], side, generator, enlarge=enlarge)))


class Workers:
    """Processes that synthesise brackets, forked: they share the scenes' memory. A thread reads what they send.

    Args:
        bank: of scenes.
        curves: a basis of response curves, see `SynthesisConfig.camera_curves`.
        count: of processes.
        end: seconds since 1970 when they stop.
        seed: of the first.
    """

    def __init__(self, bank: SceneBank, curves: str | None, count: int, end: float, seed: int) -> None:
        context = multiprocessing.get_context("fork")
        self.pipes: list[Connection] = []
        self.processes: list[Any] = []
        for index in range(count):
            source, sink = context.Pipe(duplex=False)
            self.pipes.append(source)
            given = (bank, curves, seed + 7919 * index, end, sink, self.pipes)
            self.processes.append(context.Process(target=make_chunks, args=given, daemon=True))
            self.processes[-1].start()
            sink.close()
        self.ready: queue.Queue[Chunk] = queue.Queue(maxsize=8 * count)
        self.made = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        pipes: list[Any] = list(self.pipes)
        while pipes:
            for pipe in wait(pipes):
                try:
                    self.ready.put(cast(Connection, pipe).recv())
                except (EOFError, OSError):
                    pipes.remove(pipe)

    def alive(self) -> bool:
        """Return True if any is, or something is left to deliver."""
        return any(process.is_alive() for process in self.processes) or not self.ready.empty()

    def deliver(self, small: Store, large: Store, most: int = 32, wait: float = 0.0) -> None:
        """Move what is ready into the stores.

        Args:
            small, large: stores of both sizes.
            most: chunks at once.
            wait: seconds for the first chunk.
        """
        for index in range(most):
            try:
                planes, times = self.ready.get(block=wait > 0 and index == 0, timeout=wait or None)
            except queue.Empty:
                return
            (small if planes.shape[-1] == SMALL else large).add(planes, times)
            self.made += len(planes)

    def stop(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(timeout=2.0)


class Store:
    """The latest brackets of one size, on the device.

    Args:
        side: of the brackets.
        keep: how many.
        device: where.

    Example:
        >>> store = Store(16, 4, torch.device("cpu"))
        >>> store.add(np.zeros((6, 12, 16, 16), np.uint16), np.ones((6, 3), np.float32))
        >>> len(store), [tuple(part.shape) for part in store.draw(2, torch.Generator())]
        (4, [(2, 3, 3, 16, 16), (2, 3), (2, 3, 16, 16)])
    """

    def __init__(self, side: int, keep: int, device: torch.device) -> None:
        self.side, self.device = side, device
        self.planes = torch.empty(keep, 12, side, side, device=device)
        self.times = torch.empty(keep, 3, device=device)
        self.place = self.filled = 0

    def __len__(self) -> int:
        return self.filled

    def add(self, planes: np.ndarray, times: np.ndarray) -> None:
        """Keep a chunk in place of the oldest."""
        for start in range(len(planes)):
            # As signed numbers, which every device can copy and mask; one bracket at a time, since the store may wrap.
            values = torch.from_numpy(planes[start].view(np.int16)).to(self.device).int().bitwise_and(WHITE)
            self.planes[self.place] = values.float() / WHITE
            self.times[self.place] = torch.from_numpy(times[start]).to(self.device)
            self.place = (self.place + 1) % len(self.planes)
            self.filled = min(self.filled + 1, len(self.planes))

    def draw(self, count: int, generator: torch.Generator, crop: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """A random batch: frames, times and truth; flipped, turned and with colours exchanged, all of a batch alike."""
        index = torch.randint(self.filled, (count,), generator=generator).to(self.device)
        planes = self.planes[index]
        flips = torch.randint(2, (3,), generator=generator).tolist()
        if crop is not None:
            top, left = torch.randint(self.side - crop + 1, (2,), generator=generator).tolist()
            planes = planes[..., top : top + crop, left : left + crop]
        dims = [axis for axis, wanted in ((-2, flips[0]), (-1, flips[1])) if wanted]
        planes = planes.flip(dims) if dims else planes
        planes = planes.transpose(-2, -1) if flips[2] else planes
        colours = torch.randperm(3, generator=generator).tolist() if torch.rand((), generator=generator) < 0.3 else None
        stacked = planes.unflatten(1, (4, 3))
        stacked = stacked[:, :, colours] if colours else stacked
        return stacked[:, :3].contiguous(), self.times[index], stacked[:, 3] ** 2.2
