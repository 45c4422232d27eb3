"""Merging brackets from files to files: one job is one bracket; a batch goes on past a bad one.

A job is plain values, so that it can travel to another process. Its main output is written last and atomically: where
it exists, the job is done, and a batch that is started again goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afunet_core.bracket.folders import find_brackets, list_bracket_folder
from afunet_core.bracket.grouping import PAUSE, group_folder
from afunet_core.errors import AFUNetError, ArgumentError, MergeCancelled
from afunet_core.io.atomic import remove_partial_files
from afunet_core.io.header import read_header
from afunet_core.io.read import read_own_metadata
from afunet_core.merging.output import check_output_kind, refuse_frames, write_outputs, write_stack_outputs

if TYPE_CHECKING:
    from afunet_core.merging.result import MergeResult
    from afunet_core.utils.progress import OnProgress, ShouldCancel

LUMINANCE = "cd/m2"  # what ``scale_to`` takes in place of a file, for the absolute unit
# cd/m² that saturate a camera in one second at ISO 100 and f/1: 78 lx s over q = 0.65 (ISO 12232, ISO 2720).
_SATURATING = 1.2
# Bytes of a result's name; file systems allow 255 with the suffix and what is put before it while it is written.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class MergeJob:
    """One bracket to merge."""

    name: str  # for messages
    output: str  # the result; a ``.png`` or ``.jpg`` gets the tone-mapped picture
    files: tuple[str, ...] = ()  # the frames, or empty for all frames of ``folder``
    folder: str | None = None  # a bracket folder
    tonemapped: str | None = None  # also write a display picture here
    stages: str | None = None  # also write pictures of every stage's features into this folder
    operator: str = "reinhard"  # tone mapping of display pictures
    exposure: float = 0.0  # and the EV by which they are brightened
    half: bool = False  # 16-bit floats in EXR and DNG
    gain_map: bool = False  # JPEG pictures hold the highlights for HDR screens in a gain map (Ultra HDR)
    # an earlier result, on whose scale radiance is put by the exposures of both, or ``"cd/m2"``
    scale_to: str | None = None
    bracket: dict[str, Any] = field(default_factory=dict)  # options of `from_files`
    # options of `merge`; ``noise`` may also be gain and read noise in counts
    merge: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None  # CPU threads the job may use; ``None`` leaves torch's choice

    @property
    def targets(self) -> list[str]:
        """The files to write, but for stages."""
        return [target for target in (self.output, self.tonemapped) if target is not None]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a job: ``status`` is ``"merged"``, ``"skipped"`` (its output was there) or ``"failed"``."""

    name: str
    status: str
    message: str = ""
    seconds: float = 0.0


def run_job(
    job: MergeJob, on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None
) -> MergeResult:
    """Read, merge, write."""
    import torch

    if job.threads is not None:
        torch.set_num_threads(job.threads)
    check_output_kind(job)
    planes = _planes(job)
    if planes > 1:
        message = f"{job.name}: each file holds {planes} planes; they are merged one by one into a stack."
        warnings.warn(message, UserWarning, stacklevel=2)
        done = [_merge_plane(job, plane, on_progress, should_cancel) for plane in range(planes)]
        write_stack_outputs(job, [result for result, _ in done], done[0][1])
        return done[0][0]
    result, reference = _merge_plane(job, None, on_progress, should_cancel)
    write_outputs(job, result, reference)
    return result


def _planes(job: MergeJob) -> int:
    """Pages of each file, where all have as many and the job asks for none of them; else 1."""
    files = [Path(file) for file in job.files] or list_bracket_folder(job.folder or ".")
    are_tiff = len(files) > 1 and all(file.suffix.lower() in (".tif", ".tiff") for file in files)
    if not are_tiff or job.bracket.get("plane") is not None:
        return 1
    counts = {len(read_header(file).pages) for file in files}
    return counts.pop() if len(counts) == 1 else 1


