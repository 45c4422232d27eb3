"""The ablation benchmark: a run in miniature, and what it concludes from scores that are known."""

from __future__ import annotations

import argparse
import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "ablation.py"
TINY = ["--steps=1", "--batch=1", "--patch=16", "--embed=12", "--blocks=1", "--brackets=1", "--size=32"]


def load(script: Path) -> ModuleType:
    """A script as Python runs it: what lies beside it can be imported."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(script.parent)
        spec.loader.exec_module(module)
    return module


def read_runs(path: Path, steps: int) -> list[dict[str, str]]:
    return load(SCRIPT.with_name("runs.py")).read_runs(path, steps)


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    return load(SCRIPT)


def test_ingredients_are_left_out_one_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs in miniature: the difference of the second to the first is what the table says."""
    ingredients = load(SCRIPT.with_name("ingredients.py"))
    names = ["all ingredients", "no decibels in the loss"]
    tiny = ["--steps=1", "--batch=1", "--patch=16", "--embed=12", "--brackets=4", "--size=32"]
    ingredients.main(["-o", str(tmp_path), "--seeds", "0", "--without", *names, *tiny])
    base, without = read_runs(tmp_path / "runs.csv", 1)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {names[1]} |")]
    change = float(without["all_mu"]) - float(base["all_mu"])
    assert shown[0].split("|")[2].strip().startswith(f"{change:+.1f} / ")


def row(variant: str, seed: int, score: float) -> dict[str, str]:
    scores = {"PSNR-μ": str(score), "PSNR-l": "1", "SSIM-μ": "0.1", "SSIM-l": "0.1"}
    return {"variant": variant, "seed": str(seed), **scores, "parameters": "7", "GFLOP": "0.1"}


def test_runs_are_repeatable_and_finished_ones_are_kept(
    ablation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ["--variants", "M1", "published"]
    ablation.main(["-o", str(tmp_path / "a"), "--seeds", "0", *TINY, *both])
    ablation.main(["-o", str(tmp_path / "b"), "--seeds", "0", *TINY, *both[:2]])
    first, second = (read_runs(tmp_path / name / "runs.csv", 1) for name in "ab")
    assert [row["variant"] for row in first] == ["M1", "published"]
    assert first[0]["PSNR-μ"] == second[0]["PSNR-μ"]
    monkeypatch.setattr(ablation, "run_once", lambda *_: pytest.fail("a finished run was repeated"))
    ablation.main(["-o", str(tmp_path / "a"), "--seeds", "0", *TINY, *both])
    assert "one seed: cannot tell" in (tmp_path / "a" / "table.md").read_text(encoding="utf-8")
    assert read_runs(tmp_path / "a" / "runs.csv", 2) == []  # runs of another length do not count


def test_differences_count_from_two_standard_errors(ablation: ModuleType) -> None:
    runs = [row("M1", 0, 20.0), row("M1", 1, 21.0)]  # the seeds differ by as much for both: no noise in differences
    runs += [row("M2", 0, 22.0), row("M2", 1, 23.0)]
    runs += [row("M3", 0, 19.0), row("M3", 1, 22.1)]  # −1 and +1.1
    text = ablation.report(runs)
    verdicts = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in text.splitlines() if "→" in line}
    assert verdicts == {"Table 4: M1 → M2": "as the paper", "Table 4: M1 → M3": "within noise"}
    # The pooled spread: variances 0 and 2.205 of two differences each.
    known = ablation.by_variant(runs, "PSNR-μ")
    assert ablation.noise(known) == pytest.approx(math.sqrt(2.205 / 2))
    assert ablation.verdict(-1.0, 0.1) == "reversed"
    assert "| M2 | 22.50 |" in text
    assert "| 44.48 |" in text


def test_the_published_design_is_the_published_arithmetic() -> None:
    ingredients = load(SCRIPT.with_name("ingredients.py"))
    options = argparse.Namespace(scenes=None, photos=None, embed=24, blocks=1, steps=10, batch=1, patch=32, rate=1e-3)
    forms = {name: ingredients.configuration(name, 0, options).network() for name in ingredients.INGREDIENTS}
    assert [name for name, form in forms.items() if form.published_form] == ["the published design"]
    assert {form.downscale for name, form in forms.items() if form.head == "direct"} == {1, 2}
