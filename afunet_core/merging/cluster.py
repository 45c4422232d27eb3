"""Many brackets at once: on processes of this machine, or on the machines of a dask cluster.

Outputs appear whole or not at all, so the job of a lost worker is run again, and a stopped run goes on where it was.
Workers read and write the files, which therefore must have the same paths for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.merging.batch import MergeJob, Outcome, attempt, remove_partial_outputs

ATTEMPTS = 4  # a bracket that takes down this many workers is given up: it does not fit into their memory
ANSWER_SECONDS = 10  # how long a scheduler may take to answer
FILES = ("model", "black_level", "response")  # options that may name a file


def run_on_processes(
    jobs: Sequence[MergeJob], overwrite: bool = False, workers: int | None = None
) -> Iterator[Outcome]:
    """Run jobs on processes of this machine, by default one for every two cores; outcomes come as they are known.

    What was under way when a worker died is run again, alone; a bracket that brings down worker after worker is given
    up.
    """
    if workers is not None and workers < 1:
        raise ArgumentError("workers", "at least 1", workers)
    waiting = [job for job in jobs if overwrite or not Path(job.output).exists()]
    yield from (attempt(job) for job in jobs if job not in waiting)  # skipped
    cores = os.cpu_count() or 1
    count = min(workers or max(cores // 2, 1), max(len(waiting), 1))
    waiting = [replace(job, threads=max(cores // count, 1)) for job in waiting]
    for _ in range(ATTEMPTS):
        waiting, count = (yield from _run_once(waiting, overwrite, count)), 1
    for job in waiting:
        reason = f"{ATTEMPTS} workers were lost on it; give a smaller --memory or fewer workers"
        yield Outcome(job.name, "failed", reason)


def _pool() -> ProcessPoolExecutor:
    # "spawn": torch's threads do not survive a fork. Ctrl-C reaches the workers too; the parent decides what to do.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))


def _run_once(jobs: Sequence[MergeJob], overwrite: bool, workers: int) -> Generator[Outcome, None, list[MergeJob]]:
    """Run each job once, by workers that have a pool each, lest one take others' jobs along; returns those lost."""
    waiting, lost = list(jobs), list[MergeJob]()
    idle = [_pool() for _ in range(min(workers, len(waiting)))]
    running: dict[Future[Outcome], tuple[MergeJob, ProcessPoolExecutor]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                pool = idle.pop()
                try:
                    running[pool.submit(attempt, waiting[0], overwrite)] = waiting[0], pool
                    del waiting[0]
                except BrokenProcessPool:  # it died while it had nothing to do
                    idle.append(_pool())
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                (job, pool), failure = running.pop(future), future.exception()
                idle.append(_pool() if isinstance(failure, BrokenProcessPool) else pool)
                if isinstance(failure, BrokenProcessPool):
                    remove_partial_outputs(job)
                    lost.append(job)
                else:
                    yield future.result() if failure is None else Outcome(job.name, "failed", _reason(failure))
    finally:  # if interrupted, or nobody wants the rest, the workers need not finish their jobs
        for job, pool in running.values():
            for process in list((pool._processes or {}).values()):
                process.terminate()  # terminate_workers() comes with Python 3.14
                process.join()
            remove_partial_outputs(job)
        for pool in (*idle, *(pool for _, pool in running.values())):
            pool.shutdown()
    return lost


def run_on_cluster(jobs: Sequence[MergeJob], overwrite: bool = False, *, scheduler: str) -> Iterator[Outcome]:
    """Run jobs on the workers of the dask scheduler at an address; outcomes come as they are known.

    Where the scheduler is lost, the jobs that it had not finished come out as failed.
    """
    waiting = [job for job in jobs if overwrite or not Path(job.output).exists()]
    yield from (attempt(job) for job in jobs if job not in waiting)  # skipped
    if not waiting:
        return
    try:
        import distributed

        client = distributed.Client(scheduler, timeout=ANSWER_SECONDS)
    except ImportError as error:
        advice = "pip install 'napari-afunet[cluster]'"
        raise DependencyError(f"Merging on several machines needs dask.distributed: {advice}.") from error
    except (OSError, ValueError, TimeoutError) as error:
        advice = "Start one with `dask scheduler` and workers with `dask worker ADDRESS`."
        raise ArgumentError("scheduler", "the address of a running dask scheduler", repr(scheduler), advice) from error
    with client:
        futures: dict[Any, MergeJob] = {}
        reason = gone = "FutureCancelledError"
        try:
            for job in map(_for_elsewhere, waiting):
                futures[client.submit(attempt, job, overwrite, pure=False, retries=1)] = job
            for future in distributed.as_completed(list(futures)):
                failure = future.exception()
                if type(failure).__name__ != gone:  # or the scheduler is; told for all jobs below
                    job = futures.pop(future)
                    yield future.result() if failure is None else Outcome(job.name, "failed", _reason(failure))
        except Exception as error:
            reason = _reason(error)
        advice = "run the same command again, it goes on with what is missing"
        for job in futures.values():
            yield Outcome(job.name, "failed", f"the connection to the scheduler was lost ({reason}); {advice}")


def _reason(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "its workers were lost one after the other; give a smaller --memory"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _for_elsewhere(job: MergeJob) -> MergeJob:
    """The job with absolute paths: workers have folders of their own. Words and numbers stay as they are."""

    def absolute(value: Any) -> Any:
        return os.path.abspath(value) if isinstance(value, str) and Path(value).is_file() else value

    paths = {name: getattr(job, name) for name in ("output", "folder", "tonemapped", "stages")}
    paths = {name: path and os.path.abspath(path) for name, path in paths.items()}
    merge, bracket = (
        {name: absolute(value) if name in FILES else value for name, value in options.items()}
        for options in (job.merge, job.bracket)
    )
    files, scale_to = tuple(map(os.path.abspath, job.files)), absolute(job.scale_to)
    return replace(job, **paths, files=files, scale_to=scale_to, merge=merge, bracket=bracket)
