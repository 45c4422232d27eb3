"""afunet merge: brackets of exposures to HDR images

Give the frames of one bracket, or folders: a folder that holds a bracket, or folders of such folders, which are all
merged.
"""

from __future__ import annotations

import argparse
import glob
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

from afunet_core.bracket.options import BracketOptions
from afunet_core.cli.console import as_options, complain, harmless, progress_bar
from afunet_core.cli.options import (
    OPERATORS,
    add_declared_options,
    add_exposures,
    declared_options,
    stated_exposures,
)
from afunet_core.errors import ArgumentError
from afunet_core.io.formats import WRITABLE
from afunet_core.io.natural_order import natural_key
from afunet_core.merging.batch import MergeJob, Outcome, folder_jobs, group_jobs, run_batch, run_job
from afunet_core.merging.cluster import run_on_cluster, run_on_processes
from afunet_core.merging.options import MergeOptions
from afunet_core.merging.output import check_destination

EXAMPLES = """examples:
  afunet merge u.tif n.tif o.tif -o out.exr --tonemapped out.png
  afunet merge 1.png 2.png 3.png -o out.hdr --ev -2 0 2
  afunet merge brackets/ -o merged/ --workers 2
  afunet merge DCIM/100CAM/ -o merged/ --group
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("inputs", nargs="+", metavar="FRAME|FOLDER", help="frames of one bracket, or folders")
    parser.add_argument(
        "-o", "--output", required=True, help="the image (.exr, .hdr, .tif, .dng, .avif; .png, .jpg) or a folder"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing results (a batch skips them)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")

    exposed = parser.add_argument_group("exposures (default: from exposure.txt or EXIF)")
    add_exposures(exposed)
    exposed.add_argument("--group", action="store_true", help="find a camera's brackets by time and exposure")
    longest = "with --group: longest pause between frames of a bracket, in seconds (2); 10 for one set by hand"
    exposed.add_argument("--pause", type=float, metavar="S", help=longest)
    add_declared_options(parser, BracketOptions, MergeOptions)

    results = parser.add_argument_group("output files")
    results.add_argument("--tonemapped", metavar="FILE|FOLDER", help="also a picture for the screen (.png, .jpg)")
    results.add_argument("--operator", default="reinhard", choices=OPERATORS, help="tone mapping (reinhard)")
    results.add_argument("--exposure", type=float, default=0.0, metavar="EV", help="brightens the picture (0)")
    results.add_argument("--stages", metavar="FOLDER", help="also pictures of how every stage aligned the frames")
    results.add_argument("--half", action="store_true", help="16-bit floats in EXR and DNG")
    results.add_argument("--gain-map", action="store_true", help="JPEG pictures with highlights for HDR screens")
    scale = "the scale of an earlier result, for panoramas and time series; or luminance, as far as the camera is rated"
    results.add_argument("--scale-to", metavar="FILE|cd/m2", help=scale)
    results.add_argument("--format", default=".exr", metavar="SUFFIX", help="of a batch's results (.exr)")

    cluster = parser.add_argument_group("many brackets at once")
    cluster.add_argument("--workers", type=int, metavar="N", help="processes on this machine")
    cluster.add_argument("--scheduler", metavar="ADDRESS", help="a running dask scheduler, such as tcp://host:8786")


def run(options: argparse.Namespace) -> int:
    """Merge; returns 0, or 1 when a bracket of a batch failed."""
    inputs = [found for path in options.inputs for found in _expanded(path)]
    folders = [path for path in inputs if path.is_dir()]
    if folders and len(folders) != len(inputs):
        raise ArgumentError("inputs", "either frames or folders", "both", "Merge them by separate commands.")
    if options.pause is not None and not options.group:
        raise ArgumentError("pause", "--group, which looks for brackets", "no --group", "Add --group.")
    suffix = "." + options.format.lower().lstrip(".")
    is_file = Path(options.output).suffix.lower() in WRITABLE and not Path(options.output).is_dir()
    _refuse_idle_options(options, Path(options.output).suffix.lower() if is_file else suffix)
    if options.group:
        jobs, single = group_jobs(folders, options.output, _job(options), suffix, options.pause)
        if single:
            complain(f"{len(single)} pictures belong to no bracket: {', '.join(path.name for path in single[:8])}")
    elif not folders:
        return _merge_one(options, files=tuple(map(str, inputs)))
    else:
        jobs = folder_jobs(folders, options.output, _job(options), suffix)
    if is_file and len(jobs) == 1:
        return _merge_one(options, folder=jobs[0].folder, files=jobs[0].files)
    if is_file:
        advice = "Name a folder, without a suffix, as output."
        raise ArgumentError("output", "a folder for the results", f"a file for {len(jobs)} brackets", advice)
    return _merge_jobs(options, jobs, suffix)


def _refuse_idle_options(options: argparse.Namespace, suffix: str) -> None:
    """Refuse, before the work, what the results of this suffix or the method have no use for."""
    written = {suffix, Path(options.tonemapped or "").suffix.lower()}
    idle = (
        ("half", options.half and suffix not in (".exr", ".dng"), "an .exr or a .dng as output", suffix),
        ("gain_map", options.gain_map and not written & {".jpg", ".jpeg"}, "a .jpg among the results", suffix),
        ("stages", options.stages and options.method in ("weighted", "mertens"), "a method with the network", None),
    )
    for name, is_idle, expected, found in idle:
        if is_idle:
            raise ArgumentError(name, expected, found or options.method, "Leave it out.")


def _expanded(word: str) -> list[Path]:
    """The files that a pattern means, where the shell has not expanded it (Windows); any other word as it is."""
    path = Path(word)
    if not any(sign in word for sign in "*?[") or path.exists():
        return [path]
    found = glob.glob(word, recursive=True) or glob.glob(word.replace("[", "[[]"), recursive=True)
    return sorted(map(Path, found), key=natural_key) or [path]


def _job(options: argparse.Namespace, **source: Any) -> MergeJob:
    """Return the job that the options describe."""
    stated = {each.name: getattr(options, each.name) for each in fields(MergeJob) if hasattr(options, each.name)}
    bracket = {**stated_exposures(options), **declared_options(options, BracketOptions)}
    merge = declared_options(options, MergeOptions)
    return MergeJob(**{"name": Path(options.output).name, **stated, **source, "bracket": bracket, "merge": merge})


def _merge_one(options: argparse.Namespace, **source: Any) -> int:
    job = _job(options, **source)
    for target in job.targets:
        check_destination(target, options.overwrite, job.files)
    with progress_bar(job.name, options.quiet) as show:
        result = run_job(job, show)
    height, width = result.radiance.shape[:2]
    seconds = sum(result.info["seconds"].values())
    done = f"{width}×{height}, {result.info['method']}, {seconds:.1f} s on {result.info['device']}"
    print(harmless(f"{options.output}: {done}"))
    return 0


def _merge_jobs(options: argparse.Namespace, jobs: list[MergeJob], suffix: str) -> int:
    """Merge, print each outcome as it is known and the sums at the end; return 1 if a bracket failed."""
    if Path(options.output).is_file():
        raise ArgumentError("output", "a folder for the results", f"the file {options.output}", "Name another.")
    if options.tonemapped is not None and Path(options.tonemapped).suffix.lower() in WRITABLE:
        raise ArgumentError("tonemapped", "a folder for the pictures", options.tonemapped, "Leave out the suffix.")
    if options.workers is not None and options.scheduler is not None:
        raise ArgumentError("workers", "either workers here or a scheduler", "both")
    Path(options.output).mkdir(parents=True, exist_ok=True)
    check_destination(Path(options.output) / f"any{suffix}", overwrite=True)
    counts = dict.fromkeys(("merged", "skipped", "failed"), 0)
    failed: list[Outcome] = []
    with ExitStack() as bars:
        for number, outcome in enumerate(_outcomes(jobs, options, bars), 1):
            counts[outcome.status] += 1
            detail = outcome.message or f"{outcome.seconds:.1f} s"
            line = f"[{number}/{len(jobs)}] {outcome.name}: {outcome.status} ({as_options(detail)})"
            print(harmless(line), flush=True)
            if outcome.status == "failed":
                failed.append(outcome)
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    for outcome in failed:
        complain(f"error: {outcome.name}: {outcome.message}")
    return 1 if failed else 0


def _outcomes(jobs: list[MergeJob], options: argparse.Namespace, bars: ExitStack) -> Iterable[Outcome]:
    if options.scheduler is not None:
        return run_on_cluster(jobs, options.overwrite, scheduler=options.scheduler)
    if options.workers is not None:
        return run_on_processes(jobs, options.overwrite, options.workers)

    def bar(name: str) -> Any:
        bars.close()
        return bars.enter_context(progress_bar(name, options.quiet))

    return run_batch(jobs, options.overwrite, bar)
