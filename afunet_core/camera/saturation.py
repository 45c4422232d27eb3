"""Exposure thresholds: the encoded values from which a frame is too dark, nearly saturated, or clipped.

One table for the package. Values are encoded (as stored, in [0, 1]), because that is the scale on which 8-bit steps,
noise reduction and clipping act.

| Level | Value | Used for |
|---|---|---|
| `DARK` | 0.06 | measuring: below, noise, quantisation and an inexact black level decide |
| `BRIGHT` | 0.92 | measuring: above, highlights are compressed and single pixels clip |
| `SATURATION_FADE` | 0.90–0.99 | merging: a frame's weight falls to zero over this range |
| `CLIPPED` | 0.97 | comparing: a frame says only "at least this bright" |
| `SATURATED` | 0.998 | counting pixels that record nothing, with `BLACK` = 0.001 at the other end |

Exceptions, each with its reason:

- `model/heads.py` (0.90–0.985) and `model/afunet.py` (0.97, 0.07): trained weights depend on them.
- `camera/noise.py` (0.88): the noise itself must fit below `SATURATION_FADE`, or it is cut off and looks smaller.
- `camera/response.py` (0.05–0.98): a curve is wanted as far up as values are stored.
- `camera/frame_pairs.py` (0.04–0.94) and `camera/levels.py` (0.96): a tone curve is fitted between noise and clip,
  and bends long before the clip.
- `motion/rest.py` (0.90–0.97): a channel that is nearly saturated bends those beside it.
- `bracket/exposure_checks.py` (0.04–0.96): a wide range, so that few frames share too little to be checked.
- `merging/frame_selection.py` (0.08): counts what is well exposed, not what can just be measured.
- `evaluation/` (0.05–0.95): published tables were made with them.
"""

from __future__ import annotations

from torch import Tensor

from afunet_core.ops.smoothstep import smoothstep

__all__ = ["BLACK", "BRIGHT", "CLIPPED", "DARK", "SATURATED", "SATURATION_FADE", "unsaturated"]

DARK = 0.06
BRIGHT = 0.92
SATURATION_FADE = (0.90, 0.99)
CLIPPED = 0.97
SATURATED = 0.998
BLACK = 1e-3


def unsaturated(encoded: Tensor) -> Tensor:
    """Weight 1 below the fade to saturation, 0 above it, a smooth step between.

    Example:
        >>> import torch
        >>> unsaturated(torch.tensor([0.5, 1.0]))
        tensor([1., 0.])
    """
    return smoothstep(encoded, SATURATION_FADE[1], SATURATION_FADE[0])
