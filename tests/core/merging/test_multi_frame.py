"""Two frames, and more than three: what is chosen, and whether the further frames help."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

import afunet_core as af
from afunet_core.baselines.weighted import weighted_merge
from afunet_core.camera.noise import NoiseModel
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.merging import multi_frame
from afunet_core.merging.alignment import CameraNoise
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.frame_selection import select_frames
from afunet_core.merging.inference import Network
from afunet_core.merging.moving_scene import guess_unrecorded
from afunet_core.merging.multi_frame import combine_frames
from afunet_core.metrics import psnr_mu
from afunet_core.motion import consistency
from afunet_core.ops.strips import row_strips
from afunet_core.utils.progress import ProgressReporter
from scenes import ANCHORED, photographed, tiny_network

SIZE, DISC = 96, 14


def shoot(stops: tuple[float, ...], moving: bool) -> tuple[af.Bracket, Tensor]:
    """Noisy 8-bit frames of a scene that a disc may cross, and the radiance at the middle one, the reference."""
    scene = SceneBank.procedural(seed=4, count=1, size=(SIZE, SIZE)).hdr[0].float()
    scene = (scene / torch.quantile(scene.amax(0).flatten(), 0.99))[None, :, :SIZE, :SIZE]
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    instants, middle = [], len(stops) // 2
    for index in range(len(stops)):
        step = 9 * (index - middle) if moving else 0
        disc = (y - SIZE // 2).square() + (x - SIZE // 2 - step).square() < DISC**2
        instants.append(torch.where(disc, scene.median() * (2 + (x + y - step) % 7 / 7), scene))
    times = [2.0 ** (stop - stops[0]) for stop in stops]
    frames = photographed(instants, times, read=2e-3, seed=0)
    return af.Bracket(frames, times=times, reference=middle, override=True), instants[middle].clamp(0, 1)


def picture_of(bracket: af.Bracket) -> Tensor:
    """The result of a perfect deghoster from three frames: the reference, and around it whatever agrees with it."""
    three = [bracket.radiance(i)[0] for i in range(3)]
    reference, clipped = three[1], bracket.frames[1][0] > 0.95
    return torch.where(clipped, three[0], reference)[None]


class TestCombination:
    @pytest.mark.parametrize("moving", [False, True], ids=["static", "moving"])
    @pytest.mark.parametrize("stops", [(-4, -2, 0, 2, 4), (-3, -2, -1, 0, 1, 2, 3)], ids=["5", "7"])
    def test_beats_the_best_three_in_quality_and_range(self, stops: tuple[int, ...], moving: bool) -> None:
        bracket, truth = shoot(stops, moving)
        times, middle, selection = bracket.times.tolist(), bracket.reference, select_frames(bracket)
        pictures, scores = {}, []
        for reach in range(1, middle + 1):
            three = (middle - reach, middle, middle + reach)
            chosen = bracket.select(three, 1)
            pictures[three] = picture_of(chosen) / times[three[0]]
            scores.append(float(psnr_mu(pictures[three].clamp(0, 1), truth)))
            if not moving:
                scores.append(float(psnr_mu(weighted_merge(chosen) / times[three[0]], truth)))
        combined = combine_frames(pictures[selection.three], bracket, selection, CameraNoise(bracket).dependable).image
        assert float(psnr_mu(combined.clamp(0, 1), truth)) > max(scores) + 0.3
        beyond = truth > 1.2 / times[selection.three[0]]  # brighter than any of the three can say
        if not moving:
            assert beyond.float().mean() > 0.003
            torch.testing.assert_close(combined[beyond], truth[beyond], rtol=0.15, atol=0.02)

    def test_a_frame_that_disagrees_has_no_say(self) -> None:
        bracket, truth = shoot((-4, -2, 0, 2, 4), moving=False)
        selection = select_frames(bracket)
        wrong = [frame if i == 2 else frame.flip(-2) for i, frame in enumerate(bracket.frames)]
        spoilt = bracket.with_frames(wrong)
        combined = combine_frames(truth, spoilt, selection, CameraNoise(spoilt).dependable).image.clamp(0, 1)
        assert float(psnr_mu(combined, truth)) > float(psnr_mu(weighted_merge(spoilt).clamp(0, 1), truth)) + 10

    @pytest.mark.parametrize("reference", [0, 1])
    def test_two_frames_at_rest_are_as_good_as_their_weighted_mean(self, reference: int) -> None:
        """Even if the network has nothing to add to the reference."""
        bracket, truth = shoot((-1, 1), moving=False)
        bracket = bracket.with_reference(reference)
        selection = select_frames(bracket)
        combined = combine_frames(
            picture_of(selection.for_network(bracket)), bracket, selection, CameraNoise(bracket).dependable
        ).image
        assert float(psnr_mu(combined, truth)) > float(psnr_mu(weighted_merge(bracket), truth)) - 0.5


def test_short_frames_must_agree_among_themselves() -> None:
    """Motion in highlights that all three of the network's frames clip is shown once."""
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    times, truth = [2.0**k for k in range(7)], []
    for index in range(7):
        lamp = (y - 48).square() + (x - 48 - 10 * (index == 0)).square() < 12**2
        truth.append(torch.where(lamp, 0.9, 0.3).expand(1, 3, SIZE, SIZE))
    bracket = af.Bracket(photographed(truth, times, gain=0, read=0), times=times, reference=5, override=True)
    selection = select_frames(bracket)
    assert selection.three[0] == 3  # saturates at 1/8: the lamp and its surroundings are beyond
    picture = truth[1].clamp(max=1 / times[3])
    combined = combine_frames(picture, bracket, selection, NoiseModel(1e-4, 1e-3)).image
    away, inside = ((y - 48).square() + (x - 48).square()).sqrt().sub(12).gt(3), truth[1] > 0.8
    assert float((combined - 0.3)[..., away].abs().amax()) < 0.03  # no trace of the first frame's lamp
    assert float(combined[inside].amin()) > 0.49  # the second frame's, as bright at least as it could record


