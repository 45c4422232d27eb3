"""Selection of the reference, of the frames for the network, and of those that join."""

from __future__ import annotations

import pytest
import torch

import afunet_core as af
from afunet_core.errors import BracketError
from afunet_core.merging.frame_selection import choose_reference, select_frames


@pytest.mark.parametrize(
    ("stops", "three"),
    [((0, 2, 4, 6, 8), (1, 2, 3)), ((0, 1, 2, 3, 4), (0, 2, 4)), ((0, 1, 2, 3), (0, 2, 3)), ((0, 3, 6), (0, 1, 2))],
)
def test_outer_frames_lie_two_stops_away(stops: tuple[int, ...], three: tuple[int, ...]) -> None:
    frames = [torch.full((1, 3, 8, 8), 0.01 * 2.0**stop) for stop in stops]
    selection = select_frames(af.Bracket(frames, ev=stops, encoding="linear", reference=three[1], override=True))
    assert selection.three == three
    assert selection.missing is None
    assert selection.joining == (tuple(range(len(stops))) if len(stops) > 3 else ())


@pytest.mark.parametrize(("reference", "missing"), [(0, "shorter"), (1, "longer")])
def test_two_frames_repeat_the_reference(reference: int, missing: str) -> None:
    frames = [torch.full((1, 3, 8, 8), v) for v in (0.3, 0.6)]
    bracket = af.Bracket(frames, ev=(0, 2), reference=reference)
    selection = select_frames(bracket)
    assert selection.missing == missing
    assert selection.three.count(reference) == 2
    assert selection.for_network(bracket).to_tensor().shape == (1, 18, 8, 8)


@pytest.mark.parametrize(
    ("stops", "wider"),
    [
        ((-4, -2, 0, 2, 4), (0, 2, 3)),
        ((-6, -4, -2, 0, 2, 4, 6), (1, 3, 4)),
        ((-2, 0, 2, 4), None),
        ((-2, 0, 2), None),
    ],
)
def test_a_wider_three_reaches_as_far_as_the_network_learned(
    stops: tuple[int, ...], wider: tuple[int, ...] | None
) -> None:
    frames = [torch.full((1, 3, 8, 8), 0.01 * 2.0**stop) for stop in stops]
    bracket = af.Bracket(frames, ev=stops, encoding="linear", reference=stops.index(0), override=True)
    assert select_frames(bracket).wider == wider


def test_the_best_exposed_frame_is_the_reference() -> None:
    light = torch.linspace(0.02, 0.08, 64).view(1, 1, 1, -1).expand(1, 3, 64, 64)
    frames = [(light * 2.0**stop).clamp(0, 1) for stop in range(7)]
    assert choose_reference(af.Bracket(frames, ev=range(7), encoding="linear")) == 3


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2000)])
def test_a_picture_without_slopes_has_a_reference(size: tuple[int, int]) -> None:
    frames = [torch.full((1, 3, *size), 0.02 * 2.0**stop) for stop in range(5)]
    assert choose_reference(af.Bracket(frames, ev=range(5), encoding="linear")) in (1, 2, 3)


def test_a_shaken_frame_gives_way_to_a_sharp_one() -> None:
    generator = torch.Generator().manual_seed(0)
    light = 0.1 + 0.05 * torch.rand(1, 3, 64, 64, generator=generator)
    frames = [light * 2.0 ** (stop / 2) for stop in range(5)]
    sharp = choose_reference(af.Bracket(frames, ev=[s / 2 for s in range(5)], encoding="linear"))
    frames[sharp] = torch.nn.functional.avg_pool2d(frames[sharp], 5, 1, 2, count_include_pad=False)
    assert choose_reference(af.Bracket(frames, ev=[s / 2 for s in range(5)], encoding="linear")) != sharp


def test_a_chosen_reference_is_kept() -> None:
    frames = [torch.full((1, 3, 8, 8), 0.01 * 2.0**stop) for stop in range(5)]
    selection = select_frames(af.Bracket(frames, ev=range(5), encoding="linear", reference=0))
    assert (selection.reference, selection.missing, selection.three) == (0, "shorter", (0, 0, 2))


def test_a_reference_of_the_only_exposure_is_refused() -> None:
    bracket = af.Bracket([torch.full((1, 3, 8, 8), v) for v in (0.3, 0.6)], ev=(0, 2))
    with pytest.raises(BracketError, match="different exposure"):
        select_frames(bracket.select((0, 0), reference=0))
