"""Tables of who merges how well: any methods, any scenes with truth, the field's metrics, per scene and per kind.

Decibels are averaged over scenes, as the field does. Ghosts are measured on their own, as PSNR-μ inside and outside the
regions that moved: an average over the picture hides a ghost that covers a hundredth of it.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import math
import os
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from afunet_core.baselines import exposure_fusion, reference_only, weighted_merge
from afunet_core.errors import ArgumentError, MergeCancelled, ShapeError
from afunet_core.median_threshold import median_threshold_merge
from afunet_core.metrics import METRICS, Metric, psnr_mu
from afunet_core.radiometry import GAMMA, linearize, network_input, to_radiance

if TYPE_CHECKING:
    from afunet_core.bracket import Bracket
    from afunet_core.data.datasets import BracketSample
    from afunet_core.data.synthesis import SyntheticBatch

__all__ = [
    "Evaluation",
    "Row",
    "Sample",
    "baseline_methods",
    "dataset_samples",
    "evaluate",
    "fusion_radiance",
    "merge_method",
    "synthetic_samples",
]

DEFAULT_METRICS = ("PSNR-μ", "PSNR-l", "SSIM-μ", "SSIM-l")
INSIDE, OUTSIDE = "PSNR-μ moved", "PSNR-μ still"
_GHOST_DEFINITIONS = {
    INSIDE: "PSNR-μ over the pixels where the scene moved between the frames; dB, peak 1",
    OUTSIDE: "PSNR-μ over the pixels where it did not; dB, peak 1",
}


@dataclass(frozen=True)
class Sample:
    """A bracket with its truth. It has what the baselines need, so it can be passed to them as it is.

    Attributes:
        name: of the scene.
        kind: of motion, or any other group to average over ("static", "camera", ...).
        frames: B×3×H×W each, encoded in [0, 1], shortest first.
        times: (N,), relative to the shortest frame.
        truth: B×3×H×W linear radiance at the instant of the reference frame.
        moved: B×1×H×W, above 0.5 where the content moved between the frames, or ``None`` if unknown.
        encoding, gamma: how the frames are encoded.
    """

    name: str
    kind: str
    frames: tuple[Tensor, ...]
    times: Tensor
    truth: Tensor
    moved: Tensor | None = None
    encoding: str = "gamma"
    gamma: float = GAMMA

    @property
    def reference(self) -> int:
        """Index of the frame the truth belongs to, the middle one."""
        return len(self.frames) // 2

    def to_tensor(self) -> Tensor:
        """The B×18×H×W input of the network, for brackets of three."""
        return network_input(self.frames, self.times, self.encoding, self.gamma)

    def to_bracket(self) -> Bracket:
        """The same frames as a :class:`~afunet_core.bracket.Bracket`, for :func:`~afunet_core.merge`."""
        from afunet_core.bracket import Bracket

        return Bracket(
            self.frames,
            times=self.times,
            encoding=self.encoding,
            gamma=self.gamma,
            reference=self.reference,
            override=True,
        )


Method: TypeAlias = Callable[[Sample], Tensor]
SampleTuple: TypeAlias = "tuple[str, str, Sequence[Tensor] | Tensor, Tensor, Tensor, Tensor | None]"


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
    """All rows, and what can be said about them."""

    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    more_metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """In the order in which they were given."""
        return list(dict.fromkeys(row.method for row in self.rows))

    @property
    def kinds(self) -> list[str]:
        """In the order in which they appeared."""
        return list(dict.fromkeys(row.kind for row in self.rows))

    def mean(self, method: str, kind: str | None = None) -> dict[str, float]:
        """Averages of one method over the scenes of a kind, or over all scenes.

        Scenes in which a score does not exist (no pixel moved) are left out of its average.

        Raises:
            ArgumentError: if there is no such row.
        """
        rows = [row for row in self.rows if row.method == method and kind in (None, row.kind)]
        if not rows:
            raise ArgumentError("method, kind", f"from {self.methods} and {self.kinds}", (method, kind))
        means = {}
        for column in self.columns:
            known = [row.scores[column] for row in rows if not math.isnan(row.scores[column])]
            means[column] = statistics.fmean(known) if known else math.nan
        return means

    def to_csv(self) -> str:
        """One line per method and scene; an empty cell where a score does not exist."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["method", "scene", "kind", *self.columns, "seconds"])
        for row in self.rows:
            scores = ["" if math.isnan(row.scores[c]) else f"{row.scores[c]:.6g}" for c in self.columns]
            writer.writerow([row.method, row.scene, row.kind, *scores, f"{row.seconds:.4g}"])
        return buffer.getvalue()

    def to_markdown(self) -> str:
        """Averages over all scenes and over each kind, then the definition of every column."""
        lines = [
            "| scenes | method | " + " | ".join(self.columns) + " | seconds |",
            "|---|---|" + "---:|" * (len(self.columns) + 1),
        ]
        groups: list[str | None] = [None, *self.kinds] if len(self.kinds) > 1 else [None]
        for kind in groups:
            for method in self.methods:
                rows = [row for row in self.rows if row.method == method and kind in (None, row.kind)]
                if not rows:
                    continue
                means = self.mean(method, kind)
                cells = [_cell(means[column], column) for column in self.columns]
                seconds = statistics.fmean(row.seconds for row in rows)
                lines.append(f"| {kind or 'all'} ({len(rows)}) | {method} | {' | '.join(cells)} | {seconds:.3g} |")
        lines += ["", "Averages over scenes of the score of each scene.", ""]
        lines += [f"- {column}: {_definition(column, self.more_metrics)}" for column in self.columns]
        return "\n".join(lines) + "\n"

    def write(self, path: str | Path) -> None:
        """Write ``.csv`` (every scene) or ``.md`` (averages and definitions), at once or not at all.

        Raises:
            ArgumentError: for another suffix.
            OSError: if the folder is missing or cannot be written.
        """
        path = Path(path)
        texts = {".csv": self.to_csv, ".md": self.to_markdown}
        if path.suffix not in texts:
            raise ArgumentError("path", "a name that ends in .csv or .md", path.name)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(texts[path.suffix](), encoding="utf-8")
        os.replace(partial, path)


