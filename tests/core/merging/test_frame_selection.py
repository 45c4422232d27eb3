"""Selection of the reference, of the frames for the network, and of those that join."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

import afunet_core as af
from afunet_core.errors import BracketError
from afunet_core.merging.frame_selection import choose_reference, select_frames


def flat(stops: Sequence[float], reference: int | None = None, size: tuple[int, int] = (8, 8)) -> af.Bracket:
    frames = [torch.full((1, 3, *size), 0.01 * 2.0**stop) for stop in stops]
    return af.Bracket(frames, ev=stops, encoding="linear", reference=reference, override=True)


@pytest.mark.parametrize(
    ("stops", "three", "wider"),
    [
        ((-4, -2, 0, 2, 4), (1, 2, 3), (0, 2, 3)),  # outer frames lie two stops away; wider, as far as was learned
        ((0, 1, 2, 3, 4), (0, 2, 4), None),
        ((0, 1, 2, 3), (0, 2, 3), None),
        ((0, 3, 6), (0, 1, 2), None),
        ((-6, -4, -2, 0, 2, 4, 6), (2, 3, 4), (1, 3, 4)),
        ((0, 1, 2, 3, 4), (0, 0, 2), None),  # a chosen reference is kept
    ],
)
def test_three_frames_for_the_network(
    stops: tuple[int, ...], three: tuple[int, ...], wider: tuple[int, ...] | None
) -> None:
    selection = select_frames(flat(stops, three[1]))
    assert (selection.reference, selection.three, selection.wider) == (three[1], three, wider)
    assert selection.missing == ("shorter" if three[0] == three[1] else None)
    assert selection.joining == (tuple(range(len(stops))) if len(stops) > 3 else ())


@pytest.mark.parametrize(("reference", "missing"), [(0, "shorter"), (1, "longer")])
def test_two_frames_repeat_the_reference(reference: int, missing: str) -> None:
    bracket = flat((0, 2), reference)
    selection = select_frames(bracket)
    assert selection.missing == missing
    assert selection.three.count(reference) == 2
    assert selection.for_network(bracket).to_tensor().shape == (1, 18, 8, 8)


def test_the_best_exposed_frame_is_the_reference() -> None:
    light = torch.linspace(0.02, 0.08, 64).view(1, 1, 1, -1).expand(1, 3, 64, 64)
    frames = [(light * 2.0**stop).clamp(0, 1) for stop in range(7)]
    assert choose_reference(af.Bracket(frames, ev=range(7), encoding="linear")) == 3


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2000)])
def test_a_picture_without_slopes_has_a_reference(size: tuple[int, int]) -> None:
    assert choose_reference(flat(range(1, 6), size=size)) in (1, 2, 3)


def test_a_shaken_frame_gives_way_to_a_sharp_one() -> None:
    generator = torch.Generator().manual_seed(0)
    light = 0.1 + 0.05 * torch.rand(1, 3, 64, 64, generator=generator)
    frames = [light * 2.0 ** (stop / 2) for stop in range(5)]
    sharp = choose_reference(af.Bracket(frames, ev=[s / 2 for s in range(5)], encoding="linear"))
    frames[sharp] = torch.nn.functional.avg_pool2d(frames[sharp], 5, 1, 2, count_include_pad=False)
    assert choose_reference(af.Bracket(frames, ev=[s / 2 for s in range(5)], encoding="linear")) != sharp


def test_a_reference_of_the_only_exposure_is_refused() -> None:
    with pytest.raises(BracketError, match="different exposure"):
        select_frames(flat((0, 2)).select((0, 0), reference=0))
