"""Helpers of benchmarks that train many networks: scenes held out, finished runs in a CSV file, their command line."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from afunet_core.data.synthesis.scenes import SceneBank

HELD_OUT = 12


def held_out_bank(scenes: str | None, photos: str | None) -> SceneBank:
    """Scenes that no run has trained on: of the folders those held out, without any others than are trained on."""
    if not (scenes or photos):
        return SceneBank.procedural(seed=1_000_000)
    hdr, ldr = ([folder] if folder else [] for folder in (scenes, photos))
    return SceneBank.from_folders(hdr, ldr).split(holdout=HELD_OUT, seed=0)[1]


def training_data(scenes: str | None, photos: str | None) -> dict[str, Any]:
    """The entries of a training configuration that name all the other scenes."""
    given = {name: folder for name, folder in {"hdr": scenes, "photos": photos}.items() if folder}
    return {"kind": "synthetic", **given, "holdout": HELD_OUT}


def command_line(
    description: str | None, rows: tuple[str, Iterable[str]], defaults: dict[str, int]
) -> argparse.ArgumentParser:
    """Options of every such benchmark.

    Args:
        description: what ``--help`` says first.
        rows: the option that chooses what is trained, and its choices.
        defaults: of ``steps``, ``patch``, ``blocks``, ``brackets`` and ``size``.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    option, choices = rows[0], list(rows[1])
    parser.add_argument("-o", "--output", type=Path, required=True)
    add_scenes(parser)
    parser.add_argument(option, nargs="+", default=choices, choices=choices, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=defaults["steps"])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=defaults["patch"])
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--embed", type=int, default=24, help="channels of the three branches together")
    parser.add_argument("--blocks", type=int, default=defaults["blocks"], help="Swin blocks in each stage")
    parser.add_argument("--brackets", type=int, default=defaults["brackets"], help="held-out brackets")
    parser.add_argument("--size", type=int, default=defaults["size"], help="their side")
    return parser


def add_scenes(parser: argparse.ArgumentParser) -> None:
    """The folders that scenes come from."""
    parser.add_argument("--scenes", help="folder of .hdr and .exr scenes (default: procedural scenes)")
    parser.add_argument("--photos", help="folder of photographs")


def run_missing(
    options: argparse.Namespace,
    column: str,
    names: Iterable[str],
    run_once: Callable[[str, int], dict[str, Any]],
    report: Callable[[list[dict[str, str]]], str],
) -> None:
    """Run what runs.csv does not have, write table.md after every run, and print it.

    Args:
        options: of the command line.
        column: of runs.csv that says what was trained.
        names: what is to be trained, for every seed.
        run_once: from a name and a seed to a line of runs.csv.
        report: from all lines to the table.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "runs.csv"
    names = list(names)
    for seed in options.seeds:
        for name in names:
            runs = read_runs(path, options.steps)
            if not any(row[column] == name and int(row["seed"]) == seed for row in runs):
                append_run(path, run_once(name, seed))
                (options.output / "table.md").write_text(report(read_runs(path, options.steps)), encoding="utf-8")
    print(report(read_runs(path, options.steps)))


def read_runs(path: Path, steps: int) -> list[dict[str, str]]:
    """The finished runs of this length."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["steps"]) == steps]


def append_run(path: Path, row: dict[str, Any]) -> None:
    """Add a line, and the heading if it is the first."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)
