"""Evidence of motion between aligned frames, which decides how they are merged."""

from __future__ import annotations

from collections.abc import Callable

from afunet_core.bracket.stack import ExposureStack
from afunet_core.merging.alignment import AlignedBracket
from afunet_core.merging.frame_selection import FrameSelection
from afunet_core.merging.options import MergeOptions
from afunet_core.motion.ghosts import ghost_map

__all__ = ["AT_REST", "is_at_rest", "nothing_moved"]

AT_REST = 2e-4
"""Mean of the ghost map up to which a scene counts as at rest: one ghost of 14×14 pixels in a megapixel."""

BLOCK = 2
"""Side of the blocks of pixels that are asked: what moves in the dark can be fainter than the noise of a pixel."""


def nothing_moved(
    aligned: AlignedBracket, frames: FrameSelection, options: MergeOptions, check: Callable[[], None] = lambda: None
) -> bool:
    """Return True if neither the camera nor anything in the scene moved between the frames that are merged.

    What is too dark in the reference to be told from noise shows between longer frames, what is clipped in it between
    shorter ones. A bracket that lacks a side, or that had to be registered, does not count as at rest, nor does any
    where ``method="afunet"`` asks for the network.

    Args:
        aligned: all frames.
        frames: those that are merged.
        options: of the merge.
        check: called several times a second; it raises when the caller no longer wants the answer.
    """
    bracket = aligned.bracket
    if options.method != "auto" or frames.missing or aligned.was_warped:
        return False
    if frames.joining:
        views = [bracket.with_reference(index) for index in (frames.reference, len(bracket) - 1, 0)]
    else:
        views = [frames.for_network(bracket)]
    return all(is_at_rest(view, check) for view in views)


def is_at_rest(bracket: ExposureStack, check: Callable[[], None] = lambda: None) -> bool:
    """Return True if nothing moved between the frames, in any sample of the batch, as far as they can tell.

    Args:
        bracket: the frames as they were taken; a bracket that had to be registered did move.
        check: called several times a second; it raises when the caller no longer wants the answer.

    Returns:
        True where :func:`~afunet_core.motion.ghosts.ghost_map` finds no ghost worth the name.

    Example:
        >>> import torch
        >>> frames = tuple(torch.full((1, 3, 20, 30), value) for value in (0.1, 0.4))
        >>> times = torch.tensor([1.0, 4.0])
        >>> is_at_rest(ExposureStack(frames, times, encoding="linear", reference=1))
        True
    """
    block = min(BLOCK, *bracket.frames[0].shape[-2:])
    maps = (ghost_map(bracket, sample, check=check, block=block) for sample in range(len(bracket.frames[0])))
    return all(float(found.mean()) <= AT_REST for found in maps)
