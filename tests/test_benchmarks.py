"""The measuring scripts run, and conclude from known scores what they should."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch

from afunet_core.model.config import AFUNetConfig
from scenes import drawn_network

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
TINY = ["--steps=1", "--batch=1", "--patch=16", "--embed=12", "--blocks=1", "--brackets=1", "--size=32"]


@pytest.fixture
def load(monkeypatch):
    """Import a script by name, as Python does when it is run."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for name in [
        name for name, module in sys.modules.items() if Path(str(getattr(module, "__file__", ""))).parent == FOLDER
    ]:
        del sys.modules[name]


def test_the_literal_network_is_the_network(load):
    literal = load("literal")
    model, frames = drawn_network(AFUNetConfig(embed_dim=12, depths=(2, 3), fusion_heads=2)), torch.rand(2, 18, 21, 27)
    with torch.no_grad():
        radiance = literal.literal_afunet(literal.parameters_of(model), frames)
        torch.testing.assert_close(radiance, model(frames), rtol=0, atol=5e-6)


def test_a_table_is_written_from_processes_of_their_own(load, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    words = ["--megapixels", "0.006", "--method", "weighted", "--write", str(page)]
    monkeypatch.setattr(sys, "argv", ["sizes.py", *words, "--frames", "3"])
    load("sizes").main()
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"\| 0.006 \| 3 \| weighted \|( [\d.]* \|){6}  \|", line)
    assert line in page.read_text(encoding="utf-8")


def test_peak_memory_includes_what_was_freed_again(load):
    with load("report").PeakMemory() as peak:
        torch.ones(40 << 20)
    assert peak.peak - peak.start > 100 << 20


def test_runs_are_repeatable_and_finished_ones_are_kept(load, tmp_path, monkeypatch):
    ablation = load("ablation")
    both = ["--variants", "M1", "published"]
    ablation.main(["-o", str(tmp_path / "a"), "--seeds", "0", *TINY, *both])
    ablation.main(["-o", str(tmp_path / "b"), "--seeds", "0", *TINY, *both[:2]])
    first, second = (ablation.read_runs(tmp_path / name / "runs.csv", 1) for name in "ab")
    assert [row["variant"] for row in first] == ["M1", "published"]
    assert first[0]["PSNR-μ"] == second[0]["PSNR-μ"]
    monkeypatch.setattr(ablation, "run_once", lambda *_: pytest.fail("a finished run was repeated"))
    ablation.main(["-o", str(tmp_path / "a"), "--seeds", "0", *TINY, *both])
    assert "one seed: cannot tell" in (tmp_path / "a" / "table.md").read_text(encoding="utf-8")
    assert ablation.read_runs(tmp_path / "a" / "runs.csv", 2) == []  # runs of another length do not count
