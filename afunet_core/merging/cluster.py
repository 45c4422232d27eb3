"""Many brackets at once, on the processes of this machine or the machines of a dask cluster.

Jobs are independent and their outputs appear whole or not at all, so a job can be run again at any time: what a lost
worker was doing goes to another one, and a run that was stopped goes on where it was. The workers read and write the
files, which therefore must have the same paths for all of them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.merging.batch import MergeJob, Outcome, attempt

__all__ = ["run_on_cluster"]

LOST_WORKERS_ALLOWED = 3
"""A bracket that takes down this many workers and one more is given up: it does not fit into their memory."""


def run_on_cluster(
    jobs: Sequence[MergeJob], overwrite: bool = False, *, workers: int | None = None, scheduler: str | None = None
) -> Iterator[Outcome]:
    """Run jobs on a cluster; outcomes come as they are known.

    Args:
        jobs: what to do.
        overwrite: also run jobs whose output exists.
        workers: processes to start on this machine; ``None`` with no scheduler starts one for every two cores.
        scheduler: address of a running dask scheduler instead.

    Yields:
        One :class:`~afunet_core.merging.batch.Outcome` a job, each exactly once.

    Raises:
        ArgumentError: for fewer than one worker, for workers and a scheduler, or a scheduler that does not answer.
        DependencyError: without dask.distributed.
    """
    if workers is not None and workers < 1:
        raise ArgumentError("workers", "at least 1", workers)
    if workers is not None and scheduler is not None:
        raise ArgumentError("workers", "either workers here or a scheduler", "both")
    return _outcomes(jobs, overwrite, workers, scheduler)


def _outcomes(
    jobs: Sequence[MergeJob], overwrite: bool, workers: int | None, scheduler: str | None
) -> Iterator[Outcome]:
    waiting = []
    for job in jobs:
        if not overwrite and Path(job.output).exists():
            yield Outcome(job.name, "skipped", f"{job.output} exists")
        else:
            waiting.append(_for_elsewhere(job))
    if not waiting:
        return
    with ExitStack() as stack:
        stack.callback(_remove_partial_files, waiting)
        client, threads = _connect(stack, workers, scheduler, len(waiting))
        yield from _run(client, [replace(job, threads=threads) for job in waiting], overwrite)


def _connect(stack: ExitStack, workers: int | None, scheduler: str | None, jobs: int) -> tuple[Any, int | None]:
    """A client, closed with the stack, and the threads a job may use (``None``: the worker's own choice)."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        advice = "pip install 'napari-afunet[cluster]'"
        raise DependencyError(f"Merging on several workers needs dask.distributed: {advice}.") from error
    settings = {"distributed.scheduler.allowed-failures": LOST_WORKERS_ALLOWED}
    stack.enter_context(dask.config.set(settings))
    if scheduler is not None:
        try:
            return stack.enter_context(Client(scheduler, timeout=10)), None
        except (OSError, ValueError, TimeoutError) as error:
            advice = "Start one with `dask scheduler` and workers with `dask worker ADDRESS`."
            raise ArgumentError(
                "scheduler", "the address of a running dask scheduler", repr(scheduler), advice
            ) from error
    cores = os.cpu_count() or 1
    count = min(workers or max(cores // 2, 1), jobs)
    cluster = LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=True,
        memory_limit=0,  # merge() keeps to its own budget; a limit here would kill workers that do
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )
    stack.enter_context(cluster)
    return stack.enter_context(Client(cluster)), max(cores // count, 1)


def _run(client: Any, jobs: Sequence[MergeJob], overwrite: bool) -> Iterator[Outcome]:
    from distributed import as_completed

    futures = {client.submit(attempt, job, overwrite, pure=False, retries=1): job for job in jobs}
    for future in as_completed(futures):
        job = futures[future]
        error = future.exception()
        yield future.result() if error is None else Outcome(job.name, "failed", _reason(error))
        future.release()


def _reason(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return f"{LOST_WORKERS_ALLOWED + 1} workers were lost on it; give a smaller --memory or fewer workers"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _for_elsewhere(job: MergeJob) -> MergeJob:
    """The job with absolute paths: workers have folders of their own."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(Path(path).absolute())

    return replace(
        job,
        output=str(Path(job.output).absolute()),
        files=tuple(str(Path(file).absolute()) for file in job.files),
        folder=absolute(job.folder),
        tonemapped=absolute(job.tonemapped),
        stages=absolute(job.stages),
        merge={**job.merge, "model": _file_or_word(job.merge.get("model", "default"))},
        bracket={**job.bracket, "black_level": _file_or_word(job.bracket.get("black_level", 0.0))},
    )


def _file_or_word(value: Any) -> Any:
    """A file (weights, a dark frame) by its absolute path; names and numbers as they are."""
    return str(Path(value).absolute()) if isinstance(value, str) and Path(value).is_file() else value


def _remove_partial_files(jobs: Sequence[MergeJob]) -> None:
    """What a worker was writing when it was killed (see :func:`afunet_core.io.write_image` for the name)."""
    for job in jobs:
        for path in (Path(name) for name in (job.output, job.tonemapped) if name is not None):
            with suppress(OSError):
                for partial in path.parent.glob(f".{path.stem[:40]}-????????{path.suffix}"):
                    partial.unlink()
