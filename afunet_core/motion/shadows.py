"""Values too dark to tell: a code near black says "at most this bright", as a saturated one says "at least".

Cameras cut black off, and a response curve is known only as far down as frames bore it out: of ten stacks, codes below
a twenty-fifth of the range were taken for one to five stops too dark. Taken at its word, such a value contradicts a
longer frame that shows the place well. So a dark value takes, as far as it allows, what the next longer frame shows
there. Where something moved, both stay as they are: where the longer frame shows more light than the dark value allows,
where other channels disagree, and in the dark around.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.saturation import unsaturated
from afunet_core.motion.consistency import spread_over
from afunet_core.motion.rest import DIFFERS, MOVED, disagreement
from afunet_core.ops.box_filter import window_max, window_mean
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import in_haloed_strips, in_strips
from afunet_core.radiometry import encode, linearize

FADE = 1.5  # encoded value, in units of the darkest that can be told, from which a frame is taken at its word
# Light that a longer frame shows over the most that a dark value allows, from which something moved, and did.
EXCEEDS = (1.25, 2.0)
WINDOW = 5  # side of the neighbourhood that decides, in pixels


def darkest_light(bracket: Bracket) -> float:
    """Return the light, as a share of saturation, below which the response curve was not found; 0 for an exact one."""
    return float((bracket.metadata.get("calibration") or {}).get("darkest") or 0.0)


@torch.no_grad()
def complete_shadows(bracket: Bracket, check: Callable[[], None] = lambda: None) -> Bracket:
    """Let registered frames show, where they are too dark to tell, what the next longer one shows, if they allow it."""
    most = darkest_light(bracket)
    if most <= 0:
        return bracket
    frames = list(bracket.frames)
    for index in reversed(range(len(bracket) - 1)):
        pair = bracket.select((index, index + 1), reference=1).with_frames(frames[index : index + 2])
        frames[index] = _completed(pair, most, check)
    return bracket.with_frames(frames)


def _completed(pair: Bracket, most: float, check: Callable[[], None]) -> Tensor:
    """The first of two frames with what the second, longer one shows in its dark."""
    darkest = float(encode(torch.tensor(most), pair.encoding, pair.gamma))
    rows = partial(_within, ratio=float(pair.times[0] / pair.times[1]), least=most, darkest=darkest, pair=pair)
    frame = pair.frames[0]
    dark, within = in_haloed_strips(rows, WINDOW // 2, *pair.frames, check=check).split((1, 3), 1)
    if not bool((dark > 0).any()):
        return frame
    found = disagreement(pair.with_frames((within, pair.frames[1])), 0)
    mask = F.interpolate(dark, size=found.shape[-2:], mode="area")
    mask = torch.maximum(mask.gt(0).float(), smoothstep(found, *DIFFERS))
    moved = spread_over(smoothstep(window_mean(found, 3), *MOVED), mask)
    moved = window_mean(window_max(moved, WINDOW), WINDOW)
    moved = F.interpolate(moved, size=frame.shape[-2:], mode="bilinear", align_corners=False)
    return in_strips(torch.lerp, within, frame, moved, check=check)


def _within(frame: Tensor, longer: Tensor, ratio: float, least: float, darkest: float, pair: Bracket) -> Tensor:
    """Mask of the dark, and the frame with what the longer one shows there; ``ratio`` is that of their times.

    A value allows what it says itself, and the darkest light that can be told in any case.
    """
    shown = linearize(longer, pair.encoding, pair.gamma) * ratio
    dark = smoothstep(frame, FADE * darkest, darkest)
    most = linearize(frame, pair.encoding, pair.gamma).clamp(min=least)
    exceeds = window_mean(dark * (shown / most).clamp(max=4.0), WINDOW) / window_mean(dark, WINDOW).clamp(min=1e-3)
    moved = smoothstep(exceeds, *EXCEEDS).amax(1, keepdim=True)
    within = encode(torch.minimum(shown, most), pair.encoding, pair.gamma)
    completed = torch.lerp(frame, within, dark * unsaturated(longer) * (1 - moved))
    return torch.cat((dark.amax(1, keepdim=True), completed), 1)
