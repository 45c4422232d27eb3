"""Evaluation of merge methods on scenes with ground truth, with the field's metrics."""

from __future__ import annotations

import importlib.util
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from afunet_core.baselines.mertens import exposure_fusion
from afunet_core.baselines.weighted import reference_only, weighted_merge
from afunet_core.bracket.stack import ExposureStack
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.evaluation.figures import write_error_map
from afunet_core.evaluation.scores import INSIDE, OUTSIDE, Evaluation, Row
from afunet_core.metrics import METRICS, Metric, psnr_mu
from afunet_core.radiometry import GAMMA, linearize, network_input, to_radiance

if TYPE_CHECKING:
    from afunet_core.bracket.bracket import Bracket
    from afunet_core.data.datasets import BracketSample
    from afunet_core.data.synthesis.brackets import SyntheticBatch

__all__ = [
    "Sample",
    "baseline_methods",
    "dataset_samples",
    "evaluate",
    "fusion_radiance",
    "merge_method",
    "synthetic_samples",
]

DEFAULT_METRICS = ("PSNR-μ", "PSNR-l", "SSIM-μ", "SSIM-l")


@dataclass(frozen=True)
class Sample:
    """A bracket with its truth."""

    name: str  # of the scene
    kind: str  # of motion, or any other group to average over ("static", "camera", ...)
    frames: tuple[Tensor, ...]  # B×3×H×W each, encoded in [0, 1], shortest first
    times: Tensor  # (N,), relative to the shortest frame
    truth: Tensor  # B×3×H×W linear radiance at the instant of the reference frame
    moved: Tensor | None = None  # B×1×H×W, above 0.5 where the content moved between the frames, or ``None`` if unknown
    encoding: str = "gamma"  # how the frames are encoded
    gamma: float = GAMMA  # exponent of the gamma encoding

    @property
    def reference(self) -> int:
        """Index of the frame the truth belongs to, the middle one."""
        return len(self.frames) // 2

    def to_tensor(self) -> Tensor:
        """Return the B×18×H×W input of the network, for brackets of three."""
        return network_input(self.frames, self.times, self.encoding, self.gamma)

    def to_stack(self) -> ExposureStack:
        """Return the same frames as the baselines take them."""
        return ExposureStack(self.frames, self.times, self.encoding, self.gamma, self.reference)

    def to_bracket(self) -> Bracket:
        """Return the same frames as a :class:`~afunet_core.bracket.bracket.Bracket`, for :func:`~afunet_core.merge`."""
        from afunet_core.bracket.bracket import Bracket

        return Bracket(
            self.frames,
            times=self.times,
            encoding=self.encoding,
            gamma=self.gamma,
            response=None,
            reference=self.reference,
            override=True,
        )


Method: TypeAlias = Callable[[Sample], Tensor]
Progress: TypeAlias = Callable[[int, int, str], None]  # scenes done, scenes in all or 0 if unknown, message


