"""Places at rest: the frames that recorded a place stand in for the network's outer frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import ORDINARY_CAMERA
from afunet_core.camera.response import ResponseCurve
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.frame_selection import select_frames
from afunet_core.merging.recorded import find_recorded, is_calibrated, is_inexact
from afunet_core.registration.decision import unmoved
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


@pytest.mark.parametrize(
    ("height", "moves", "shifted"), [(200, True, 0), (400, True, 0), (200, False, 0), (200, False, 24)]
)
def test_a_walker_counts_in_small_pictures_too_and_the_border_of_a_warped_frame_does_not(
    height: int, moves: bool, shifted: int
) -> None:
    lights = [blobs(height, height * 3 // 2) ** 2 * 0.05 + 0.005 for _ in TIMES[:3]]
    if moves:
        at = height // 2
        lights[2][..., at : at + height // 20, at : at + height // 30] *= 0.4
    bracket = Bracket(photographed(lights, TIMES[:3], gain=1e-4), times=TIMES[:3], reference=1)
    selected = select_frames(bracket)
    aside = torch.eye(3, dtype=torch.float64)
    aside[0, 2] = shifted
    warped = [replace(unmoved(name, ""), decision="warped", homography=aside) for name in bracket.names]
    aligned = AlignedBracket(bracket, bracket.shape, warped if shifted else ())
    found = find_recorded(aligned, selected, CameraNoise(bracket, ORDINARY_CAMERA))
    assert found.everywhere is not moves
    assert (float(found.share.mean()) < 0.95) is (shifted > 0)
    if moves and height == 200:  # of frames that contradict their exposures a small difference is the camera's
        bracket.metadata["calibration"] = {"disagreement_after_stops": 1.0}
        assert find_recorded(aligned, selected, CameraNoise(bracket, ORDINARY_CAMERA)).everywhere


def test_a_stated_curve_is_as_inexact_as_one_that_was_found() -> None:
    frames = photographed([blobs(32, 48)] * 2, (1.0, 4.0), gain=0)
    curve = ResponseCurve(torch.linspace(0, 1, 256)[None] ** 2)
    stated, plain = (Bracket(frames, ev=(0, 2), response=response, override=True) for response in (curve, None))
    assert is_calibrated(stated)
    assert is_inexact(stated)
    assert not is_inexact(plain)
