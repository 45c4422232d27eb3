"""Choice of the scale at which the network looks at a bracket; the merge itself is always of full resolution.

The anchored head returns a weighted mean of the frames (:mod:`afunet_core.model.working_scale`). Of large pictures the
weights are found on reduced frames: in a fourth or a sixteenth of the time, and with twice or four times the reach, for
what moves across a large picture moves by more pixels than the network was trained on.
"""

from __future__ import annotations

from afunet_core.errors import ArgumentError
from afunet_core.merging.options import MergeOptions
from afunet_core.model.afunet import AFUNet

__all__ = ["SCALES", "choose_scale"]

SCALES = {"full": 1, "half": 2, "quarter": 4}
"""Factors by which frames may be reduced for the network."""

LOOKED_AT = 0.8e6
"""Pixels up to which a picture is looked at as it is, and up to which it is reduced to half: the network's reach in a
picture of this size is that which it was trained for."""


def choose_scale(options: MergeOptions, model: AFUNet, height: int, width: int) -> int:
    """Return the factor by which the network's frames are reduced.

    Only networks with the anchored head can look at reduced frames, and features of every stage are those of the full
    picture; elsewhere ``working_scale="auto"`` is 1, the network itself.

    Raises:
        ArgumentError: reduced frames were asked for where they cannot be.

    Example:
        >>> from afunet_core.model.config import COMPACT
        >>> [choose_scale(MergeOptions(), AFUNet(COMPACT), *size) for size in ((640, 960), (1000, 1500), (4000, 6000))]
        [1, 2, 4]
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
