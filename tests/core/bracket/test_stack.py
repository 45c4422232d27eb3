"""The exposure stack: the data that merging and motion analysis share."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from afunet_core.bracket.bracket import Bracket
from afunet_core.bracket.stack import ExposureStack

FRAMES = tuple(torch.full((1, 3, 4, 6), value) for value in (0.1, 0.4))


def test_a_stack_is_not_changed_but_replaced() -> None:
    stack = ExposureStack(FRAMES, torch.tensor([1.0, 4.0]), encoding="linear")
    with pytest.raises(FrozenInstanceError):
        stack.reference = 1  # type: ignore[misc]
    other = replace(stack, reference=1)
    assert (stack.reference, other.reference) == (0, 1)
    assert other.frames[0] is FRAMES[0]
    assert torch.equal(other.radiance(0), other.radiance(1))


def test_a_bracket_is_a_stack_that_is_not_changed_either() -> None:
    bracket = Bracket(FRAMES, ev=(0, 2), encoding="linear", reference=0)
    assert isinstance(bracket, ExposureStack)
    with pytest.raises(FrozenInstanceError):
        bracket.frames = FRAMES[::-1]  # type: ignore[misc]
    other = bracket.with_reference(1)
    assert (bracket.reference, other.reference) == (0, 1)
    assert other.names == bracket.names
