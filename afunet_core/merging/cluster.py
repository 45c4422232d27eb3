"""Many brackets at once: on processes of this machine, or on the machines of a dask cluster.

Outputs appear whole or not at all, so the job of a lost worker is run again, and a stopped run goes on where it was.
Workers read and write the files, which therefore must have the same paths for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.merging.batch import MergeJob, Outcome, attempt, remove_partial_outputs

ATTEMPTS = 4  # a bracket that takes down this many workers is given up: it does not fit into their memory
# How long a scheduler may take to answer, and how often a silent one is asked whether it is still there.
ANSWER_SECONDS = 10


def run_on_processes(
    jobs: Sequence[MergeJob], overwrite: bool = False, workers: int | None = None
) -> Iterator[Outcome]:
    """Run jobs on processes of this machine, by default one for every two cores; outcomes come as they are known.

    The job of a worker that died is run again, alone; a bracket that brings down worker after worker is given up.
    """
    if workers is not None and workers < 1:
        raise ArgumentError("workers", "at least 1", workers)
    return _on_processes(jobs, overwrite, workers)


def run_on_cluster(jobs: Sequence[MergeJob], overwrite: bool = False, *, scheduler: str) -> Iterator[Outcome]:
    """Run jobs on the workers of the dask scheduler at an address; outcomes come as they are known.

    Where the scheduler is lost, the jobs that it had not finished come out as failed.
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
    waiting = yield from _without_finished(jobs, overwrite)
    if not waiting:
        return
    cores = os.cpu_count() or 1
    count = min(workers or max(cores // 2, 1), len(waiting))
    waiting = [replace(job, threads=max(cores // count, 1)) for job in waiting]
    for turn in range(ATTEMPTS):
        if waiting:  # what took down its worker beside others may fit into the memory alone
            waiting = yield from _run_once(waiting, overwrite, 1 if turn else count)
    for job in waiting:
        remove_partial_outputs(job)
        reason = f"{ATTEMPTS} workers were lost on it; give a smaller --memory or fewer workers"
        yield Outcome(job.name, "failed", reason)


def _run_once(jobs: Sequence[MergeJob], overwrite: bool, workers: int) -> Generator[Outcome, None, list[MergeJob]]:
    """Run each job on one of so many workers; returns those whose worker died."""
    idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
    pools = [_pool() for _ in range(workers)]  # of one process each, which takes no other job along when it dies
    for pool in pools:
        idle.put(pool)

    def run(job: MergeJob) -> Outcome | None:
        pool = idle.get()
        try:
            return pool.submit(attempt, job, overwrite).result()
        except BrokenProcessPool:
            pool = _pool()
            pools.append(pool)
            return None
        except Exception as error:
            return Outcome(job.name, "failed", _reason(error))
        finally:
            idle.put(pool)

    threads = ThreadPoolExecutor(workers)
    running = {threads.submit(run, job): job for job in jobs}
    lost = []
    try:
        for future in as_completed(running):
            outcome = future.result()
            if outcome is None:
                lost.append(running[future])
            else:
                yield outcome
    except BaseException:  # interrupted, or nobody wants the rest: the workers need not finish their jobs
        threads.shutdown(wait=False, cancel_futures=True)
        for pool in list(pools):
            running_now = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running_now:
                process.terminate()  # terminate_workers() comes with Python 3.14
        threads.shutdown()
        for job in jobs:
            remove_partial_outputs(job)
        raise
    finally:
        threads.shutdown()
        for pool in pools:
            pool.shutdown()
    return lost


def _pool() -> ProcessPoolExecutor:
    # "spawn": torch's threads do not survive a fork. Ctrl-C reaches the workers too; the parent decides what to do.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))


# --- a dask cluster --------------------------------------------------------------------------------------------------


def _on_cluster(jobs: Sequence[MergeJob], overwrite: bool, scheduler: str) -> Iterator[Outcome]:
    try:
        import distributed
    except ImportError as error:
        advice = "pip install 'napari-afunet[cluster]'"
        raise DependencyError(f"Merging on several machines needs dask.distributed: {advice}.") from error
    try:
        client = distributed.Client(scheduler, timeout=ANSWER_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        advice = "Start one with `dask scheduler` and workers with `dask worker ADDRESS`."
        raise ArgumentError("scheduler", "the address of a running dask scheduler", repr(scheduler), advice) from error
    with client:
        futures: dict[Any, MergeJob] = {}
        try:
            futures.update((client.submit(attempt, job, overwrite, pure=False, retries=1), job) for job in jobs)
            for future in distributed.as_completed(list(futures)):
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
