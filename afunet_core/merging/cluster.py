"""Many brackets at once: on processes of this machine, or on the machines of a dask cluster.

Outputs appear whole or not at all, so the job of a lost worker is run again, and a stopped run goes on where it was.
Workers read and write the files, which therefore must have the same paths for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.merging.batch import MergeJob, Outcome, attempt, remove_partial_outputs

ATTEMPTS = 4  # a bracket that takes down this many workers is given up: it does not fit into their memory
ANSWER_SECONDS = 10  # how long a scheduler may take to answer


def run_on_processes(
    jobs: Sequence[MergeJob], overwrite: bool = False, workers: int | None = None
) -> Iterator[Outcome]:
    """Run jobs on processes of this machine, by default one for every two cores; outcomes come as they are known.

    What was under way when a worker died is run again, alone; a bracket that brings down worker after worker is given
    up.
    """
    if workers is not None and workers < 1:
        raise ArgumentError("workers", "at least 1", workers)
    waiting = yield from _without_finished(jobs, overwrite)
    cores = os.cpu_count() or 1
    count = min(workers or max(cores // 2, 1), max(len(waiting), 1))
    waiting = [replace(job, threads=max(cores // count, 1)) for job in waiting]
    deaths: Counter[str] = Counter()
    while waiting:
        together = [job for job in waiting if deaths[job.name]][:1] or waiting
        lost = yield from _run_once(together, overwrite, min(count, len(together)))
        deaths.update(job.name for job in lost[:count])  # jobs begin in this order
        waiting = lost if together is waiting else [job for job in waiting if job not in together or job in lost]
        for job in [job for job in waiting if deaths[job.name] >= ATTEMPTS]:
            waiting.remove(job)
            remove_partial_outputs(job)
            reason = f"{ATTEMPTS} workers were lost on it; give a smaller --memory or fewer workers"
            yield Outcome(job.name, "failed", reason)


def _without_finished(jobs: Sequence[MergeJob], overwrite: bool) -> Generator[Outcome, None, list[MergeJob]]:
    waiting: list[MergeJob] = []
    for job in jobs:
        if not overwrite and Path(job.output).exists():
            yield Outcome(job.name, "skipped", f"{job.output} exists")
        else:
            waiting.append(job)
    return waiting  # taken by ``yield from``


def _pool(workers: int) -> ProcessPoolExecutor:
    # "spawn": torch's threads do not survive a fork. Ctrl-C reaches the workers too; the parent decides what to do.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))


def _run_once(jobs: Sequence[MergeJob], overwrite: bool, workers: int) -> Generator[Outcome, None, list[MergeJob]]:
    """Run the jobs until a worker dies; returns those without an outcome, in their order."""
    pool = _pool(workers)
    left = list(jobs)
    try:
        running = {pool.submit(attempt, job, overwrite): job for job in jobs}
        for future in as_completed(running):
            job, failure = running[future], future.exception()
            if not isinstance(failure, BrokenProcessPool):
                left.remove(job)
                yield future.result() if failure is None else Outcome(job.name, "failed", _reason(failure))
    finally:  # if interrupted, or nobody wants the rest, the workers need not finish their jobs
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()  # terminate_workers() comes with Python 3.14
            process.join()
        for job in left:
            remove_partial_outputs(job)
    return left


# --- a dask cluster --------------------------------------------------------------------------------------------------


def run_on_cluster(jobs: Sequence[MergeJob], overwrite: bool = False, *, scheduler: str) -> Iterator[Outcome]:
    """Run jobs on the workers of the dask scheduler at an address; outcomes come as they are known.

    Where the scheduler is lost, the jobs that it had not finished come out as failed.
    """
    waiting = yield from _without_finished(jobs, overwrite)
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
        reason = "FutureCancelledError"
        try:
            for job in map(_for_elsewhere, waiting):
                futures[client.submit(attempt, job, overwrite, pure=False, retries=1)] = job
            for future in distributed.as_completed(list(futures)):
                failure = future.exception()
                if (
                    type(failure).__name__ != "FutureCancelledError"
                ):  # or the scheduler is gone; told for all jobs below
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

    def absolute(path: Any) -> Any:
        return path and str(Path(path).absolute())

    def with_files(options: dict[str, Any], *names: str) -> dict[str, Any]:
        files = {name: options[name] for name in names if isinstance(options.get(name), str)}
        return {**options, **{name: absolute(file) for name, file in files.items() if Path(file).is_file()}}

    paths = {name: absolute(getattr(job, name)) for name in ("output", "folder", "tonemapped", "stages")}
    paths |= with_files({"scale_to": job.scale_to}, "scale_to")
    merge, bracket = with_files(job.merge, "model"), with_files(job.bracket, "black_level", "response")
    return replace(job, **paths, files=tuple(map(absolute, job.files)), merge=merge, bracket=bracket)
