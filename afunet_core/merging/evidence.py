"""Evidence of motion between aligned frames, which decides how they are merged."""

from __future__ import annotations

from collections.abc import Callable

from afunet_core.bracket.stack import ExposureStack
from afunet_core.merging.alignment import AlignedBracket
from afunet_core.merging.frame_selection import FrameSelection
from afunet_core.merging.options import MergeOptions
from afunet_core.motion.ghosts import ghost_map

AT_REST = 2e-4  # mean of the ghost map up to which a scene counts as at rest: one ghost of 14×14 pixels in a megapixel
# Side of the blocks of pixels that are asked: what moves in the dark can be fainter than the noise of a pixel.
BLOCK = 2


def nothing_moved(
    aligned: AlignedBracket, frames: FrameSelection, options: MergeOptions, check: Callable[[], None] = lambda: None
) -> bool:
    """Return True if neither the camera nor anything in the scene moved between the frames that are merged.

    What is too dark in the reference to be told from noise shows between longer frames, what is clipped in it between
    shorter ones. A bracket that lacks a side, or that had to be registered, does not count as at rest, nor does any
    where ``method="afunet"`` asks for the network.
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
    """Return True if nothing moved between frames as they were taken, in any sample, as far as they can tell."""
    block = min(BLOCK, *bracket.frames[0].shape[-2:])
    maps = (ghost_map(bracket, sample, check=check, block=block) for sample in range(len(bracket.frames[0])))
    return all(float(found.mean()) <= AT_REST for found in maps)
