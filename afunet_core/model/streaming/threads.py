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
        helpers = self.pool, min(self.count, len(pending)) - 1
        futures = [helpers[0].submit(_drain, queue) for _ in range(helpers[1])] if helpers[0] is not None else []
        try:
            for task in queue:
                self.check()
                task()
        finally:
            for _ in queue:  # after an error, what has not started does not start
                pass
            errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]


def _drain(queue: Iterator[Callable[[], object]]) -> None:
    with torch.inference_mode():
        try:
            for task in queue:
                task()
        finally:
            for _ in queue:
                pass
