"""The scale at which the network looks: how it is chosen, what it leaves alone, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import afunet_core as af
from afunet_core.bracket.stack import ExposureStack
from afunet_core.camera.noise import ORDINARY_CAMERA
from afunet_core.errors import ArgumentError
from afunet_core.merging import working_scale as rules
from afunet_core.merging.alignment import CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.moving_scene import _static_elsewhere
from afunet_core.merging.options import MergeOptions
from afunet_core.merging.working_scale import choose_scale, edge_width, finer_scale, where_needed
from afunet_core.model.config import COMPACT
from scenes import blobs, photographed, tiny_network

TINY = replace(COMPACT, embed_dim=12, depths=(1, 1), fusion_heads=2, window_size=4)
TIMES = (1.0, 4.0, 16.0)


@pytest.fixture(scope="module")
def network() -> af.AFUNet:
    torch.manual_seed(0)
    return af.AFUNet(TINY).eval()


def moving_bracket() -> af.Bracket:
    """A textured wall, and a dark square that moves in one corner of it."""
    lights = [(0.02 + 0.01 * blobs(96, 96, 1)[:, :1]).expand(1, 3, 96, 96).clone() for _ in TIMES]
    for index, light in enumerate(lights):
        light[..., 8:20, 8 + 6 * index : 20 + 6 * index] = 0.004
    return af.Bracket(photographed(lights, TIMES, gain=0, bits=0), times=TIMES)


def picture(sharp: bool) -> ExposureStack:
    """Random tiles of 40 pixels, with edges of one pixel or of eleven."""
    wall = blobs(960, 1040, 40, mode="nearest")[..., :1024]
    wall = wall if sharp else torch.nn.functional.avg_pool2d(wall, 11, 1, 5, count_include_pad=False)
    return ExposureStack(tuple((wall * t / 16) ** (1 / 2.2) for t in TIMES), torch.tensor(TIMES), reference=1)


def needed(share: float) -> torch.Tensor:
    return (torch.arange(1000) < 1000 * share).float().expand(1, 1, 10, 1000)


def test_the_scale_goes_by_what_moved_by_sharpness_and_by_size(monkeypatch):
    sharp, soft = picture(True), picture(False)
    for without_edges in (torch.full((1, 3, 40, 40), 0.3), torch.rand(1, 3, 5, 5)):
        assert edge_width(without_edges) == 1.0
    assert edge_width(sharp.frames[1]) == pytest.approx(1.0, abs=0.1)
    assert rules.SOFT[2] < edge_width(soft.frames[1]) < rules.SOFT[4]
    assert finer_scale(4, sharp, needed(0.01)) == 1  # a sharp picture is not reduced for little
    assert finer_scale(4, soft, needed(0.01)) == 2  # a soft one loses nothing
    assert finer_scale(1, soft, needed(0.01)) == 1
    assert [finer_scale(4, sharp, needed(share)) for share in (0.2, 0.5)] == [1, 2]
    with monkeypatch.context() as changed:
        changed.setattr(rules, "HELD", 0.5e6)
        assert finer_scale(4, sharp, needed(0.01)) == 2
    monkeypatch.setattr(rules, "AFFORDED", (0.0, 0.05))
    assert [finer_scale(coarsest, sharp, needed(1.0)) for coarsest in (2, 4)] == [2, 4]


def test_the_inside_of_a_moving_thing_is_looked_at():
    """Between its edges all frames agree by chance."""
    lights = [torch.full((1, 3, 120, 160), 0.02) for _ in TIMES]
    for index, light in enumerate(lights):
        light[..., 40:80, 40 + 6 * index : 80 + 6 * index] = 0.004
    where = where_needed(af.Bracket(photographed(lights, TIMES, gain=0, read=0), times=TIMES), lambda: None)
    assert where.shape == (1, 1, 120, 160)
    assert where[..., 40:80, 40:92].all()
    assert not where[..., :20, :].any()


@pytest.mark.parametrize(
    ("size", "options", "scale"),
    [
        ((64, 96), {}, 1), ((800, 1000), {}, 1), ((801, 1000), {}, 2), ((4000, 6000), {}, 4), ((10000, 10000), {}, 4),
        ((4000, 6000), {"working_scale": "full"}, 1), ((64, 96), {"working_scale": "quarter"}, 4),
        ((4000, 6000), {"stages": True}, 1),
    ],
)  # fmt: skip
def test_large_pictures_are_looked_at_reduced_unless_chosen(network, size, options, scale):
    assert choose_scale(MergeOptions(**options), network, *size) == scale
    assert choose_scale(MergeOptions(), tiny_network(), *size) == 1  # a direct head is exact


def test_reduced_frames_are_refused_where_they_cannot_be(network):
    with pytest.raises(ArgumentError, match="working_scale: expected 'full' for a network without"):
        af.merge(moving_bracket(), model=tiny_network(), working_scale="half")
    with pytest.raises(ArgumentError, match="working_scale: expected 'full' with stages=True"):
        af.merge(moving_bracket(), model=network, working_scale="half", stages=True)


@pytest.mark.parametrize(("working_scale", "factor"), [("auto", 1), ("full", 1), ("half", 2), ("quarter", 4)])
def test_the_report_tells_what_ran(network, working_scale, factor):
    result = af.merge(moving_bracket(), model=network, align="off", working_scale=working_scale)
    assert result.info["at_rest"] is False
    assert result.info["working_scale"] == factor
    assert result.info["looked_at"] == 1.0 if factor == 1 else 0 < result.info["looked_at"] < 0.8


@pytest.mark.parametrize("working_scale", ["half", "quarter"])
def test_only_what_moves_is_the_networks(network, working_scale):
    """Two networks that disagree everywhere agree where nothing moved, and there it is the classical merge."""
    other = af.AFUNet(TINY).eval()
    with torch.no_grad():
        other.head.conv.bias.add_(3.0)
    bracket = moving_bracket()
    one, two = (af.merge(bracket, model=m, align="off", working_scale=working_scale).radiance for m in (network, other))
    assert np.abs(one - two)[:24, :40].max() > 1e-3
    np.testing.assert_array_equal(one[64:, 64:], two[64:, 64:])
    classic = af.merge(bracket, method="weighted", align="off").radiance
    np.testing.assert_allclose(one[64:, 64:], classic[64:, 64:], atol=3e-3)


def test_progress_and_a_batch(network):
    frames = [torch.cat([frame, frame.flip(-1)]) for frame in moving_bracket().frames]
    reports: list[int] = []
    result = af.merge(
        af.Bracket(frames, times=TIMES, encoding="gamma"),
        model=network,
        align="off",
        working_scale="half",
        on_progress=lambda done, *_: reports.append(done),
    )
    assert result.radiance.shape == (2, 96, 96, 3)
    assert reports == sorted(reports)
    assert reports[-1] == 1000


def test_what_the_short_frame_records_of_a_clipped_wall_is_not_guessed() -> None:
    """The wall is clipped in the reference; where another frame shows something before it, the network decides."""
    dim = moving_bracket()
    shots = [(frame.double() ** 2.2 * 20).clamp(max=1) ** (1 / 2.2) for frame in dim.frames]
    passer = (..., slice(40, 52), slice(70, 82))
    shots[2][passer] = torch.tensor([0.9, 0.4, 0.1]).view(1, 3, 1, 1)
    bracket = af.Bracket([shot.float() for shot in shots], times=TIMES, override=True, reference=1)
    guess = torch.full_like(bracket.frames[0], 0.7)
    noise = CameraNoise(bracket, ORDINARY_CAMERA)
    mended = _static_elsewhere(
        Estimate.of_classic(guess.clone()), bracket, torch.ones(1, 1, 96, 96), noise, bracket.frames[0], lambda: None
    ).image
    wall, square = (..., slice(60, 90), slice(10, 80)), (..., slice(11, 17), slice(9, 12))
    recorded = bracket.radiance(0)
    assert abs(float(mended[wall].mean() / recorded[wall].mean()) - 1) < 0.02
    assert abs(float(mended[square].mean()) - 0.7) < 0.05
    assert abs(float(mended[passer].mean()) - 0.7) < 0.05
