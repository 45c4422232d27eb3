"""Scores of an evaluation: averages (of decibels, as the field does), standard errors, differences, files.

Ghosts have columns of their own, PSNR-μ inside and outside the regions that moved: an average over the picture hides
a ghost that covers a hundredth of it.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from pathlib import Path
from typing import TypeAlias

import torch

from afunet_core import __version__
from afunet_core.errors import ArgumentError
from afunet_core.io.atomic import write_atomically
from afunet_core.metrics import METRICS, Metric

INSIDE, OUTSIDE = "PSNR-μ moved", "PSNR-μ still"
_GHOST_DEFINITIONS = {
    INSIDE: "PSNR-μ over the pixels where the scene moved between the frames; dB, peak 1",
    OUTSIDE: "PSNR-μ over the pixels where it did not; dB, peak 1",
}
SceneKey: TypeAlias = tuple[str, str, int]  # kind, name, and which of the scenes of that name


@dataclass(frozen=True)
class Row:
    """The scores of one method on one scene."""

    method: str
    scene: str
    kind: str
    scores: dict[str, float]
    seconds: float


@dataclass
class Evaluation:
    """All rows, with their averages."""

    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    more_metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """The methods in the order in which they were given."""
        return list(dict.fromkeys(row.method for row in self.rows))

    @property
    def kinds(self) -> list[str]:
        """The kinds in the order in which they appeared."""
        return list(dict.fromkeys(row.kind for row in self.rows))

    def mean(self, method: str, kind: str | None = None) -> dict[str, float]:
        """Compute averages of one method over the scenes of a kind, or over all scenes.

        Scenes in which a score does not exist (no pixel moved) are left out of its average.
        """
        return {column: _mean_and_error(scores.values())[0] for column, scores in self._scores(method, kind).items()}

    def standard_error(self, method: str, kind: str | None = None) -> dict[str, float]:
        """Compute the standard errors of :meth:`mean`: how far other such scenes would move it; NaN of one scene."""
        return {column: _mean_and_error(scores.values())[1] for column, scores in self._scores(method, kind).items()}

    def difference(self, method: str, other: str, kind: str | None = None) -> dict[str, tuple[float, float]]:
        """Compute by how much a method is better than another on the same scenes, and its standard error, by column.

        Scenes differ from each other by far more than methods do, so that two averages may each be uncertain and
        their difference not.
        """
        ours, theirs = self._scores(method, kind), self._scores(other, kind)
        return {
            column: _mean_and_error([scores[scene] - theirs[column][scene] for scene in scores.keys() & theirs[column]])
            for column, scores in ours.items()
        }

    def _scores(self, method: str, kind: str | None) -> dict[str, dict[SceneKey, float]]:
        """Collect column → scene → score, without the scenes that have none."""
        rows = [row for row in self.rows if row.method == method and kind in (None, row.kind)]
        if not rows:
            raise ArgumentError("method, kind", f"from {self.methods} and {self.kinds}", (method, kind))
        seen: Counter[tuple[str, str]] = Counter()
        scores: dict[str, dict[SceneKey, float]] = {column: {} for column in self.columns}
        for row in rows:
            seen[row.kind, row.scene] += 1
            for column in self.columns:
                if not math.isnan(row.scores[column]):
                    scores[column][row.kind, row.scene, seen[row.kind, row.scene]] = row.scores[column]
        return scores

    def to_csv(self) -> str:
        """Format one line per method and scene; an empty cell where a score does not exist."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["method", "scene", "kind", *self.columns, "seconds"])
        for row in self.rows:
            scores = ["" if math.isnan(row.scores[c]) else f"{row.scores[c]:.6g}" for c in self.columns]
            writer.writerow([row.method, row.scene, row.kind, *scores, f"{row.seconds:.4g}"])
        return buffer.getvalue()

    def to_markdown(self) -> str:
        """Format averages over all scenes and of each kind, standard errors, definitions, date, versions and machine.

        A column without any score, such as ghosts where the motion is not known, is left out.
        """
        columns = [column for column in self.columns if any(not math.isnan(row.scores[column]) for row in self.rows)]
        lines = [
            "| scenes | method | " + " | ".join(columns) + " | seconds |",
            "|---|---|" + "---:|" * (len(columns) + 1),
        ]
        groups: list[str | None] = [None, *self.kinds] if len(self.kinds) > 1 else [None]
        for kind, method in product(groups, self.methods):
            if rows := [row for row in self.rows if row.method == method and kind in (None, row.kind)]:
                means, seconds = self.mean(method, kind), statistics.fmean(row.seconds for row in rows)
                cells = " | ".join(_cell(means[column], column) for column in columns)
                lines.append(f"| {kind or 'all'} ({len(rows)}) | {method} | {cells} | {seconds:.3g} |")
        lines += ["", "Averages over scenes of the score of each scene.", "", *self._uncertainty(columns)]
        lines += [f"- {column}: {_definition(column, self.more_metrics)}" for column in columns]
        lines += ["", _origin()]
        return "\n".join(lines) + "\n"

    def _uncertainty(self, columns: list[str]) -> list[str]:
        """Format standard errors over all scenes, and the last method beside each of the others."""
        if not self.rows:
            return []
        *others, last = self.methods
        errors = {method: self.standard_error(method) for method in self.methods}
        if all(math.isnan(error) for error in errors[last].values()):
            return []
        columns = [column for column in columns if not math.isnan(errors[last][column])]
        lines = ["| over all scenes | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
        for method, error in errors.items():
            cells = [f"± {_cell(error[column], column)}" for column in columns]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        for other in others:
            pairs = self.difference(last, other)
            cells = [f"{_cell(pairs[c][0], c, '+')} ± {_cell(pairs[c][1], c)}" for c in columns]
            lines.append(f"| {last} less {other} | {' | '.join(cells)} |")
        note = "One standard error: how far averages, and differences scene by scene, depend on the choice of scenes."
        return [*lines, "", note, ""]

    def write(self, path: str | Path) -> None:
        """Write ``.csv`` (every scene) or ``.md`` (averages and definitions), at once or not at all."""
        path = Path(path)
        texts = {".csv": self.to_csv, ".md": self.to_markdown}
        if path.suffix not in texts:
            raise ArgumentError("path", "a name that ends in .csv or .md", path.name)
        text = texts[path.suffix]()
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _origin() -> str:
    """State date, versions and processor: scores of other versions and seconds of other machines do not compare."""
    processor = f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return f"Made on {date.today()} by afunet {__version__} with PyTorch {torch.__version__} ({processor})."


def _definition(column: str, more: Mapping[str, Metric]) -> str:
    if column in _GHOST_DEFINITIONS:
        return _GHOST_DEFINITIONS[column]
    metric = (METRICS | dict(more))[column]
    return f"{metric.definition}; {metric.unit + ', ' if metric.unit else ''}peak {metric.peak:g}"


def _mean_and_error(scores: Iterable[float]) -> tuple[float, float]:
    """Compute the mean and its standard error, √(s² / n) with s² the variance of a sample.

    The decibels of a perfect picture are infinite: then there is no standard error.
    """
    values = list(scores)
    mean = statistics.fmean(values) if values else math.nan
    known = len(values) > 1 and math.isfinite(mean)
    return mean, statistics.stdev(values) / math.sqrt(len(values)) if known else math.nan


def _cell(value: float, column: str, sign: str = "") -> str:
    if math.isnan(value):
        return "–"
    return f"{value:{sign}.2f}" if "PSNR" in column else f"{value:{sign}.4f}"
