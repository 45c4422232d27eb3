"""Storage of features (``H×W×C``) while streaming: whole, in memory or in a scratch file, and sliding row buffers."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import threading
from collections.abc import Callable
from io import FileIO

import torch
from torch import Tensor


class Scratch:
    """Allocator of row stores: in memory while ``budget`` bytes last (None: all), then in an unnamed temporary file.

    The file is read and written explicitly rather than mapped, so that its pages never count as memory of the
    process. With ``partly``, rows are computed in part: the rest keeps its values, 0 at first.
    """

    def __init__(self, budget: int | None, device: torch.device, dtype: torch.dtype, partly: bool = False) -> None:
        self.left, self.device, self.dtype, self.partly = budget, device, dtype, partly
        self.file: FileIO | None = None
        self.lock = threading.Lock()
        self.end = 0

    def store(self, height: int, width: int, channels: int) -> RowStore:
        """Allocate a ``height×width×channels`` feature, uninitialised unless ``partly``; OSError on a full disk."""
        size = height * width * channels * self.dtype.itemsize
        if self.left is None or size <= self.left:
            if self.left is not None:
                self.left -= size
            make = _zeros if self.partly else torch.empty
            return RowStore(make((height, width, channels), dtype=self.dtype, device=self.device))
        if self.file is None:
            # Unnamed, or removed by the system when closed: nothing is ever left behind.
            self.file = tempfile.TemporaryFile(prefix="afunet-features-", buffering=0)  # noqa: SIM115
        offset, self.end = self.end, self.end + size
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.file.fileno(), offset, size)  # a full disk shows now, not after minutes of work
        elif self.partly:
            self.file.truncate(self.end)
        return FileRowStore(self, self.file, offset, (height, width, channels))

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros that take no memory before they are written; PyTorch writes its own, and NumPy asks for huge pages."""
    size = math.prod(shape) * dtype.itemsize
    if device.type != "cpu" or not size:
        return torch.zeros(shape, dtype=dtype, device=device)
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    return torch.frombuffer(mmap.mmap(-1, size, **private), dtype=dtype).view(shape)


class RowStore:
    """A whole feature in memory; :meth:`read` gives a view."""

    def __init__(self, data: Tensor) -> None:
        self.data = data
        self.height, self.width, self.channels = data.shape

    def read(self, start: int, stop: int) -> Tensor:
        """Return rows ``start`` to ``stop``, ``rows×W×C``, not to be modified."""
        return self.data[start:stop]

    def write(self, start: int, rows: Tensor) -> None:
        """Store ``rows×W×C`` from row ``start`` on."""
        target = self.data[start : start + rows.shape[0]]
        if target.data_ptr() != rows.data_ptr():
            target.copy_(rows)

    def output(self, start: int, stop: int) -> Tensor:
        """Return the tensor in which to compute rows ``start`` to ``stop``; hand it to :meth:`write`."""
        return self.data[start:stop]


class FileRowStore(RowStore):
    """A whole feature in the scratch file; :meth:`read` gives a copy, :meth:`write` OSError if the disk is full."""

    def __init__(self, scratch: Scratch, file: FileIO, offset: int, shape: tuple[int, int, int]) -> None:
        self.scratch, self.file, self.offset = scratch, file, offset
        self.height, self.width, self.channels = shape
        self.row_bytes = self.width * self.channels * scratch.dtype.itemsize

    def read(self, start: int, stop: int) -> Tensor:
        rows = torch.empty(stop - start, self.width, self.channels, dtype=self.scratch.dtype)
        self._transfer(self.file.readinto, rows, start)
        return rows.to(self.scratch.device)

    def write(self, start: int, rows: Tensor) -> None:
        self._transfer(self.file.write, rows.to("cpu", self.scratch.dtype).contiguous(), start)

    def _transfer(self, move: Callable[[memoryview], int | None], rows: Tensor, start: int) -> None:
        """Move all of ``rows`` between memory and file; the system may do it in parts."""
        data = memoryview(rows.flatten().view(torch.uint8).numpy().data)
        with self.scratch.lock:
            self.file.seek(self.offset + start * self.row_bytes)
            while len(data):
                done = move(data)
                if not done:
                    raise OSError("the scratch file ended early")
                data = data[done:]

    def output(self, start: int, stop: int) -> Tensor:
        if self.scratch.partly:
            return self.read(start, stop)
        shape = stop - start, self.width, self.channels
        return torch.empty(shape, dtype=self.scratch.dtype, device=self.scratch.device)


class RowBuffer:
    """The rows of a feature between the oldest still needed and the newest, addressed by their number in the image."""

    def __init__(self, width: int, channels: int, dtype: torch.dtype, device: torch.device) -> None:
        self.data = torch.empty(0, width, channels, dtype=dtype, device=device)
        self.first, self.base, self.stop = 0, 0, 0  # oldest kept row, row at data[0], one past the newest

    def grow(self, rows: int) -> Tensor:
        """Append ``rows`` rows: a view ``rows×W×C`` to be filled."""
        if self.stop + rows - self.base > self.data.shape[0]:
            live = self.rows(self.first, self.stop)
            kept = live.shape[0]
            if kept + rows > self.data.shape[0]:
                data = self.data.new_zeros(2 * (kept + rows), *self.data.shape[1:])
            else:
                data, live = self.data, live.clone()
            data[:kept].copy_(live)
            self.data, self.base = data, self.first
        self.stop += rows
        return self.rows(self.stop - rows, self.stop)

    def rows(self, start: int, stop: int) -> Tensor:
        """Return a writable view of rows ``start`` to ``stop``, ``rows×W×C``."""
        return self.data[start - self.base : stop - self.base]

    def drop(self, before: int) -> None:
        """Forget the rows above ``before``."""
        self.first = max(self.first, before)

    def haloed(self, start: int, stop: int, height: int, left: int, right: int) -> Tensor:
        """Copy rows and columns with one more on every side, reflected at the borders of the image."""
        width = self.data.shape[1]
        lo, hi = max(left - 1, 0), min(right + 1, width)
        out = self.data.new_empty(stop - start + 2, right - left + 2, self.data.shape[2])
        inner = out[:, lo - left + 1 : hi - left + 1]
        above, below = mirrored(start - 1, height), mirrored(stop, height)
        inner[:1] = self.rows(above, above + 1)[:, lo:hi]
        inner[1:-1] = self.rows(start, stop)[:, lo:hi]
        inner[-1:] = self.rows(below, below + 1)[:, lo:hi]
        if left == 0:
            out[:, 0] = out[:, 2]
        if right == width:
            out[:, -1] = out[:, -3]
        return out


def mirrored(index: int, size: int) -> int:
    """Map a row index up to one beyond either border to the row that reflection shows there."""
    return -index if index < 0 else 2 * (size - 1) - index if index >= size else index
