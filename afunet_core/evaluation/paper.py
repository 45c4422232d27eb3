"""Scores the paper reports for AFUNet and its variants, and runs of one's own beside them.

X. Li, Z. Ni, W. Yang, "AFUNet: Cross-Iterative Alignment-Fusion Synergy for HDR Reconstruction via Deep Unfolding
Paradigm", ICCV 2025, Tables 1 to 6. The ablations (Tables 4 to 6) are on Kalantari's test set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from afunet_core.errors import ArgumentError


class PublishedRow(NamedTuple):
    """One row of a table: averages over the test set (PSNR in dB)."""

    table: str
    psnr_mu: float
    psnr_l: float
    ssim_mu: float
    ssim_l: float


PUBLISHED_ROWS = {
    "kalantari": PublishedRow("Table 1", 44.91, 42.59, 0.9923, 0.9906),
    "hu": PublishedRow("Table 2", 48.83, 52.13, 0.9968, 0.9991),
    "tel": PublishedRow("Table 3", 43.31, 47.83, 0.9876, 0.9959),
    "M1": PublishedRow("Table 4", 43.94, 42.04, 0.9917, 0.9890),
    "M2": PublishedRow("Table 4", 44.48, 42.40, 0.9918, 0.9893),
    "M3": PublishedRow("Table 4", 44.62, 42.56, 0.9921, 0.9895),
    "M4": PublishedRow("Table 4", 44.45, 42.39, 0.9919, 0.9899),
    "FA": PublishedRow("Table 5", 44.72, 42.32, 0.9923, 0.9904),
    "stages-2": PublishedRow("Table 6", 44.40, 41.45, 0.9918, 0.9881),
    "stages-3": PublishedRow("Table 6", 44.83, 42.62, 0.9923, 0.9903),
    "stages-4": PublishedRow("Table 6", 44.91, 42.59, 0.9923, 0.9906),
    "stages-5": PublishedRow("Table 6", 44.85, 42.91, 0.9923, 0.9908),
    "stages-6": PublishedRow("Table 6", 44.93, 42.84, 0.9923, 0.9910),
}
"""By data set, and by the names of :data:`afunet_core.model.config.VARIANTS`."""


class TrainingRun(NamedTuple):
    """A folder that ``afunet train`` wrote: its weights, the test set its configuration names, and the paper's row."""

    name: str
    weights: Path
    test_set: Path
    layout: str
    row: str | None


def read_run(folder: str | os.PathLike[str]) -> TrainingRun:
    """Read from the output folder of ``afunet train`` what to evaluate: its weights on its test set.

    The weights are those of the last step: ``best.safetensors`` were chosen on the very scenes that are tested.
    """
    folder = Path(folder)
    configuration, file = folder / "config.json", folder / "model.safetensors"
    for path in (configuration, file):
        if not path.is_file():
            raise ArgumentError("run", f"a folder that afunet train wrote, with {path.name}", str(folder))
    try:
        values = dict(json.loads(configuration.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ArgumentError("run", "a folder with a readable config.json", f"{configuration}: {error}") from error
    data = values.get("data", {})
    if data.get("kind") != "folder" or not data.get("validation"):
        raise ArgumentError(
            "run", "one trained on a data set with a test set", str(folder), "Evaluate its weights with --model."
        )
    return TrainingRun(folder.name, file, Path(data["validation"]), data.get("layout", "auto"), values.get("row"))


def beside_published(table: Any, pairs: Iterable[tuple[str, str]]) -> str:
    """Format each measured average, the paper's and the difference as Markdown.

    Args:
        table: an :class:`~afunet_core.evaluation.scores.Evaluation`.
        pairs: name of the method in the table, and of the row in :data:`PUBLISHED_ROWS`.

    Example:
        >>> from afunet_core.evaluation.scores import Evaluation, Row
        >>> scores = {"PSNR-μ": 44.51, "SSIM-μ": 0.9919}
        >>> print(beside_published(Evaluation(("PSNR-μ", "SSIM-μ"), [Row("mine", "a", "all", scores, 1.0)]),
        ...                        [("mine", "M2")]))
        | Table 4, M2 | PSNR-μ | SSIM-μ |
        |---|---:|---:|
        | mine, measured here | 44.51 | 0.9919 |
        | the paper | 44.48 | 0.9918 |
        | difference | +0.03 | +0.0001 |
        <BLANKLINE>
    """
    parts = []
    for method, name in pairs:
        if name not in PUBLISHED_ROWS:
            raise ArgumentError("row", f"one of {', '.join(PUBLISHED_ROWS)}", name)
        row = PUBLISHED_ROWS[name]
        ours, theirs = table.mean(method), dict(zip(("PSNR-μ", "PSNR-l", "SSIM-μ", "SSIM-l"), row[1:], strict=True))
        columns = [column for column in table.columns if column in theirs]
        digits = {column: 2 if "PSNR" in column else 4 for column in columns}
        parts.append(
            f"| {row.table}, {name} | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}\n"
            f"| {method}, measured here | {' | '.join(f'{ours[c]:.{digits[c]}f}' for c in columns)} |\n"
            f"| the paper | {' | '.join(f'{theirs[c]:.{digits[c]}f}' for c in columns)} |\n"
            f"| difference | {' | '.join(f'{ours[c] - theirs[c]:+.{digits[c]}f}' for c in columns)} |\n"
        )
    return "\n".join(parts)
