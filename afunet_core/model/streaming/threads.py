"""Threads that compute the independent tiles of a step, one tile to a core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch


class Workers:
    """A pool that runs the independent tiles of a step, one tile to a core.

    Tiles are small matrix products: handing whole tiles to single-threaded workers costs far less synchronisation
    than splitting every operation over the cores. With one worker everything runs in the calling thread, and each
    operation uses PyTorch's own threads; with more these are limited to one while any run is under way. PyTorch keeps
    their number for each thread, and one for threads that start to compute from then on.
    """

    lock = threading.Lock()
    running, torch_threads = 0, 1  # runs under way with several workers, and the number before the first of them

    def __init__(self, count: int, check: Callable[[], None]) -> None:
        self.count, self.check = count, check
        self.pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            with Workers.lock:
                if Workers.running == 0:
                    Workers.torch_threads = torch.get_num_threads()
                Workers.running += 1
                torch.set_num_threads(1)
            self.pool = ThreadPoolExecutor(self.count - 1, "afunet", initializer=torch.set_num_threads, initargs=(1,))
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            with Workers.lock:
                Workers.running -= 1
                torch.set_num_threads(Workers.torch_threads)  # in every thread that leaves, though others go on

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
