"""Scores on real stacks: a still scene by many exposures, with a part that moved in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from afunet_core.baselines.weighted import reference_only
from afunet_core.cli import main
from afunet_core.errors import BracketError
from afunet_core.evaluation.real_stacks import (
    evaluate_stacks,
    read_stack_brackets,
    read_stacks,
    score,
    stack_methods,
)
from afunet_core.io import write_image

MOVED = (slice(40, 60), slice(50, 80))


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    light = F.interpolate(torch.rand(1, 3, 12, 16, generator=generator), scale_factor=8, mode="bilinear") ** 4
    light = light[0].permute(1, 2, 0).numpy()
    folder = tmp_path / "stacks" / "room"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(1)
    for index in range(7):
        seen = light * 2.0 ** (index - 3)
        if index == 4:
            seen[MOVED] = seen[MOVED][::-1] * 0.4
        value = np.clip(seen + noise.normal(0, 0.002, seen.shape), 0, 1) ** (1 / 2.2)
        value = 0.4 * value + 0.6 * (3 * value**2 - 2 * value**3)
        write_image(folder / f"{index}.png", np.rint(255 * value).astype(np.uint8))
    (folder / "exposure.txt").write_text("\n".join(str(index) for index in range(7)))
    return tmp_path / "stacks"


def test_the_truth_is_of_all_frames_and_leaves_out_what_moved(stacks: Path) -> None:
    stack = next(read_stack_brackets(*read_stacks(stacks)))
    assert len(stack.bracket) == 3
    assert stack.plain.ev.diff().tolist() == pytest.approx([2, 2])
    assert float(stack.at_rest[..., 44:56, 54:76].float().mean()) < 0.2
    assert float(stack.at_rest.float().mean()) > 0.5


def test_other_brackets_of_a_stack(stacks: Path) -> None:
    found = list(read_stack_brackets(stacks / "room", others=True))
    assert found[0].name == "room"
    assert len({stack.bracket.names for stack in found}) == len(found) > 2
    spacings = {round(float(stack.plain.ev[1])) for stack in found}
    assert {1, 2} <= spacings
    for stack in found:
        assert score(reference_only(stack.plain), stack)["PSNR-μ at rest"] > 20


def test_scores_rank_methods(stacks: Path) -> None:
    table = evaluate_stacks(stack_methods([]), read_stack_brackets(stacks / "room"))
    both, alone = (table.mean(name)["PSNR-μ at rest"] for name in ("weighted merge", "reference only"))
    assert both > alone
    assert both > 35


def test_command(stacks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--real", str(stacks), "--no-model", "-q", "-o", str(tmp_path / "report")]) == 0
    assert "weighted merge, encoding believed" in capsys.readouterr().out
    assert (tmp_path / "report" / "scenes.csv").read_text().count("room") >= 3
    with pytest.raises(BracketError, match="a folder of stacks"):
        read_stacks(tmp_path / "report")
