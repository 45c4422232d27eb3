"""Radiance files, where OpenImageIO does not read all: numbers of the header, and pictures in old runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_LARGEST_HEADER = 2**20  # bytes
_NEW_RUNS = b"\2\2"  # as each line of files since 1991 begins
_EXPONENT_BIAS = 136  # of RGBE: 128, and 8 bits behind the point


def radiance_scale(path: Path) -> np.ndarray:
    """The factors of red, green and blue that a file's EXPOSURE and COLORCORR state (Graphics Gems II)."""
    scale = np.ones(3)
    for name, numbers in _numbers_of_header(path):
        if name in (b"EXPOSURE", b"COLORCORR") and len(numbers) in (1, 3) and (numbers > 0).all():
            scale = scale / numbers
    return scale if np.isfinite(scale).all() else np.ones(3)


def radiance_primaries(path: Path) -> tuple[float, ...] | None:
    """The x and y of red, green, blue and white that a file's PRIMARIES states, or ``None``."""
    found = [tuple(numbers) for name, numbers in _numbers_of_header(path) if name == b"PRIMARIES" and len(numbers) == 8]
    return found[-1] if found else None


def _numbers_of_header(path: Path) -> Iterator[tuple[bytes, np.ndarray]]:
    """Names and values of the lines that hold finite numbers."""
    with path.open("rb") as file:
        header = file.read(_LARGEST_HEADER).partition(b"\n\n")[0]
    for line in header.split(b"\n"):
        name, _, value = line.partition(b"=")
        with contextlib.suppress(ValueError):
            numbers = np.array([float(word) for word in value.split()])
            if np.isfinite(numbers).all():
                yield name.strip().upper(), numbers


def read_old_runs(path: Path, count: int) -> np.ndarray | None:
    """Read ``count`` pixels, (N, 3), that are packed in runs of equal ones; ``None`` where they are stored otherwise.

    (1, 1, 1, n) repeats the pixel before it n times; of several in a row each is worth 256 times the one before.
    """
    data = path.read_bytes().partition(b"\n\n")[2].partition(b"\n")[2]
    if data.startswith(_NEW_RUNS) or len(data) >= 4 * count:
        return None
    words = np.frombuffer(data[: len(data) // 4 * 4], np.uint8).reshape(-1, 4)
    is_run, index = (words[:, :3] == 1).all(axis=1), np.arange(len(words))
    repeated = np.maximum.accumulate(np.where(is_run, 0, index))
    digit = np.clip(index - repeated - 1, 0, 3)
    counts = np.where(is_run, words[:, 3].astype(np.int64) << 8 * digit, 1)
    if counts.sum() != count:
        return None  # damaged: told by whoever reads it otherwise
    pixels = words[repeated].repeat(counts, axis=0).astype(np.float32)
    exponents = np.where(pixels[:, 3:] > 0, pixels[:, 3:] - _EXPONENT_BIAS, -np.inf)
    return pixels[:, :3] * np.exp2(exponents, dtype=np.float32)
