"""Places at rest: the frames that recorded a place stand in for the network's outer frames."""

from __future__ import annotations

import pytest

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import ORDINARY_CAMERA
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.frame_selection import select_frames
from afunet_core.merging.recorded import find_recorded
from scenes import blobs, photographed

TIMES = (1.0, 4.0, 16.0, 64.0, 256.0)
WALKER = (..., slice(20, 60), slice(20, 40))


def share_at_walker(among: tuple[int, ...], brightness: float) -> float:
    """Share of recorded values where somebody stood in some of five frames, before a wall of this brightness."""
    lights = [(0.5 + 0.5 * blobs(96, 128)) * brightness for _ in TIMES]
    for index in among:
        lights[index][WALKER] *= 0.25
    bracket = Bracket(photographed(lights, TIMES, gain=0, read=0, bits=0), times=TIMES, reference=2)
    selection = select_frames(bracket)
    assert selection.three == (1, 2, 3)
    aligned = AlignedBracket(bracket, bracket.shape)
    share = find_recorded(aligned, selection, CameraNoise(bracket, ORDINARY_CAMERA)).share
    assert float(share[..., 80:, 80:].min()) > 0.95
    return float(share[WALKER][..., 12:28, 6:14].mean())


@pytest.mark.parametrize(
    ("among", "brightness", "recorded"),
    [
        ((3,), 0.002, True),  # the longest frame records the wall
        ((3,), 0.02, False),  # it clips it, and tells nothing
        ((2,), 0.002, False),  # the walker is what is to be shown
        ((3, 4), 0.002, False),
        ((1,), 0.02, True),
        ((0, 1), 0.02, False),
    ],
)
def test_a_frame_that_reaches_as_far_stands_in(among: tuple[int, ...], brightness: float, recorded: bool) -> None:
    share = share_at_walker(among, brightness)
    assert share > 0.9 if recorded else share < 0.1