def evaluate(
    methods: Mapping[str, Method],
    samples: Iterable[Sample | SampleTuple],
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    more_metrics: Mapping[str, Metric] | None = None,
    error_maps: str | Path | None = None,
    max_error: float = 0.1,
    on_progress: Callable[[int, int, str], None] | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> Evaluation:
    """Run every method on every scene and score the results against the truth.

    Args:
        methods: name → function from a :class:`Sample` to radiance, B×3×H×W.
        samples: scenes, as :class:`Sample` or as tuples (name, kind, frames, times, truth, moved).
        metrics: names from :data:`~afunet_core.metrics.METRICS`.
        more_metrics: metrics of other origin under names of their own, such as
            :func:`~afunet_core.cvvdp.color_video_vdp` and :func:`~afunet_core.hdrvdp.hdr_vdp` make.
        error_maps: a folder for ``SCENE/METHOD.png``, the absolute error after the μ-law as a heat map.
        max_error: the error shown as the hottest colour.
        on_progress: called with (scenes done, scenes in all or 0 if unknown, message).
        should_cancel: asked before every method.

    Returns:
        A table with a row for every method and scene.

    Raises:
        ArgumentError: for an unknown metric, or without methods.
        ShapeError: if a method returns another shape than the truth.
        MergeCancelled: if ``should_cancel`` says so.

    Example:
        >>> light = torch.full((1, 3, 16, 16), 0.02)
        >>> frames = [(light * time) ** (1 / 2.2) for time in (1, 4, 16)]
        >>> sample = Sample("flat", "static", tuple(frames), torch.tensor([1.0, 4.0, 16.0]), light)
        >>> evaluate({"weighted": weighted_merge}, [sample]).mean("weighted")["PSNR-μ"] > 90
        True
    """
    if not methods:
        raise ArgumentError("methods", "at least one method", "none", "baseline_methods() returns the classics.")
    for name in metrics:
        if name not in METRICS:
            raise ArgumentError("metrics", f"names from {', '.join(METRICS)}", repr(name))
    more = dict(more_metrics or {})
    chosen = {name: METRICS[name] for name in metrics} | more
    table = Evaluation((*chosen, INSIDE, OUTSIDE), more_metrics=more)
    total = len(samples) if isinstance(samples, Sequence) else 0
    for done, item in enumerate(samples):
        sample = item if isinstance(item, Sample) else Sample(item[0], item[1], tuple(item[2]), *item[3:])
        for name, method in methods.items():
            if should_cancel is not None and should_cancel():
                raise MergeCancelled(f"Evaluation stopped after {done} scenes.")
            if on_progress is not None:
                on_progress(done, total, f"{sample.name}: {name}")
            started = time.perf_counter()
            with torch.no_grad():
                result = method(sample)
            seconds = time.perf_counter() - started
            if result.shape != sample.truth.shape:
                raise ShapeError(f"methods[{name!r}]", f"a result of {tuple(sample.truth.shape)}", tuple(result.shape))
            result = result.to(sample.truth)
            table.rows.append(Row(name, sample.name, sample.kind, _scores(result, sample, chosen), seconds))
            if error_maps is not None:
                _write_error_map(Path(error_maps), sample, name, result, max_error)
    if on_progress is not None:
        on_progress(total, total, "done")
    return table


def baseline_methods(opencv: bool | None = None) -> dict[str, Method]:
    """What every table should hold for comparison.

    Args:
        opencv: include OpenCV's AlignMTB + MergeDebevec; ``None`` does where OpenCV is installed.

    Returns:
        ``reference only``, ``weighted merge``, the same after shifting the frames by Ward's median threshold bitmaps
        (``MTB and weighted merge``), ``Mertens fusion`` and perhaps ``OpenCV Debevec``.

    Raises:
        DependencyError: with ``opencv=True`` and no OpenCV.

    Example:
        >>> list(baseline_methods(opencv=False))
        ['reference only', 'weighted merge', 'MTB and weighted merge', 'Mertens fusion']
    """
    methods: dict[str, Method] = {
        "reference only": reference_only,
        "weighted merge": weighted_merge,
        "MTB and weighted merge": median_threshold_merge,
        "Mertens fusion": fusion_radiance,
    }
    if opencv or (opencv is None and importlib.util.find_spec("cv2") is not None):
        from afunet_core.baselines_opencv import opencv_debevec

        methods["OpenCV Debevec"] = opencv_debevec
    return methods


def merge_method(**options: Any) -> Method:
    """:func:`~afunet_core.merge` as a row of the table.

    Args:
        **options: of ``merge``, such as ``method="auto"``, ``model="compact"``, ``align="off"``.

    Example:
        >>> light = torch.full((1, 3, 16, 16), 0.02)
        >>> frames = tuple((light * time) ** (1 / 2.2) for time in (1, 4, 16))
        >>> sample = Sample("flat", "static", frames, torch.tensor([1.0, 4.0, 16.0]), light)
        >>> merge_method(method="weighted")(sample).shape
        torch.Size([1, 3, 16, 16])
    """
    from afunet_core.merging import merge

    def run(sample: Sample) -> Tensor:
        radiance = torch.from_numpy(merge(sample.to_bracket(), **options).radiance)
        batch, _, height, width = sample.truth.shape
        return radiance.view(batch, height, width, -1).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)

    return run