def _merge_plane(
    job: MergeJob, plane: int | None, on_progress: OnProgress | None, should_cancel: ShouldCancel | None
) -> tuple[MergeResult, str | None]:
    """The result of one plane of the files, and the file of the reference frame."""
    import afunet_core as af

    options = dict(job.bracket) if plane is None else {**job.bracket, "plane": plane}
    read: Any = af.Bracket.from_files if job.files else af.Bracket.from_folder
    bracket = read(job.files or job.folder or ".", **options)
    inputs = bracket.metadata.get("files", [])
    for target in job.targets:
        refuse_frames(target, inputs)
    stages = job.stages is not None
    result = af.merge(bracket, **{**job.merge, "stages": stages}, on_progress=on_progress, should_cancel=should_cancel)
    for entry in result.info["registration"]:
        if entry["decision"] == "refused":
            message = f"{entry['name']!r} could not be aligned: {entry['reason']}"
            what = "Where it differs from the reference, the result follows the reference."
            warnings.warn(f"{message}. {what}", UserWarning, stacklevel=3)
    if job.scale_to is not None:
        scale_to(result, job.scale_to)
    name = bracket.names[bracket.reference]
    return result, next((file for file in inputs if name in (file, Path(file).name)), inputs[0] if inputs else None)


def scale_to(result: MergeResult, file: str) -> None:
    """Put a result's radiance on the scale of an earlier one: a panorama's or a time series' tiles then fit together.

    Both count in units of the saturation of their shortest frames; how much light that frame admitted, as stated, tells
    how the units relate. In place of a file, ``cd/m2`` is the absolute unit, as far as cameras keep to their ratings:
    it needs times, apertures and sensitivities from the files.
    """
    other: dict[str, Any]
    if file == LUMINANCE:
        if result.info.get("exposures_from") != "EXIF":
            found = f"exposures by {result.info.get('exposures_from')}"
            raise ArgumentError("scale_to", f"frames whose files state their exposures, for {LUMINANCE}", found)
        other = {"light_of_shortest": _SATURATING, "method": ""}
    else:
        other = read_own_metadata(file)
    lights = result.info.get("light_of_shortest"), other.get("light_of_shortest")
    if not all(isinstance(light, int | float) and light > 0 for light in lights) or "method" not in other:
        advice = "Merge that bracket with this version of the program first."
        raise ArgumentError("scale_to", f"a result of a merge, or {LUMINANCE}", file, advice)
    ours, theirs = (float(light or 0.0) for light in lights)
    factor = float(other.get("scaled_by", 1.0)) * theirs / ours
    if result.info.get("output") == "display" or result.info.get("units") == "counts":
        found = result.info["units"] if result.info.get("output") == "radiance" else "a picture for display"
        raise ArgumentError("scale_to", "radiance in relative units", found, "Leave it out.")
    result.radiance *= factor
    result.info |= {"scaled_to": str(file), "scaled_by": factor}


