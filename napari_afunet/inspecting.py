"""What the network made of the frames, stage by stage, as layers with numbers to read off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from napari_afunet.job import SIDES, Outcome
from napari_afunet.layers import put_stage_values, put_stage_values_step_by_step

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["QUANTITIES", "channel_count", "quantity_values", "show_quantity", "show_values"]

# value → what the user reads
QUANTITIES = {
    "rgb": "Colours (main components)",
    "energy": "Energy",
    "similarity": "Similarity to the reference",
    "movement": "Change since last stage",
    "channel": "A single channel",
}


def channel_count(outcome: Outcome) -> int:
    """Channels of the features, 0 when they were not kept."""
    stages = outcome.result.stages if outcome.result is not None else None
    return int(stages[0].under.shape[1]) if stages else 0


def show_quantity(viewer: ViewerModel, outcome: Outcome, quantity: str, channel: int = 0) -> list[Image]:
    """Show one quantity of all sides along the stage axis; the colours make place for numbers and return."""
    values = quantity_values(outcome, quantity, channel)
    return [] if values is None else put_stage_values(viewer, outcome, values)


def show_values(viewer: ViewerModel, outcome: Outcome, values: dict[str, np.ndarray] | None) -> Iterator[list[Image]]:
    """Show what :func:`quantity_values` gave, one layer at a time, so that the window can answer in between."""
    if values is not None:
        yield from put_stage_values_step_by_step(viewer, outcome, values)


def quantity_values(outcome: Outcome, quantity: str, channel: int = 0) -> dict[str, np.ndarray] | None:
    """Side → ``(stage, H, W)``; empty for the colours, which are there already; ``None`` without features.

    For large images this takes seconds: not for the window's own thread.
    """
    from afunet_core import inspection

    stages = outcome.result.stages if outcome.result is not None else None
    if not stages:
        return None
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
    return values
