"""The scenes behind an average: the best, the median and the worst of a method, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from afunet_core.errors import ArgumentError
from afunet_core.evaluation.evaluator import Sample
from afunet_core.evaluation.figures import comparison_figure
from afunet_core.evaluation.scores import Evaluation

__all__ = ["choose_scenes", "write_pictures"]


def choose_scenes(table: Evaluation, method: str, metric: str = "PSNR-μ") -> dict[str, str]:
    """Names of the scenes in which a method scored best, median (the lower of two) and worst.

    Args:
        table: what :func:`afunet_core.evaluation.evaluator.evaluate` returned.
        method: one of its methods.
        metric: one of its columns; more is better.

    Raises:
        ArgumentError: if there are no such scores.

    Example:
        >>> from afunet_core.evaluation.scores import Row
        >>> scores = [Row("ours", scene, "static", {"PSNR-μ": value}, 0.0) for scene, value in zip("abc", (40, 45, 30))]
        >>> choose_scenes(Evaluation(("PSNR-μ",), scores), "ours")
        {'best': 'b', 'median': 'a', 'worst': 'c'}
    """
    rows = [row for row in table.rows if row.method == method and not np.isnan(row.scores.get(metric, np.nan))]
    if not rows:
        raise ArgumentError("method, metric", f"from {table.methods} and {table.columns}", (method, metric))
    ranked = [row.scene for row in sorted(rows, key=lambda row: row.scores[metric])]
    return {"best": ranked[-1], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[0]}


def write_pictures(
    folder: str | Path,
    table: Evaluation,
    methods: Mapping[str, Callable[[Sample], Tensor]],
    samples: Sequence[Sample],
    *,
    judged: str,
    width: int = 1200,
) -> list[Path]:
    """Lay out ``best.jpg``, ``median.jpg`` and ``worst.jpg`` of one method as :mod:`afunet_core.evaluation.figures`
    does.

    Args:
        folder: is made if it is missing.
        table: the scores of these methods on these samples.
        methods: those to be shown, by name.
        samples: the scenes of the table.
        judged: the method whose PSNR-μ decides; it stands first.
        width: of the pictures in pixels.

    Returns:
        The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {sample.name: sample for sample in samples}
    written = []
    for rank, scene in choose_scenes(table, judged).items():
        sample = by_name[scene]
        with torch.no_grad():
            results = {name: _pixels(methods[name](sample)) for name in [judged, *(n for n in methods if n != judged)]}
        frames = [_pixels(frame) for frame in sample.frames]
        written.append(folder / f"{rank}.jpg")
        _write(written[-1], comparison_figure(frames, results, _pixels(sample.truth), width=width))
    return written


def _pixels(image: Tensor) -> np.ndarray:
    return image[0].detach().float().cpu().permute(1, 2, 0).numpy()


def _write(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path, quality=90)