class TestHiddenLight:
    """A lamp that all frames clip but the shortest, and before it, in that one, something dark."""

    LAMP = (..., slice(40, 50), slice(52, 66))

    @pytest.fixture
    def bracket(self) -> af.Bracket:
        light = 0.01 + 0.02 * torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
        light[self.LAMP] = 0.9
        frames = [(light * 4.0**k).clamp(0, 1) for k in range(5)]
        frames[0] = frames[0].clone()
        frames[0][self.LAMP] = 0.02
        return af.Bracket(frames, ev=(0, 2, 4, 6, 8), encoding="linear", reference=2, override=True)

    @pytest.mark.parametrize("hidden", [1, 2], ids=["nothing recorded it", "the network invented it"])
    def test_is_told(self, bracket: af.Bracket, hidden: int) -> None:
        """The share of the network: all of what nothing recorded, and little of what frames agree upon.

        Where every short frame shows something dark and the reference is clipped, the picture has nothing to go by.
        """
        frames, picture = list(bracket.frames), picture_of_many(bracket)
        if hidden == 2:
            frames[1] = frames[1].clone()
            frames[1][self.LAMP] = 0.02
            picture[self.LAMP] = 0.15  # between what the reference and what the short frame can say
        bracket = bracket.with_frames(frames)
        found = combine_frames(picture, bracket, select_frames(bracket), NoiseModel(1e-4, 1e-3))
        lamp = torch.zeros(2, 1, 96, 128, dtype=torch.bool)
        lamp[self.LAMP] = True
        assert found.unrecorded.shape == found.network_share.shape == lamp.shape
        assert (found.unrecorded[lamp] > 0.9).all() if hidden == 1 else (found.unrecorded[lamp] == 0.5).all()
        assert (found.unrecorded[~lamp] == 0).all()
        assert (found.network_share[~lamp] < 0.2).float().mean() > 0.9
        if hidden == 1:
            assert (found.network_share[lamp] > 0.9).all()
            torch.testing.assert_close(found.image[self.LAMP], torch.full((2, 3, 10, 14), 0.25), rtol=0.05, atol=0.0)

    def test_merge_says_how_much_was_guessed(self, bracket: af.Bracket) -> None:
        result = af.merge(bracket, model=tiny_network(**ANCHORED), align="off")
        assert 0 <= result.info["guessed"] <= 0.02
        share = result.maps["network"]
        assert share.shape == (2, 96, 128)
        assert 0 <= share.min() <= share.max() <= 1
        assert share[self.LAMP].mean() > 0.5  # nothing else knows it


