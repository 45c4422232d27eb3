"""Baseline JPEG for batches: block transform, quantisation and chroma subsampling of ITU-T T.81, without the coding.

Gradients stop at the rounding; `sensor.jpeg_artefacts` has a differentiable model. This one is many times as fast, and
has the subsampled chroma that cameras write.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.data.synthesis.draws import per_sample

__all__ = ["jpeg_file"]

# ITU-T T.81, tables K.1 and K.2.
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
# JFIF: YCbCr of ITU-R BT.601 over the full range.
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg_file(pictures: Tensor, quality: Sequence[int], subsampled: Sequence[bool]) -> Tensor:
    """Pass N×3×H×W encoded pictures in [0, 1] through JPEG files and back to 8 bits.

    Args:
        pictures: of any size.
        quality: of each, 1 to 100 as libjpeg counts it.
        subsampled: whether each keeps a quarter of the chroma (4:2:0).

    Example:
        >>> jpeg_file(torch.full((1, 3, 16, 16), 0.5), [90], [True])[0, 0, 0, :2] * 255
        tensor([128., 128.])
    """
    height, width = pictures.shape[-2:]
    padded = F.pad(pictures * 255, (0, -width % 16, 0, -height % 16), mode="replicate")
    to_ycbcr = padded.new_tensor(_TO_YCBCR)
    luma, chroma = torch.einsum("ij,njhw->nihw", to_ycbcr, padded.round()).round().split((1, 2), dim=1)
    scale = [50 / q if q < 50 else 2 - q / 50 for q in quality]
    luma = _blocks_rounded(luma - 128, _LUMA, scale) + 128
    whole = _blocks_rounded(chroma, _CHROMA, scale)
    if any(subsampled):
        quarter = _blocks_rounded(F.avg_pool2d(chroma, 2), _CHROMA, scale)
        quarter = F.interpolate(quarter, scale_factor=2, mode="bilinear", align_corners=False)
        whole = torch.where(per_sample(subsampled, whole) > 0, quarter, whole)
    rgb = torch.einsum("ij,njhw->nihw", padded.new_tensor(_TO_RGB), torch.cat([luma, whole], dim=1))
    return rgb[..., :height, :width].round().clamp(0, 255) / 255


def _blocks_rounded(planes: Tensor, table: tuple[int, ...], scale: Sequence[float]) -> Tensor:
    """N×C×H×W planes after the transform of 8×8 blocks has been rounded to multiples of the table; padded to 8."""
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate")
    cosine = _cosines().to(padded)
    steps = padded.new_tensor(table).view(8, 8)
    steps = (steps * per_sample(scale, padded)[..., None, None]).round().clamp(1, 255)
    blocks = padded.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-3, -2)
    coefficients = cosine @ blocks @ cosine.T
    rounded = (coefficients / steps).round() * steps
    back = (cosine.T @ rounded @ cosine).transpose(-3, -2).flatten(-4, -3).flatten(-2)
    return back[..., :height, :width]


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """The 8×8 orthonormal discrete cosine transform."""
    order, place = torch.arange(8.0)[:, None], torch.arange(8.0)
    matrix = torch.cos(math.pi * (2 * place + 1) * order / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix
