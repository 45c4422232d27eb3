"""Threads that compute the independent tiles of a step, one tile to a core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch


class _OneTorchThread:
    """Limit of PyTorch's own threads to one, while runs with workers are under way.

    PyTorch keeps the number for each thread, and one for threads that start to compute from then on.
    """

    def __init__(self) -> None:
        self.lock, self.users, self.before = threading.Lock(), 0, 1

    def enter(self) -> None:
        with self.lock:
            if self.users == 0:
                self.before = torch.get_num_threads()
            self.users += 1
            torch.set_num_threads(1)

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            torch.set_num_threads(self.before)  # in every thread that leaves, though others go on


_torch_threads = _OneTorchThread()


class Workers:
    """A pool that runs the independent tiles of a step, one tile to a core.

    Tiles are small matrix products: handing whole tiles to single-threaded workers costs far less synchronisation
    than splitting every operation over the cores. With one worker everything runs in the calling thread, and each
    operation uses PyTorch's own threads.
    """

    def __init__(self, count: int, check: Callable[[], None]) -> None:
        self.count, self.check = count, check
        self.pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            _torch_threads.enter()
            self.pool = ThreadPoolExecutor(self.count - 1, "afunet", initializer=torch.set_num_threads, initargs=(1,))
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            _torch_threads.leave()

    def run(self, tasks: Iterable[Callable[[], object]]) -> None:
        """Run every task; returns when all are done. The first error is raised after the others have stopped."""
        pending = list(tasks)
        queue = iter(pending)
        pool, others = self.pool, min(self.count, len(pending)) - 1
        futures = [pool.submit(_drain, queue, lambda: None) for _ in range(others)] if pool is not None else []
        try:
            _drain(queue, self.check)
        finally:
            errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]


def _drain(queue: Iterator[Callable[[], object]], check: Callable[[], None]) -> None:
    """Compute what is left, asking before each; after an error, what has not started does not start."""
    with torch.inference_mode():
        try:
            for task in queue:
                check()
                task()
        finally:
            for _ in queue:
                pass
