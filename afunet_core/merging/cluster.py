"""Many brackets at once: on processes of this machine, or on the machines of a dask cluster.

Jobs are independent and their outputs appear whole or not at all, so a job can be run again at any time: what a lost
worker was doing goes to another one, and a run that was stopped goes on where it was. The workers read and write the
files, which therefore must have the same paths for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.merging.batch import MergeJob, Outcome, attempt, remove_partial_outputs

__all__ = ["run_on_cluster", "run_on_processes"]

ATTEMPTS = 4
"""A bracket that takes down this many workers is given up: it does not fit into their memory."""

ANSWER_SECONDS = 10
"""How long a scheduler may take to answer, and how often a silent one is asked whether it is still there."""


def run_on_processes(
    jobs: Sequence[MergeJob], overwrite: bool = False, workers: int | None = None
) -> Iterator[Outcome]:
    """Run jobs on processes of this machine; outcomes come as they are known.

    A worker that dies takes all jobs under way with it. Which one was at fault cannot be told, so each of them is run
    again by itself, and only a bracket that brings down worker after worker alone is given up.

    Args:
        jobs: what to do.
        overwrite: also run jobs whose output exists.
        workers: processes; ``None`` starts one for every two cores.

    Yields:
        One :class:`~afunet_core.merging.batch.Outcome` a job, each exactly once.

    Raises:
        ArgumentError: for fewer than one worker.
    """
    if workers is not None and workers < 1:
        raise ArgumentError("workers", "at least 1", workers)
    return _on_processes(jobs, overwrite, workers)


def run_on_cluster(jobs: Sequence[MergeJob], overwrite: bool = False, *, scheduler: str) -> Iterator[Outcome]:
    """Run jobs on the workers of a dask scheduler; outcomes come as they are known.

    Args:
        jobs: what to do.
        overwrite: also run jobs whose output exists.
        scheduler: address of a running dask scheduler.

    Yields:
        One :class:`~afunet_core.merging.batch.Outcome` a job, each exactly once; where the scheduler is lost, the jobs
        that it had not finished come out as failed.

    Raises:
        ArgumentError: the scheduler does not answer.
        DependencyError: without dask.distributed.
    """
    waiting = yield from _without_finished(jobs, overwrite)
    if waiting:
        yield from _on_cluster([_for_elsewhere(job) for job in waiting], overwrite, scheduler)


def _without_finished(jobs: Sequence[MergeJob], overwrite: bool) -> Generator[Outcome, None, list[MergeJob]]:
    waiting: list[MergeJob] = []
    for job in jobs:
        if not overwrite and Path(job.output).exists():
            yield Outcome(job.name, "skipped", f"{job.output} exists")
        else:
            waiting.append(job)
    return waiting  # taken by ``yield from``


# --- processes of this machine ---------------------------------------------------------------------------------------


def _on_processes(jobs: Sequence[MergeJob], overwrite: bool, workers: int | None) -> Iterator[Outcome]:
    waiting = deque((yield from _without_finished(jobs, overwrite)))
    if not waiting:
        return
    cores = os.cpu_count() or 1
    count = min(workers or max(cores // 2, 1), len(waiting))
    waiting = deque(replace(job, threads=max(cores // count, 1)) for job in waiting)
    suspects: deque[MergeJob] = deque()
    while waiting:
        yield from _until_a_worker_dies(waiting, suspects, overwrite, count)
    yield from _one_by_one(suspects, overwrite)


def _pool(workers: int) -> ProcessPoolExecutor:
    # "spawn": torch's threads do not survive a fork. Ctrl-C reaches the workers too; the parent decides what to do.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))


def _stop_workers(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # terminate_workers() comes with Python 3.14
        process.terminate()


def _until_a_worker_dies(
    waiting: deque[MergeJob], suspects: deque[MergeJob], overwrite: bool, workers: int
) -> Iterator[Outcome]:
    """Run what waits; jobs that were under way when a worker died become suspects."""
    running: dict[Future[Outcome], MergeJob] = {}
    with _pool(workers) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < workers:  # none waits in the pool: it would be lost with a neighbour
                    running[pool.submit(attempt, waiting[0], overwrite)] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome = _result(future, running[future])
                    del running[future]
                    yield outcome
        except BrokenProcessPool:
            for future, job in running.items():
                if future.done() and future.exception() is None:
                    yield future.result()
                else:
                    suspects.append(job)
        except BaseException:  # interrupted, or nobody wants the rest: the workers need not finish their jobs
            _stop_workers(pool)
            for job in running.values():
                remove_partial_outputs(job)
            raise


def _one_by_one(suspects: deque[MergeJob], overwrite: bool) -> Iterator[Outcome]:
    lost: Counter[str] = Counter({job.name: 1 for job in suspects})
    while suspects:
        job = suspects.popleft()
        with _pool(1) as pool:
            try:
                yield _result(pool.submit(attempt, job, overwrite), job)
                continue
            except BrokenProcessPool:
                lost[job.name] += 1
            except BaseException:
                _stop_workers(pool)
                remove_partial_outputs(job)
                raise
        if lost[job.name] < ATTEMPTS:
            suspects.append(job)
        else:
            remove_partial_outputs(job)
            reason = f"{ATTEMPTS} workers were lost on it; give a smaller --memory or fewer workers"
            yield Outcome(job.name, "failed", reason)


def _result(future: Future[Outcome], job: MergeJob) -> Outcome:
    """Return the outcome of a job; only the death of a worker is raised."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except Exception as error:
        return Outcome(job.name, "failed", _reason(error))


# --- a dask cluster --------------------------------------------------------------------------------------------------


def _on_cluster(jobs: Sequence[MergeJob], overwrite: bool, scheduler: str) -> Iterator[Outcome]:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        advice = "pip install 'napari-afunet[cluster]'"
        raise DependencyError(f"Merging on several machines needs dask.distributed: {advice}.") from error
    try:
        client = Client(scheduler, timeout=ANSWER_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        advice = "Start one with `dask scheduler` and workers with `dask worker ADDRESS`."
        raise ArgumentError("scheduler", "the address of a running dask scheduler", repr(scheduler), advice) from error
    with client:
        futures: dict[Any, MergeJob] = {}
        try:
            futures.update((client.submit(attempt, job, overwrite, pure=False, retries=1), job) for job in jobs)
            for future in as_completed(list(futures)):
                job = futures[future]
                failure = future.exception()
                if type(failure).__name__ == "FutureCancelledError":
                    continue  # the scheduler is gone; told for all jobs below
                del futures[future]
                yield future.result() if failure is None else Outcome(job.name, "failed", _reason(failure))
        except Exception as error:
            lost = _reason(error)
        else:
            lost = "FutureCancelledError"
        for job in futures.values():
            advice = "run the same command again, it goes on with what is missing"
            yield Outcome(job.name, "failed", f"the connection to the scheduler was lost ({lost}); {advice}")


def _reason(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "its workers were lost one after the other; give a smaller --memory"
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
        scale_to=_file_or_word(job.scale_to),
        merge={**job.merge, "model": _file_or_word(job.merge.get("model", "default"))},
        bracket={**job.bracket, "black_level": _file_or_word(job.bracket.get("black_level", 0.0))},
    )


def _file_or_word(value: Any) -> Any:
    """A file (weights, a dark frame) by its absolute path; names and numbers as they are."""
    return str(Path(value).absolute()) if isinstance(value, str) and Path(value).is_file() else value
