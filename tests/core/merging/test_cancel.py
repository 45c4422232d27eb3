"""Steps before and after the network are left when their caller wants it, between strips of rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from afunet_core.bracket.stack import ExposureStack
from afunet_core.errors import MergeCancelled
from afunet_core.merging.static_scene import is_at_rest
from afunet_core.motion.ghosts import ghost_map
from afunet_core.registration.frames import align_frame

SIZE = (700, 900)
"""Several strips."""


def cancelling(after: int) -> tuple[Callable[[], None], list[int]]:
    """A check that raises at its last call of so many, and how often it was called."""
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == after:
            raise MergeCancelled("enough")

    return check, calls


@pytest.fixture
def stack() -> ExposureStack:
    light = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    frames = tuple((light * time).clamp(0, 1) for time in (0.1, 0.4))
    return ExposureStack(frames, torch.tensor([1.0, 4.0]), encoding="linear", reference=1)


def test_ghost_map(stack: ExposureStack) -> None:
    check, calls = cancelling(4)
    with pytest.raises(MergeCancelled):
        ghost_map(stack, check=check)
    assert len(calls) == 4


def test_deciding_that_a_scene_is_at_rest(stack: ExposureStack) -> None:
    check, _ = cancelling(4)
    with pytest.raises(MergeCancelled):
        is_at_rest(stack, check)


def test_warping(stack: ExposureStack) -> None:
    check, calls = cancelling(2)
    shift = torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, -2.0], [0.0, 0.0, 1.0]])
    with pytest.raises(MergeCancelled):
        align_frame(stack.frames[0], shift, stack.frames[1], 1.0, 4.0, "linear", check=check)
    assert len(calls) == 2
