"""Where a plain weighted merge would show ghosts: frames that disagree by more than noise and saturation explain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afunet_core.baselines.weighted import ExposureStack
from afunet_core.camera.noise import ORDINARY_CAMERA
from afunet_core.errors import ArgumentError
from afunet_core.ops.box_filter import block_mean, window_mean
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.radiometry import linearize

__all__ = ["ghost_map"]

# Camera curves, exposure times and white balance are never exact; a static scene disagrees by a few percent.
_RELATIVE_ERROR = 0.04
# Encoded values from which a frame says only "at least this bright".
_CLIPPED = 0.97
# Deviations, in standard deviations, at which a ghost begins to be likely and at which it is certain.
_LIKELY, _CERTAIN = 2.5, 6.0
STRIP_PIXELS = 1 << 16
"""So many are looked at at a time: what is computed of them stays in the processor's cache."""
SAMPLED_PIXELS = 1 << 16
"""The noise is measured on some rows, with about as many pixels: medians of 200,000 values err by half a percent."""


def ghost_map(
    bracket: ExposureStack, sample: int = 0, window: int = 5, check: Callable[[], None] = lambda: None, block: int = 1
) -> NDArray[np.float32]:
    """How sure it is that the frames show different things at a pixel, measured against the reference frame.

    Each frame's radiance is compared with that of the reference, in units of the deviation that photon, read and
    quantisation noise and an inexact camera curve would leave between them, averaged over channels and a small window.
    A saturated value only says "at least this bright" and contradicts nothing but darker values. The noise of the pair
    is measured from the picture as far as the picture allows: at least half of the scene is taken to be still.

    Args:
        bracket: two or more exposures.
        sample: which sample of the batch.
        window: width, in pixels, of the neighbourhood that decides together; odd.
        check: called several times a second; it raises when the caller no longer wants the result.
        block: blocks of so many pixels squared are averaged first: what moves may then be fainter than the noise of a
            pixel. Rows and columns that fill no block are left out.

    Returns:
        H×W float32 (⌊H/block⌋×⌊W/block⌋ for blocks) in [0, 1]: 0 where a weighted merge is safe, 1 where it certainly
        shows a ghost.

    Raises:
        ArgumentError: for a sample that does not exist or a window that is not odd.

    Example:
        >>> from types import SimpleNamespace
        >>> frames = tuple(torch.full((1, 3, 8, 8), value) for value in (0.1, 0.4))
        >>> times = torch.tensor([1.0, 4.0])
        >>> still = SimpleNamespace(frames=frames, times=times, encoding="linear", gamma=2.2, reference=1)
        >>> float(ghost_map(still).max())
        0.0
    """
    batch = bracket.frames[0].shape[0]
    if not -batch <= sample < batch:
        raise ArgumentError("sample", f"an index from 0 to {batch - 1}", sample)
    if window < 1 or window % 2 == 0:
        raise ArgumentError("window", "an odd number of pixels", window)
    with torch.no_grad():
        scales = _noise_scales(bracket, sample, block)
        return _in_haloed_strips(bracket, sample, window // 2, scales, check, block).cpu().numpy()


def _in_haloed_strips(
    bracket: ExposureStack, sample: int, radius: int, scales: list[Tensor], check: Callable[[], None], block: int
) -> Tensor:
    """The map, H×W, from strips of rows with what the windows see beyond them: a few megabytes whatever the size."""
    frame = bracket.frames[0][sample]
    height, width = (size // block for size in frame.shape[-2:])
    step = height if frame.device.type != "cpu" else max(1, STRIP_PIXELS // max(1, width * block**2))
    result = torch.empty(height, width, device=frame.device)
    for top in range(0, height, step):
        check()
        bottom = min(top + step, height)
        first, last = max(top - radius, 0), min(bottom + radius, height)
        rows = slice(first * block, last * block)
        worst = torch.zeros(bottom - top, width, device=frame.device)
        for squared, scale in zip(_disagreements(bracket, sample, rows, block), scales, strict=True):
            local = window_mean(squared.mean(0)[None, None], 2 * radius + 1)[0, 0, top - first : bottom - first]
            worst = torch.maximum(worst, local / scale)
        result[top:bottom] = smoothstep(worst.sqrt_(), _LIKELY, _CERTAIN)
    return result


def _noise_scales(bracket: ExposureStack, sample: int, block: int = 1) -> list[Tensor]:
    """How much noisier than supposed each pair of frames is, in variance.

    For a normal deviate the median of its square is 0.455. Only a noisier camera is believed (a cleaner one gains
    nothing), and only up to five times, lest a scene that moves everywhere passes for noise. Of a large image every so
    many rows tell it well enough.
    """
    height, width = bracket.frames[0].shape[-2:]
    rows = slice(0, height, -(-height * width // SAMPLED_PIXELS))
    scales = []
    for squared in _disagreements(bracket, sample, rows, block):
        known = squared[squared > 0]
        enough = known.numel() > squared.numel() // 4
        scales.append((known.median() / 0.455).clamp(1.0, 25.0) if enough else squared.new_tensor(1.0))
    return scales


def _disagreements(bracket: ExposureStack, sample: int, rows: slice, block: int) -> list[Tensor]:
    """Of every frame but the reference: its squared deviation from that one in variances, C×rows×W."""
    intervals = [_interval(bracket, index, sample, rows) for index in range(len(bracket.frames))]
    if block > 1:  # a block with one clipped pixel has no upper limit: the mean of what is infinite
        means = [[block_mean(part, block) for part in interval] for interval in intervals]
        intervals = [(low, high, variance / block**2) for low, high, variance in means]
    reference = intervals.pop(bracket.reference)
    return [_squared_deviation(interval, reference) for interval in intervals]


def _interval(bracket: ExposureStack, index: int, sample: int, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Least and greatest radiance a frame allows, C×rows×W, and the variance of what it says."""
    encoded = bracket.frames[index][sample, :, rows].float().nan_to_num(0.0).clamp_(0.0, 1.0)
    time = float(bracket.times[index])
    light = linearize(encoded, bracket.encoding, bracket.gamma)
    # Eight bits are the coarsest a frame comes in: one step of the encoding, in linear light, spread evenly.
    step = linearize((encoded + 1 / 255).clamp_(max=1.0), bracket.encoding, bracket.gamma).sub_(light)
    # Noisier cameras are measured as noisier by the scale above.
    variance = ORDINARY_CAMERA.variance(light).div_(time**2)
    variance.addcmul_(step, step, value=1 / (12 * time**2))
    radiance = light / time
    return radiance, radiance.masked_fill(encoded >= _CLIPPED, torch.inf), variance


def _squared_deviation(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
    """Disagreement of two frames, squared, in variances, C×rows×W."""
    low_a, high_a, variance_a = first
    low_b, high_b, variance_b = second
    gap = torch.maximum(low_a - high_b, low_b - high_a).clamp_(min=0.0)
    darker = torch.minimum(low_a, low_b)
    variance = (variance_a + variance_b).addcmul_(darker, darker, value=_RELATIVE_ERROR**2)
    return gap.square_().div_(variance)