def evaluate(
    methods: Mapping[str, Method],
    samples: Iterable[Sample],
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    more_metrics: Mapping[str, Metric] | None = None,
    error_maps: str | Path | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Run every method on every scene and score the results against the truth; the table has a row for each.

    Args:
        methods: name → function from a :class:`Sample` to radiance, B×3×H×W.
        samples: the scenes.
        metrics: names from :data:`~afunet_core.metrics.METRICS`.
        more_metrics: metrics of other origin under names of their own, such as
            :func:`~afunet_core.evaluation.color_video_vdp.color_video_vdp` makes.
        error_maps: a folder for ``SCENE/METHOD.png``, the absolute error after the μ-law, up to 0.1, as a heat map.
        on_progress: called with scenes done, scenes in all (0 if unknown) and a message; what it raises stops the run.

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
    for name, sample, result, seconds in results_of(methods, samples, on_progress):
        table.rows.append(Row(name, sample.name, sample.kind, _scores(result, sample, chosen), seconds))
        if error_maps is not None:
            image, truth = (x[0].permute(1, 2, 0).float().cpu().numpy() for x in (result, sample.truth))
            write_error_map(Path(error_maps) / _file_name(sample.name) / f"{_file_name(name)}.png", image, truth)
    return table


def results_of(
    methods: Mapping[str, Callable[[Any], Tensor]], samples: Iterable[Any], on_progress: Progress | None = None
) -> Iterator[tuple[str, Any, Tensor, float]]:
    """Run every method on every scene; yield its name, the scene, the result and the seconds it took."""
    total = len(samples) if isinstance(samples, Sequence) else 0
    tell = on_progress or (lambda *state: None)
    done = -1
    for done, sample in enumerate(samples):
        for name, method in methods.items():
            tell(done, total, f"{sample.name}: {name}")
            started = time.perf_counter()
            with torch.no_grad():
                result = method(sample)
            seconds = time.perf_counter() - started
            if result.shape != sample.truth.shape:
                raise ShapeError(f"methods[{name!r}]", f"a result of {tuple(sample.truth.shape)}", tuple(result.shape))
            yield name, sample, result.to(sample.truth), seconds
    tell(done + 1, done + 1, "done")


def baseline_methods(opencv: bool | None = None) -> dict[str, Method]:
    """Return the classical methods for comparison; OpenCV's too, where it is installed or asked for.

    Example:
        >>> list(baseline_methods(opencv=False))
        ['reference only', 'weighted merge', 'Mertens fusion']
    """
    methods: dict[str, Method] = {
        "reference only": lambda sample: reference_only(sample.to_stack()),
        "weighted merge": lambda sample: weighted_merge(sample.to_stack()),
        "Mertens fusion": fusion_radiance,
    }
    if opencv or (opencv is None and importlib.util.find_spec("cv2") is not None):
        from afunet_core.baselines.opencv import opencv_debevec

        methods["OpenCV Debevec"] = lambda sample: opencv_debevec(sample.to_stack())
    return methods


def merge_method(**options: Any) -> Method:
    """Make a method of :func:`~afunet_core.merge` with options such as ``model="compact"``, ``align="off"``."""
    from afunet_core.merging.pipeline import merge

    def run(sample: Sample) -> Tensor:
        radiance = torch.from_numpy(merge(sample.to_bracket(), **options).radiance)
        batch, _, height, width = sample.truth.shape
        return radiance.view(batch, height, width, -1).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)

    return run


def fusion_radiance(sample: Sample) -> Tensor:
    """Scale Mertens fusion, which has no unit, to radiance, so that it can be compared with radiance.

    Its median over the pixels that the reference frame sees well is made theirs; no truth is used. Its compressed
    contrast remains, and costs it.
    """
    linear = linearize(exposure_fusion(sample.to_stack()))
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
    """Yield one sample for each bracket of batches, as from `afunet_core.data.synthesis.brackets.Synthesizer`."""
    for number, one in enumerate(batch[index] for batch in batches for index in range(len(batch))):
        name, frames = f"{number:03d}-{one.kind[0]}", tuple(one.frames.unbind(1))
        yield Sample(name, one.kind[0], frames, one.times[0], one.truth, one.moved)


def dataset_samples(dataset: Iterable[BracketSample]) -> Iterator[Sample]:
    """Yield one sample for each scene of a :class:`~afunet_core.data.datasets.BracketDataset`, its motion unknown."""
    for scene in dataset:
        frames = tuple(frame.unsqueeze(0) for frame in scene["frames"])
        yield Sample(scene["name"], "all", frames, scene["times"], scene["truth"].unsqueeze(0))


def _scores(result: Tensor, sample: Sample, metrics: Mapping[str, Metric]) -> dict[str, float]:
    with torch.no_grad():
        scores = {name: metric.function(result, sample.truth).mean().item() for name, metric in metrics.items()}
    if sample.moved is None:
        return scores | {INSIDE: math.nan, OUTSIDE: math.nan}
    moved = sample.moved > 0.5
    for column, mask in ((INSIDE, moved), (OUTSIDE, ~moved)):
        score = psnr_mu(result, sample.truth, mask=mask).nanmean().item()
        scores[column] = score if math.isfinite(score) else math.nan  # a region all white in both tells nothing
    return scores


def _file_name(name: str) -> str:
    """Make a file name that is valid on every system and cannot leave its folder."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "unnamed"
