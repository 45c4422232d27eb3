"""A bracket from a tripod, of a scene at rest: find out, for then the classical merge can hardly be beaten.

It is the best estimate that looks at one pixel alone, and noise is all that it leaves. A network that looks around
removes noise; where it smooths what is not noise, it does harm. How large the noise is can be told from the bracket. So
``merge(method="auto")`` lets the network move the classical merge about as far as noise moves values, and no further.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from afunet_core.baselines.weighted import ExposureStack
from afunet_core.camera.noise import NoiseModel, estimate_noise, merge_with_variance
from afunet_core.motion.ghosts import ghost_map
from afunet_core.ops.box_filter import window_mean
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import in_haloed_strips
from afunet_core.radiometry import encode, linearize

__all__ = ["AT_REST", "is_at_rest", "merge_at_rest", "within_noise"]

AT_REST = 2e-4
"""Mean of the ghost map up to which a scene counts as at rest: one ghost of 14×14 pixels in a megapixel."""

BLOCK = 2
"""Side of the blocks of pixels that are asked: what moves in the dark can be fainter than the noise of a pixel."""

LIGHTS = (0.3, 0.6)
"""Encoded values of the reference between which shadows end and lights begin."""

TOLERANCE = (1.0, 0.8)
"""Standard deviations by which the network may differ from the classic in a neighbourhood, in shadows and lights."""

OF_ONE_PIXEL = 1.5
"""How much further a single pixel may differ than its neighbourhood."""

NEIGHBOURHOODS = (3, 9)
"""Widths of the windows in which the network must keep within the tolerance, in pixels."""

NOTICEABLE = (0.0075, 0.025)
"""Relative noise of the classic up to which there is nothing to gain, and from which the network has its whole say."""

_STRIP_PIXELS = 1 << 18


def is_at_rest(bracket: ExposureStack, batch_size: int = 1, check: Callable[[], None] = lambda: None) -> bool:
    """Whether nothing moved between the frames, as far as they can tell.

    Args:
        bracket: the frames as they were taken; a bracket that had to be registered did move.
        batch_size: samples in the batch; all of them must be at rest.
        check: called several times a second; it raises when the caller no longer wants the answer.

    Returns:
        True where :func:`~afunet_core.motion.ghosts.ghost_map` finds no ghost worth the name.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> frames = tuple(torch.full((1, 3, 20, 30), value) for value in (0.1, 0.4))
        >>> times = torch.tensor([1.0, 4.0])
        >>> is_at_rest(SimpleNamespace(frames=frames, times=times, encoding="linear", gamma=2.2, reference=1))
        True
    """
    block = min(BLOCK, *bracket.frames[0].shape[-2:])
    maps = (ghost_map(bracket, sample, check=check, block=block) for sample in range(batch_size))
    return all(float(found.mean()) <= AT_REST for found in maps)


def merge_at_rest(network: Tensor, bracket: ExposureStack, noise: NoiseModel | None = None) -> Tensor | None:
    """The classical merge of a scene at rest, with the network's denoising as far as it is within the noise.

    Args:
        network: the network's image, B×3×H×W radiance, 1.0 at saturation of the shortest frame.
        bracket: the frames it was made from, each B×3×H×W.
        noise: of the camera; estimated from the bracket where ``None``.

    Returns:
        B×3×H×W radiance, or ``None`` where the bracket does not tell its noise: then the classic should stand alone.

    Example:
        >>> from types import SimpleNamespace
        >>> light, times = torch.rand(1, 3, 200, 200) * 0.2, torch.tensor([1.0, 4.0])
        >>> noisy = tuple(light * t + 0.01 * torch.randn(light.shape) for t in (1.0, 4.0))
        >>> stack = SimpleNamespace(frames=noisy, times=times, encoding="linear", gamma=2.2, reference=1)
        >>> merged = merge_at_rest(light, stack)  # a network that knows the truth
        >>> bool((merged - light).square().mean() < 0.6 * (noisy[1] / 4 - light).square().mean())
        True
    """
    noise = noise or estimate_noise(bracket)
    if noise is None:
        return None

    def rows(image: Tensor, *frames: Tensor) -> Tensor:
        classic, variance = merge_with_variance(frames, bracket.times, bracket.encoding, bracket.gamma, noise)
        # As the network sees it: encoded with gamma 2.2 whatever it came with.
        light = linearize(frames[bracket.reference], bracket.encoding, bracket.gamma)
        return within_noise(image.to(classic), classic, variance, encode(light.clamp(0, 1)))

    return in_haloed_strips(rows, max(NEIGHBOURHOODS) // 2, network, *bracket.frames, pixels=_STRIP_PIXELS)


def within_noise(network: Tensor, classic: Tensor, variance: Tensor, reference: Tensor) -> Tensor:
    r"""The classical merge, moved towards the network where that is what removing noise would do.

    An estimate that is right differs from the classic by that one's noise: by the variance :math:`\sigma^2`, on average
    over a neighbourhood. Where the mean square :math:`d^2` of the difference is larger, the network errs by the rest,
    and the best mixture of the two has the share :math:`\sigma^2 / d^2` of it (James and Stein, "Estimation with
    Quadratic Loss", 1961; Efron and Morris, "Limiting the Risk of Bayes and Empirical Bayes Estimators", JASA 1972, on
    bounding the single value, too). We take the square of that share, which is on the safe side. In the lights, the
    network's image gets the local mean of the classic before: there, what is wrong is seldom noise.

    Args:
        network: B×C×H×W radiance.
        classic: the same from the classical merge.
        variance: of the noise in it.
        reference: the reference frame, B×C×H×W encoded with gamma 2.2 in [0, 1].

    Returns:
        B×C×H×W radiance. Where the classic has no noise, it is the classic.

    Example:
        >>> classic = torch.full((1, 3, 1, 1), 0.5)
        >>> variance, dark = torch.full_like(classic, 0.02**2), torch.zeros_like(classic)
        >>> half_a_deviation, twenty = (within_noise(classic + d, classic, variance, dark) for d in (0.01, 0.4))
        >>> round(float(half_a_deviation[0, 0]), 4), round(float(twenty[0, 0]), 4)
        (0.51, 0.5)
    """
    lights = smoothstep(reference, *LIGHTS)
    difference = network - classic
    squared = difference.square()
    floor = torch.finfo(squared.dtype).tiny
    tolerance = (TOLERANCE[0] + (TOLERANCE[1] - TOLERANCE[0]) * lights) ** 2
    share = (OF_ONE_PIXEL**2 * tolerance * variance / squared.clamp(min=floor)).clamp(max=1)
    expected, found = variance.mean(1, keepdim=True), squared.mean(1, keepdim=True)
    for side in NEIGHBOURHOODS:
        there = window_mean(expected, side) / window_mean(found, side).clamp(min=floor)
        share = torch.minimum(share, (tolerance * there).clamp(max=1).square())
    relative = variance.sqrt() / classic.abs().clamp(min=floor**0.5)
    share = share * smoothstep(relative.mean(1, keepdim=True), *NOTICEABLE)
    return classic + share * (difference - lights * window_mean(difference, 3))
