"""Finished runs in a CSV file: what a benchmark that trains many networks has done, and need not do again."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


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
