"""Merging brackets from files to files: one job is one bracket; a batch goes on past a bad one.

A job is plain values, so that it can travel to another process (:mod:`afunet_core.merging.cluster`). Its main output
is written
last and atomically: where it exists, the job is done, and a batch that is started again goes on where it stopped.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afunet_core.errors import AFUNetError, ArgumentError, ImageFileError, MergeCancelled
from afunet_core.io.atomic import remove_partial_files

if TYPE_CHECKING:
    import numpy as np

    from afunet_core.merging.result import MergeResult
    from afunet_core.utils.progress import OnProgress, ShouldCancel

__all__ = [
    "MergeJob",
    "Outcome",
    "attempt",
    "check_destination",
    "folder_jobs",
    "group_jobs",
    "remove_partial_outputs",
    "run_batch",
    "run_job",
]

DISPLAY_FORMATS = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class MergeJob:
    """One bracket to merge.

    Args:
        name: for messages.
        output: the result; a ``.png`` or ``.jpg`` gets the tone-mapped picture.
        files: the frames, or empty for all frames of ``folder``.
        folder: a bracket folder.
        tonemapped: also write a display picture here.
        stages: also write pictures of every stage's features into this folder.
        operator, exposure: tone mapping operator and EV, for display pictures.
        half: 16-bit floats in EXR.
        bracket: options of :meth:`afunet_core.Bracket.from_files`.
        merge: options of :func:`afunet_core.merge`; ``noise`` may also be gain and read noise in counts.
        threads: CPU threads the job may use; ``None`` leaves torch's choice.
    """

    name: str
    output: str
    files: tuple[str, ...] = ()
    folder: str | None = None
    tonemapped: str | None = None
    stages: str | None = None
    operator: str = "mu_law"
    exposure: float = 0.0
    half: bool = False
    bracket: dict[str, Any] = field(default_factory=dict)
    merge: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job: ``status`` is ``"merged"``, ``"skipped"`` (its output was there) or ``"failed"``."""

    name: str
    status: str
    message: str = ""
    seconds: float = 0.0


def run_job(
    job: MergeJob, on_progress: OnProgress | None = None, should_cancel: ShouldCancel | None = None
) -> MergeResult:
    """Read, merge, write.

    Raises:
        AFUNetError: whatever is wrong with the frames, the options or the destination.
    """
    import torch

    import afunet_core as af

    if job.threads is not None:
        torch.set_num_threads(job.threads)
    _check_output_kind(job)
    if job.files:
        bracket = af.Bracket.from_files(job.files, **job.bracket)
    else:
        bracket = af.Bracket.from_folder(job.folder or ".", **job.bracket)
    options = {**job.merge, "stages": job.stages is not None}
    if isinstance(options.get("noise"), tuple):
        from afunet_core.camera.noise import NoiseModel

        gain, read_noise = options["noise"]
        options["noise"] = NoiseModel.from_counts(gain, read_noise, bracket.scale)
    result = af.merge(bracket, **options, on_progress=on_progress, should_cancel=should_cancel)
    _warn_of_unaligned_frames(result)
    if job.stages is not None and result.stages is not None:
        _write_stages(Path(job.stages), result)
    if job.tonemapped is not None:
        af.write_image(job.tonemapped, display_picture(result, job.operator, job.exposure), metadata=result.info)
    if Path(job.output).suffix.lower() in DISPLAY_FORMATS:
        af.write_image(job.output, display_picture(result, job.operator, job.exposure), metadata=result.info)
    else:
        af.write_image(job.output, result.radiance, metadata=result.info, half=job.half)
    return result


def _warn_of_unaligned_frames(result: MergeResult) -> None:
    for entry in result.info["registration"]:
        if entry["decision"] == "refused":
            warnings.warn(
                f"{entry['name']!r} could not be aligned: {entry['reason']}. Where it differs from the reference, the "
                "result follows the reference.",
                UserWarning,
                stacklevel=2,
            )


def display_picture(result: MergeResult, operator: str = "mu_law", exposure: float = 0.0) -> np.ndarray:
    """The result as a screen shows it: display-encoded, in [0, 1], ``H×W×3`` or ``H×W``.

    Args:
        result: of a single bracket (not a batch).
        operator: a tone mapping operator of :data:`afunet_core.tonemap.OPERATORS`.
        exposure: EV by which to brighten it first.
    """
    import torch

    from afunet_core.tonemap import tone_map

    if result.info.get("output") == "display":
        return result.radiance
    radiance = torch.from_numpy(result.radiance)
    if result.info.get("units") == "counts":  # operators take 1.0 for the saturation of the shortest frame
        radiance = radiance / result.info["scale"]
    grey = radiance.dim() == 2
    image = radiance.expand(3, -1, -1) if grey else radiance.permute(2, 0, 1)
    mapped = tone_map(image[None], operator, ev=exposure)[0]
    return (mapped[0] if grey else mapped.permute(1, 2, 0)).contiguous().numpy()


def attempt(job: MergeJob, overwrite: bool = False, on_progress: OnProgress | None = None) -> Outcome:
    """Run a job of a batch; what is wrong with one bracket becomes a message, not an exception."""
    if not overwrite and Path(job.output).exists():
        return Outcome(job.name, "skipped", f"{job.output} exists")
    begin = time.perf_counter()
    remove_partial_outputs(job)
    try:
        for target in filter(None, (job.output, job.tonemapped)):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        run_job(job, on_progress)
    except MergeCancelled:
        raise
    except (AFUNetError, OSError, MemoryError) as error:
        return Outcome(job.name, "failed", " ".join(str(error).split()) or type(error).__name__)
    except RuntimeError as error:
        from afunet_core.utils.device import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        return Outcome(job.name, "failed", "memory ran out; give a smaller --memory or fewer workers")
    return Outcome(job.name, "merged", seconds=time.perf_counter() - begin)