def attempt(
    job: MergeJob,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> Outcome:
    """Run a job of a batch; what is wrong with one bracket becomes a message, not an exception."""
    if not overwrite and Path(job.output).exists():
        return Outcome(job.name, "skipped", f"{job.output} exists")
    begin = time.perf_counter()
    remove_partial_outputs(job)
    try:
        for target in job.targets:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        run_job(job, on_progress, should_cancel)
    except MergeCancelled:
        raise
    except Exception as error:  # whatever happens to one bracket, the others are merged
        from afunet_core.utils.device import is_out_of_memory

        if is_out_of_memory(error):
            return Outcome(job.name, "failed", "memory ran out; give a smaller --memory or fewer workers")
        said = " ".join(str(error).split())
        expected = isinstance(error, AFUNetError | OSError) and said
        return Outcome(job.name, "failed", said if expected else f"{type(error).__name__}: {said}".rstrip(": "))
    return Outcome(job.name, "merged", seconds=time.perf_counter() - begin)


def remove_partial_outputs(job: MergeJob) -> None:
    """Remove what a killed process left of writing this job's files."""
    for target in job.targets:
        remove_partial_files(target)


def run_batch(
    jobs: Sequence[MergeJob],
    overwrite: bool = False,
    on_progress: Callable[[str], OnProgress | None] | None = None,
    should_cancel: ShouldCancel | None = None,
) -> Iterator[Outcome]:
    """Run jobs one after the other in this process; ``on_progress`` makes the callback of a job from its name."""
    for job in jobs:
        yield attempt(job, overwrite, on_progress(job.name) if on_progress else None, should_cancel)


def folder_jobs(roots: Sequence[str | Path], output: str | Path, template: MergeJob, suffix: str) -> list[MergeJob]:
    """Make a job for every bracket folder at or below the roots; results keep the folders' names.

    ``tonemapped`` and ``stages`` of the template, where given, name folders as well.
    """
    jobs: dict[str, MergeJob] = {}
    for root in (Path(root) for root in roots):
        for folder in find_brackets(root):
            # Below a root the path names the bracket; the root itself goes by its own name.
            name = (folder.relative_to(root) if folder != root else Path(folder.resolve().name)).as_posix()
            name = _free_name(name, root if folder != root else root.resolve().parent, jobs)
            jobs[name] = _named(template, name, output, suffix, folder=str(folder))
    if not jobs:
        advice = "A bracket folder holds two or more frames, with an exposure.txt or EXIF."
        raise ArgumentError("inputs", "folders with brackets", ", ".join(map(str, roots)), advice)
    return list(jobs.values())


def group_jobs(
    folders: Sequence[str | Path], output: str | Path, template: MergeJob, suffix: str, pause: float | None = None
) -> tuple[list[MergeJob], list[Path]]:
    """Make a job for every bracket among the pictures of camera folders, found by time and exposure.

    Results are named after the first and the last frame. Also returns the pictures that belong to no bracket.
    """
    jobs: dict[str, MergeJob] = {}
    single: list[Path] = []
    for folder in folders:
        grouping = group_folder(folder, PAUSE if pause is None else pause)
        single += grouping.single
        for frames in grouping.brackets:
            name = _free_name(f"{frames[0].stem}-{frames[-1].stem}", Path(folder).resolve(), jobs)
            jobs[name] = _named(template, name, output, suffix, files=tuple(map(str, frames)))
    if not jobs:
        advice = "Pictures of one bracket need EXIF with the time and different exposures, moments apart."
        advice += " A longer pause= finds frames that were set by hand."
        raise ArgumentError("inputs", "folders with brackets", ", ".join(map(str, folders)) or "files", advice)
    return list(jobs.values()), single


def _free_name(name: str, place: Path, taken: Mapping[str, object]) -> str:
    """A name that no other job has: with the folders that it is in before it, else with a number after it."""
    name = "/".join(_shortened(part) for part in name.split("/"))
    longer = name
    for folder in (place, *place.parents):
        if longer not in taken or not folder.name:
            break
        longer = f"{_shortened(folder.name)}/{longer}"
    number = 2
    while longer in taken:
        longer, number = f"{name}-{number}", number + 1
    return longer


def _shortened(name: str) -> str:
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= _LONGEST_NAME:
        return name
    mark = hashlib.sha256(data).hexdigest()[:8]
    return data[: _LONGEST_NAME - 9].decode("utf-8", "ignore") + "-" + mark


def _named(template: MergeJob, name: str, output: str | Path, suffix: str, **source: Any) -> MergeJob:
    picture = name + (".jpg" if template.gain_map else ".png")
    return replace(
        template,
        name=name,
        output=str(Path(output) / (name + suffix)),
        tonemapped=template.tonemapped and str(Path(template.tonemapped) / picture),
        stages=template.stages and str(Path(template.stages) / name),
        **source,
    )
