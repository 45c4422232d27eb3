"""Freed memory stays with the process inside the context, and goes back after it."""

from __future__ import annotations

import sys
import threading

import pytest
import torch

from afunet_core.model import allocator
from afunet_core.model.allocator import _FreedMemoryKept, freed_memory_kept

glibc = pytest.mark.skipif(allocator._glibc() is None, reason="not the GNU C library")


class Library:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.calls.append((parameter, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.calls.append((pad,))
        return 1


def page_faults(repetitions: int = 50, size: int = 4 << 20) -> int:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(repetitions):
        # A pair of them, so that the freed memory is at the end of the heap, where it would be given back.
        pair = [torch.empty(size // 4).fill_(1.0) for _ in range(2)]
        del pair
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_memory_used_again_and_again_is_cleared_once():
    with freed_memory_kept():
        page_faults(3)
        kept = page_faults()
    allocator._glibc().mallopt(allocator.M_TRIM_THRESHOLD, 1 << 20)  # what the library starts with, nearly
    try:
        returned = page_faults()
    finally:
        allocator._glibc().mallopt(allocator.M_TRIM_THRESHOLD, allocator.USUAL_BYTES)
    assert kept < returned / 10


def test_runs_may_overlap_and_the_last_one_gives_memory_back():
    kept = _FreedMemoryKept()
    kept.library = Library()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with kept:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with kept:
        thread.start()
        assert inside.wait(10)
    while_one_is_left = list(kept.library.calls)
    leave.set()
    thread.join()
    assert [call[0] for call in while_one_is_left] == [allocator.M_MMAP_THRESHOLD, allocator.M_TRIM_THRESHOLD]
    assert kept.library.calls[2:] == [(allocator.M_TRIM_THRESHOLD, allocator.USUAL_BYTES), (0,)]


def test_an_error_inside_gives_memory_back():
    kept = _FreedMemoryKept()
    kept.library = Library()
    with pytest.raises(ValueError, match="inside"), kept:
        raise ValueError("inside")
    assert kept.users == 0
    assert kept.library.calls[-1] == (0,)


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    kept = _FreedMemoryKept()
    assert kept.library is None
    with kept:
        assert kept.users == 1
    assert kept.users == 0
