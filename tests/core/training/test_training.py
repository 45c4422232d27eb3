"""Training: learns, resumes to the step, reads its configurations, and trains on folders of brackets."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel

from afunet_core.data.datasets import write_bracket_folder
from afunet_core.data.synthesis.brackets import SynthesisConfig, Synthesizer
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.errors import AFUNetError, ArgumentError, CheckpointError
from afunet_core.model.afunet import AFUNet
from afunet_core.model.checkpoint import load_model
from afunet_core.training.config import TrainingConfig, learning_rate, load_config, shipped_recipes
from afunet_core.training.loop import _warmed_up_average, train

SMALL = {"embed_dim": 12, "depths": [1], "fusion_heads": 1, "window_size": 4}
CONFIG = TrainingConfig(
    model="compact",
    model_overrides=SMALL,
    data={"kind": "synthetic", "holdout": 0},
    loss={"decibel": 0.01},
    steps=6,
    batch=2,
    patch=32,
    learning_rate=2e-3,
    warmup=2,
    precision="32-true",
    validate_every=0,
    checkpoint_every=3,
    log_every=2,
)


def logged(folder: Path, column: str, start: int = 0) -> dict[int, float]:
    """The values of a column by step, of the run that began at a step."""
    with (folder / "log" / f"from-{start:07d}" / "metrics.csv").open() as file:
        return {int(row["step"]): float(row[column]) for row in csv.DictReader(file) if row[column]}


def run(config: TrainingConfig, folder: Path, **options) -> dict[str, torch.Tensor]:
    return load_file(train(config, folder, accelerator="cpu", progress=False, **options))


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    config = replace(CONFIG, steps=3)
    whole = run(config, tmp_path / "whole")
    for _ in range(config.steps):  # a deadline that has passed stops each part after one step
        parts = run(config, tmp_path / "parts", minutes=0.0)
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key
    assert list(logged(tmp_path / "whole", "loss")) == [2]
    assert list(logged(tmp_path / "parts", "loss", start=1)) == [2]
    rates = logged(tmp_path / "whole", "learning_rate")
    assert rates == {step: pytest.approx(learning_rate(config, step - 1)) for step in rates}


def test_training_lowers_the_loss_and_validates(tmp_path):
    config = replace(CONFIG, steps=24, log_every=6, validate_every=12, validation_count=4, validation_size=64)
    run(config, tmp_path)
    losses = list(logged(tmp_path, "loss").values())
    assert losses[-1] < losses[0]
    for column in ("psnr_mu", "psnr_l", "static_mu", "both_l"):
        assert list(logged(tmp_path, column)) == [12, 24]
    assert (tmp_path / "validation-0000024.png").stat().st_size > 1000
    best = load_model(tmp_path / "best.safetensors")
    assert best.config.embed_dim == 12


def test_the_average_follows_the_weights_with_a_rising_decay():
    layer = torch.nn.Linear(1, 1, bias=False)
    average = AveragedModel(layer, multi_avg_fn=_warmed_up_average(0.5))
    expected = 0.0
    for step in range(1, 12):
        torch.nn.init.constant_(layer.weight, step)
        average.update_parameters(layer)
        keep = min(0.5, (1 + step) / (10 + step)) if step > 1 else 0.0
        expected = keep * expected + (1 - keep) * step
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of one step."""
    folder = tmp_path_factory.mktemp("finished")
    run(replace(CONFIG, steps=1), folder)
    return folder


