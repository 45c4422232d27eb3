"""Tables 4 to 6 of the paper in small: every variant trained alike, with two seeds, on synthetic brackets.

    python benchmarks/ablation.py -o runs/ablation [--scenes FOLDER] [--photos FOLDER] [--steps 300] [--seeds 0 1]

All variants have the same width, see the same brackets in the same order for the same number of steps, and are scored
on the same held-out brackets. Without folders the scenes are procedural, so that anyone can run it. Finished runs are
in runs.csv and are not repeated: the script can be stopped, and continued with more seeds. At this size the question is
not how good a variant is, but whether the paper's order shows; table.md says so comparison by comparison.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import write_row

from afunet_core.data.synthesis.brackets import validation_brackets
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.evaluation.evaluator import Sample, evaluate, synthetic_samples
from afunet_core.evaluation.paper import PUBLISHED_ROWS
from afunet_core.model.checkpoint import load_model
from afunet_core.model.complexity import complexity
from afunet_core.model.config import VARIANTS
from afunet_core.training.config import TrainingConfig
from afunet_core.training.loop import train

ROWS = ("M1", "M2", "M3", "M4", "published", "FA", "stages-2", "stages-3", "stages-5", "stages-6")
COMPARISONS = (  # (table, worse, better) as the paper reports PSNR-μ
    *(("Table 4", "M1", name) for name in ("M2", "M3", "M4")),
    *(("Table 4", name, "published") for name in ("M1", "M2", "M3", "M4")),
    ("Table 5", "FA", "published"),
    ("Table 6", "stages-2", "stages-3"),
    ("Table 6", "stages-3", "published"),
    ("Table 6", "stages-5", "published"),
    ("Table 6", "published", "stages-6"),
)
METRICS = ("PSNR-μ", "PSNR-l", "SSIM-μ", "SSIM-l")
HELD_OUT = 12
"""Scenes that no run trains on."""


def configuration(variant: str, seed: int, options: argparse.Namespace) -> TrainingConfig:
    """A short run of one variant; nothing but the variant and the seed differs between runs."""
    given = {name: folder for name, folder in {"hdr": options.scenes, "photos": options.photos}.items() if folder}
    overrides: dict[str, Any] = {
        "embed_dim": options.embed,
        "fusion_heads": 2,
        "depths": [options.blocks] * VARIANTS[variant].stages,
        "downscale": options.downscale,
        "drop_path": 0.0,  # short runs underfit: nothing to regularise
        "dormant_norm": False,
    }
    return TrainingConfig(
        model=variant,
        model_overrides=overrides,
        data={"kind": "synthetic", **given, "holdout": HELD_OUT},
        loss={},
        steps=options.steps,
        batch=options.batch,
        patch=options.patch,
        learning_rate=options.rate,
        final_learning_rate=options.rate / 100,
        warmup=max(options.steps // 20, 1),
        ema=0.99,
        precision="32-true",
        validate_every=0,
        checkpoint_every=options.steps,
        seed=seed,
    )


def held_out_brackets(options: argparse.Namespace) -> list[Sample]:
    """Brackets of scenes that no run has trained on, the same for all."""
    bank = SceneBank.procedural(seed=1_000_000)
    if options.scenes or options.photos:
        hdr, photos = ([folder] if folder else [] for folder in (options.scenes, options.photos))
        bank = SceneBank.from_folders(hdr, photos).split(holdout=HELD_OUT, seed=0)[1]
    return list(synthetic_samples(validation_brackets(bank, options.brackets, options.size, seed=1)))


def run_once(variant: str, seed: int, samples: Sequence[Sample], options: argparse.Namespace) -> dict[str, Any]:
    """Train, evaluate, and return a line of runs.csv."""
    config = configuration(variant, seed, options)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(train(config, folder, accelerator=options.accelerator, progress=False))
    seconds = time.process_time() - started
    model = model.to("cuda" if options.accelerator == "cuda" else "cpu")
    device = next(model.parameters()).device
    table = evaluate({variant: lambda sample: model(sample.to_tensor().to(device)).cpu()}, samples, metrics=METRICS)
    cost = complexity(config.network())
    scores = {name: f"{value:.5g}" for name, value in table.mean(variant).items()}
    facts = {"parameters": cost.parameters, "GFLOP": f"{cost.flops / 1e9:.3f}", "CPU seconds": f"{seconds:.0f}"}
    return {"variant": variant, "seed": seed, "steps": options.steps, **scores, **facts}


def by_variant(runs: list[dict[str, str]], column: str) -> dict[str, dict[int, float]]:
    """variant → seed → score, in the order of the paper's tables."""
    found: dict[str, dict[int, float]] = {}
    for name in ROWS:
        scores = {int(row["seed"]): float(row[column]) for row in runs if row["variant"] == name}
        if scores:
            found[name] = scores
    return found


