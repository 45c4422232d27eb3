"""Ghost map: where a plain weighted merge would show ghosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.camera.noise import ORDINARY_CAMERA
from afunet_core.camera.saturation import CLIPPED
from afunet_core.errors import ArgumentError
from afunet_core.motion.consistency import GHOST_DEVIATIONS, WINDOW, inexactness, radiance_gap
from afunet_core.ops.box_filter import block_mean, window_mean
from afunet_core.ops.smoothstep import smoothstep
from afunet_core.ops.strips import row_strips, with_halo
from afunet_core.radiometry import linearize

STRIP_PIXELS = 1 << 16  # so many are looked at at a time: what is computed of them stays in the processor's cache
# The noise is measured on some rows, with about as many pixels: medians of 200,000 values err by half a percent.
SAMPLED_PIXELS = 1 << 16
MEDIAN_OF_SQUARE = 0.455  # median of the square of a standard normal value
# The noise is believed to be at most five times that expected, lest a scene that moves everywhere pass for noise.
LARGEST_SCALE = 25.0


def ghost_map(
    bracket: ExposureStack, sample: int = 0, check: Callable[[], None] = lambda: None, block: int = 1
) -> NDArray[np.float32]:
    """Estimate how surely the frames show different things at each pixel: H×W in [0, 1], 1 where a mean shows a ghost.

    Each frame's radiance is compared with that of the reference, in units of the deviation that photon, read and
    quantisation noise and an inexact camera curve would leave between them, averaged over channels and a small window.
    A saturated value only says "at least this bright" and contradicts nothing but darker values. The noise of the pair
    is measured from the picture as far as the picture allows: at least half of the scene is taken to be still.
    With ``block``, blocks of so many pixels squared are averaged first: what moves may be fainter than a pixel's noise.
    """
    batch = bracket.frames[0].shape[0]
    if not -batch <= sample < batch:
        raise ArgumentError("sample", f"an index from 0 to {batch - 1}", sample)
    frame = bracket.frames[0][sample]
    height, width = (size // block for size in frame.shape[-2:])
    result = torch.empty(height, width, dtype=torch.float32, device=frame.device)
    pixels = STRIP_PIXELS if frame.device.type == "cpu" else height * width * block**2
    with torch.no_grad():
        scales = _noise_scales(bracket, sample, block)
        # Strips of rows with what the windows see beyond them: a few megabytes whatever the size.
        for rows in row_strips(height, width * block**2, pixels):
            check()
            wide, inner = with_halo(rows, WINDOW // 2, height)
            worst = torch.zeros_like(result[rows])
            full = slice(wide.start * block, wide.stop * block)
            for squared, scale in zip(_disagreements(bracket, sample, full, block), scales, strict=True):
                local = window_mean(squared.mean(0)[None, None], WINDOW)[0, 0, inner]
                worst = torch.maximum(worst, local / scale)
            result[rows] = smoothstep(worst.sqrt_(), *GHOST_DEVIATIONS)
    return result.cpu().numpy()


def _noise_scales(bracket: ExposureStack, sample: int, block: int) -> list[Tensor]:
    """For each pair of frames the factor by which its variance exceeds that expected.

    Only a noisier camera is believed; a cleaner one gains nothing. Of a large image every so many rows tell it well
    enough.
    """
    height, width = bracket.frames[0].shape[-2:]
    rows = slice(0, height, -(-height * width // SAMPLED_PIXELS))
    scales = []
    for squared in _disagreements(bracket, sample, rows, block):
        known = squared[squared > 0]
        enough = known.numel() > squared.numel() // 4
        scale = (known.median() / MEDIAN_OF_SQUARE).clamp(1.0, LARGEST_SCALE) if enough else squared.new_tensor(1.0)
        scales.append(scale)
    return scales


class _Recording(NamedTuple):
    """Least and greatest radiance that a frame allows, and the variance of what it says, all C×rows×W."""

    low: Tensor
    high: Tensor
    variance: Tensor


def _disagreements(bracket: ExposureStack, sample: int, rows: slice, block: int) -> list[Tensor]:
    """Of every frame but the reference: its squared deviation from that one in variances, C×rows×W."""
    recordings = [_recording(bracket, index, sample, rows) for index in range(len(bracket.frames))]
    if block > 1:  # a block with one clipped pixel has no upper limit: the mean of what is infinite
        means = [[block_mean(part, block) for part in recording] for recording in recordings]
        recordings = [_Recording(low, high, variance / block**2) for low, high, variance in means]
    other = recordings.pop(bracket.reference)
    deviations = []
    for one in recordings:
        gap = radiance_gap(one.low, one.high, other.low, other.high)
        variance = inexactness(one.low, other.low).add_(one.variance).add_(other.variance)
        deviations.append(gap.square_().div_(variance))
    return deviations


def _recording(bracket: ExposureStack, index: int, sample: int, rows: slice) -> _Recording:
    """Some rows of a frame as an interval of radiance."""
    encoded = bracket.frames[index][sample, :, rows].float().nan_to_num(0.0).clamp_(0.0, 1.0)
    time = float(bracket.times[index])
    light = linearize(encoded, bracket.encoding, bracket.gamma)
    # Eight bits are the coarsest a frame comes in: one step of the encoding, in linear light, spread evenly.
    step = linearize((encoded + 1 / 255).clamp_(max=1.0), bracket.encoding, bracket.gamma).sub_(light)
    # Noisier cameras are measured as noisier by the scale above.
    variance = ORDINARY_CAMERA.variance(light).div_(time**2)
    variance.addcmul_(step, step, value=1 / (12 * time**2))
    radiance = light / time
    return _Recording(radiance, radiance.masked_fill(encoded >= CLIPPED, torch.inf), variance)
