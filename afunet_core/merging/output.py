"""Files of a merge's result: radiance, picture for the screen, pictures of the stages; and destinations checked."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from afunet_core.errors import ArgumentError, ImageFileError
from afunet_core.io.formats import DISPLAY, WRITABLE, check_suffix

if TYPE_CHECKING:
    from afunet_core.io.microscope import PixelSize
    from afunet_core.io.photograph import Photograph
    from afunet_core.merging.batch import MergeJob
    from afunet_core.merging.result import MergeResult

PICTURES = DISPLAY - {".avif"}  # outputs that are the tone-mapped picture; an AVIF shows the radiance itself


def write_outputs(job: MergeJob, result: MergeResult, reference: str | None) -> None:
    """Write all that a job asks for; its main output last, so that it tells that the job is done."""
    from afunet_core.io.photograph import read_photograph
    from afunet_core.io.write import write_image

    photograph = None if reference is None else read_photograph(reference)
    pixel_size = None if reference is None else _pixel_size(reference)
    if job.stages is not None and result.stages is not None:
        _write_stages(Path(job.stages), result)
    if job.tonemapped is not None:
        _write_picture(Path(job.tonemapped), job, result, photograph)
    output = Path(job.output)
    if output.suffix.lower() in PICTURES:
        _write_picture(output, job, result, photograph)
    else:
        more: dict[str, Any] = {"photograph": photograph, "pixel_size": pixel_size}
        write_image(output, result.radiance, metadata=result.info, half=job.half, **more)


def write_stack_outputs(job: MergeJob, results: list[MergeResult], reference: str | None) -> None:
    """Write the results of the planes of one stack as a stack; pictures and stages plane by plane, numbered."""
    from afunet_core.io.photograph import read_photograph
    from afunet_core.io.stack import write_stack

    photograph = None if reference is None else read_photograph(reference)
    output = Path(job.output)
    is_picture = output.suffix.lower() in PICTURES
    for number, result in enumerate(results):
        if job.stages is not None and result.stages is not None:
            _write_stages(Path(job.stages) / f"plane_{number:04d}", result)
        for picture in filter(None, (job.tonemapped, job.output if is_picture else None)):
            path = Path(picture)
            _write_picture(path.with_name(f"{path.stem}_{number:04d}{path.suffix}"), job, result, photograph)
    if is_picture:
        return
    pixels = np.stack([result.radiance for result in results])
    info = {**results[0].info, "planes": len(results)}
    size = None if reference is None else _pixel_size(reference)
    write_stack(output, pixels, rgb=pixels.ndim == 4, axes=("z",), metadata=info, pixel_size=size)


def _write_picture(path: Path, job: MergeJob, result: MergeResult, photograph: Photograph | None) -> None:
    from afunet_core.io.write import write_image

    picture = display_picture(result, job.operator, job.exposure)
    if path.suffix.lower() in (".jpg", ".jpeg") and job.gain_map:
        from afunet_core.io.gain_map import write_gain_map_jpeg

        light = result.radiance * 2.0**job.exposure
        write_gain_map_jpeg(path, picture, light, metadata=result.info, photograph=photograph)
    else:
        write_image(path, picture, metadata=result.info, photograph=photograph)


def display_picture(result: MergeResult, operator: str = "reinhard", exposure: float = 0.0) -> np.ndarray:
    """Return the result of one bracket as a screen shows it: display-encoded, in [0, 1], ``H×W×3`` or ``H×W``."""
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


def _pixel_size(reference: str) -> PixelSize | None:
    """The size of a pixel, where the reference frame is a microscope's or scanner's TIFF that states it."""
    from afunet_core.io.microscope import read_pixel_size

    return read_pixel_size(reference) if Path(reference).suffix.lower() in (".tif", ".tiff") else None


def check_destination(
    path: str | Path, overwrite: bool, inputs: Iterable[str | Path] = (), kinds: Collection[str] = WRITABLE
) -> None:
    """Refuse a destination that cannot be written, or is one of the inputs, before the work and not after it."""
    path = Path(path)
    check_suffix(path, kinds)
    if not path.parent.is_dir():
        raise ImageFileError(f"{path}: the folder {path.parent} does not exist. Create it, or choose another.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ImageFileError(f"{path}: cannot be written there. Choose another file or folder.")
    refuse_frames(path, inputs)
    if path.exists() and not overwrite:
        raise ImageFileError(f"{path}: exists already. State overwrite=True to replace it.")


def refuse_frames(path: str | Path, frames: Iterable[str | Path]) -> None:
    """Refuse a destination that is one of the frames, under whatever name."""
    path = Path(path)
    if path.exists() and any(_same_file(path, Path(frame)) for frame in frames):
        raise ImageFileError(f"{path}: is one of the frames and is never replaced. Choose another name.")


def _same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False


def check_output_kind(job: MergeJob) -> None:
    """Refuse outputs that cannot hold what is to be written: radiance files for pictures, or one file for both."""
    if job.tonemapped is not None:
        if Path(job.tonemapped).suffix.lower() not in PICTURES:
            advice = "Radiance goes to the output."
            raise ArgumentError("tonemapped", "a .png or .jpg", repr(job.tonemapped), advice)
        if Path(job.tonemapped).absolute() == Path(job.output).absolute():
            raise ArgumentError("tonemapped", "another file than the output", repr(job.tonemapped), "Leave it out.")
    suffix = Path(job.output).suffix.lower()
    if job.merge.get("method") == "mertens" and suffix not in PICTURES | {".tif", ".tiff"}:
        advice = "Exposure fusion makes a picture for display, not radiance."
        raise ArgumentError("output", "a .png, .jpg or .tif for method mertens", repr(suffix), advice)


def _write_stages(folder: Path, result: MergeResult) -> None:
    """``stage1_under.png`` …: the aligned features in colour, one basis of colours for all stages of a side."""
    from afunet_core.inspection import stage_rgb
    from afunet_core.io.write import write_image

    folder.mkdir(parents=True, exist_ok=True)
    assert result.stages is not None
    notes = {"method": result.info["method"], "shows": "features"}
    for side in ("under", "reference", "over"):
        for number, picture in enumerate(stage_rgb(result.stages, side), 1):
            write_image(folder / f"stage{number}_{side}.png", picture, metadata=notes)
    write_image(folder / "ghost.png", result.maps["ghost"], metadata=notes)
