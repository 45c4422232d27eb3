"""Places at rest: where a frame and the reference show the same thing, as far as real cameras can tell.

Real frames stray everywhere by a little: the response curve is an estimate, worst in the shadows, and cameras mix
colours before they draw it, so that a colour is off by the same factor over a whole object; compression blurs edges; a
channel that saturates bends the others. What moved differs by more, and at its own edges. So here two frames may differ
by a factor that changes slowly over the picture; what is left is compared with noise and inexact curves and positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.camera.noise import NoiseModel
from afunet_core.motion.consistency import radiance_gap, spread_over
from afunet_core.ops.box_filter import block_mean, reduction, window_max, window_mean
from afunet_core.ops.slope import central_differences
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.radiometry import encode, linearize

WORKING_PIXELS = 1.0e6  # frames are compared at most at this size
# Standard deviation of an encoded value: one and a half steps of eight bits, for noise and compression.
CODE_ERROR = 0.006
CORRELATED = 8.0  # pixels of 5×5 that err independently: compression and demosaicing make neighbours err alike
RELATIVE_ERROR = 0.06  # share of the radiance by which two frames of the same thing may differ, after the slow factor
# Encoded value, of the shorter frame, at which the curve may be wrong by the radiance itself; the error falls with the
# square of the value. Of ten calibrated stacks, values of 0.04 to 0.08 were off by half a stop to a stop, 0.1 by 0.1.
SHADOWS = 0.055
SHADOWS_OF_EXACT = 0.02  # the same where no curve had to be found
BENT = 0.5  # relative error of a channel beside one that saturates
MIXED = 0.04  # share of the brightest channel that gets into the others, differently in each frame
TONES = 4  # coefficients of the factor, a polynomial of the encoded value, by which a channel of two frames may differ
TONE_SAMPLES = 1 << 15  # pixels that it is fitted to
LARGEST_TONE_FACTOR = 0.9  # natural logarithm of the largest of these factors: two and a half
MISPLACED = 0.35  # pixels by which frames may be off along edges: registration, sharpening, chroma subsampling
SLOW = 25  # side of the window over which the factor is averaged, twice, in pixels
FACTOR = 0.25  # relative difference up to which the slow factor is forgiven;
# and the encoded value, of the shorter frame, at which one of as much as the radiance itself is forgiven as well.
FACTOR_OF_SHADOWS = 0.1

LARGEST_FACTOR = 2.0

DARKEST = 0.03  # encoded value below which nothing is fitted to
MOST_OF = 500  # pixels that a channel must have for the fit
LIMIT = (0.90, 0.97)  # encoded values over which a value turns into "at least this much"
DIFFERS = (2.0, 4.0)  # deviations that belong to what moved, where they are connected with more
MOVED = (4.0, 6.0)  # deviations that only motion explains
# Shares of the picture that certainly moved between which doubt grows: where much moved, more did than can be seen. Of
# ten stacks of tripods nine have less than 0.0001 and one 0.004; one with people that walk by has 0.008.
EVIDENT = (0.003, 0.01)
STRICTER = 1.3  # by how much more deviations then count
# Side of the window by which what moved grows, in pixels, and how much wider it is where much moved.
GROWN, GROWN_MORE = 9, 12
BLURRED = 9  # side of the window over which the map fades, in pixels


@torch.no_grad()
def rest_map(stack: ExposureStack, index: int, noise: NoiseModel | None = None) -> tuple[Tensor, float]:
    """Estimate how surely a frame shows what the reference shows: B×1×H×W in [0, 1], 1 at rest.

    And the share of the picture that certainly moved. ``noise`` is ``None`` where the frames had a tone curve that was
    found and undone: then it is that of eight bits and compression, and the shadows are less sure.
    """
    height, width = stack.frames[index].shape[-2:]
    if index == stack.reference:
        return torch.ones_like(stack.frames[index][:, :1]), 0.0
    found = disagreement(stack, index, noise)
    certain = float((found > MOVED[1]).float().mean())
    evident = float(smoothstep(torch.tensor(certain), *EVIDENT))
    found = found * (1 + STRICTER * evident)
    moved = spread_over(smoothstep(found, *MOVED), smoothstep(found, *DIFFERS))
    moved = window_max(window_mean(moved, 3), GROWN + 2 * round(GROWN_MORE * evident / 2))
    rest = 1 - window_mean(window_mean(moved, BLURRED), BLURRED)
    if rest.shape[-2:] != (height, width):
        rest = F.interpolate(rest, size=(height, width), mode="bilinear", align_corners=False)
    return rest, certain


@torch.no_grad()
def disagreement(stack: ExposureStack, index: int, noise: NoiseModel | None = None) -> Tensor:
    """Difference of a frame and the reference in units of what cameras get wrong, B×1×h×w, at most at the working size.

    ``noise`` as for :func:`rest_map`.
    """
    height, width = stack.frames[index].shape[-2:]
    factor = reduction(height, width, WORKING_PIXELS)
    small = [block_mean(stack.frames[i].float(), factor).clamp(0, 1) for i in (index, stack.reference)]
    frame, reference = (encode(linearize(part, stack.encoding, stack.gamma)) for part in small)
    time, reference_time = float(stack.times[index]), float(stack.times[stack.reference])
    x, y = linearize(frame) / time, linearize(reference) / reference_time
    variance = _variance(frame, time, noise) + _variance(reference, reference_time, noise)
    at_limit, reference_at_limit = frame > LIMIT[0], reference > LIMIT[0]
    both = ~(at_limit | reference_at_limit)
    known = both.to(x)
    x = x / _tone_factor(x, y, reference, known)
    level = torch.minimum(x, y)
    # A frame at its limit says "at least".
    most, reference_most = x.masked_fill(at_limit, torch.inf), y.masked_fill(reference_at_limit, torch.inf)
    gap = radiance_gap(y, reference_most, x, most)
    relative = (gap * known / (level + 2 * variance.sqrt() + 1e-9)).clamp(-LARGEST_FACTOR, LARGEST_FACTOR)
    share = _slow(known).clamp(min=1e-3)
    shorter = (frame if time < reference_time else reference).clamp(min=0.01)
    curve_found = noise is None
    limit = FACTOR + (FACTOR_OF_SHADOWS / shorter).square() if curve_found else torch.full_like(gap, FACTOR)
    limit = limit.clamp(max=LARGEST_FACTOR)
    gap = gap - torch.maximum(torch.minimum(_slow(relative) / share, limit), -limit) * level * known
    bent = smoothstep(torch.maximum(frame, reference).amax(1, keepdim=True), *LIMIT)
    bent = window_max(torch.where(both, bent, 0.0), 3)
    # Excess of most channels over the limit of the other frame: cameras draw what is so bright to white.
    above = torch.where(reference_at_limit, x / y.clamp(min=1e-9), 0.0)
    above = torch.maximum(above, torch.where(at_limit, y / x.clamp(min=1e-9), 0.0))
    bent = torch.where(both, bent, (above.median(1, keepdim=True).values - 1).clamp(0, 1))
    inexact = RELATIVE_ERROR + ((SHADOWS if curve_found else SHADOWS_OF_EXACT) / shorter).square() + BENT * bent
    misplaced = MISPLACED * window_max(torch.maximum(_slope(x), _slope(y)), 3)
    allowed = torch.minimum(most, reference_most)
    mixed = MIXED * torch.where(allowed.isinf(), torch.maximum(x, y), allowed).amax(1, keepdim=True)
    systematic = (inexact * level).square() + misplaced.square() + mixed.square()
    together = window_mean(gap, 5).square() / (window_mean(variance / CORRELATED + systematic, 5) + 1e-14)
    single = window_mean(gap.square() / (variance + systematic + 1e-14), 3)
    return (1.5 * torch.maximum(together, 0.5 * single).mean(1, keepdim=True)).sqrt()


def _tone_factor(x: Tensor, y: Tensor, reference: Tensor, known: Tensor) -> Tensor:
    """Remainder of the response curve: the factor between two frames as a smooth function of the tone.

    It is fitted to all pixels of a channel, robustly; what moved is few of them at most tones.
    """
    factors = torch.ones_like(x)
    powers = torch.arange(TONES, dtype=torch.float64)
    for sample in range(len(x)):
        for channel in range(x.shape[1]):
            good = (known[sample, channel] > 0) & (reference[sample, channel] > DARKEST)
            place = good.flatten().nonzero()[:, 0]
            if len(place) < MOST_OF:
                continue
            place = place[:: max(1, len(place) // TONE_SAMPLES)]
            tone = reference[sample, channel].flatten()[place].double()
            ratio = (x[sample, channel] / y[sample, channel]).flatten()[place].double().clamp(0.05, 20).log()
            basis, found = tone[:, None] ** powers, torch.zeros(TONES, dtype=torch.float64)
            found[0] = ratio.median()
            for _ in range(6):
                weight = 1 / (1 + ((ratio - basis @ found) / 0.2).square()).square()
                normal = basis.mT @ (weight[:, None] * basis) + 1e-3 * len(place) * torch.eye(
                    TONES, dtype=torch.float64
                )
                found = torch.linalg.solve(normal, basis.mT @ (weight * ratio))
            curve = torch.zeros_like(reference[sample, channel], dtype=torch.float64)
            for coefficient in found.flip(0):
                curve = curve * reference[sample, channel].clamp(min=DARKEST) + coefficient
            factors[sample, channel] = curve.clamp(-LARGEST_TONE_FACTOR, LARGEST_TONE_FACTOR).exp().to(x)
    return torch.where(known > 0, factors, 1.0)


def _variance(encoded: Tensor, time: float, noise: NoiseModel | None) -> Tensor:
    if noise is not None:
        return noise.variance(linearize(encoded)) / time**2
    step = linearize(encoded + CODE_ERROR) - linearize((encoded - CODE_ERROR).clamp(min=0))
    return (step / (2 * time)).square()


def _slow(values: Tensor) -> Tensor:
    return window_mean(window_mean(values, SLOW), SLOW)


def _slope(radiance: Tensor) -> Tensor:
    across, down = (part / 2 for part in central_differences(radiance))
    return (across.square() + down.square()).sqrt()
