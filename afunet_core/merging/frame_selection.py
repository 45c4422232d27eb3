"""Selection of frames: which ones the network sees, and which join in the mean afterwards.

The network takes three: the reference, chosen for what is well exposed and sharp, and the frames nearest to two stops
either side. With two frames the missing side is the reference once more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.errors import BracketError
from afunet_core.radiometry import linearize

OUTER_STOPS = 2.0  # stops from the reference to the outer frames: the network's training saw mostly these
# Stops from the reference within which the network is asked to guess what nothing recorded: as far as it learned.
WIDEST_STOPS = 4.0
DARK = 0.08  # encoded value below which a pixel of a candidate for the reference counts as lost in the shadows
BRIGHT = 0.92  # encoded value above which it counts as lost in the lights
# Weight of clipped pixels against a candidate for the reference: what is clipped and moved is lost for ever, what is
# dark and moved is only noisy.
CLIPPED_COUNTS = 2.0
SHARPER = 1.25  # ratio of the gradients' energies from which another frame is preferred for its sharpness
NEARLY_AS_WELL = 0.85  # share of the best frame's recorded pixels that a sharper one must have


@dataclass(frozen=True)
class FrameSelection:
    """Frames that the network sees, and frames that join afterwards; indices into ``bracket.frames``."""

    reference: int  # the frame the result is aligned to
    three: tuple[int, int, int]  # under, reference and over; the missing side of two frames repeats the reference
    joining: tuple[int, ...] = ()  # frames held against the network's picture and averaged with it afterwards
    missing: str | None = None  # ``"shorter"`` or ``"longer"``, the side that repeats the reference, or ``None``
    # the same three with a shorter first one, where there is one; the network sees them where no frame that agrees
    # recorded how bright it is
    wider: tuple[int, int, int] | None = None

    def for_network(self, bracket: Bracket) -> Bracket:
        """Return the three frames as a bracket whose times are relative to the first of them."""
        return bracket.select(self.three, reference=1)


def select_frames(bracket: Bracket, everything: bool = True) -> FrameSelection:
    """Choose the reference, unless the caller did, and the outer frames for the network.

    With ``everything`` frames join afterwards; three frames, which the network weighs itself, never do.
    """
    reference = bracket.reference if bracket.reference_given else choose_reference(bracket)
    stops = [float(value - bracket.ev[reference]) for value in bracket.ev]
    shorter = [i for i, value in enumerate(stops) if value < -0.01]
    longer = [i for i, value in enumerate(stops) if value > 0.01]
    if not shorter and not longer:
        raise BracketError("reference", "a frame with others of different exposure", repr(bracket.names[reference]))
    under = min(shorter, key=lambda i: abs(stops[i] + OUTER_STOPS), default=reference)
    over = min(longer, key=lambda i: abs(stops[i] - OUTER_STOPS), default=reference)
    three = (under, reference, over)
    missing = None if shorter and longer else "longer" if shorter else "shorter"
    joining = tuple(range(len(bracket))) if everything and (len(bracket) > 3 or missing) else ()
    shortest = min((i for i in shorter if -stops[i] <= WIDEST_STOPS + 0.1), key=stops.__getitem__, default=under)
    wider = (shortest, reference, over) if joining and stops[shortest] < stops[under] else None
    return FrameSelection(reference, three, joining, missing, wider)


@torch.no_grad()
def choose_reference(bracket: Bracket) -> int:
    """Return the frame that records most of the scene between shadows and saturation, or a sharper one nearly as good.

    Of three frames and more, the shortest and the longest are not considered: they lack a neighbour.
    """
    candidates = range(len(bracket))[1:-1] or range(len(bracket))
    if len(candidates) == 1:
        return candidates[0]
    step = max(1, min(max(bracket.shape) // 512, *bracket.shape))
    small = [F.avg_pool2d(frame.float(), step) if step > 1 else frame.float() for frame in bracket.frames]
    recorded = [((frame > DARK) & (frame < BRIGHT)).all(1, keepdim=True) for frame in small]
    clipped = [float((frame >= BRIGHT).any(1).float().mean()) for frame in small]
    shares = [float(mask.float().mean()) - CLIPPED_COUNTS * lost for mask, lost in zip(recorded, clipped, strict=True)]
    best = max(candidates, key=lambda i: (shares[i], -abs(i - len(bracket) // 2)))
    chosen, gain = best, SHARPER
    for other in candidates:
        if other != best and shares[other] >= shares[best] - (1 - NEARLY_AS_WELL) * abs(shares[best]):
            sharper = _relative_sharpness(bracket, small, recorded[best] & recorded[other], other, best)
            if sharper > gain:
                chosen, gain = other, sharper
    return chosen


def _relative_sharpness(bracket: Bracket, small: list[Tensor], mask: Tensor, first: int, second: int) -> float:
    """Return the ratio of two frames' energies of gradients, in radiance, where both record the scene."""
    if min(small[0].shape[-2:]) < 2:
        return 1.0  # a line has no slopes across it
    energies = []
    for index in (first, second):
        radiance = linearize(small[index], bracket.encoding, bracket.gamma) / float(bracket.times[index])
        grey = F.avg_pool2d(radiance.mean(1, keepdim=True), 2, stride=1) * 1.0  # noise must not pass for sharpness
        slope = grey.diff(dim=-1)[..., 1:, :].square() + grey.diff(dim=-2)[..., 1:].square()
        energies.append(float((slope * mask[..., 2:, 2:]).sum()))
    return (energies[0] + 1e-12) / (energies[1] + 1e-12)
