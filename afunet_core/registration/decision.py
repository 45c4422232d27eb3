"""Decision on a registration: leave the frame, warp it, or refuse."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from afunet_core.ops.warp import displacement
from afunet_core.registration.align import covered_share
from afunet_core.registration.gauss_newton import Fit
from afunet_core.registration.homography import CentredFrame
from afunet_core.registration.parallax import NOTICEABLE, LocalMotion

# Pixels. Resampling a sharp picture costs a merge as much as leaving a shift of 0.2 pixels in it does (measured with
# every cubic and Lanczos kernel tried), and a frame that is not resampled stays as it was taken.
STILL = 0.2
# Values at which belief and doubt balance. Unrelated pictures reach a correlation of 0.25, a gain of 0.03 and a
# distinctness of 0.4, though not all at once; pairs that moved and were registered to a tenth of a pixel have 0.5, 0.3
# and 0.05 at the least.
EVEN_DISTINCTNESS = 0.015
EVEN_UNCERTAINTY = 1.0  # pixels
EVEN_GAIN = 0.02
EVEN_CORRELATION = 0.3
EVEN_EXTENT = 0.27
# A camera held by hand moves and zooms moderately, with hardly any shear.
LARGEST_MOTION = 0.6  # of the longer side of the frame
STRETCHES = (0.7, 1.4)  # least and greatest singular value of the linear part


@dataclass(frozen=True)
class Registration:
    """Transform and decision for one frame."""

    name: str  # the frame
    # 3×3 float64, from pixels (x, y, 1) of the frame to pixels of the reference: what was applied for ``"warped"``, the
    # identity otherwise
    homography: Tensor
    # ``"identity"`` (did not move), ``"warped"`` or ``"refused"`` (moved or may have moved, too uncertain)
    decision: str
    overlap: float  # share of the reference that the frame covers after warping, in [0, 1]
    # disagreement with the reference as it came, robust mean in [0, 1]; 0 is perfect. It is taken where both can be
    # compared, before and after.
    residual_before: float
    residual_after: float  # the same after the transform found
    confidence: float  # in [0, 1]; frames are warped from 0.5 on
    displacement: float  # how far the transform found moves the furthest corner, pixels
    uncertainty: float  # predicted standard deviation of the worst corner, pixels
    reason: str  # the decision in words
    estimate: Tensor  # 3×3 float64, the best transform found even when it was not applied
    # what no single transform can undo, after the one found: a tenth of the textured parts of the frame remain off by
    # so many pixels or more, through parallax or because they moved on their own; ``nan`` where that is not known.
    # Beyond some ten pixels it is not followed.
    parallax: float = math.nan
    parallax_share: float = 0.0  # share of the textured parts that remain off by more than 1.5 pixels, in [0, 1]

    @property
    def certain(self) -> bool:
        """True if it is known where the frame lies, be it moved or not."""
        return self.decision == "identity" or (self.decision == "warped" and self.confidence >= 0.5)

    def as_dict(self) -> dict[str, object]:
        """Plain numbers and lists, for provenance and JSON."""
        plain = {key: value for key, value in vars(self).items() if not isinstance(value, Tensor)}
        plain["parallax"] = None if math.isnan(self.parallax) else self.parallax  # JSON has no NaN
        return plain | {"homography": self.homography.tolist(), "estimate": self.estimate.tolist()}


@dataclass(frozen=True)
class FitEvidence:
    """The best fit, the agreement of the frames with it and as they came, its lead, and what it leaves over."""

    fit: Fit
    agreement: float
    agreement_before: float
    distinctness: float
    local: LocalMotion | None


def decide(evidence: FitEvidence, frame: CentredFrame, mode: str, name: str) -> Registration:
    """Weigh what was found: leave, warp or refuse."""
    fit = evidence.fit
    to_pixels = frame.to_pixels()
    estimate = torch.linalg.inv_ex(to_pixels @ fit.homography[0] @ torch.linalg.inv(to_pixels)).inverse
    estimate = estimate / estimate[2, 2]
    moved = displacement(estimate, frame.height, frame.width)
    found = Registration(
        name=name,
        homography=_identity(),
        decision="refused",
        overlap=1.0,
        residual_before=1 - evidence.agreement_before,
        residual_after=1 - evidence.agreement,
        confidence=0.0,
        displacement=moved,
        uncertainty=float(fit.uncertainty),
        reason="",
        estimate=estimate,
        parallax=evidence.local.distance if evidence.local else math.nan,
        parallax_share=evidence.local.share if evidence.local else 0.0,
    )
    plausible = moved < LARGEST_MOTION * max(frame.height, frame.width)
    if plausible:
        stretches = torch.linalg.svdvals(estimate[:2, :2])
        plausible = bool((stretches > STRETCHES[0]).all() and (stretches < STRETCHES[1]).all())
    if not plausible:
        return replace(found, parallax=math.nan, parallax_share=0.0, reason="no camera motion explains what was found")
    confidence, doubt = _confidence(evidence, moved)
    if moved < max(STILL, min(2 * found.uncertainty, 0.5)):
        return replace(found, decision="identity", confidence=confidence, reason=f"moved by {moved:.2f} px at most")
    overlap = covered_share(estimate, frame.height, frame.width)
    if confidence < 0.5 and mode != "on":
        return replace(found, confidence=confidence, reason=doubt)
    reason = f"moved by {moved:.1f} px" + (f"; warped although {doubt}" if confidence < 0.5 else "")
    if found.parallax > NOTICEABLE:
        reason += f"; parts remain off by {found.parallax:.1f} px (parallax, or they moved)"
    return replace(found, homography=estimate, decision="warped", overlap=overlap, confidence=confidence, reason=reason)


def chained(step: Registration, onward: Registration, height: int, width: int) -> Registration:
    """Chain two certain registrations: of a frame with another, and of that one with the reference."""
    estimate = onward.homography @ step.homography
    estimate = estimate / estimate[2, 2]
    moved = displacement(estimate, height, width)
    still = moved < STILL
    return replace(
        step,
        homography=_identity() if still else estimate,
        decision="identity" if still else "warped",
        overlap=1.0 if still else covered_share(estimate, height, width),
        confidence=min(step.confidence, onward.confidence),
        displacement=moved,
        uncertainty=math.hypot(step.uncertainty, onward.uncertainty),
        parallax=max(step.parallax, onward.parallax),
        parallax_share=max(step.parallax_share, onward.parallax_share),
        reason=f"moved by {moved:.1f} px, found by way of {onward.name}",
        estimate=estimate,
    )


def _confidence(evidence: FitEvidence, moved: float) -> tuple[float, str]:
    """The weakest of the reasons to believe a transform, 0.5 where belief and doubt balance, and the doubt in words."""
    fit = evidence.fit
    gain = (evidence.agreement - evidence.agreement_before) / max(evidence.agreement, 1e-6)
    return min(
        (_belief(evidence.distinctness, EVEN_DISTINCTNESS), "another transform explains the frames nearly as well"),
        (
            _belief(1.0 / max(float(fit.uncertainty), 1e-6), 1 / EVEN_UNCERTAINTY),
            "the texture does not determine the transform",
        ),
        (_belief(gain, EVEN_GAIN * min(moved / 2, 1.0)), "the frames agree hardly better after it than before"),
        (_belief(float(fit.correlation), EVEN_CORRELATION), "too little of the frames agrees"),
        (
            _belief(evidence.local.extent if evidence.local else 1.0, EVEN_EXTENT),
            "what agrees may be one thing that moved",
        ),
    )


def _belief(value: float, even: float) -> float:
    """0 at 0, 0.5 at ``even``, towards 1 beyond."""
    squared = max(value, 0.0) ** 2
    return squared / (squared + even**2)


def _identity() -> Tensor:
    return torch.eye(3, dtype=torch.float64)


def unmoved(name: str, reason: str) -> Registration:
    """A frame that stays as it is."""
    return Registration(name, _identity(), "identity", 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, reason, _identity())


def refused(name: str, reason: str) -> Registration:
    """A frame about which nothing certain was found."""
    return Registration(name, _identity(), "refused", 1.0, 1.0, 1.0, 0.0, 0.0, float("inf"), reason, _identity())