def picture_of_many(bracket: af.Bracket) -> Tensor:
    """The result of a perfect deghoster from the reference and the next shorter frame."""
    return torch.where(bracket.frames[2] > 0.95, bracket.radiance(1), bracket.radiance(2))


@pytest.mark.parametrize(("index", "stand_in"), [(0, 0.2), (3, 1.1)], ids=["shorter", "longer"])
def test_what_stands_in_beyond_a_warped_frame_has_no_say(index: int, stand_in: float) -> None:
    """Neither a value that would pass for noise, nor one where the network's frames are clipped and any might do."""
    light = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 0.01
    light[..., 10:20] = 1.0
    frames = [(light * 2.0**stop).clamp(0, 1) for stop in (0, 3, 5, 6)]
    bracket = af.Bracket(frames, ev=(0, 3, 5, 6), encoding="linear", reference=2, override=True)
    shown = torch.ones(1, 1, 48, 64, dtype=torch.bool)
    shown[..., :20] = False
    other = torch.where(shown, bracket.frames[index], stand_in * bracket.frames[index])
    filled = bracket.with_frames([other if i == index else frame for i, frame in enumerate(bracket.frames)])
    selection, noise = select_frames(bracket), NoiseModel(1e-4, 2e-3)
    picture = (light * 8).clamp(max=1) / 8
    held, apart = (
        combine_frames(picture, b, selection, noise, covered={index: shown}).image for b in (bracket, filled)
    )
    torch.testing.assert_close(apart, held, rtol=0.0, atol=0.0)
    assert not torch.allclose(combine_frames(picture, filled, selection, noise).image, held, rtol=1e-3)


def test_large_brackets_in_strips_come_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bracket, _ = shoot((-3, -2, -1, 0, 1, 2, 3), moving=True)
    selection = select_frames(bracket)
    covered = {i: torch.arange(SIZE).view(1, 1, -1, 1).expand(1, 1, SIZE, SIZE) > 3 * i for i in (1, 6)}
    picture = picture_of(selection.for_network(bracket)) / float(bracket.times[selection.three[0]])

    run = partial(combine_frames, picture, bracket, selection, CameraNoise(bracket).dependable, covered=covered)
    whole = run()
    monkeypatch.setattr(multi_frame, "row_strips", partial(row_strips, pixels=10 * SIZE))
    pieces = run()
    torch.testing.assert_close(pieces.image, whole.image, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(pieces.unrecorded, whole.unrecorded, rtol=1e-4, atol=1e-5)


def test_every_second_pixel_of_large_frames_tells_what_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    bracket, truth = shoot((-3, -2, -1, 0, 1, 2, 3), moving=True)
    times, selection, noise = bracket.times.tolist(), select_frames(bracket), CameraNoise(bracket).dependable
    picture, unit = picture_of(selection.for_network(bracket)) / times[selection.three[0]], times[3]

    def run() -> float:
        image = combine_frames(picture, bracket, selection, noise).image * unit
        return float(psnr_mu(image.clamp(0, 1), truth))

    every = run()
    monkeypatch.setattr(consistency, "COMPARED_PIXELS", SIZE**2 / 4)
    assert consistency.samples(truth).shape[-2:] == (SIZE // 2, SIZE // 2)
    assert abs(every - run()) < 0.5


def test_frames_are_accounted_for() -> None:
    bracket, _ = shoot((-2, -1, 0, 1, 2), moving=False)
    a, b, c, d, e = bracket.names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        auto, alone = (
            af.merge(bracket, method=method, model=tiny_network(**ANCHORED), align="off").info["frames_used"]
            for method in ("auto", "afunet")
        )
    assert auto == {
        "network": [a, c, e], "averaged_where_they_agree": [a, b, c, d, e], "left_out": [], "missing": None
    }  # fmt: skip
    assert (alone["averaged_where_they_agree"], alone["left_out"]) == ([], [b, d])


@pytest.mark.parametrize(
    ("light", "times"), [(0.006, (1, 2, 4, 32, 64)), (0.9, (1, 2, 16, 32, 64))], ids=["dark", "bright"]
)
def test_what_the_reference_does_not_record_is_no_scene_at_rest(light: float, times: tuple[int, ...]) -> None:
    """An object in the noise of the reference, or where that is clipped, moves: other frames show it."""
    views = [torch.full((1, 3, 96, 96), light / 4) for _ in times]
    for index, view in enumerate(views):
        view[..., 30:60, 10 * index : 10 * index + 30] *= 0.6
    frames = photographed(views, times, "linear", read=2e-3, bits=0)
    bracket = af.Bracket(frames, times=times, encoding="linear", reference=2, override=True)
    still = bracket.with_frames([frame.roll(-10 * i, -1) for i, frame in enumerate(bracket.frames)])
    model = tiny_network(**ANCHORED)
    assert not af.merge(bracket, model=model, align="off").info["at_rest"]
    assert af.merge(still, model=model, align="off").info["at_rest"]


def test_clipped_black_without_any_noise_is_no_accident() -> None:
    """Five noise-free frames with a black half: no read noise can be seen, the result must still be a number."""
    radiance = torch.linspace(0.0, 0.06, 32).expand(1, 3, 24, 32).clone()
    radiance[..., :16] = 0.0
    times = [1.0, 2.0, 4.0, 8.0, 16.0]
    frames = [(radiance * time).clamp(0, 1) ** (1 / 2.2) for time in times]
    bracket = af.Bracket(frames, times=times, encoding="gamma")
    selection = select_frames(bracket)
    for noise in (CameraNoise(bracket).dependable, CameraNoise(bracket, NoiseModel(1e-4, 0.0)).dependable):
        combined = combine_frames(radiance, bracket, selection, noise).image
        torch.testing.assert_close(combined, radiance, atol=1e-3, rtol=0.01)
    mean = af.merge(bracket, method="weighted", align="off", noise=NoiseModel(1e-3, 0.0)).radiance
    np.testing.assert_allclose(mean, radiance[0].permute(1, 2, 0), atol=1e-6)


def asked_at(scale: int) -> Network:
    model, reporter = tiny_network(**ANCHORED), ProgressReporter()
    return Network(model, {}, torch.device("cpu"), torch.float32, None, False, reporter, scale)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 9)])
