"""Choice of where, and at which scale, the network looks at a bracket; the merge itself is of full resolution.

The anchored head returns a weighted mean of the frames (:mod:`afunet_core.model.working_scale`). Of large pictures the
weights are found on reduced frames: in a fourth or a sixteenth of the time, and with twice or four times the reach, for
what moves across a large picture moves by more pixels than the network was trained on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from afunet_core.bracket.stack import ExposureStack
from afunet_core.errors import ArgumentError
from afunet_core.merging.options import MergeOptions
from afunet_core.model.afunet import AFUNet
from afunet_core.motion.ghosts import ghost_map
from afunet_core.ops.box_filter import window_max, window_min

SCALES = {"full": 1, "half": 2, "quarter": 4}  # factors by which frames may be reduced for the network
# Pixels up to which a picture is looked at as it is, and up to which it is reduced to half: the network's reach in a
# picture of this size is that which it was trained for.
LOOKED_AT = 0.8e6
# Pixels that the network may look at before it takes a coarser scale, and the share of the picture to be added: 60
# times OpenCV's time at 1.5 megapixels and 4 CPU seconds a megapixel at 24 leave about as many (decision 0011).
AFFORDED = (0.2e6, 0.05)
HELD = 8e6  # pixels of the reduced picture that may be held with all their features
# Width of edges, in pixels, from which the network sees as much in frames reduced by 2 and by 4 as in the frames.
SOFT = {2: 4.5, 4: 9.0}
EDGE_PIXELS = 16  # pixels along a row or column in which an edge is looked for,
STRONGEST = 0.01  # and the share of such stretches, those with the greatest contrast, whose median width counts
LEAST_CONTRAST = 0.05  # encoded difference below which noise makes the edge; a picture without any counts as sharp
JUDGED_PIXELS = 0.45e6  # ghosts that call for the network are looked for on frames reduced to at most this many pixels,
SUSPECTED = 0.002  # from this value of the ghost map on,
AROUND = 17  # in a window of so many reduced pixels around,
CLOSED = 49  # and between what is within so many: inside a moving thing frames may agree by chance


def choose_scale(options: MergeOptions, model: AFUNet, height: int, width: int) -> int:
    """Return the factor by which the network's frames are reduced.

    Only networks with the anchored head can look at reduced frames, and features of every stage are those of the full
    picture; elsewhere ``working_scale="auto"`` is 1, the network itself.
    """
    possible = model.config.head == "anchored" and not options.stages
    if options.working_scale != "auto":
        scale = SCALES[options.working_scale]
        if scale > 1 and not possible:
            why = "with stages=True" if options.stages else "for a network without the anchored head"
            raise ArgumentError("working_scale", f"'full' {why}", repr(options.working_scale), "Or use 'auto'.")
        return scale
    if not possible:
        return 1
    scales = list(SCALES.values())
    return next((scale for scale in scales if height * width <= LOOKED_AT * scale**2), scales[-1])


def finer_scale(coarsest: int, three: ExposureStack, where: Tensor) -> int:
    """Return the finest scale that what moved leaves time for, but none finer than the frames' edges."""
    height, width = three.frames[0].shape[-2:]
    pixels, share = height * width, float((where > 0).float().mean())
    sharpness = edge_width(three.frames[three.reference])
    for scale in SCALES.values():
        soft = any(sharpness >= SOFT[coarser] for coarser in SOFT if coarser > scale)
        afforded = share * pixels / scale**2 <= AFFORDED[0] + AFFORDED[1] * pixels
        if scale >= coarsest or (afforded and not soft and pixels / scale**2 <= HELD):
            return min(scale, coarsest)
    return coarsest


def edge_width(frame: Tensor) -> float:
    """Return how many pixels wide the strongest edges are: their height over their steepest step.

    Sharp photographs have 1.5 to 2.8, the same enlarged four times 5 to 6.5.
    """
    heights, steps = [], []
    for axis in (-1, -2):
        grey = frame[:1].float().mean(1).movedim(axis, -1)
        step = grey.diff(dim=-1)
        step = step[..., : step.shape[-1] // EDGE_PIXELS * EDGE_PIXELS].unflatten(-1, (-1, EDGE_PIXELS))
        heights.append(step.sum(-1).abs().flatten())
        steps.append(step.abs().amax(-1).flatten())
    height, step = torch.cat(heights), torch.cat(steps)
    strongest = height.topk(max(1, round(STRONGEST * len(height)))) if len(height) else None
    if strongest is None or strongest.values[-1] < LEAST_CONTRAST:
        return 1.0
    return float((strongest.values / step[strongest.indices]).median())


def where_needed(three: ExposureStack, check: Callable[[], None]) -> Tensor:
    """Return where a mean of the frames may show ghosts: B×1×h×w, above 0."""
    small = three.reduced(JUDGED_PIXELS)
    maps = [torch.from_numpy(ghost_map(small, sample, check=check)) for sample in range(len(small.frames[0]))]
    near = window_max(torch.stack(maps)[:, None].gt(SUSPECTED).float(), AROUND)
    return window_min(window_max(near, CLOSED), CLOSED)
