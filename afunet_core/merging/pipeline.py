"""merge(): a bracket in, radiance out; with progress, cancel, and a record of how it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afunet_core.baselines.weighted import exposure_fusion, weighted_merge
from afunet_core.bracket.bracket import Bracket
from afunet_core.bracket.exposure_checks import empty_frames
from afunet_core.camera.drift import compensate_drift, estimate_drift
from afunet_core.camera.noise import NOISE, NoiseModel, estimate_noise, noise_optimal_merge
from afunet_core.errors import ArgumentError
from afunet_core.merging.frame_selection import FramePlan, plan_frames
from afunet_core.merging.inference import Model, network_input, obtain_model, run_network
from afunet_core.merging.maps import LazyMaps, sources, stages_hdr
from afunet_core.merging.multi_frame import combine_frames, guess_unrecorded
from afunet_core.merging.report import describe_bracket, versions
from afunet_core.merging.static_scene import is_at_rest, merge_at_rest
from afunet_core.model.afunet import StageState
from afunet_core.motion.compensation import follow_motion
from afunet_core.motion.ghosts import ghost_map
from afunet_core.registration.frames import BORDERS, Registration, common_area, covered_areas, register
from afunet_core.utils.device import choose_device, choose_precision, multiplies_bfloat16, parse_memory
from afunet_core.utils.progress import OnProgress, Run, ShouldCancel

__all__ = ["METHODS", "MergeResult", "merge"]

METHODS = ("auto", "afunet", "weighted", "mertens")
DRIFT = ("off", "auto")
UNITS = ("relative", "counts")

REGISTERING = {"auto": "auto", "on": "on", "camera": "auto", "off": "off"}
"""How the camera's motion is undone, for each way to align."""
FOLLOWING = ("auto", "on")
"""Ways to align that also follow what moves on its own."""

STRIP_PIXELS = 1 << 20
"""Of the result this many pixels are turned into an array at a time."""


@dataclass
class MergeResult:
    """What a merge found.

    Attributes:
        radiance: ``H×W×3`` float32 linear radiance, 1.0 = saturation of the shortest frame; ``H×W`` for greyscale
            brackets, with a leading batch axis for batches. For ``method="mertens"`` a display-encoded picture instead
            (``info["output"]`` is ``"display"``).
        stages: the network's state after every stage as arrays ``B×C×H×W``, or ``None`` when not asked for.
        info: how the result was made: method, model and its hash, exposures, registration, device, versions, times.
            JSON can hold all of it.
        maps: pictures about the merge, computed when first looked at: ``"ghost"`` ``H×W``, where a plain weighted merge
            would have failed; for a bracket of other than three frames in which something moved ``"network"`` ``H×W``,
            the share of the network's picture beside what frames that agree recorded; with ``stages`` also
            ``"stages_hdr"``, ``S×`` the shape of ``radiance``, what the network would have given after each stage; and,
            with ``stages`` and an anchored head, ``"source"`` ``H×W×4``, how much of each pixel came from the shorter,
            the reference and the longer frame and from the network's own picture.
    """

    radiance: np.ndarray
    stages: list[StageState] | None = None
    info: dict[str, Any] = field(default_factory=dict)
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)