def test_a_picture_smaller_than_a_block_can_be_guessed(size: tuple[int, int]) -> None:
    frames = [torch.full((1, 3, *size), min(1.0, 0.05 * 2.0**k)) for k in range(5)]
    bracket = af.Bracket(frames, ev=range(0, 10, 2), reference=2, response=None, override=True)
    known = Estimate(torch.zeros(1, 3, *size), "cpu", "float32", unrecorded=torch.ones(1, 1, *size))
    found = guess_unrecorded(known, bracket, select_frames(bracket), asked_at(2))
    assert found.image.shape == known.image.shape
    assert found.guessed == 1


@pytest.mark.parametrize(("scale", "guessed_at"), [(1, 1), (2, 4), (8, 8)])
def test_a_guess_is_asked_for_where_it_counts_and_is_never_darker(
    scale: int, guessed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [torch.full((1, 3, 64, 64), min(1.0, 0.05 * 2.0**k)) for k in range(5)]
    bracket = af.Bracket(frames, ev=range(0, 10, 2), reference=2, response=None, override=True)
    image, unrecorded = torch.full((1, 3, 64, 64), 0.25), torch.zeros(1, 1, 64, 64)
    image[..., 20:22, 30:34] = 0.75
    unrecorded[..., 20:24, 30:34] = 1.0
    asked: list[tuple[tuple[int, int], Tensor | None]] = []

    def estimate(self: Network, three: af.Bracket, unit: float, where: Tensor | None) -> Estimate:
        assert self.scale == 1
        torch.testing.assert_close(three.frames[1].mean(), bracket.frames[2].mean())
        asked.append((three.shape, where))
        return Estimate(torch.full((1, 3, *three.shape), 0.5), "cpu", "float32")

    monkeypatch.setattr(Network, "estimate", estimate)
    network = asked_at(scale)
    known = Estimate(image, "cpu", "float32", unrecorded=unrecorded)
    found = guess_unrecorded(known, bracket, select_frames(bracket), network)
    assert asked == [((64 // guessed_at, 64 // guessed_at), unrecorded)]
    expected = image.clone()
    expected[..., 22:24, 30:34] = 0.5
    assert torch.equal(found.image, expected)
    assert found.guessed == 8 / 64**2
    nothing = replace(known, unrecorded=torch.zeros_like(unrecorded))
    assert guess_unrecorded(nothing, bracket, select_frames(bracket), network) is nothing