def remove_partial_outputs(job: MergeJob) -> None:
    """Remove what a killed process left of writing this job's files."""
    for target in filter(None, (job.output, job.tonemapped)):
        remove_partial_files(target)


def run_batch(
    jobs: Sequence[MergeJob], overwrite: bool = False, on_progress: Callable[[str], OnProgress | None] | None = None
) -> Iterator[Outcome]:
    """Run jobs one after the other in this process.

    Args:
        jobs: what to do.
        overwrite: also run jobs whose output exists.
        on_progress: makes the progress callback of a job from its name.
    """
    for job in jobs:
        yield attempt(job, overwrite, on_progress(job.name) if on_progress else None)


def folder_jobs(roots: Sequence[str | Path], output: str | Path, template: MergeJob, suffix: str) -> list[MergeJob]:
    """A job for every bracket folder at or below the roots; results keep the folders' names.

    Args:
        roots: folders to search.
        output: folder of the results.
        template: the options; ``tonemapped`` and ``stages``, where given, name folders as well.
        suffix: format of the results, such as ``".exr"``.

    Raises:
        ArgumentError: when there is no bracket, or two would have the same result.
    """
    from dataclasses import replace

    from afunet_core.bracket.folders import find_brackets

    jobs: dict[str, MergeJob] = {}
    for root in (Path(root) for root in roots):
        for folder in find_brackets(root):
            # Below a root the path names the bracket; the root itself goes by its own name.
            name = (folder.relative_to(root) if folder != root else Path(folder.resolve().name)).as_posix()
            if name in jobs:
                advice = "Merge the folders one by one into different output folders."
                raise ArgumentError("inputs", "folders of different names", repr(name) + " twice", advice)
            jobs[name] = replace(
                template,
                name=name,
                folder=str(folder),
                output=str(Path(output) / (name + suffix)),
                tonemapped=template.tonemapped and str(Path(template.tonemapped) / (name + ".png")),
                stages=template.stages and str(Path(template.stages) / name),
            )
    if not jobs:
        advice = "A bracket folder holds two or more frames, with an exposure.txt or EXIF."
        raise ArgumentError("inputs", "folders with brackets", ", ".join(map(str, roots)), advice)
    return list(jobs.values())


def group_jobs(
    folders: Sequence[str | Path], output: str | Path, template: MergeJob, suffix: str
) -> tuple[list[MergeJob], list[Path]]:
    """A job for every bracket among the pictures of camera folders, found by time and exposure.

    Args:
        folders: mixed pictures.
        output: folder of the results, which are named after the first and the last frame.
        template: the options; ``tonemapped`` and ``stages``, where given, name folders as well.
        suffix: format of the results, such as ``".exr"``.

    Returns:
        The jobs, and the pictures that belong to no bracket.

    Raises:
        ArgumentError: when there is no folder, or no bracket in any.
    """
    from dataclasses import replace

    from afunet_core.bracket.grouping import group_folder

    jobs: dict[str, MergeJob] = {}
    single: list[Path] = []
    for folder in folders:
        grouping = group_folder(folder)
        single += grouping.single
        for frames in grouping.brackets:
            name = f"{frames[0].stem}-{frames[-1].stem}"
            if name in jobs:  # cameras count from 1 in every folder
                name = f"{Path(folder).resolve().name}/{name}"
            jobs[name] = replace(
                template,
                name=name,
                files=tuple(map(str, frames)),
                output=str(Path(output) / (name + suffix)),
                tonemapped=template.tonemapped and str(Path(template.tonemapped) / (name + ".png")),
                stages=template.stages and str(Path(template.stages) / name),
            )
    if not jobs:
        advice = "Pictures of one bracket need EXIF with the time and different exposures, moments apart."
        raise ArgumentError("inputs", "folders with brackets", ", ".join(map(str, folders)) or "files", advice)
    return list(jobs.values()), single


def check_destination(path: str | Path, overwrite: bool) -> None:
    """Refuse a destination that cannot be written, before the work and not after it.

    Raises:
        ImageFileError: the format is not known, the folder missing or read-only, or the file there and not to be
            overwritten.
    """
    import os

    from afunet_core.io import WRITABLE

    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        known = ", ".join(sorted(WRITABLE))
        raise ImageFileError(f"{path}: files of type {path.suffix or '(none)'} are not written. Use one of {known}.")
    if not path.parent.is_dir():
        raise ImageFileError(f"{path}: the folder {path.parent} does not exist. Create it, or choose another.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ImageFileError(f"{path}: cannot be written there. Choose another file or folder.")
    if path.exists() and not overwrite:
        raise ImageFileError(f"{path}: exists already. Add --overwrite to replace it.")


def _check_output_kind(job: MergeJob) -> None:
    suffix = Path(job.output).suffix.lower()
    if job.merge.get("method") == "mertens" and suffix not in DISPLAY_FORMATS | {".tif", ".tiff"}:
        advice = "Exposure fusion makes a picture for display, not radiance."
        raise ArgumentError("output", "a .png, .jpg or .tif for method mertens", repr(suffix), advice)


def _write_stages(folder: Path, result: MergeResult) -> None:
    """``stage1_under.png`` …: the aligned features in colour, one basis of colours for all stages of a side."""
    from afunet_core.inspection import stage_rgb
    from afunet_core.io import write_image

    folder.mkdir(parents=True, exist_ok=True)
    assert result.stages is not None
    for side in ("under", "reference", "over"):
        for number, picture in enumerate(stage_rgb(result.stages, side), 1):
            write_image(folder / f"stage{number}_{side}.png", picture)
    write_image(folder / "ghost.png", result.maps["ghost"])
