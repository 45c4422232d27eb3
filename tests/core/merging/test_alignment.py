"""Alignment of a bracket: warps that turn out needless are undone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import afunet_core as af
from afunet_core.merging import alignment
from afunet_core.registration.decision import unmoved


@pytest.mark.parametrize(
    ("residual", "asked", "decision"), [(0.3, 0, "warped"), (0.35, 0, "warped"), (0.5, 2, "identity")]
)
def test_a_warp_is_tested_only_where_registration_left_a_doubt(
    residual: float, asked: int, decision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, 30 % of the frame agreed; the frames are the same, so that any warp asked about is needless."""
    frames = [torch.full((1, 3, 8, 8), value) for value in (0.2, 0.4)]
    bracket = af.Bracket(frames, ev=(0, 2), reference=1, override=True)
    moved = replace(unmoved("a", ""), decision="warped", residual_before=0.7, residual_after=residual)
    seen: list[int] = []
    monkeypatch.setattr(alignment, "disagreement", lambda stack, index: seen.append(index) or torch.ones(1))
    _, found = alignment.undo_needless(bracket, bracket, [moved, unmoved("b", "the reference frame")])
    assert len(seen) == asked
    assert found[0].decision == decision
