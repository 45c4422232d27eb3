"""Worth of each ingredient of training: a small network trained without it, beside the same trained with all.

    python benchmarks/ingredients.py -o runs/ingredients [--scenes FOLDER] [--photos FOLDER] [--steps 800] [--seeds 0 1]

Everything else is alike: the network (the compact design, narrow), the steps, the order of the scenes, the held-out
brackets it is scored on, frames as taken. Finished runs are in runs.csv and are not repeated. The spread between seeds
of the full recipe tells which differences count; table.md has it in its last line.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runs import command_line, held_out_bank, run_missing, training_data

from afunet_core.data.synthesis.brackets import validation_brackets
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.model.checkpoint import load_model
from afunet_core.training.loop import TrainingConfig, train

LOSS = {"radiance": 0.3, "radiance_kind": "l1", "decibel": 0.02}
# What is left out: entries of the synthesis, of the loss, of the run itself, or of the network's design.
INGREDIENTS: dict[str, dict[str, dict[str, Any]]] = {
    "all ingredients": {},
    "no photographs": {"data": {"photo_share": 0.0}},
    "no registered brackets": {"data": {"registered_share": 0.0, "followed_share": 0.0}},
    "no followed brackets": {"data": {"followed_share": 0.0}},
    "no sway, no parallax": {"data": {"flow_share": 0.0, "parallax_share": 0.0}},
    "no passing things, no lamps": {"data": {"passing_share": 0.0, "lamp_share": 0.0}},
    "objects of 20 px of motion at most": {"data": {"object_displacement": [0.3, 20.0]}},
    "little noise": {"data": {"gain": [2e-5, 2e-5], "read_noise": [1e-4, 1e-4]}},
    "EV steps of 2 only": {"data": {"ev_steps": [[2.0, 2.0]]}},
    "loss after the μ-law only": {"loss": {"radiance": 0.0, "decibel": 0.0}},
    "no decibels in the loss": {"loss": {"decibel": 0.0}},
    "no averaged weights": {"run": {"ema": 0.0}},
    "the direct head of the paper": {"model": {"head": "direct"}},
    "frames not folded, as in the paper": {"model": {"downscale": 1}},
    "the published design": {"model": {"head": "direct", "downscale": 1, "mu_input": False, "agreement_input": False}},
}
KINDS = ("all", "static", "camera", "objects", "both")


def configuration(name: str, seed: int, options: argparse.Namespace) -> TrainingConfig:
    """A short run without one ingredient."""
    left_out = INGREDIENTS[name]
    data = {**training_data(options.scenes, options.photos), **left_out.get("data", {})}
    if "ev_steps" in data:
        data["ev_steps"] = tuple(tuple(steps) for steps in data["ev_steps"])
    narrow = {"embed_dim": options.embed, "fusion_heads": 2, "depths": [options.blocks] * 3}
    return TrainingConfig(
        model="compact",
        model_overrides=narrow | left_out.get("model", {}),
        data=data,
        loss={**LOSS, **left_out.get("loss", {})},
        steps=options.steps,
        batch=options.batch,
        patch=options.patch,
        learning_rate=options.rate,
        warmup=max(options.steps // 20, 1),
        ema=left_out.get("run", {}).get("ema", 0.99),
        validate_every=0,
        checkpoint_every=options.steps,
        seed=seed,
    )


def run_once(name: str, seed: int, bank: SceneBank, options: argparse.Namespace) -> dict[str, Any]:
    """Train, score, and return a line of runs.csv."""
    from afunet_core.training.sources import validate

    with tempfile.TemporaryDirectory() as folder:
        model = load_model(train(configuration(name, seed, options), folder, accelerator="cpu", progress=False))
        brackets = validation_brackets(bank, options.brackets, options.size, seed=1)
        samples = ((batch.kind[0], batch.network_input(), batch.truth) for batch in brackets)
        scores = validate(model, samples, Path(folder) / "picture.png", next(model.parameters()).device)
    found = {"all_mu": scores["psnr_mu"], "all_l": scores["psnr_l"], **scores}
    columns = [f"{kind}_{metric}" for kind in KINDS for metric in ("mu", "l")]
    return {"ingredient": name, "seed": seed, "steps": options.steps, **{c: f"{found[c]:.3f}" for c in columns}}


def report(runs: list[dict[str, str]]) -> str:
    """Means over seeds of the full recipe, what leaving out changes (seed by seed), and the spread between seeds."""

    def scores(name: str, column: str) -> dict[str, float]:
        return {row["seed"]: float(row[column]) for row in runs if row["ingredient"] == name}

    lines = ["| | " + " | ".join(KINDS) + " |", "|---|" + "---:|" * len(KINDS)]
    for name in INGREDIENTS:
        cells = []
        for kind in KINDS:
            pair = []
            for metric in ("mu", "l"):
                ours, base = scores(name, f"{kind}_{metric}"), scores("all ingredients", f"{kind}_{metric}")
                if name == "all ingredients" and base:
                    pair.append(f"{statistics.fmean(base.values()):.1f}")
                elif common := sorted(ours.keys() & base.keys()):
                    pair.append(f"{statistics.fmean(ours[seed] - base[seed] for seed in common):+.1f}")
            cells.append(" / ".join(pair))
        if all(cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    spread = [scores("all ingredients", f"{kind}_{metric}").values() for kind in KINDS for metric in ("mu", "l")]
    if all(len(values) > 1 for values in spread):
        each = [f"{statistics.stdev(values):.1f}" for values in spread]
        pairs = [f"{mu} / {linear}" for mu, linear in zip(each[::2], each[1::2], strict=True)]
        lines.append("| standard deviation between seeds | " + " | ".join(pairs) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then write the table."""
    defaults = {"steps": 800, "patch": 96, "blocks": 1, "brackets": 24, "size": 192}
    options = command_line(__doc__, ("--without", INGREDIENTS), defaults).parse_args(arguments)
    bank = held_out_bank(options.scenes, options.photos)
    run_missing(options, "ingredient", options.without, lambda name, seed: run_once(name, seed, bank, options), report)


if __name__ == "__main__":
    main()
