"""Global alignment of hand-held frames: outer frames are brought onto the reference before they are merged.

A hand moves a frame by tens to hundreds of pixels, further than any merging network reaches. That motion is, for a
scene at some distance, one homography. It is estimated on what both frames record
(:mod:`~afunet_core.registration_features`): candidates by correlation over shifts and rotations at a coarse level, then
robust Gauss–Newton from similarity to homography over finer levels (:mod:`~afunet_core.registration_solver`). A frame
is resampled once, in linear light. A frame that did not move stays as it is, bit for bit, and one whose motion is not
certain is left alone with the reason given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.radiometry import encode, expose, linearize, to_radiance
from afunet_core.registration_features import Level, common_signal, feature_pyramid, noise_level
from afunet_core.registration_solver import Fit, Frame, Template, refine, search
from afunet_core.warping import displacement, transfer_points, valid_area, warp_homography

if TYPE_CHECKING:
    from afunet_core.bracket import Bracket

__all__ = ["MODES", "Registration", "align_frame", "estimate_homography", "register"]

MODES = ("auto", "on", "off")
# The finest level estimated on has at most this many pixels: 1500×1000 is halved once. Precision there is a few
# hundredths of a pixel, so that more would cost time and gain nothing.
WORKING_PIXELS = 0.45e6
SEARCH_SIDE = 256
# Pixels. Resampling a sharp picture costs a merge as much as leaving a shift of 0.2 pixels in it does (measured with
# every cubic and Lanczos kernel tried), and a frame that is not resampled stays as it was taken.
STILL = 0.2
# Values above are taken for clipped; below the floor 8-bit shadows are mostly noise and quantisation.
SATURATION, DARKEST = 0.92, 0.002


@dataclass(frozen=True)
class Registration:
    """What was found about one frame, and what was done.

    Attributes:
        name: the frame.
        homography: 3×3 float64, from pixels (x, y, 1) of the frame to pixels of the reference: what was applied for
            ``"warped"``, the identity otherwise.
        decision: ``"identity"`` (did not move), ``"warped"`` or ``"refused"`` (moved or may have moved, too uncertain).
        overlap: share of the reference that the frame covers after warping, in [0, 1].
        residual_before: disagreement with the reference as it came, robust mean in [0, 1]; 0 is perfect.
        residual_after: the same after the transform found.
        confidence: in [0, 1]; frames are warped from 0.5 on.
        displacement: how far the transform found moves the furthest corner, pixels.
        uncertainty: predicted standard deviation of the worst corner, pixels.
        reason: the decision in words.
        estimate: 3×3 float64, the best transform found even when it was not applied.
    """

    name: str
    homography: Tensor
    decision: str
    overlap: float
    residual_before: float
    residual_after: float
    confidence: float
    displacement: float
    uncertainty: float
    reason: str
    estimate: Tensor

    def as_dict(self) -> dict[str, object]:
        """Plain numbers and lists, for provenance and JSON."""
        plain = {key: value for key, value in vars(self).items() if not isinstance(value, Tensor)}
        return plain | {"homography": self.homography.tolist(), "estimate": self.estimate.tolist()}


@dataclass(frozen=True)
class _Evidence:
    """The best fit, the same statistics for frames left as they are, and how clearly it won."""

    fit: Fit
    still: Fit
    distinctness: float


def register(bracket: Bracket, mode: str = "auto") -> tuple[Bracket, list[Registration]]:
    """Warp the outer frames of a bracket onto its reference frame.

    Args:
        bracket: frames of one size; its reference frame stays as it is.
        mode: ``"auto"`` warps a frame that moved when the transform is certain; ``"on"`` warps with the best transform
            found wherever there is one; ``"off"`` returns the bracket untouched.

    Returns:
        The registered bracket (the same object when nothing was warped) and one :class:`Registration` for each frame
        in the order of ``bracket.frames``; batches list all frames of their first bracket, then of the next.

    Raises:
        ArgumentError: for an unknown mode.

    Example:
        >>> from afunet_core.bracket import Bracket
        >>> bracket = Bracket([torch.rand(1, 3, 40, 60) ** t for t in (2.0, 1.0, 0.5)], ev=(0, 2, 4), override=True)
        >>> same, found = register(bracket, "off")
        >>> same is bracket, [entry.decision for entry in found]
        (True, ['identity', 'identity', 'identity'])
    """
    if mode not in MODES:
        raise ArgumentError("mode", "auto, on or off", repr(mode))
    found: list[Registration] = []
    samples: list[list[Tensor]] = []
    warped: set[int] = set()
    for sample in range(bracket.batch_size):
        frames = [frame[sample : sample + 1] for frame in bracket.frames]
        aligned = list(frames)
        for index, frame in enumerate(frames):
            name = bracket.names[index]
            if index == bracket.reference or mode == "off":
                reason = "the reference frame" if index == bracket.reference else "registration is off"
                found.append(_unmoved(name, reason))
                continue
            entry = _register_frame(bracket, frames, index, mode)
            found.append(replace(entry, name=name))
            if entry.decision == "warped":
                warped.add(index)
                reference, times = frames[bracket.reference], bracket.times
                aligned[index], _ = align_frame(
                    frame,
                    entry.homography,
                    reference,
                    float(times[index]),
                    float(times[bracket.reference]),
                    bracket.encoding,
                    bracket.gamma,
                )
        samples.append(aligned)
    if not warped:
        return bracket, found
    columns = list(zip(*samples, strict=True))
    merged = [torch.cat(columns[i]) if i in warped else frame for i, frame in enumerate(bracket.frames)]
    return bracket.with_frames(merged), found


def align_frame(
    frame: Tensor,
    homography: Tensor,
    reference: Tensor,
    time: float,
    reference_time: float,
    encoding: str = "gamma",
    gamma: float | Tensor = 2.2,
) -> tuple[Tensor, Tensor]:
    """Warp one encoded frame in linear light and fill what it does not cover from the reference.

    Args:
        frame: B×C×H×W, encoded.
        homography: 3×3, from the frame's pixels to the reference's.
        reference: B×C×H×W, encoded.
        time: exposure time of the frame.
        reference_time: exposure time of the reference, in the same unit.
        encoding: of both frames.
        gamma: of both frames.

    Returns:
        The aligned frame, encoded; outside its own area it shows the reference's radiance at the frame's exposure. And
        the mask B×1×H×W of its own area.

    Example:
        >>> frame = torch.rand(1, 3, 8, 8)
        >>> aligned, valid = align_frame(frame, torch.eye(3), frame, 1.0, 1.0)
        >>> torch.allclose(aligned, frame, atol=1e-6), bool(valid.all())
        (True, True)
    """
    warped, valid = warp_homography(linearize(frame, encoding, gamma), homography)
    aligned = encode(warped, encoding, gamma)
    fill = expose(to_radiance(reference, reference_time, encoding, gamma), time, encoding, gamma)
    return torch.where(valid, aligned, fill), valid


def estimate_homography(
    moving: Tensor,
    reference: Tensor,
    valid_moving: Tensor | None = None,
    valid_reference: Tensor | None = None,
    *,
    ceiling: float | None = None,
    floor: float | None = None,
    mode: str = "auto",
    name: str = "moving",
) -> Registration:
    """Find the homography from one frame to another of the same scene, whatever their exposures.

    Args:
        moving: linear radiance, C×H×W or 1×C×H×W.
        reference: linear radiance in the same unit, of the same shape.
        valid_moving: boolean H×W (or broadcastable 1×1×H×W); False where the frame must not be looked at.
        valid_reference: likewise for the reference.
        ceiling: radiance that both frames record without clipping; by default a little below the smaller of their
            maxima.
        floor: radiance at which the noisier frame's signal rises above its noise; by default 1/500 of the larger of
            their maxima, the shorter frame's saturation.
        mode: ``"auto"`` refuses what is uncertain, ``"on"`` accepts any transform found.
        name: for the result.

    Returns:
        The :class:`Registration`; nothing is warped here.

    Raises:
        ShapeError: unless both have one shape, C×H×W or 1×C×H×W.

    Example:
        >>> estimate_homography(torch.zeros(3, 64, 64), torch.zeros(3, 64, 64)).decision
        'refused'
    """
    moving, reference = _as_picture("moving", moving), _as_picture("reference", reference)
    if moving.shape != reference.shape:
        raise ShapeError("moving", f"the shape of the reference, {tuple(reference.shape)}", tuple(moving.shape))
    height, width = reference.shape[-2:]
    masks = [_as_mask(mask, reference) for mask in (valid_moving, valid_reference)]
    with torch.no_grad():
        peaks = [float(x.nan_to_num(0.0, 0.0, 0.0).amax()) for x in (moving, reference)]
        ceiling = SATURATION * min(peaks) if ceiling is None else ceiling
        floor = DARKEST * max(peaks) if floor is None else floor
        factor = _reduction(height, width)
        small = [F.avg_pool2d(x, factor) if factor > 1 else x for x in (moving.float(), reference.float(), *masks)]
        return _estimate(small[0], small[1], small[2], small[3], ceiling, floor, factor, (height, width), mode, name)


def _register_frame(bracket: Bracket, frames: Sequence[Tensor], index: int, mode: str) -> Registration:
    """Estimate one frame of a bracket from reduced pictures: the full frames are looked at once and lightly."""
    times = [float(time) for time in bracket.times]
    gamma = float(bracket.gamma)
    pair = (index, bracket.reference)
    ceiling = SATURATION / max(times[i] for i in pair)
    floor = DARKEST / min(times[i] for i in pair)
    height, width = bracket.shape
    factor = _reduction(height, width)
    radiance = []
    with torch.no_grad():
        for i in pair:
            # Clipping must come before averaging; the average of gamma-encoded values scales with exposure as well as
            # that of linear ones does, and needs no power function on the full frame.
            top = float(encode(torch.tensor(ceiling * times[i], dtype=torch.float64), bracket.encoding, gamma))
            small = F.avg_pool2d(frames[i].clamp(0.0, top), factor).to("cpu", torch.float32)
            radiance.append(to_radiance(small, times[i], bracket.encoding, gamma))
        full = torch.ones_like(radiance[0][:, :1])
        return _estimate(
            radiance[0], radiance[1], full, full, ceiling, floor, factor, (height, width), mode, bracket.names[index]
        )


def _estimate(
    moving: Tensor,
    reference: Tensor,
    valid_moving: Tensor,
    valid_reference: Tensor,
    ceiling: float,
    floor: float,
    factor: int,
    size: tuple[int, int],
    mode: str,
    name: str,
) -> Registration:
    """Features, search, refinement and decision, on reduced radiance."""
    if min(moving.shape[-2:]) < 16:
        return _refused(name, "the frames are too small to compare")
    if not (math.isfinite(ceiling) and ceiling > 2 * floor > 0):
        return _refused(name, "the frames have no range of brightness in common")
    signals = [common_signal(x, floor, ceiling) for x in (moving, reference)]
    noise = max(noise_level(signal) for signal in signals)
    moving_levels = feature_pyramid(signals[0], valid_moving, noise, factor, SEARCH_SIDE)
    reference_levels = feature_pyramid(signals[1], valid_reference, noise, factor, SEARCH_SIDE)
    frame = Frame(*size)
    evidence = _coarse_to_fine(moving_levels, reference_levels, frame)
    if evidence is None:
        return _refused(name, "too little texture in what both frames record")
    return _decide(evidence, frame, mode, name)


def _coarse_to_fine(moving: Sequence[Level], reference: Sequence[Level], frame: Frame) -> _Evidence | None:
    """The best fit and what speaks for it; nothing when there is too little texture."""
    templates = [Template.of(level, frame, most) for level, most in zip(reference, _points(reference), strict=True)]
    if templates[0].count < 64 or templates[-1].count < 32:
        return None
    second = max(len(moving) - 2, 0)
    fits = _nearby(moving[second], templates[second], frame)
    if fits is None:
        candidates = search(moving[-1], reference[-1], frame)
        fits = refine(moving[-1], templates[-1], frame, candidates, parameters=4, iterations=8)
        # Noise and repeated patterns decide too much at the coarsest level: the best few meet again on a finer one.
        favourites = fits.homography[_score(fits).topk(min(3, len(candidates))).indices]
        fits = refine(moving[second], templates[second], frame, favourites, parameters=6, iterations=6)
    best = int(_score(fits).argmax())
    fit = fits[best]
    for level, template in list(zip(moving, templates, strict=True))[second::-1]:
        fit = refine(level, template, frame, fit.homography, parameters=6, iterations=4)
        fit = refine(level, template, frame, fit.homography, parameters=8, iterations=12)
    # Looked at together, both are judged by the same scale.
    both = torch.cat((fit.homography, _identity()[None]))
    compared = refine(moving[0], templates[0], frame, both, parameters=8, iterations=0)
    return _Evidence(compared[0], compared[1], _distinctness(fits, best, frame, moving[-1].factor))


def _nearby(moving: Level, template: Template, frame: Frame) -> Fit | None:
    """The fit found from where the frames are, if they hardly moved and agree beyond doubt: tripods need no search."""
    fit = refine(moving, template, frame, _identity()[None], parameters=4, iterations=4)
    corners = frame.corners()
    moved = float((transfer_points(fit.homography[0], corners) - corners).norm(dim=-1).max())
    return fit if moved * frame.unit < 3 * moving.factor and float(fit.correlation) > 0.7 else None


def _points(levels: Sequence[Level]) -> list[int]:
    """How many pixels to look at: all that matter at the finest level, fewer where candidates are only compared."""
    counts = [30000, 15000] + [6000] * len(levels)
    return [*counts[: len(levels) - 1], 6000] if len(levels) > 1 else counts[:1]


def _distinctness(fits: Fit, best: int, frame: Frame, factor: int) -> float:
    """By how much the best candidate beats the best that ended elsewhere, relative to itself."""
    corners = frame.corners()
    ends = torch.stack([transfer_points(h, corners) for h in fits.homography])
    apart = (ends - ends[best]).norm(dim=-1).amax(dim=1).nan_to_num(torch.inf) * frame.unit > 3 * factor
    if not bool(apart.any()):
        return 1.0
    scores = _score(fits)
    leader, rival = float(scores[best]), float(scores[apart].amax())
    return (leader - rival) / max(leader, 1e-6)


def _score(fits: Fit) -> Tensor:
    """How good fits are beside each other: those that agree in many places and correlate where they overlap."""
    return fits.agreement * fits.correlation.clamp(min=1e-3)


def _decide(evidence: _Evidence, frame: Frame, mode: str, name: str) -> Registration:
    """Weigh what was found: leave, warp or refuse."""
    fit, still = evidence.fit, evidence.still
    estimate = _to_pixels(fit, frame)
    moved = displacement(estimate, frame.height, frame.width)
    found = Registration(
        name=name,
        homography=_identity(),
        decision="refused",
        overlap=1.0,
        residual_before=1 - float(still.agreement),
        residual_after=1 - float(fit.agreement),
        confidence=0.0,
        displacement=moved,
        uncertainty=float(fit.uncertainty),
        reason="",
        estimate=estimate,
    )
    if not _plausible(estimate, frame):
        return replace(found, reason="no camera motion explains what was found")
    confidence, doubt = _confidence(evidence, moved)
    if moved < max(STILL, min(2 * found.uncertainty, 0.5)):
        return replace(found, decision="identity", confidence=confidence, reason=f"moved by {moved:.2f} px at most")
    overlap = float(valid_area(estimate, frame.height, frame.width).float().mean())
    if confidence < 0.5 and mode != "on":
        return replace(found, confidence=confidence, reason=doubt)
    reason = f"moved by {moved:.1f} px" + (f"; warped although {doubt}" if confidence < 0.5 else "")
    return replace(found, homography=estimate, decision="warped", overlap=overlap, confidence=confidence, reason=reason)


def _confidence(evidence: _Evidence, moved: float) -> tuple[float, str]:
    """The weakest of the reasons to believe a transform, 0.5 where belief and doubt balance, and the doubt in words.

    Unrelated pictures reach a correlation of 0.25, a gain of 0.01 and a distinctness of 0.4, though not all at once;
    pairs that moved and were registered to a tenth of a pixel have 0.5, 0.3 and 0.05 at the least.
    """
    fit, still = evidence.fit, evidence.still
    gain = float(fit.agreement - still.agreement) / max(float(fit.agreement), 1e-6)
    return min(
        (_belief(evidence.distinctness, 0.015), "another transform explains the frames nearly as well"),
        (_belief(1.0 / max(float(fit.uncertainty), 1e-6), 1.0), "the texture does not determine the transform"),
        (_belief(gain, 0.02 * min(moved / 2, 1.0)), "the frames agree hardly better after it than before"),
        (_belief(float(fit.correlation), 0.3), "too little of the frames agrees"),
    )


def _belief(value: float, even: float) -> float:
    """0 at 0, 0.5 at ``even``, towards 1 beyond."""
    squared = max(value, 0.0) ** 2
    return squared / (squared + even**2)


def _plausible(homography: Tensor, frame: Frame) -> bool:
    """Whether a hand-held camera could have done it: moderate motion and zoom, hardly any shear."""
    moved = displacement(homography, frame.height, frame.width)
    if not moved < 0.6 * max(frame.height, frame.width):
        return False
    stretches = torch.linalg.svdvals(homography[:2, :2])
    return bool((stretches > 0.7).all() and (stretches < 1.4).all())


def _to_pixels(fit: Fit, frame: Frame) -> Tensor:
    """The fit as a matrix from the moving frame's pixels to the reference's."""
    to_pixels = frame.to_pixels()
    inverse = torch.linalg.inv_ex(to_pixels @ fit.homography[0] @ torch.linalg.inv(to_pixels)).inverse
    return inverse / inverse[2, 2]


def _reduction(height: int, width: int) -> int:
    """The power of two by which frames are reduced before anything is estimated."""
    factor = 1
    while height * width / factor**2 > WORKING_PIXELS:
        factor *= 2
    return factor


def _as_picture(argument: str, picture: Tensor) -> Tensor:
    if picture.ndim == 3:
        picture = picture[None]
    if picture.ndim != 4 or picture.shape[0] != 1:
        raise ShapeError(
            argument, "C×H×W or 1×C×H×W", tuple(picture.shape), "Register the frames of a batch one by one."
        )
    return picture


def _as_mask(mask: Tensor | None, picture: Tensor) -> Tensor:
    ones = torch.ones_like(picture[:, :1], dtype=torch.float32)
    if mask is None:
        return ones
    try:
        return ones * mask
    except RuntimeError:
        raise ShapeError("valid", f"{tuple(picture.shape[-2:])} or broadcastable", tuple(mask.shape)) from None


def _identity() -> Tensor:
    return torch.eye(3, dtype=torch.float64)


def _unmoved(name: str, reason: str) -> Registration:
    return Registration(name, _identity(), "identity", 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, reason, _identity())


def _refused(name: str, reason: str) -> Registration:
    return Registration(name, _identity(), "refused", 1.0, 1.0, 1.0, 0.0, 0.0, float("inf"), reason, _identity())
