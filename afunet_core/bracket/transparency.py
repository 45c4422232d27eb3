"""Parts of frames that show nothing (alpha 0): filled with what other frames show there.

Programs that align frames (align_image_stack, nona) and formats with data windows leave such borders. The light of
another frame at this frame's exposure agrees with the bracket: it neither darkens a merge nor looks like motion.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afunet_core.camera.saturation import SATURATED
from afunet_core.radiometry import Scalar, encode, linearize


def hidden_part(frame: Any, name: str) -> Tensor | None:
    """Find where an array H×W×4 or H×W×2 has an alpha below one half: an H×W tensor, ``None`` where all is shown."""
    if isinstance(frame, Tensor) or np.ndim(frame) != 3 or np.shape(frame)[2] not in (2, 4):
        return None
    alpha = np.asarray(frame)[..., -1]
    opaque = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "ui" else 1.0
    hidden = alpha < opaque / 2
    if not hidden.any():
        return None
    if hidden.all():
        message = f"{name!r} is transparent everywhere: its alpha channel is ignored."
        warnings.warn(message, UserWarning, stacklevel=4)
        return None
    return torch.from_numpy(hidden)


def fill_hidden(
    frames: Sequence[Tensor],
    hidden: Sequence[Tensor | None],
    times: Sequence[float],
    encoding: str,
    gamma: Scalar,
    reference: int,
    names: Sequence[str] = (),
) -> tuple[Tensor, ...]:
    """Fill what frames (B×C×H×W) do not show from the reference, or else from the frame of the next exposure that does.

    ``hidden`` is H×W of each, true where it shows nothing. Warns by ``names`` where all that show a part are saturated.
    """
    if all(mask is None for mask in hidden):
        return tuple(frames)
    filled = []
    for index, (frame, mask) in enumerate(zip(frames, hidden, strict=True)):
        if mask is None:
            filled.append(frame)
            continue
        left, result = mask.to(frame.device), frame.clone()
        unknown = 0
        for donor in sorted(range(len(frames)), key=lambda other: (other != reference, abs(other - index))):
            if donor == index or not left.any():
                continue
            theirs = hidden[donor]
            usable = left if theirs is None else left & ~theirs.to(frame.device)
            light = linearize(frames[donor], encoding, gamma) * (times[index] / times[donor])
            result = torch.where(usable, encode(light.clamp(0.0, 1.0), encoding, gamma), result)
            left = left & ~usable
            if times[donor] > times[index]:
                unknown += int((usable & (frames[donor] >= SATURATED).any(1)).sum())
        filled.append(result)
        if names and unknown:
            message = (
                f"{names[index]!r} is transparent in part, and the frames that fill it are saturated on {unknown} "
                "pixels there: how bright they are is not known."
            )
            warnings.warn(message, UserWarning, stacklevel=5)
    return tuple(filled)
