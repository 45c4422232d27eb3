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

SHIFT = torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, -2.0], [0.0, 0.0, 1.0]])
STEPS: dict[str, Callable[[ExposureStack, Callable[[], None]], object]] = {
    "ghost map": lambda stack, check: ghost_map(stack, check=check),
    "test of rest": is_at_rest,
    "warp": lambda stack, check: align_frame(
        *stack.frames[:1], SHIFT, stack.frames[1], 1.0, 4.0, "linear", check=check
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_left_in_its_second_strip(step: str) -> None:
    light = torch.rand(1, 3, 700, 900, generator=torch.Generator().manual_seed(0))
    frames = tuple((light * time).clamp(0, 1) for time in (0.1, 0.4))
    stack = ExposureStack(frames, torch.tensor([1.0, 4.0]), encoding="linear", reference=1)
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise MergeCancelled("enough")

    with pytest.raises(MergeCancelled):
        STEPS[step](stack, check)
    assert len(calls) == 2
