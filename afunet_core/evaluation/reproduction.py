"""Rows of the paper's tables from runs of our own: what a run was of, and its scores beside the published ones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from afunet_core.errors import ArgumentError
from afunet_core.evaluation.published import PUBLISHED_ROWS
from afunet_core.evaluation.scores import Evaluation

__all__ = ["Run", "beside_published", "read_run"]


class Run(NamedTuple):
    """A folder that ``afunet train`` wrote: its weights, the test set its configuration names, and the paper's row."""

    name: str
    weights: Path
    test_set: Path
    layout: str
    row: str | None


def read_run(folder: str | os.PathLike[str], weights: str = "model.safetensors") -> Run:
    """What to evaluate after a run on a data set of the field.

    The weights are those of the last step by default: ``best.safetensors`` were chosen on the very scenes that are
    tested, because these data sets have no third part.

    Args:
        folder: output of ``afunet train``.
        weights: file in it.

    Raises:
        ArgumentError: if the folder is no run, or was not trained on a data set with a test set.
    """
    folder = Path(folder)
    configuration, file = folder / "config.json", folder / weights
    for path in (configuration, file):
        if not path.is_file():
            raise ArgumentError("run", f"a folder that afunet train wrote, with {path.name}", str(folder))
    values = json.loads(configuration.read_text(encoding="utf-8"))
    data = values.get("data", {})
    if data.get("kind") != "folder" or not data.get("validation"):
        raise ArgumentError(
            "run", "one trained on a data set with a test set", str(folder), "Evaluate its weights with --model."
        )
    return Run(folder.name, file, Path(data["validation"]), data.get("layout", "auto"), values.get("row"))


def beside_published(table: Evaluation, pairs: Iterable[tuple[str, str]]) -> str:
    """Markdown with each measured average, the paper's, and the difference.

    Args:
        table: of an evaluation.
        pairs: name of the method in the table, and of the row in
        :data:`~afunet_core.evaluation.published.PUBLISHED_ROWS`.

    Raises:
        ArgumentError: for a row the paper does not have, or a method that was not evaluated.

    Example:
        >>> from afunet_core.evaluation.scores import Row
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
        ours, theirs = table.mean(method), row.scores()
        columns = [column for column in table.columns if column in theirs]
        digits = {column: 2 if "PSNR" in column else 4 for column in columns}
        parts.append(
            f"| {row.table}, {name} | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}\n"
            f"| {method}, measured here | {' | '.join(f'{ours[c]:.{digits[c]}f}' for c in columns)} |\n"
            f"| the paper | {' | '.join(f'{theirs[c]:.{digits[c]}f}' for c in columns)} |\n"
            f"| difference | {' | '.join(f'{ours[c] - theirs[c]:+.{digits[c]}f}' for c in columns)} |\n"
        )
    return "\n".join(parts)
