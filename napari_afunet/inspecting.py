"""What the network made of the frames, stage by stage, as layers with numbers to read off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_afunet.job import SIDES, Outcome
from napari_afunet.layers import put_stage_values

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["QUANTITIES", "channel_count", "show_quantity"]

# value → what the user reads
QUANTITIES = {
    "rgb": "Colours (3 principal components)",
    "energy": "Energy",
    "similarity": "Similarity to the reference",
    "movement": "Change since the stage before",
    "channel": "A single channel",
}


def channel_count(outcome: Outcome) -> int:
    """Channels of the features, 0 when they were not kept."""
    stages = outcome.result.stages if outcome.result is not None else None
    return int(stages[0].under.shape[1]) if stages else 0


def show_quantity(viewer: ViewerModel, outcome: Outcome, quantity: str, channel: int = 0) -> list[Image]:
    """Show one quantity of all sides along the stage axis; the colours make place for numbers and return."""
    from afunet_core import inspection

    stages = outcome.result.stages if outcome.result is not None else None
    if not stages:
        return []
    values: dict[str, np.ndarray] = {}
    for side in SIDES:
        if quantity == "energy":
            values[side] = inspection.stage_energy(stages, side)
        elif quantity == "similarity":
            values[side] = inspection.stage_similarity(stages, side)
        elif quantity == "movement":
            values[side] = inspection.stage_movement(stages, side)
        elif quantity == "channel":
            values[side] = inspection.stage_channel(stages, side, channel)
    return put_stage_values(viewer, outcome, values)
