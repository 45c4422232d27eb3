"""The paper's rows end to end: recipe → training → evaluation → table, on tiny data sets in the field's layouts."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from afunet_core.cli import main
from afunet_core.data.synthesis.brackets import SynthesisConfig, Synthesizer
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.errors import ArgumentError
from afunet_core.evaluation.paper import PUBLISHED_ROWS, beside_published, read_run
from afunet_core.evaluation.scores import Evaluation
from afunet_core.io import write_image
from afunet_core.model.checkpoint import load_model
from afunet_core.model.complexity import complexity
from afunet_core.model.config import VARIANTS
from afunet_core.training.config import load_config, shipped_recipes

ROOT = Path(__file__).resolve().parents[3]
SIZES = {"embed_dim": 12, "fusion_heads": 1, "window_size": 4}
TINY = ("steps=2", "batch=1", "patch=16", *(f"model_overrides.{name}={value}" for name, value in SIZES.items()))


def write_data_set(root: Path) -> None:
    """Write three scenes in the layout of Kalantari and Ramamoorthi; the other layouts are tested with the reader."""
    maker = Synthesizer(SceneBank.procedural(0, count=1, size=(96, 96)), SynthesisConfig.noiseless())
    for number, scene in enumerate(("Training/001", "Test/001", "Test/002")):
        bracket = maker.sample(1, 32, torch.Generator().manual_seed(number))
        folder = root / scene
        folder.mkdir(parents=True)
        for index, frame in enumerate(bracket.frames[0]):
            pixels = (frame.permute(1, 2, 0).numpy() * 65535).round().astype(np.uint16)
            write_image(folder / f"262A089{index}.tif", pixels)
        (folder / "exposure.txt").write_text("0\n2\n4\n")
        write_image(folder / "HDRImg.hdr", bracket.truth[0])


def train(recipe: str, output: Path, root: Path, *more: str) -> int:
    data = (f"data.root={root / 'Training'}", f"data.validation={root / 'Test'}")
    depths = ", ".join(["1"] * load_config(f"paper/{recipe}").network().stages)
    settings = [f"--set={item}" for item in (*TINY, f"model_overrides.depths=[{depths}]", *data, *more)]
    return main(["train", "--config", f"paper/{recipe}", "-o", str(output), "-q", *settings])


def test_a_data_set_of_the_paper_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, root = "kalantari", tmp_path / "data"
    write_data_set(root)
    assert train(name, tmp_path / "run", root, "validate_every=2") == 0
    assert load_model(tmp_path / "run" / "best.safetensors").config.stages == 4
    capsys.readouterr()
    report = tmp_path / "report"
    assert main(["evaluate", "--run", str(tmp_path / "run"), "-q", "-o", str(report)]) == 0
    printed = capsys.readouterr().out
    row = PUBLISHED_ROWS[name]
    assert f"| {row.table}, {name} | PSNR-μ | PSNR-l | SSIM-μ | SSIM-l |" in printed
    assert f"| the paper | {row.psnr_mu:.2f} | {row.psnr_l:.2f} | {row.ssim_mu:.4f} | {row.ssim_l:.4f} |" in printed
    with (report / "scenes.csv").open() as file:
        scores = [float(line["PSNR-μ"]) for line in csv.DictReader(file) if line["method"] == "run/model"]
    assert len(scores) == 2  # both test scenes, and not the training scene
    measured = float(np.mean(scores))
    assert f"| run/model, measured here | {measured:.2f} |" in (report / "beside.md").read_text()


def test_every_row_has_its_recipe_and_every_recipe_its_row() -> None:
    recipes = {name.removeprefix("paper/") for name in shipped_recipes() if name.startswith("paper/")}
    assert recipes == set(PUBLISHED_ROWS)
    base = load_config("paper")
    for name in PUBLISHED_ROWS:
        config = load_config(f"paper/{name}")
        assert config.row == name
        assert config.network() == VARIANTS[name if name in VARIANTS else "published"]
        assert (config.loss, config.patch, config.optimizer) == (base.loss, base.patch, base.optimizer)
    scenes = {"kalantari": 74, "hu": 85, "tel": 108}  # training scenes, as the paper counts them
    for name, count in scenes.items():
        config = load_config(f"paper/{name}")
        assert config.steps * config.batch == 400 * 100 * count


def test_recipes_build_on_others(tmp_path: Path) -> None:
    """Tables merge entry by entry unless they name a kind; entries of tables are set by a dotted name."""
    base = 'steps = 7\n[data]\nkind = "folder"\nroot = "a"\nvalidation = "b"\n[loss]\nfourier = 0.1\n'
    files = {"base": base, "child": 'base = "base.toml"\n[data]\nroot = "c"\n'}
    files["other"] = 'base = "child.toml"\nsteps = 9\n[data]\nkind = "synthetic"\n'
    files |= {"a": 'base = "b.toml"\n', "b": 'base = "a.toml"\n', "c": 'base = "none.toml"\n', "d": 'row = "M9"\n'}
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    child, other = load_config(tmp_path / "child.toml"), load_config(tmp_path / "other.toml", **{"loss.fourier": 1.0})
    assert child.data == {"kind": "folder", "root": "c", "validation": "b"}
    assert load_config(tmp_path / "child.toml", **{"data.root": "z"}).data == {**child.data, "root": "z"}
    assert (child.steps, other.steps, child.loss, other.loss) == (7, 9, {"fourier": 0.1}, {"fourier": 1.0})
    assert other.data == {"kind": "synthetic"}
    wrong = {"a": r"base: .*a\.toml", "c": "none.toml", "d": "row: expected one of None, kalantari"}
    for name, message in wrong.items():
        with pytest.raises((ArgumentError, FileNotFoundError), match=message):
            load_config(tmp_path / f"{name}.toml")


def test_folders_that_are_no_run_and_runs_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ((None, ""), ("config.json", '{"data": {"kind": "synthetic"}}'), ("model.safetensors", ""))
    for (name, text), message in zip(files, (r"config\.json", r"model\.safetensors", "test set"), strict=True):
        if name:
            (tmp_path / name).write_text(text)
        with pytest.raises(ArgumentError, match=f"run: .*{message}"):
            read_run(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        data = {"kind": "folder", "root": "r", "validation": name}
        (tmp_path / name / "config.json").write_text(json.dumps({"data": data}))
        (tmp_path / name / "model.safetensors").write_bytes(b"")
    first, second = (["--run", str(tmp_path / name)] for name in ("a", "b"))
    for words, message in ((second, "same test set"), (["--beside", "M1"], "runs alone")):
        assert main(["evaluate", *first, *words, "-q"]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(ArgumentError, match="row: expected one of kalantari"):
        beside_published(Evaluation(("PSNR-μ",)), [("x", "M9")])


def test_modules_cost_the_same_wherever_they_stand() -> None:
    costs = {name: complexity(VARIANTS[name]) for name in ("M1", "M2", "M3", "M4", "published", "FA")}
    for index in (0, 1):  # parameters, operations
        added = sum(costs[name][index] - costs["M1"][index] for name in ("M2", "M3", "M4"))
        assert costs["published"][index] == costs["M1"][index] + added
    assert costs["FA"] == costs["published"] == complexity(VARIANTS["stages-4"])


def test_the_page_prints_what_the_tables_hold() -> None:
    page = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    sections = {part.splitlines()[0].split(":")[0]: part for part in page.split("\n## ")}
    for name, row in PUBLISHED_ROWS.items():
        scores = [f"{row.psnr_mu:.2f}", f"{row.psnr_l:.2f}", f"{row.ssim_mu:.4f}", f"{row.ssim_l:.4f}"]
        assert any(
            re.findall(r"\d+\.\d+", line)[:4] == scores for line in sections[row.table].replace("*", "").splitlines()
        ), f"{name} is not in {row.table} of docs/reproduce.md"
