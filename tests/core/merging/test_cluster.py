"""Batches on several processes: nothing is lost when a worker is, and a stopped run goes on."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import afunet_core as af
from afunet_core.errors import ArgumentError
from afunet_core.merging import cluster
from afunet_core.merging.batch import MergeJob, Outcome, attempt, folder_jobs
from scenes import write_bracket

COUNT = 4


@pytest.fixture
def brackets(tmp_path: Path) -> Path:
    """Four brackets, one of them spoilt."""
    light = np.linspace(0.01, 0.9, 24 * 30 * 3).reshape(24, 30, 3)
    frames = [np.rint(255 * np.clip(light * time, 0, 1) ** (1 / 2.2)).astype(np.uint8) for time in (1, 4, 16)]
    for number in range(COUNT):
        write_bracket(tmp_path / "brackets" / f"scene{number}", frames, (-2, 0, 2))
    (tmp_path / "brackets" / "scene2" / "1.tif").write_bytes(b"spoilt")
    return tmp_path / "brackets"


def weighted_jobs(root: Path, out: Path) -> list[MergeJob]:
    template = MergeJob("", "", merge={"method": "weighted", "align": "off"})
    return folder_jobs([root], out, template, ".exr")


def deadly(job: MergeJob, overwrite: bool = False) -> Outcome:
    """A stand-in for `attempt`: the first to arrive at scene 1 dies while writing it, and each at the deadly one."""
    out = Path(job.output).parent
    if job.name == "deadly" or (job.name == "scene1" and not (out / "killed").exists()):
        (out / "killed").touch()
        (out / f".{job.name}-0123abcd.exr").write_bytes(b"half a picture")
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt(job, overwrite)


@pytest.mark.skipif(os.name != "posix", reason="processes killed as POSIX does")
def test_killed_workers_lose_nothing(brackets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither their own bracket, where it can be merged, nor a neighbour's."""
    out = tmp_path / "out"
    out.mkdir()
    shutil.copytree(brackets / "scene0", brackets / "deadly")
    jobs = weighted_jobs(brackets, out)
    af.write_image(out / "scene3.exr", np.zeros((2, 2, 3), np.float32))  # done by an earlier run
    monkeypatch.setattr(cluster, "attempt", deadly)
    monkeypatch.setattr(cluster, "ATTEMPTS", 2)  # each costs a process
    outcomes = {outcome.name: outcome for outcome in cluster.run_on_processes(jobs, workers=2)}
    statuses = {name: outcome.status for name, outcome in outcomes.items()}
    expected = {"scene0": "merged", "scene1": "merged", "scene2": "failed", "scene3": "skipped", "deadly": "failed"}
    assert statuses == expected
    assert "1.tif" in outcomes["scene2"].message
    assert "2 workers were lost" in outcomes["deadly"].message
    light = af.merge(af.Bracket.from_folder(brackets / "scene1"), method="weighted", align="off").radiance
    for number in (0, 1):
        np.testing.assert_array_equal(af.read_image(out / f"scene{number}.exr").pixels, light)
    assert sorted(path.name for path in out.iterdir()) == ["killed", "scene0.exr", "scene1.exr", "scene3.exr"]


def test_what_nobody_waits_for_is_ended(brackets: Path, tmp_path: Path) -> None:
    outcomes = cluster.run_on_processes(weighted_jobs(brackets, tmp_path), workers=2)
    next(outcomes)
    outcomes.close()
    assert not multiprocessing.active_children()
    assert not list(tmp_path.glob(".*"))


def test_nothing_to_do_and_refusals(brackets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = weighted_jobs(brackets, tmp_path)
    with pytest.raises(ArgumentError, match=r"^workers: expected at least 1"):
        list(cluster.run_on_processes(jobs, workers=0))
    with pytest.raises(ArgumentError, match=r"^scheduler: expected the address"):
        list(cluster.run_on_cluster(jobs, scheduler="nowhere at all"))
    for job in jobs:
        Path(job.output).touch()
    monkeypatch.setattr(cluster, "_pool", lambda *_: pytest.fail("workers were started"))
    assert {outcome.status for outcome in cluster.run_on_processes(jobs, workers=2)} == {"skipped"}
    assert {outcome.status for outcome in cluster.run_on_cluster(jobs, scheduler="nowhere at all")} == {"skipped"}


def test_jobs_travel_with_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.safetensors").touch()
    job = MergeJob("a", "out/a.exr", folder="in/a", tonemapped="png/a.png", merge={"model": "mine.safetensors"})
    there = cluster._for_elsewhere(job)
    assert there.output == str(tmp_path / "out" / "a.exr")
    assert there.folder == str(tmp_path / "in" / "a")
    assert there.tonemapped == str(tmp_path / "png" / "a.png")
    assert there.merge["model"] == str(tmp_path / "mine.safetensors")
