"""Training: learns, resumes to the step, reads its configurations, and trains on folders of brackets."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from afunet_core.data.synthesis.brackets import SynthesisConfig, Synthesizer
from afunet_core.data.synthesis.export import write_bracket_folder
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.errors import ArgumentError
from afunet_core.model.checkpoint import load_model
from afunet_core.training.loop import TrainingConfig, learning_rate, load_config, train

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
REPOSITORY = Path(__file__).resolve().parents[3]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def run(config: TrainingConfig, folder: Path, **options) -> dict[str, torch.Tensor]:
    return load_file(train(config, folder, accelerator="cpu", progress=False, **options))


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = run(CONFIG, tmp_path / "whole")
    for _ in range(CONFIG.steps):  # a deadline that has passed stops each part after one step
        parts = run(CONFIG, tmp_path / "parts", minutes=0.0)
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key
    assert len(rows(tmp_path / "whole" / "log.csv")) == 3


def test_training_lowers_the_loss_and_validates(tmp_path):
    config = replace(CONFIG, steps=40, log_every=10, validate_every=20, validation_count=4, validation_size=64)
    run(config, tmp_path)
    losses = [float(row["loss"]) for row in rows(tmp_path / "log.csv")]
    assert losses[-1] < losses[0]
    scores = rows(tmp_path / "validation.csv")
    assert [int(row["step"]) for row in scores] == [20, 40]
    assert {"psnr_mu", "psnr_l", "static_mu", "both_l"} <= scores[0].keys()
    assert (tmp_path / "validation-0000040.png").stat().st_size > 1000
    best = load_model(tmp_path / "best.safetensors")
    assert best.config.embed_dim == 12


def test_trains_on_a_folder_of_brackets_and_starts_from_weights(tmp_path):
    sampler = Synthesizer(SceneBank.procedural(0), SynthesisConfig())
    for index in range(2):
        sample = sampler.sample(1, 48, torch.Generator().manual_seed(index))
        write_bracket_folder(sample, tmp_path / "data" / f"{index:03d}")
    data = {"kind": "folder", "root": str(tmp_path / "data"), "validation": str(tmp_path / "data")}
    first = replace(CONFIG, data=data, steps=2, validate_every=2)
    run(first, tmp_path / "first")
    assert len(rows(tmp_path / "first" / "validation.csv")) == 1
    start = str(tmp_path / "first" / "model.safetensors")
    frozen = replace(first, start_from=start, learning_rate=1e-12, final_learning_rate=0.0, validate_every=0)
    second = run(frozen, tmp_path / "second")
    for key, value in load_file(start).items():
        torch.testing.assert_close(second[key], value, atol=1e-6, rtol=0)


def test_paper_settings_are_what_the_paper_says():
    config = load_config(REPOSITORY / "configs" / "paper.toml")
    assert config.network().stages == 4
    assert learning_rate(config, 0) == pytest.approx(5e-4)
    assert learning_rate(config, config.steps) == pytest.approx(5e-6)
    assert config.steps * config.batch == 400 * 74 * 100


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").rglob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configurations_load(path):
    assert load_config(path).network().stages >= 1


def test_schedule_holds_then_falls():
    config = TrainingConfig(steps=100, warmup=10, schedule="constant", decay=20, learning_rate=1.0)
    assert [learning_rate(config, step) for step in (10, 50, 79)] == [1.0, 1.0, 1.0]
    assert learning_rate(config, 90) == pytest.approx(0.5, abs=1e-3)
    assert learning_rate(config, 100) == pytest.approx(config.final_learning_rate)


def test_unknown_names_are_refused(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("step = 3\n")
    with pytest.raises(ArgumentError, match="step"):
        load_config(path)
    with pytest.raises(ArgumentError, match="model"):
        TrainingConfig(model="gigantic")
    with pytest.raises(ArgumentError, match="kind"):
        train(replace(CONFIG, data={"kind": "cloud"}), tmp_path, accelerator="cpu", progress=False)


def test_without_folders_other_scenes_are_rendered_for_validation(tmp_path: Path) -> None:
    """`afunet train --config configs/compact.toml` as it stands, with no data at hand."""
    from afunet_core.training.sources import SyntheticSource

    config = TrainingConfig(
        model="compact", data={"kind": "synthetic"}, validate_every=1, validation_count=1, validation_size=32
    )
    source = SyntheticSource(config, torch.device("cpu"))
    assert source.validation[0].truth.shape == (1, 3, 32, 32)
    ours, theirs = (SceneBank.procedural(seed).hdr[0] for seed in (0, 1_000_000))
    assert ours.shape != theirs.shape or not torch.equal(ours, theirs)
