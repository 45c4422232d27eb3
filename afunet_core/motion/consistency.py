"""Photometric consistency: the test of whether frames show the same thing, within noise and saturation.

A frame that saturates says only "at least this bright". So every recording allows an interval of radiance, and two
recordings agree where the gap between their intervals is explained by noise and by inexact exposures. The ghost map,
and with it the test of rest and the motion compensation, and the merge of many frames ask this question; they differ in
the variance they know and in the deviations below.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.ops.box_filter import window_max, window_mean
from afunet_core.ops.smoothstep import smoothstep

# Exposure times, camera curves and white balance are never exact; a scene at rest disagrees by a few percent.
RELATIVE_ERROR = 0.04
AGREEMENT_DEVIATIONS = (2.0, 4.0)
"""Standard deviations at which a frame's weight in a merge begins to fall, and at which it is 0. The noise is known."""
GHOST_DEVIATIONS = (2.5, 6.0)
"""Standard deviations at which a ghost begins to be likely, and is certain. Wider, since the ghost map takes the worst
of all frames and knows the noise only roughly; the thresholds for static scenes were measured with them."""
NEAR_LIMIT = 0.9  # share of the limit of a picture from which it is taken to say "at least"
WINDOW = 5  # side of the neighbourhood that decides together, pixels
HALO = 8
"""Rows beyond a strip that change nothing in it: more than the windows and the margins of this module reach."""
# Frames of more pixels are compared at every second of their rows and columns: a pixel keeps its noise and its
# saturation, which a mean of pixels has not. At every fourth, 0.3 dB are lost about small things that move.
COMPARED_PIXELS = 0.45e6
# Things move as wholes: a contradiction spreads over what differs around it.
SPREAD_STEPS = 32  # pixels that it spreads, at a longer side of `SPREAD_SIDE`
SPREAD_SIDE = 512
SPREAD_FADE = 0.95  # share that is left of it after each pixel


def samples(image: Tensor) -> Tensor:
    """Take the pixels of a large image at which frames are compared; all of a small one."""
    height, width = image.shape[-2:]
    return image[..., 1::2, 1::2] if height * width > COMPARED_PIXELS else image


def radiance_gap(low: Tensor, high: Tensor, other_low: Tensor, other_high: Tensor) -> Tensor:
    """Signed gap between two intervals of radiance: positive where the other is brighter, 0 where they overlap."""
    return (other_low - high).clamp_(min=0.0) - (low - other_high).clamp_(min=0.0)


def inexactness(first: Tensor, second: Tensor) -> Tensor:
    """Variance between two radiances that inexact exposures and camera curves leave, beside noise."""
    return (RELATIVE_ERROR * torch.minimum(first, second)).square_()


def agreement(image: Tensor, radiance: Tensor, variance: Tensor, ceiling: Tensor | float, recorded: Tensor) -> Tensor:
    """Degree to which a frame shows what a picture shows, B×1×H×W; a small window and the channels decide together.

    ``variance`` is that of their difference; where the picture reaches its ``ceiling``, anything at least as bright
    agrees; ``recorded`` is 0 where the frame is saturated and its value does not count.
    """
    at_limit = image > NEAR_LIMIT * ceiling
    low = torch.where(at_limit, NEAR_LIMIT * ceiling, image)
    gap = radiance_gap(low, image.masked_fill(at_limit, torch.inf), radiance, radiance)
    inexact = inexactness(image, radiance)
    counted = window_mean(recorded, WINDOW).clamp(min=1e-3)
    pixelwise = window_mean(recorded * gap.square() / (variance + inexact), WINDOW) / counted
    # The mean over the window shows differences that hide in the noise of single pixels.
    together = (window_mean(recorded * gap, WINDOW) / counted).square()
    together = together / (window_mean(recorded * (variance / WINDOW**2 + inexact), WINDOW) / counted + 1e-12)
    deviation = torch.maximum(pixelwise, together * (counted > 0.1)).mean(1, keepdim=True).sqrt()
    return 1.0 - smoothstep(deviation, *AGREEMENT_DEVIATIONS)


def spread_over(wrong: Tensor, differs: Tensor) -> Tensor:
    """Grow what is wrong over what differs and is connected with it, fading with distance: things move as wholes."""
    height, width = wrong.shape[-2:]
    step = max(1, max(height, width) // SPREAD_SIDE)
    small, mask = (F.max_pool2d(x, step, ceil_mode=True) for x in (wrong, window_max(differs, 3)))
    for _ in range(SPREAD_STEPS):
        small = torch.maximum(small, torch.minimum(SPREAD_FADE * window_max(small, 3), mask))
    reached = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    return torch.maximum(wrong, torch.minimum(reached, window_max(differs, 5)))
