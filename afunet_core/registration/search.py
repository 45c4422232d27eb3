"""Search for the transform: correlation over shifts and rotations, then refinement level by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.ops.warp import transfer_points
from afunet_core.registration.decision import FitEvidence
from afunet_core.registration.features import Level
from afunet_core.registration.gauss_newton import Fit, Template, refine, shared_agreement
from afunet_core.registration.homography import CentredFrame, transfer_centred
from afunet_core.registration.parallax import local_motion

LARGEST_SHIFT = 0.45  # of the sides of the frame
# Degrees of rotation tried at the coarsest level; refinement finds what lies between.
ANGLES = (0.0, -1.5, 1.5, -3.0, 3.0, -4.5, 4.5, -6.0, 6.0)
CANDIDATES = 6  # strongest correlations that are followed
# Full-resolution pixels of predicted error from which it pays to look at more than the strongest pixels.
UNCERTAIN = 0.04
ALL_POINTS = 120_000  # pixels looked at then
ASTRAY = 0.25  # share of the textured parts that are off from which a fit is doubted
_STILL = torch.eye(3, dtype=torch.float64, device="cpu")[None]


def coarse_to_fine(
    moving: Sequence[Level], reference: Sequence[Level], frame: CentredFrame, check: Callable[[], None]
) -> FitEvidence | None:
    """Find the best fit between levels, finest first, and what speaks for it; None when there is too little texture."""
    templates = [Template.of(level, frame, most) for level, most in zip(reference, _points(reference), strict=True)]
    if len(templates[0].values) < 64 or len(templates[-1].values) < 32:
        return None
    second = max(len(moving) - 2, 0)
    check()
    fits = _nearby(moving[second], templates[second], frame)
    if fits is None:
        candidates = search(moving[-1], reference[-1], frame)
        check()
        fits = refine(moving[-1], templates[-1], frame, candidates, parameters=4, iterations=8)
        # Noise and repeated patterns decide too much at the coarsest level: the best few meet again on a finer one.
        favourites = fits.homography[_score(fits).topk(min(3, len(candidates))).indices]
        check()
        fits = refine(moving[second], templates[second], frame, favourites, parameters=6, iterations=6)
    best = int(_score(fits).argmax())
    fit = fits[best]
    for level, template in list(zip(moving, templates, strict=True))[second::-1]:
        check()
        fit = refine(level, template, frame, fit.homography, parameters=6, iterations=4)
        check()
        fit = refine(level, template, frame, fit.homography, parameters=8, iterations=12)
    finest = templates[0]
    if float(fit.uncertainty) > UNCERTAIN:  # little texture: look at all of it
        check()
        finest = Template.of(reference[0], frame, ALL_POINTS)
        fit = refine(moving[0], finest, frame, fit.homography, parameters=8, iterations=12)
    check()
    local = local_motion(moving, templates, frame, fit.homography)
    if local is not None and local.share > ASTRAY:
        # Much of the frame is off: either it has depth, or the fit has gone astray, and the parts know where to.
        starts = torch.cat((fit.homography, local.correct(fit.homography)))
        again = refine(moving[0], finest, frame, starts, parameters=8, iterations=12)
        check()
        fit = again[int(_score(again).argmax())]
        local = local_motion(moving, templates, frame, fit.homography)
    # Looked at together, both are judged by the same scale.
    both = torch.cat((fit.homography, _STILL))
    fit = refine(moving[0], finest, frame, both, parameters=8, iterations=0)[0]
    agreement, before = shared_agreement(moving[0], finest, frame, both).tolist()
    return FitEvidence(fit, agreement, before, _distinctness(fits, best, frame, moving[-1].factor), local)


def _nearby(moving: Level, template: Template, frame: CentredFrame) -> Fit | None:
    """The fit found from where the frames are, if they hardly moved and agree beyond doubt: tripods need no search."""
    fit = refine(moving, template, frame, _STILL, parameters=4, iterations=4)
    corners = frame.corners()
    moved = float((transfer_points(fit.homography[0], corners) - corners).norm(dim=-1).max())
    return fit if moved * frame.unit < 3 * moving.factor and float(fit.correlation) > 0.7 else None


def _points(levels: Sequence[Level]) -> list[int]:
    """Numbers of pixels to look at: all that matter at the finest level, fewer where candidates are only compared."""
    counts = [30000, 15000] + [6000] * len(levels)
    return [*counts[: len(levels) - 1], 6000] if len(levels) > 1 else counts[:1]


def _distinctness(fits: Fit, best: int, frame: CentredFrame, factor: int) -> float:
    """Margin by which the best candidate beats the best that ended elsewhere, relative to itself."""
    corners = frame.corners()
    ends = torch.stack([transfer_points(h, corners) for h in fits.homography])
    apart = (ends - ends[best]).norm(dim=-1).amax(dim=1).nan_to_num(torch.inf) * frame.unit > 3 * factor
    if not bool(apart.any()):
        return 1.0
    scores = _score(fits)
    leader, rival = float(scores[best]), float(scores[apart].amax())
    return (leader - rival) / max(leader, 1e-6)


def _score(fits: Fit) -> Tensor:
    """Rank fits: the best agree in many places and correlate where they overlap."""
    return fits.agreement * fits.correlation.clamp(min=1e-3)


def search(moving: Level, reference: Level, frame: CentredFrame) -> Tensor:
    """Find K×3×3 candidates by masked normalised cross-correlation over shifts, for several rotations.

    Padfield, "Masked Object Registration in the Fourier Domain", 2012: the correlation at each shift is normalised by
    the energy of just those pixels that overlap there, so that large shifts compete fairly with small ones.
    """
    height, width = reference.feature.shape[-2:]
    if min(height, width) < 8:
        return _STILL
    turned = _STILL.repeat(len(ANGLES), 1, 1)
    turned[:, :2, :2] = kornia.geometry.angle_to_rotation_matrix(-torch.tensor(ANGLES, dtype=torch.float64))
    rotated = _resample(moving.feature * moving.valid, turned, frame, reference)
    template = reference.feature * reference.valid

    reach_y, reach_x = int(height * LARGEST_SHIFT), int(width * LARGEST_SHIFT)
    size = (_fast_length(height + reach_y), _fast_length(width + reach_x))

    def correlate(a: Tensor, b: Tensor) -> Tensor:
        """Σ a(p + s) b(p) over p for every shift s of up to the reach, s = 0 in the middle."""
        product = torch.fft.rfft2(a, s=size) * torch.fft.rfft2(b, s=size).conj()
        full = torch.fft.fftshift(torch.fft.irfft2(product, s=size), dim=(-2, -1))
        top, left = size[0] // 2 - reach_y, size[1] // 2 - reach_x
        return full[..., top : top + 2 * reach_y + 1, left : left + 2 * reach_x + 1]

    # Overlap and energy hardly change with a few degrees of rotation: one set serves all.
    overlap = correlate(moving.valid, reference.valid) / max(float(reference.valid.sum()), 1.0)
    energy = correlate((moving.feature * moving.valid).square(), reference.valid) * correlate(
        moving.valid, template.square()
    )
    floor = 1e-3 * float(template.square().sum()) ** 2 + 1e-6
    score = correlate(rotated, template) / energy.clamp(min=floor).sqrt() * overlap.clamp(min=0).sqrt()
    score = torch.where(overlap > 0.2, score, torch.full_like(score, -1.0))[:, 0]

    candidates = [_STILL[0]]
    for _ in range(CANDIDATES):
        best = int(score.argmax())
        which, rest = divmod(best, score.shape[1] * score.shape[2])
        row, column = divmod(rest, score.shape[2])
        if float(score.view(-1)[best]) <= 0:
            break
        shift = turned[which].clone()
        step = reference.factor / frame.unit
        offset = torch.tensor([(column - reach_x) * step, (row - reach_y) * step], dtype=torch.float64)
        # The moving frame was rotated before it was shifted: rotate the shift as well.
        shift[:2, 2] = turned[which, :2, :2] @ offset
        candidates.append(shift)
        score[:, max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5] = -1.0
    return torch.stack(candidates)


def _resample(image: Tensor, homography: Tensor, frame: CentredFrame, level: Level) -> Tensor:
    """A level's picture seen through K centred homographies, K×1×h×w, zero outside."""
    height, width = image.shape[-2:]
    places = kornia.geometry.create_meshgrid(height, width, normalized_coordinates=False, dtype=image.dtype)
    points = frame.to_centred(places.reshape(-1, 2), level.factor)
    positions = transfer_centred(homography.to(image.dtype), points)
    pixels = frame.to_level(positions, level.factor)
    grid = (pixels / pixels.new_tensor([width, height]) * 2 - 1).view(-1, height, width, 2)
    return F.grid_sample(image.expand(len(homography), -1, -1, -1), grid, mode="bilinear", align_corners=False)


def _fast_length(length: int) -> int:
    """Return the next length whose only factors are 2, 3 and 5."""
    smooth = (2**a * 3**b * 5**c for a in range(16) for b in range(10) for c in range(7))
    return min(size for size in smooth if size >= length)