def merge(
    bracket: Bracket,
    *,
    method: str = "auto",
    align: str = "auto",
    border: str = "fill",
    model: Model = "default",
    device: str | torch.device = "auto",
    precision: str = "auto",
    memory_budget: int | str | None = None,
    drift: str = "off",
    noise: NoiseModel | str = "estimate",
    units: str = "relative",
    stages: bool = False,
    on_progress: OnProgress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> MergeResult:
    """Merge a bracket into one image of linear radiance.

    Args:
        bracket: the frames and their exposures.
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
        drift: ``"auto"`` estimates changes of exposure and white balance between the frames and divides them out.
        noise: of the camera, for scenes at rest: a :class:`~afunet_core.camera.noise.NoiseModel`; ``"estimate"``
        learns it
            from the bracket; ``"photons"`` weighs the frames of ``method="weighted"`` by exposure time alone.
        units: ``"relative"`` (1.0 = saturation of the shortest frame) or ``"counts"``, those of the data above black,
            as the shortest frame would have counted them had it neither noise nor saturation.
        stages: keep the features after every stage.
        on_progress: called with ``(done, total, message)``; ``done`` never falls.
        should_cancel: asked often; the merge stops within a second of its returning true.

    Returns:
        The radiance with its provenance.

    Raises:
        ArgumentError: for a value that cannot be used.
        CheckpointError: for a model that cannot be loaded.
        MergeCancelled: after ``should_cancel`` returned true.

    Example:
        >>> frames = [np.full((4, 5, 3), value, np.float32) for value in (0.1, 0.4)]
        >>> bracket = Bracket(frames, ev=(0, 2), encoding="linear")
        >>> result = merge(bracket, method="weighted", align="off")
        >>> result.radiance.shape, round(float(result.radiance.mean()), 3)
        ((4, 5, 3), 0.1)
    """
    _check_choices(bracket, method, align, border, drift, noise, units)
    place = choose_device(device)
    dtype = choose_precision(precision, place)
    budget = parse_memory(memory_budget)
    run = Run(on_progress, should_cancel)
    if dtype == torch.bfloat16 and not multiplies_bfloat16(place):
        run.warn("This processor does not multiply bfloat16 itself: precision='float32' is several times as fast.")
    for sentence in empty_frames(bracket.frames, bracket.names):
        run.warn(sentence)
    uses_network = method in ("auto", "afunet")
    info: dict[str, Any] = {"method": method, **describe_bracket(bracket), "align": align, "border": border}
    if uses_network:
        plan = plan_frames(bracket, everything=method == "auto")
        bracket = bracket.with_reference(plan.reference)
        info |= {"reference": plan.reference, "frames_used": _describe_plan(bracket, plan, run)}
        network, info["model"] = obtain_model(model)

    with run.phase("Registering the frames", 0 if align == "off" else 100), torch.no_grad():
        mode = REGISTERING[align]
        aligned, registrations = register(bracket, mode, on_progress=run.report, should_cancel=run.cancelled)
        info["registration"] = [entry.as_dict() for entry in registrations]
        if border == "crop":
            info["area"] = list(_shared_area(registrations, bracket))
            aligned = aligned.crop(*info["area"])
        if drift == "auto":
            drifts = estimate_drift(aligned)
            aligned = compensate_drift(aligned, drifts)
            info["drift"] = [entry.as_dict() for entry in drifts]

    states: list[StageState] = []
    decided: np.ndarray | None = None
    with run.phase("Merging", 950), torch.inference_mode():
        if uses_network:
            three = plan.network_bracket(aligned)
            warped = any(entry.decision == "warped" for entry in registrations)
            resting = method == "auto" and not (plan.missing or warped) and _is_at_rest(aligned, plan, run)
            used = {"device": "cpu", "precision": "float32"}
            if not resting:
                three = plan.consistent_bracket(aligned)
                changed = three.frames[0] is not aligned.frames[plan.three[0]]
                info["short_frame_mended"] = _share_changed(aligned.frames[plan.three[0]], three) if changed else 0.0
                if align in FOLLOWING:
                    three, info["followed"] = _follow(three, run)
            # Counts stay those of the pixel itself, and only our head was made to agree with the classic at rest.
            denoising = resting and units != "counts" and network.config.head == "anchored"
            if stages or denoising or not resting:
                image, states, used = run_network(
                    network, network_input(three, place), place, dtype, budget, stages, run
                )
            if resting:
                known = noise if isinstance(noise, NoiseModel) else None
                tempered = merge_at_rest(image, three, known) if denoising else None
                image = weighted_merge(three) if tempered is None else tempered
            info["at_rest"] = resting
            unit = float(bracket.times[plan.three[0]])
            image = image if unit == 1.0 else image / unit
            if plan.joining:
                covered = _covered(registrations, bracket, info.get("area"))
                found = combine_frames(image.cpu(), aligned, plan, three=three, covered=covered)
                image, info["guessed"] = found.image, 0.0

                def look_again(wider: Bracket) -> Tensor:
                    return run_network(network, network_input(wider, place), place, dtype, budget, False, run)[0].cpu()

                if not resting:  # nothing stands before anything then, and nothing is to be guessed
                    decided = _planes(found.invented)
                    image = guess_unrecorded(found, aligned, plan, look_again)
                    info["guessed"] = _share_brighter(image, found.image)
            info |= used
        else:
            image = _weighted(aligned, noise, info) if method == "weighted" else exposure_fusion(aligned)
            info |= {"device": str(image.device), "precision": str(image.dtype).removeprefix("torch.")}

    with run.phase("Finishing", 1000), torch.inference_mode():
        scale = bracket.scale if units == "counts" and method != "mertens" else 1.0
        image = image if scale == 1.0 else image * scale
        radiance = _to_pixels(image, bracket.is_grey, run)
        kept = [_to_arrays(state) for state in states] if stages and uses_network else None
    info |= {
        "output": "display" if method == "mertens" else "radiance",
        "units": units,
        "shape": list(radiance.shape),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": run.seconds,
        "warnings": run.warnings,
    }
    maps = {"ghost": lambda: ghost_map(aligned)}
    if decided is not None:
        maps["network"] = lambda: decided
    if kept:
        maps["stages_hdr"] = lambda: stages_hdr(network, three, kept, scale / unit)
    if states and network.config.head == "anchored":
        maps["source"] = lambda: sources(network, three, states[-1])
    return MergeResult(radiance, kept, info, LazyMaps(maps))


def _check_choices(bracket: Any, method: str, align: str, border: str, drift: str, noise: Any, units: str) -> None:
    if not isinstance(bracket, Bracket):
        advice = "Make one with afunet_core.Bracket(frames, ev=...) or Bracket.from_files(paths)."
        raise ArgumentError("bracket", "a Bracket", type(bracket).__name__, advice)
    if not isinstance(noise, NoiseModel) and noise not in NOISE:
        raise ArgumentError("noise", "a NoiseModel or one of " + ", ".join(NOISE), repr(noise))
    choices = (
        ("method", method, METHODS),
        ("align", align, tuple(REGISTERING)),
        ("border", border, BORDERS),
        ("drift", drift, DRIFT),
        ("units", units, UNITS),
    )
    for name, value, known in choices:
        if value not in known:
            raise ArgumentError(name, "one of " + ", ".join(known), repr(value))


def _is_at_rest(bracket: Bracket, plan: FramePlan, run: Run) -> bool:
    """Whether nothing moved, as far as the frames tell that are merged.

    What is too dark in the reference to be told from noise shows between longer frames, what is clipped in it between
    shorter ones.
    """
    if not plan.joining:
        return is_at_rest(plan.network_bracket(bracket), bracket.batch_size, run.check)
    views = (bracket.with_reference(index) for index in (plan.reference, len(bracket) - 1, 0))
    return all(is_at_rest(view, bracket.batch_size, run.check) for view in views)


def _shared_area(registrations: list[Registration], bracket: Bracket) -> tuple[int, int, int, int]:
    """What all frames show: top, left, height, width."""
    area = common_area(registrations, *bracket.shape)
    if 0 in area[2:]:
        raise ArgumentError("border", "frames that share an area", "none", "Use border='fill' or align='off'.")
    return area


def _covered(registrations: list[Registration], bracket: Bracket, area: list[int] | None) -> dict[int, Tensor]:
    """Where warped frames have content of their own, in the area that the result is cut to."""
    top, left, height, width = area or (0, 0, *bracket.shape)
    whole = covered_areas(registrations, len(bracket), *bracket.shape)
    return {index: mask[..., top : top + height, left : left + width] for index, mask in whole.items()}


def _follow(three: Bracket, run: Run) -> tuple[Bracket, dict[str, float]]:
    """What moved on its own, brought to where the reference shows it, and the share of each outer frame that was."""
    frames, shares = follow_motion(three, run.cancelled)
    outer = [i for i in range(len(three)) if i != three.reference]
    moved = {three.names[i]: sum(share[i] for share in shares) / len(shares) for i in outer}
    return three.with_frames(frames), moved


def _planes(mask: Tensor) -> np.ndarray:
    """B×1×H×W as H×W, or B×H×W for batches."""
    planes = mask[:, 0].numpy()
    return planes[0] if len(planes) == 1 else planes


def _share_changed(short: Tensor, three: Bracket) -> float:
    """Share of the pixels where another frame stands in for the short one."""
    return float((three.frames[0] - short).abs().amax(1).gt(0.02).float().mean())


def _share_brighter(image: Tensor, before: Tensor) -> float:
    """Share of the pixels that are brighter than before."""
    return 0.0 if image is before else float((image > before).any(1).float().mean())


def _describe_plan(bracket: Bracket, plan: FramePlan, run: Run) -> dict[str, Any]:
    """Which frames the network sees and which join afterwards; says so where a side is missing."""
    if plan.missing:
        run.warn(
            f"There is no frame {plan.missing} than the reference {bracket.names[plan.reference]!r}: the network sees "
            "the reference in its place, and nothing extends the range on that side."
        )
    return {
        "network": [bracket.names[i] for i in plan.three],
        "averaged_where_they_agree": [bracket.names[i] for i in plan.joining],
        "left_out": [name for i, name in enumerate(bracket.names) if i not in plan.three + plan.joining],
        "missing": plan.missing,
    }


def _weighted(bracket: Bracket, noise: NoiseModel | str, info: dict[str, Any]) -> Tensor:
    """The weighted merge with the noise asked for; what was estimated is noted."""
    if noise == "estimate":
        noise = estimate_noise(bracket) or "photons"
    if not isinstance(noise, NoiseModel):
        info["noise"] = "photons"
        return weighted_merge(bracket)
    info["noise"] = {
        "gain": noise.gain,
        "read_noise": noise.read_noise,
        "counts_per_electron": noise.gain * bracket.scale,
        "read_noise_counts": noise.read_noise * bracket.scale,
    }
    return noise_optimal_merge(bracket, noise)


# --- the result ---


def _to_pixels(image: Tensor, is_grey: bool, run: Run) -> np.ndarray:
    """``B×3×H×W`` → ``[B×]H×W[×3]`` float32, finite."""
    image = image.detach()
    batch, channels, height, width = image.shape
    pixels = np.empty((batch, height, width, *(() if is_grey else (channels,))), np.float32)
    broken = 0
    for top in range(0, height, step := max(1, STRIP_PIXELS // width)):
        run.check()
        rows = image[..., top : top + step, :].float().cpu()
        if not math.isfinite(float(rows.sum())):  # of large values even a finite sum may overflow: then it counts none
            broken += int((~torch.isfinite(rows)).sum())
            rows = rows.nan_to_num(0.0, 0.0, 0.0)
        pixels[:, top : top + step] = (rows.mean(1) if is_grey else rows.permute(0, 2, 3, 1)).numpy()
    if broken:
        run.warn(f"{broken} of {image.numel()} values came out NaN or infinite and were set to 0.")
    return pixels[0] if batch == 1 else pixels


def _to_arrays(state: StageState) -> StageState:
    """The same features as float32 arrays."""
    return StageState(*(feature.detach().float().cpu().numpy() for feature in state))  # type: ignore[arg-type]