def differences(known: dict[str, dict[int, float]], worse: str, better: str) -> list[float]:
    """Gains of the paper's better variant, for every seed that both have."""
    first, second = known.get(worse, {}), known.get(better, {})
    return [second[seed] - first[seed] for seed in sorted(first.keys() & second.keys())]


def noise(known: dict[str, dict[int, float]]) -> float:
    """Standard deviation of a difference between seeds, pooled over all comparisons: two seeds alone would not tell."""
    repeated = [gains for _, *pair in COMPARISONS if len(gains := differences(known, *pair)) > 1]
    freedom = sum(len(gains) - 1 for gains in repeated)
    return math.sqrt(sum(statistics.variance(g) * (len(g) - 1) for g in repeated) / freedom) if freedom else math.nan


def verdict(mean: float, error: float) -> str:
    """Compare a difference with the paper's order; it counts from two standard errors."""
    if math.isnan(error):
        return "one seed: cannot tell"
    if abs(mean) <= 2 * error:
        return "within noise"
    return "as the paper" if mean > 0 else "reversed"


def report(runs: list[dict[str, str]]) -> str:
    """Both tables as Markdown."""
    scores = {metric: by_variant(runs, metric) for metric in METRICS}
    lines = [
        "| variant | " + " | ".join(METRICS) + " | seeds, PSNR-μ | parameters | GFLOP | the paper, PSNR-μ |",
        "|---|" + "---:|" * (len(METRICS) + 4),
    ]
    for name, seeds in scores["PSNR-μ"].items():
        means = [statistics.fmean(scores[metric][name].values()) for metric in METRICS]
        cells = [
            f"{mean:.2f}" if "PSNR" in metric else f"{mean:.4f}" for metric, mean in zip(METRICS, means, strict=True)
        ]
        each = ", ".join(f"{value:.2f}" for _, value in sorted(seeds.items()))
        row = next(row for row in runs if row["variant"] == name)
        paper = PUBLISHED_ROWS["stages-4" if name == "published" else name].psnr_mu
        lines.append(f"| {name} | {' | '.join(cells)} | {each} | {row['parameters']} | {row['GFLOP']} | {paper:.2f} |")
    lines += ["", "| comparison | the paper, dB | ours, dB | standard error | order |", "|---|---:|---:|---:|---|"]
    known = scores["PSNR-μ"]
    spread = noise(known)
    for table, worse, better in COMPARISONS:
        if gains := differences(known, worse, better):
            mean, error = statistics.fmean(gains), spread / math.sqrt(len(gains))
            rows = [PUBLISHED_ROWS["stages-4" if name == "published" else name].psnr_mu for name in (worse, better)]
            shown, text = "–" if math.isnan(error) else f"{error:.2f}", verdict(mean, error)
            lines.append(f"| {table}: {worse} → {better} | {rows[1] - rows[0]:+.2f} | {mean:+.2f} | {shown} | {text} |")
    return "\n".join(lines) + "\n"


def read_runs(path: Path, steps: int) -> list[dict[str, str]]:
    """The finished runs of this length."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["steps"]) == steps]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what runs.csv does not have, write table.md after every run, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--scenes", help="folder of .hdr and .exr scenes (default: procedural scenes)")
    parser.add_argument("--photos", help="folder of photographs")
    parser.add_argument("--variants", nargs="+", default=ROWS, choices=ROWS, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--embed", type=int, default=24, help="channels of the three branches together")
    parser.add_argument("--blocks", type=int, default=2, help="Swin blocks in each stage")
    parser.add_argument("--brackets", type=int, default=16, help="held-out brackets")
    parser.add_argument("--size", type=int, default=128, help="their side")
    parser.add_argument("--downscale", type=int, default=2, help="pixels folded into channels (1 published)")
    parser.add_argument("--accelerator", default="cpu", help="cpu or cuda")
    options = parser.parse_args(arguments)
    samples, path = held_out_brackets(options), options.output / "runs.csv"
    options.output.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name in options.variants:
            done = [(row["variant"], int(row["seed"])) for row in read_runs(path, options.steps)]
            if (name, seed) not in done:
                write_row(path, **run_once(name, seed, samples, options))
                (options.output / "table.md").write_text(report(read_runs(path, options.steps)), encoding="utf-8")
    print(report(read_runs(path, options.steps)))


if __name__ == "__main__":
    main()
