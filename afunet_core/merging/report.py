"""The result of a merge from its last estimate: pixels, provenance and maps, each built here once."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel
from afunet_core.errors import ArgumentError
from afunet_core.io.metadata import plain
from afunet_core.merging.alignment import AlignedBracket
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.frame_selection import FrameSelection
from afunet_core.merging.inference import Network
from afunet_core.merging.maps import build_maps
from afunet_core.merging.options import MergeOptions
from afunet_core.merging.regions import Region, take_regions
from afunet_core.merging.result import MergeResult
from afunet_core.model.afunet import StageState
from afunet_core.ops.strips import row_strips
from afunet_core.radiometry import encode, linearize
from afunet_core.utils.progress import ProgressReporter

STRIP_PIXELS = 1 << 20  # pixels of the result that are turned into an array at a time


@torch.inference_mode()
def build_result(
    estimate: Estimate,
    bracket: Bracket,
    aligned: AlignedBracket,
    frames: FrameSelection | None,
    network: Network | None,
    options: MergeOptions,
    reporter: ProgressReporter,
    regions: Sequence[Region] = (),
) -> MergeResult:
    """Turn the last estimate into the result, in the units asked for.

    ``bracket`` is as the caller gave it; ``frames`` and ``network`` are None without a network; ``reporter`` has the
    seconds and warnings of the run.
    """
    if regions:
        if options.method == "mertens":
            raise ArgumentError("regions", "a method that gives light", "mertens", "Use another method.")
        estimate = take_regions(estimate, aligned, regions)
    is_display = options.method == "mertens"
    scale = bracket.scale if options.units == "counts" and not is_display else 1.0
    image = _in_working_space(estimate.image, bracket, is_display)
    image = image if scale == 1.0 else image * scale
    radiance = _to_pixels(image, bracket.is_grey, reporter)
    stages = [_to_arrays(state) for state in estimate.states] if options.stages and network is not None else None
    info: dict[str, Any] = {
        "method": options.method,
        **describe_bracket(bracket),
        "align": options.align,
        "border": options.border,
        "registration": [entry.as_dict() for entry in aligned.registrations],
        **_describe_estimate(estimate, aligned.bracket),
        "output": "display" if is_display else "radiance",
        "units": options.units,
        "shape": list(radiance.shape),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if aligned.area is not None:
        info["area"] = list(aligned.area)
    if aligned.drifts is not None:
        info["drift"] = [entry.as_dict() for entry in aligned.drifts]
    if regions:
        info["regions"] = [[int(frame), [list(map(float, corner)) for corner in corners]] for frame, corners in regions]
    if network is not None and frames is not None:
        info |= {"reference": frames.reference, "model": network.description}
        info["frames_used"] = {
            "network": [bracket.names[i] for i in frames.three],
            "averaged_where_they_agree": [bracket.names[i] for i in frames.joining],
            "left_out": [name for i, name in enumerate(bracket.names) if i not in frames.three + frames.joining],
            "missing": frames.missing,
        }
    info = {**plain(info), "seconds": reporter.seconds, "warnings": reporter.warnings}  # the last phase is under way
    return MergeResult(radiance, stages, info, build_maps(aligned.bracket, estimate, network, stages, scale))


def describe_bracket(bracket: Bracket) -> dict[str, Any]:
    """Return frames, exposures, encoding and scale."""
    return {
        "frames": [str(name) for name in bracket.names],
        "ev": [float(value) for value in bracket.ev],
        "times": [float(value) for value in bracket.times],
        "exposure_seconds": list(bracket.seconds) if bracket.seconds is not None else None,
        "exposures_from": bracket.metadata.get("exposure_source"),
        "encoding": bracket.encoding,
        "gamma": float(bracket.gamma),
        "grey": bool(bracket.is_grey),
        "black_level": bracket.black_level,
        "scale": bracket.scale,
        "reference": int(bracket.reference),
        "light_of_shortest": bracket.light_of_shortest,
        "colour_space": "linear sRGB" if not bracket.is_grey else None,
        "colours_from": bracket.metadata.get("colour", {}).get("space"),
        "camera_colours": bracket.metadata.get("colour", {}).get("camera"),
        "response": bracket.metadata.get("response"),
        "calibration": bracket.metadata.get("calibration"),
        "channel": bracket.metadata.get("channel"),
    }


def _in_working_space(image: Tensor, bracket: Bracket, is_display: bool) -> Tensor:
    """Return B×3×H×W in linear sRGB (of a picture for display, in sRGB primaries); frames keep those of their files."""
    colour = bracket.metadata.get("colour")
    if colour is None or bracket.is_grey:
        return image
    matrix = torch.tensor(colour["to_srgb"], dtype=image.dtype, device=image.device)
    if not is_display:
        return torch.einsum("ij,bjhw->bihw", matrix, image)
    light = torch.einsum("ij,bjhw->bihw", matrix, linearize(image, bracket.encoding, bracket.gamma))
    return encode(light.clamp(0.0, 1.0), bracket.encoding, bracket.gamma)


def versions() -> dict[str, str]:
    """Return the versions of this package, Python, and the libraries that decide the result."""
    from afunet_core import __version__

    found = {"afunet": __version__, "python": platform.python_version()}
    for name in ("torch", "kornia", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an unpacked library without its metadata
            found[name] = "unknown"
    return found


def _describe_estimate(estimate: Estimate, bracket: Bracket) -> dict[str, Any]:
    """Return what is known of the estimate; steps that did not take place leave nothing."""
    names = ("at_rest", "followed", "guessed", "noise", "working_scale", "looked_at")
    info = {name: getattr(estimate, name) for name in names}
    if isinstance(estimate.noise, NoiseModel):
        info["noise"] = {
            "gain": estimate.noise.gain,
            "read_noise": estimate.noise.read_noise,
            "counts_per_electron": estimate.noise.gain * bracket.scale,
            "read_noise_counts": estimate.noise.read_noise * bracket.scale,
        }
    if estimate.rest is not None:
        info["recorded"] = float(estimate.rest.mean())
    known = {name: value for name, value in info.items() if value is not None}
    return {**known, "device": estimate.device, "precision": estimate.precision}


def _to_pixels(image: Tensor, is_grey: bool, reporter: ProgressReporter) -> np.ndarray:
    """Return ``B×3×H×W`` as ``[B×]H×W[×3]`` float32, finite."""
    image = image.detach()
    batch, channels, height, width = image.shape
    pixels = np.empty((batch, height, width, *(() if is_grey else (channels,))), np.float32)
    broken = 0
    for cut in row_strips(height, width, STRIP_PIXELS):
        reporter.check()
        rows = image[..., cut, :].float().cpu()
        if not math.isfinite(float(rows.sum())):  # of large values even a finite sum may overflow: then it counts none
            broken += int((~torch.isfinite(rows)).sum())
            rows = rows.nan_to_num(0.0, 0.0, 0.0)
        pixels[:, cut] = (rows.mean(1) if is_grey else rows.permute(0, 2, 3, 1)).numpy()
    if broken:
        reporter.warn(f"{broken} of {image.numel()} values came out NaN or infinite and were set to 0.")
    return pixels[0] if batch == 1 else pixels


def _to_arrays(state: StageState) -> StageState:
    """Return the same features as float32 arrays."""
    return StageState(*(feature.detach().float().cpu().numpy() for feature in state))  # type: ignore[arg-type]
