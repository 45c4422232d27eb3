"""merge(): from a bracket to radiance, with progress, cancel, and a record of how it was made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from afunet_core.bracket.bracket import Bracket
from afunet_core.bracket.exposure_checks import empty_frames
from afunet_core.camera.noise import NoiseModel
from afunet_core.errors import ArgumentError
from afunet_core.merging.alignment import AlignedBracket, CameraNoise, align_frames, camera_noise
from afunet_core.merging.classic import merge_classic
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.frame_selection import FrameSelection, select_frames
from afunet_core.merging.inference import Network, load_network
from afunet_core.merging.moving_scene import guess_unrecorded, merge_moving
from afunet_core.merging.multi_frame import join_frames
from afunet_core.merging.options import MergeOptions
from afunet_core.merging.recorded import find_recorded, is_inexact, keep_recorded, merge_recorded
from afunet_core.merging.regions import Region
from afunet_core.merging.report import build_result
from afunet_core.merging.result import MergeResult
from afunet_core.merging.static_scene import merge_static, nothing_moved
from afunet_core.merging.working_scale import choose_scale
from afunet_core.model.afunet import AFUNet
from afunet_core.motion.shadows import complete_shadows
from afunet_core.utils.device import cpu_by_default
from afunet_core.utils.progress import OnProgress, ProgressReporter, ShouldCancel

__all__ = ["merge"]


def merge(
    bracket: Bracket,
    *,
    method: str = "auto",
    align: str = "auto",
    border: str = "fill",
    model: str | os.PathLike[str] | AFUNet = "default",
    device: str | torch.device = "auto",
    precision: str = "auto",
    memory_budget: int | str | None = None,
    working_scale: str = "auto",
    drift: str = "off",
    noise: NoiseModel | str | tuple[float, float] = "estimate",
    units: str = "relative",
    stages: bool = False,
    regions: Sequence[Region] = (),
    on_progress: OnProgress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> MergeResult:
    """Merge a bracket into one image of linear radiance.

    While the network runs on a CPU, ``torch.get_num_threads()`` is 1 in the calling thread and in threads that begin to
    compute meanwhile; afterwards it is what it was.

    Args:
        bracket: the frames and their exposures; frames on a GPU are copied to the CPU, where all but the network runs.
        method: ``"auto"`` (the network; if nothing moved at all, the weighted mean, with the noise taken out that the
            network takes out; of other than three frames also the mean of those that agree with it), ``"afunet"``
            (the network on three frames), ``"weighted"`` (the noise-optimal mean, for scenes at rest) or
            ``"mertens"`` (exposure fusion, for display only).
        align: ``"auto"`` warps outer frames onto the reference where they moved and the motion is certain, and then
            follows what moved on its own, see :func:`~afunet_core.motion.compensation.follow_motion`; ``"camera"`` does
            the former only; ``"on"`` both, however uncertain; ``"off"`` neither.
        border: where a warped frame shows nothing, ``"fill"`` lets the reference stand in; ``"crop"`` cuts the result
            to what all frames show (``info["area"]`` tells where it lies in the reference).
        model: a shipped name, a weights file, or a network.
        device: ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``, for the network.
        precision: ``"float32"``, ``"bfloat16"``, ``"float16"``, or ``"auto"``: bfloat16 on CUDA, else float32.
        memory_budget: bytes (or ``"4GB"``) the network may use beside its input and output; ``None`` decides by what
            is free.
        working_scale: ``"full"`` runs the network on the frames as they are, exactly; ``"half"`` and ``"quarter"`` let
            it look at reduced frames and merge at full resolution with the weights it found, in a fourth or a sixteenth
            of the time; ``"auto"`` goes by size, sharpness and what moved; ``info["working_scale"]`` tells the result.
        drift: ``"auto"`` estimates changes of exposure and white balance between the frames and divides them out.
        noise: of the camera: a :class:`~afunet_core.camera.noise.NoiseModel`, or its gain and read noise in counts;
            ``"estimate"`` learns it from the bracket; ``"photons"`` weighs the frames of ``method="weighted"`` by
            exposure time alone.
        units: ``"relative"`` (1.0 = saturation of the shortest frame) or ``"counts"``, those of the data above black,
            as the shortest frame would have counted them had it neither noise nor saturation.
        stages: keep the features after every stage.
        regions: taken from single frames where another moment is wanted than the reference's: ``(frame, corners)``, the
            frame counted from 0, shortest exposure first, and the corners of a polygon as ``(row, column)`` in pixels.
            :meth:`MergeResult.with_regions` changes them after the merge.
        on_progress: called with ``(done, total, message)``; ``done`` never decreases.
        should_cancel: asked often; the merge stops within a second of its returning true.

    Returns:
        The radiance with its provenance.

    Raises:
        ArgumentError: for a value that cannot be used.
        CheckpointError: for a model that cannot be loaded.
        MergeCancelled: after ``should_cancel`` returned true.

    Example:
        >>> import numpy as np
        >>> frames = [np.full((4, 5, 3), value, np.float32) for value in (0.1, 0.4)]
        >>> bracket = Bracket(frames, ev=(0, 2), encoding="linear")
        >>> result = merge(bracket, method="weighted", align="off")
        >>> result.radiance.shape, round(float(result.radiance.mean()), 3)
        ((4, 5, 3), 0.1)
    """
    options = MergeOptions(
        method=method,
        align=align,
        border=border,
        model=model,
        device=device,
        precision=precision,
        memory_budget=memory_budget,
        working_scale=working_scale,
        drift=drift,
        noise=noise,
        units=units,
        stages=stages,
        regions=tuple(regions),  # type: ignore[arg-type]  # checked where they are taken
    )
    reporter = ProgressReporter(on_progress, should_cancel)
    with cpu_by_default():
        return _merge(_checked(bracket), options, reporter)


def _merge(bracket: Bracket, options: MergeOptions, reporter: ProgressReporter) -> MergeResult:
    """Run the steps of a merge; each takes what the steps before it returned and changes none of it."""
    network = load_network(options, reporter)
    for message in empty_frames(bracket.frames, bracket.names):
        reporter.warn(message)
    for message in (bracket.metadata.get("calibration") or {}).get("contradictions", ()):
        reporter.warn(message)
    frames = None if network is None else select_frames(bracket, everything=options.method == "auto")
    if frames is not None:
        _warn_of_missing_side(frames, bracket, reporter)

    with reporter.phase("Registering the frames", 0 if options.align == "off" else 100):
        chosen = bracket if frames is None else bracket.with_reference(frames.reference)
        aligned = align_frames(chosen, options, reporter)

    with reporter.phase("Merging", 950), torch.inference_mode():
        noise = camera_noise(aligned, options)
        if network is None or frames is None:
            estimate = merge_classic(aligned, noise, options, reporter)
        else:
            estimate = _merge_by_network(aligned, frames, noise, network, options)

    with reporter.phase("Finishing", 1000):
        finish = partial(build_result, estimate, bracket, aligned, frames, network, options, reporter)
        result = finish(options.regions)
    result.finish = finish
    return result


def _merge_by_network(
    aligned: AlignedBracket, frames: FrameSelection, noise: CameraNoise, network: Network, options: MergeOptions
) -> Estimate:
    """Compare the frames, merge the network's three accordingly, and let further frames join."""
    network = replace(network, scale=choose_scale(options, network.model, *aligned.bracket.shape))
    recorded, original, check = None, aligned.bracket, network.reporter.check
    if options.method == "auto" and is_inexact(original):
        aligned = replace(aligned, bracket=complete_shadows(original, check))
        recorded = find_recorded(aligned, frames, noise, check)
        if recorded.everywhere and not options.stages:
            return merge_recorded(original, frames, recorded, noise, check)
    elif nothing_moved(aligned, frames, options, check):
        estimate = merge_static(aligned, frames, noise, network, options)
        return join_frames(estimate, aligned, frames, noise, check) if frames.joining else estimate
    estimate = merge_moving(aligned, frames, noise, network, options, recorded.share if recorded else None)
    if frames.joining:
        estimate = join_frames(estimate, aligned, frames, noise, check)
        estimate = guess_unrecorded(estimate, aligned.bracket, frames, network)
    return keep_recorded(estimate, original, recorded, noise, check) if recorded else estimate


def _checked(bracket: Any) -> Bracket:
    if isinstance(bracket, Bracket):
        return bracket if bracket.frames[0].device.type == "cpu" else bracket.to("cpu")
    advice = "Make one with afunet_core.Bracket(frames, ev=...) or Bracket.from_files(paths)."
    raise ArgumentError("bracket", "a Bracket", type(bracket).__name__, advice)


def _warn_of_missing_side(frames: FrameSelection, bracket: Bracket, reporter: ProgressReporter) -> None:
    if frames.missing:
        reporter.warn(
            f"There is no frame {frames.missing} than the reference {bracket.names[frames.reference]!r}: the network "
            "sees the reference in its place, and nothing extends the range on that side."
        )