def fusion_radiance(sample: Sample) -> Tensor:
    """Mertens fusion as radiance, so that it can stand in a table of radiance at all.

    Exposure fusion yields a picture without a unit. It is linearised and scaled so that its median over the pixels that
    the reference frame sees well equals theirs; no truth is used. Its compressed contrast remains, and costs it.
    """
    linear = linearize(exposure_fusion(sample))
    index = sample.reference
    frame = sample.frames[index]
    known = to_radiance(frame, sample.times[index], sample.encoding, sample.gamma)
    seen = (frame > 0.05) & (frame < 0.95)
    gains = [
        known[i][seen[i]].median() / linear[i][seen[i]].median().clamp(min=1e-6)
        if seen[i].any()
        else known.new_ones(())
        for i in range(len(frame))
    ]
    return linear * torch.stack(gains).view(-1, 1, 1, 1)


def synthetic_samples(batches: Iterable[SyntheticBatch]) -> Iterator[Sample]:
    """One sample for each bracket of synthetic batches, such as
    :func:`~afunet_core.data.synthesis.validation_brackets` makes.
    """
    number = 0
    for batch in batches:
        for index in range(len(batch.truth)):
            kind = batch.kind[index]
            one = slice(index, index + 1)
            frames = tuple(batch.frames[one].unbind(1))
            yield Sample(f"{number:03d}-{kind}", kind, frames, batch.times[index], batch.truth[one], batch.moved[one])
            number += 1


def dataset_samples(dataset: Iterable[BracketSample], kind: str = "all") -> Iterator[Sample]:
    """One sample for each scene of a :class:`~afunet_core.data.datasets.BracketDataset`; what moved is not known."""
    for scene in dataset:
        frames = tuple(frame.unsqueeze(0) for frame in scene["frames"])
        yield Sample(scene["name"], kind, frames, scene["times"], scene["truth"].unsqueeze(0))


def _scores(result: Tensor, sample: Sample, metrics: Mapping[str, Metric]) -> dict[str, float]:
    with torch.no_grad():
        scores = {name: metric.function(result, sample.truth).mean().item() for name, metric in metrics.items()}
    if sample.moved is None:
        return scores | {INSIDE: math.nan, OUTSIDE: math.nan}
    moved = sample.moved > 0.5
    for column, mask in ((INSIDE, moved), (OUTSIDE, ~moved)):
        scores[column] = psnr_mu(result, sample.truth, mask=mask).nanmean().item()
    return scores


def _write_error_map(folder: Path, sample: Sample, method: str, result: Tensor, maximum: float) -> None:
    from afunet_core.figure import error_map, heat
    from afunet_core.io import write_image

    image, truth = (x[0].clamp(0, 1).permute(1, 2, 0).float().cpu().numpy() for x in (result, sample.truth))
    path = folder / _file_name(sample.name) / f"{_file_name(method)}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, heat(error_map(image, truth), maximum))


def _file_name(name: str) -> str:
    """A name that is a file name on every system and cannot climb out of its folder."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "unnamed"


def _definition(column: str, more: Mapping[str, Metric]) -> str:
    if column in _GHOST_DEFINITIONS:
        return _GHOST_DEFINITIONS[column]
    metric = (METRICS | dict(more))[column]
    return f"{metric.definition}; {metric.unit + ', ' if metric.unit else ''}peak {metric.peak:g}"


def _cell(value: float, column: str) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if "PSNR" in column else f"{value:.4f}"