def of_another_network(saved: dict) -> dict:
    network = AFUNet(replace(CONFIG, model_overrides={**SMALL, "depths": [2]}).network())
    return {**saved, "model": network.state_dict()}


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "not a checkpoint": lambda path: path.write_bytes(b"precious"),
    "of an old kind": lambda path: path.write_bytes(bytes(1000)),  # torch then advises to load it unsafely
    "of another network": lambda path: torch.save(of_another_network(torch.load(path, weights_only=True)), path),
    "without the optimiser": lambda path: torch.save(
        {key: value for key, value in torch.load(path, weights_only=True).items() if key != "optimizer"}, path
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_and_nothing_overwritten(finished, tmp_path, damage):
    folder = shutil.copytree(finished, tmp_path / "run")
    DAMAGES[damage](folder / "last.ckpt")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be resumed from: .*--restart") as refused:
        run(replace(CONFIG, steps=2), folder)
    assert "set to `False`" not in str(refused.value)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_restart_ignores_what_is_there(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    DAMAGES["truncated"](folder / "last.ckpt")
    again = run(replace(CONFIG, steps=1), folder, resume=False)
    first = load_file(finished / "model.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_trains_on_a_folder_of_brackets_and_starts_from_weights(tmp_path):
    sampler = Synthesizer(SceneBank.procedural(0), SynthesisConfig())
    for index in range(2):
        sample = sampler.sample(1, 48, torch.Generator().manual_seed(index))
        write_bracket_folder(sample, tmp_path / "data" / f"{index:03d}")
    data = {"kind": "folder", "root": str(tmp_path / "data"), "validation": str(tmp_path / "data")}
    first = replace(CONFIG, data=data, steps=2, validate_every=2)
    run(first, tmp_path / "first")
    assert list(logged(tmp_path / "first", "psnr_mu")) == [2]
    start = str(tmp_path / "first" / "model.safetensors")
    frozen = replace(first, start_from=start, learning_rate=1e-12, final_learning_rate=0.0, validate_every=0)
    second = run(frozen, tmp_path / "second")
    for key, value in load_file(start).items():
        torch.testing.assert_close(second[key], value, atol=1e-6, rtol=0)
    with pytest.raises(ArgumentError, match=r"start_from: expected weights of embed_dim 12, .*got embed_dim 48"):
        run(replace(frozen, start_from="compact"), tmp_path / "third")
    with pytest.raises(AFUNetError, match=r"^crop: expected at most 48×48, the size of 00"):  # from another process
        run(replace(first, patch=64), tmp_path / "fourth")


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_load_by_name(name):
    config = load_config(name)
    assert config.network().stages >= 1
    if name == "paper":
        assert [learning_rate(config, step) for step in (0, config.steps)] == pytest.approx([5e-4, 5e-6])


def test_a_file_goes_before_a_recipe_of_its_name_and_unknown_names_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("compact").steps == 7600
    Path("compact").write_text("steps = 5\n", encoding="utf-8")
    assert load_config("compact").steps == 5
    with pytest.raises(ArgumentError, match=r"config: expected a TOML file or one of compact, .*paper/M2.*'compcat'"):
        load_config("compcat")
    with pytest.raises(FileNotFoundError):
        load_config("mine.toml")


def test_schedule_holds_then_falls():
    config = TrainingConfig(steps=100, warmup=10, schedule="constant", decay=20, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in (10, 50, 79, 90, 100)]
    assert rates == pytest.approx([1.0, 1.0, 1.0, 0.5, config.final_learning_rate], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step = 3", "config: expected names among .*, got step"),
        ("steps = ", r"config: expected a TOML file, got run\.toml"),
        ("\u00ff", "config: expected a TOML file"),
        ('steps = "many"', "steps: expected int, got 'many'"),
        ("steps = true", "steps: expected int"),
        ("steps = 0", "steps: expected above 0"),
        ("loss = 3", "loss: expected dict"),
        ("betas = 0.9", "betas: expected tuple"),
        ("ema = 1.5", "ema: expected from 0 to below 1"),
        ('precision = "int3"', "precision: expected one of auto"),
        ('model = "gigantic"', "model: expected one of"),
        ("[model_overrides]\nwidth = 3", "model_overrides: expected names among .*, got width"),
    ],
)
def test_faults_of_a_configuration_are_named(tmp_path, text, message):
    (tmp_path / "run.toml").write_text(text, encoding="latin-1")
    with pytest.raises(ArgumentError, match=message):
        load_config(tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"kind": "cloud"}}, r"data\.kind: expected one of synthetic, folder"),
        ({"data": {"kind": "synthetic", "photo": "x"}}, "data: expected names among .*, got photo"),
        ({"data": {"kind": "folder"}}, r"data\.root: expected the folder of a data set"),
        ({"loss": {"mu_l2": 1.0}}, "loss: expected names among .*, got mu_l2"),
        ({"loss": {"fourier": -1.0}}, "fourier: expected a weight of at least 0"),
    ],
)
def test_faults_that_a_run_finds_leave_its_folder_alone(tmp_path, changes, message):
    with pytest.raises(ArgumentError, match=message):
        run(replace(CONFIG, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_folders_other_scenes_are_rendered_for_validation(tmp_path: Path) -> None:
    """`afunet train --config compact` as it stands, with no data at hand."""
    from afunet_core.training.sources import SyntheticSource

    config = TrainingConfig(
        model="compact", data={"kind": "synthetic"}, validate_every=1, validation_count=1, validation_size=32
    )
    source = SyntheticSource(config, torch.device("cpu"))
    assert source.validation[0].truth.shape == (1, 3, 32, 32)
    ours, theirs = (SceneBank.procedural(seed).hdr[0] for seed in (0, 1_000_000))
    assert ours.shape != theirs.shape or not torch.equal(ours, theirs)
