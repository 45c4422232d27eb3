"""Whether the frames will come together, asked of small copies before anything is merged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_afunet.inputs import BracketSource
from napari_afunet.settings import MergeSettings

if TYPE_CHECKING:
    from afunet_core.registration.frames import Registration

__all__ = ["alignment_warnings"]

_SIDE = 320  # pixels along the longer side of the copies
_FOLLOWED = 32  # pixels of motion that the network follows by itself
_SHARP = 1.5  # pixels of motion that a mean of the frames forgives
_CERTAIN = 0.8  # confidence from which on a motion is worth a word before anybody asked


def alignment_warnings(source: BracketSource, settings: MergeSettings, should_stop: Callable[[], bool]) -> list[str]:
    """Sentences about frames that lie too far apart, for the method and alignment chosen.

    Loads torch and reads the middle plane: for the background. It takes a fraction of a second whatever the size.

    Args:
        source: the pixels.
        settings: with the exposures of all frames.
        should_stop: asked often; after it was true nothing is said.
    """
    from afunet_core import Bracket
    from afunet_core.errors import AFUNetError, MergeCancelled
    from afunet_core.registration.frames import register

    if settings.ev is None and settings.times is None:
        return []
    step = max(1, round(max(source.shape) / _SIDE))
    copies = [_reduced(frame[tuple(size // 2 for size in source.planes)], step) for frame in source.frames]
    if should_stop():
        return []
    # What is subtracted or measured pixel by pixel says nothing of copies, and little of where things are.
    plain = settings.replace(response=None, black_level=0.0, override=True)
    try:
        bracket = Bracket(copies, names=source.names, **plain.bracket_arguments())
        _, found = register(bracket, "auto", should_cancel=should_stop)
    except (AFUNetError, MergeCancelled):
        return []  # a merge says what is wrong with the frames themselves
    reference = bracket.names[bracket.reference]
    return [text for entry in found if (text := _warning(entry, reference, settings, step))]


def _warning(entry: Registration, reference: str, settings: MergeSettings, step: int) -> str:
    pixels = entry.displacement * step
    if entry.decision == "refused":
        # Where texture is scarce a copy cannot tell, and the merge looks again at full size.
        if settings.align == "on" or not entry.uncertainty < 1:
            return ""
        return f"“{entry.name}” and “{reference}” hardly fit together: {entry.reason}. Is it the same scene?"
    if entry.decision == "warped" and settings.align == "off" and entry.confidence >= _CERTAIN:
        moved = f"“{entry.name}” is moved by about {max(2, round(pixels))} px, and Align is “Never”"
        if settings.method in ("weighted", "mertens"):
            return f"{moved}: its details will be doubled." if pixels > _SHARP else ""
        return f"{moved}: that is further than the network follows." if pixels > _FOLLOWED else ""
    return ""


def _reduced(plane: Any, step: int) -> np.ndarray:
    """Every block of pixels as its mean, in the type of the data; of large blocks a grid of their pixels."""
    stride = max(1, step // 4)
    pixels = (
        np.asarray(plane[::stride, ::stride])[..., :3] if plane.ndim == 3 else np.asarray(plane[::stride, ::stride])
    )
    side = step // stride
    rows, columns = (size // side * side for size in pixels.shape[:2])
    if side <= 1 or not rows or not columns:
        return pixels
    blocks = pixels[:rows, :columns].reshape(rows // side, side, columns // side, side, *pixels.shape[2:])
    means = blocks.mean((1, 3), dtype=np.float32)
    return np.round(means).astype(pixels.dtype) if pixels.dtype.kind == "u" else means
