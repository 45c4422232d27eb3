"""OpenCV's AlignMTB and MergeDebevec for comparison, where OpenCV is installed."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.errors import DependencyError
from afunet_core.radiometry import linearize


def opencv_debevec(bracket: ExposureStack, align: bool = True) -> Tensor:
    """Merge with ``AlignMTB`` and ``MergeDebevec`` and the known camera curve, on 8-bit frames as OpenCV wants them.

    Ward, "Fast, Robust Image Registration for Compositing High Dynamic Range Photographs", 2003; Debevec and Malik,
    "Recovering High Dynamic Range Radiance Maps from Photographs", SIGGRAPH 1997.

    OpenCV weights all channels of a pixel alike, so that a colour of which a single channel saturates in a long frame
    comes out too dark in that channel: the row shows OpenCV as it is.
    """
    try:
        import cv2
    except ImportError as error:
        raise DependencyError("OpenCV is not installed: pip install opencv-python-headless.") from error
    # The merge takes logarithms: the darkest value counts as half a step of light, not as none.
    codes = torch.arange(256, dtype=torch.float64).clamp(min=0.5) / 255
    curve = (
        linearize(codes, bracket.encoding, bracket.gamma).float().view(256, 1, 1).expand(256, 1, 3).contiguous().numpy()
    )
    times = np.asarray([float(time) for time in bracket.times], np.float32)
    results = []
    for sample in range(len(bracket.frames[0])):
        codes_of = [(frame[sample].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu() for frame in bracket.frames]
        pictures = [np.ascontiguousarray(picture.numpy()) for picture in codes_of]
        # It looks for shifts up to 2 ** max_bits; an eighth of a small picture is as far as it can be trusted.
        max_bits = min(6, int(math.log2(max(1, min(pictures[0].shape[:2]) / 8))))
        if align and max_bits > 0:
            # In place: the frames come back shifted onto the middle one.
            cv2.createAlignMTB(max_bits).process(pictures, pictures)
        merged = cv2.createMergeDebevec().process(pictures, times, curve)
        results.append(torch.from_numpy(np.nan_to_num(merged)).permute(2, 0, 1))
    return torch.stack(results).to(bracket.frames[0])
