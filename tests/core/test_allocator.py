"""Freed memory stays with the process inside the context, and goes back after it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from afunet_core.model.streaming import allocator
from afunet_core.model.streaming.allocator import _FreedMemoryKept

ROOT = Path(__file__).parents[2]
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


HELD = """
import ctypes, resource
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of one size, whatever the machine prefers
import torch
from afunet_core.model.streaming import allocator
from afunet_core.model.streaming.allocator import freed_memory_kept

PAGE = resource.getpagesize()

def pages_held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

def use_and_free():
    before, faults = pages_held(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.empty(1 << 20).fill_(1.0) for _ in range(32)]  # 4 MiB each
    del blocks
    return pages_held() - before, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults

use_and_free()  # what torch itself allocates on first use
allocator._glibc().mallopt(allocator.M_MMAP_THRESHOLD, 128 << 10)  # what the library starts with
usual = use_and_free()
start = pages_held()
with freed_memory_kept():
    first, second = use_and_free(), use_and_free()
print(PAGE, *usual, *first, *second, pages_held() - start)
"""


@glibc
def test_memory_used_again_and_again_is_cleared_once():
    """In a process of its own: the heap of this one holds what a thousand tests left there."""
    command = [sys.executable, "-c", HELD]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    page, usual, usual_faults, first, first_faults, second, second_faults, after = map(int, done.stdout.split())
    blocks = 32 * (4 << 20) // page
    assert min(usual_faults, first_faults) > 0.9 * blocks  # the system clears every page
    assert usual < 0.1 * blocks  # and has it back
    assert first > 0.9 * blocks  # inside the context it stays
    assert second_faults < 0.1 * blocks  # and is used again
    assert abs(second) < 0.1 * blocks
    assert after < 0.1 * blocks  # after it, it goes back


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
