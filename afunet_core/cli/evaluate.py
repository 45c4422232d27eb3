"""afunet evaluate: score models and baselines on a data set or on synthetic brackets

The table on stdout holds the averages and says how every number is defined; with -o it is written to FOLDER/table.md
and every scene to FOLDER/scenes.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afunet_core.cli.console import progress_bar
from afunet_core.cli.options import ALIGNMENTS, PRECISIONS
from afunet_core.errors import ArgumentError
from afunet_core.evaluation.paper import PUBLISHED_ROWS

if TYPE_CHECKING:
    from torch import Tensor

    from afunet_core.evaluation.evaluator import Sample
    from afunet_core.evaluation.paper import TrainingRun
    from afunet_core.evaluation.scores import Evaluation
    from afunet_core.utils.progress import OnProgress

EXAMPLES = """examples:
  afunet evaluate --data Kalantari/Test --model kalantari --beside kalantari -o report/
  afunet evaluate --run runs/M1 --run runs/M2 -o report/      (each beside its row of the paper)
  afunet evaluate --real stacks/ -o report/      (each stack a folder, exposures in EXIF or exposure.txt)
  afunet evaluate --synthetic 12 --scenes hdr/ --model compact --model runs/mine/best.safetensors
"""
BASELINES = {"reference": "reference only", "weighted": "weighted merge", "mertens": "Mertens fusion"}
# Suffix of a model's name: how its frames were aligned.
ALIGNED = {"off": "", "camera": ", registered", "auto": ", registered and followed"}
ALIGNED["on"] = f"{ALIGNED['auto']} by force"
# Options that mean nothing for real stacks.
_NOT_OF_STACKS = ("data", "runs", "synthetic", "merged", "metrics", "cvvdp", "error_maps", "pictures", "beside")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    data = parser.add_argument_group("scenes (default: 8 synthetic brackets)")
    folders: dict[str, Any] = {"metavar": "FOLDER", "action": "append", "default": []}
    data.add_argument("--data", metavar="FOLDER", help="a data set of the field: Kalantari, Tel, Hu, Challenge123")
    data.add_argument("--run", dest="runs", **folders, help="what afunet train wrote: its weights")
    data.add_argument(
        "--real", metavar="FOLDER", help="stacks of a tripod: three frames against all, where nothing moved"
    )
    data.add_argument("--other-brackets", action="store_true", help="with --real: also other spacings and references")
    data.add_argument("--layout", default="auto", help="of --data: auto, kalantari, tel, hu, challenge123")
    data.add_argument("--synthetic", type=int, metavar="N", help="this many synthetic brackets instead")
    data.add_argument("--scenes", **folders, help="HDR scenes for these")
    data.add_argument("--photos", **folders, help="photographs for these")
    data.add_argument("--held-out", type=int, metavar="N", help="only the N scenes that afunet train keeps aside")
    data.add_argument("--size", type=int, default=256, help="side of synthetic brackets (256)")
    data.add_argument("--seed", type=int, default=0)
    methods = parser.add_argument_group("methods")
    methods.add_argument("--model", action="append", metavar="NAME|FILE", help="repeatable (default: default)")
    methods.add_argument("--no-model", action="store_true", help="the baselines only")
    methods.add_argument("--align", default="off", choices=ALIGNMENTS, help="what is done before the network (off)")
    methods.add_argument("--merged", action="store_true", help="also what merge() delivers by default with each model")
    choices, named = [*BASELINES, "opencv"], "classical methods (default: all but opencv)"
    methods.add_argument("--baselines", nargs="*", default=list(BASELINES), choices=choices, help=named)
    methods.add_argument("--device", default="auto")
    methods.add_argument("--precision", default="float32", choices=PRECISIONS)
    results = parser.add_argument_group("results")
    results.add_argument("-o", "--output", metavar="FOLDER", help="write table.md and scenes.csv there")
    results.add_argument("--metrics", nargs="+", metavar="NAME", help="default: PSNR-μ PSNR-l SSIM-μ SSIM-l")
    results.add_argument("--cvvdp", action="store_true", help="also ColorVideoVDP (the extra 'metrics')")
    results.add_argument("--display-peak", type=float, default=1500.0, metavar="CD/M2", help="of its display (1500)")
    results.add_argument("--ppd", type=float, default=75.4, help="of its display: pixels per degree (75.4)")
    results.add_argument("--error-maps", action="store_true", help="also FOLDER/errors/SCENE/METHOD.png")
    results.add_argument("--pictures", action="store_true", help="also the best, median and worst scene as pictures")
    results.add_argument("--beside", choices=list(PUBLISHED_ROWS), help="this row of the paper beside the first model")
    results.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Evaluate."""
    _check(options)
    folder = Path(options.output) if options.output else None
    if folder is not None:  # one that cannot be made is refused now, not after hours
        folder.mkdir(parents=True, exist_ok=True)
    with progress_bar("Evaluating", options.quiet) as show:
        on_progress = show if options.quiet or sys.stderr.isatty() else _print_progress  # a line where no bar is seen
        table, beside, draw = (_evaluate_stacks if options.real else _evaluate_samples)(options, on_progress)
    print(table.to_markdown() + beside)
    if folder is not None:
        table.write(folder / "scenes.csv")
        table.write(folder / "table.md")
        if beside:
            (folder / "beside.md").write_text(beside.lstrip(), encoding="utf-8")
    if draw is not None:
        draw()
    return 0


def _evaluate_stacks(options: argparse.Namespace, on_progress: OnProgress) -> tuple[Evaluation, str, None]:
    """Evaluate on real stacks of a tripod."""
    from afunet_core.evaluation.real_stacks import evaluate_stacks, read_stack_brackets, read_stacks, stack_methods

    folders = read_stacks(options.real)
    models = [] if options.no_model else options.model or ["default"]
    methods = stack_methods(models, device=options.device, precision=options.precision)
    stacks = (stack for folder in folders for stack in read_stack_brackets(folder, options.other_brackets))
    return evaluate_stacks(methods, stacks, on_progress=on_progress), "", None


def _evaluate_samples(
    options: argparse.Namespace, on_progress: OnProgress
) -> tuple[Evaluation, str, Callable[[], object] | None]:
    """Evaluate on scenes with a truth; also the row of the paper beside the model, as text, and what draws pictures."""
    from afunet_core.evaluation.evaluator import DEFAULT_METRICS, evaluate
    from afunet_core.evaluation.paper import beside_published

    runs = _take_runs(options)
    methods, models = _methods(options)
    samples = _samples(options)
    more = {}
    if options.cvvdp:  # its column is named with version and pixels per degree
        from afunet_core.evaluation.color_video_vdp import color_video_vdp

        metric = color_video_vdp(options.display_peak, options.ppd)
        more = {f"{metric.definition.split(',')[0]} at {options.ppd:g} ppd": metric}
    error_maps = Path(options.output) / "errors" if options.error_maps else None
    wanted: dict[str, Any] = {"metrics": options.metrics or DEFAULT_METRICS, "more_metrics": more}
    table = evaluate(methods, samples, **wanted, error_maps=error_maps, on_progress=on_progress)
    rows = [run.row for run in runs] or [options.beside]
    beside = beside_published(table, [(model, row) for model, row in zip(models, rows, strict=False) if row])
    beside = f"\n{beside}\nThe paper's scores are of its own training and code.\n" if beside else ""
    if not options.pictures:
        return table, beside, None
    from afunet_core.evaluation.figures import write_pictures

    judged = list(methods)[-1]
    shown = {name: method for name, method in methods.items() if name == judged or name != "Mertens fusion"}
    pictures = Path(options.output) / "pictures"
    return table, beside, partial(write_pictures, pictures, table, shown, samples, judged=judged)


def _check(options: argparse.Namespace) -> None:
    """Refuse what would fail after the work, or be passed over."""
    if options.other_brackets and not options.real:
        raise ArgumentError("other-brackets", "--real as well", "none", "Add --real FOLDER.")
    for name in _NOT_OF_STACKS if options.real else ():
        if getattr(options, name):
            expected = "no --real, whose methods and scores are fixed"
            raise ArgumentError(name.replace("_", "-"), expected, "both", "Leave one of them out.")
    for name in ("error_maps", "pictures"):
        if getattr(options, name):
            if not options.output:
                raise ArgumentError(name.replace("_", "-"), "an output folder as well", "none", "Add -o FOLDER.")
            from afunet_core.evaluation.figures import import_matplotlib

            import_matplotlib()
    if options.data and options.synthetic is not None:
        raise ArgumentError("data", "either a data set or synthetic brackets", "both")


def _print_progress(done: int, total: int, message: str) -> None:
    print(f"afunet: {done} of {total or '?'} scenes, {message}", file=sys.stderr, flush=True)


def _take_runs(options: argparse.Namespace) -> list[TrainingRun]:
    """Read the runs, with their weights and their common test set entered as if given by ``--model`` and ``--data``."""
    from afunet_core.evaluation.paper import read_run

    runs = [read_run(folder) for folder in options.runs]
    if not runs:
        return []
    if options.model or options.synthetic is not None or options.beside:
        expected = "runs alone: they bring weights, scenes and rows"
        raise ArgumentError("run", expected, "--model, --synthetic or --beside")
    if options.data is None:
        sets = {(str(run.test_set), run.layout) for run in runs}
        if len(sets) > 1:
            raise ArgumentError("run", "runs with the same test set", sorted(sets), "Evaluate them one by one.")
        options.data, options.layout = sets.pop()
    options.model = [str(run.weights) for run in runs]
    return runs


def _methods(options: argparse.Namespace) -> tuple[dict[str, Callable[[Sample], Tensor]], list[str]]:
    """Make every method by name, and list which of them are models, in the order given."""
    from afunet_core.evaluation.evaluator import baseline_methods, merge_method
    from afunet_core.model.checkpoint import load_model

    wanted = [BASELINES.get(name, name) for name in options.baselines]
    known = baseline_methods(opencv="opencv" in wanted)
    methods = {name: method for name, method in known.items() if name in wanted or name.startswith("OpenCV")}
    models = []
    common = {"device": options.device, "precision": options.precision}
    for model in [] if options.no_model else options.model or ["default"]:
        load_model(model)  # a wrong name is refused now, not after the baselines
        name = Path(model).parent.name + "/" + Path(model).stem if Path(model).suffix else model
        name = model if name in methods else name
        models.append(name + ALIGNED[options.align])
        methods[models[-1]] = merge_method(method="afunet", align=options.align, model=model, **common)
        if options.merged:
            methods[f"{name}, merge()"] = merge_method(method="auto", align="auto", model=model, **common)
    if not methods:
        raise ArgumentError("methods", "a model or a baseline", "neither")
    if options.beside and not models:
        raise ArgumentError("beside", "a model to stand beside", "none")
    return methods, models


def _samples(options: argparse.Namespace) -> Sequence[Any]:
    from afunet_core.evaluation.evaluator import DatasetSamples, synthetic_samples

    if options.data:
        from afunet_core.data.datasets import BracketDataset

        return DatasetSamples(BracketDataset(options.data, layout=options.layout))
    from afunet_core.data.synthesis.brackets import validation_brackets
    from afunet_core.data.synthesis.scenes import SceneBank

    count = 8 if options.synthetic is None else options.synthetic
    if count < 1:
        raise ArgumentError("synthetic", "at least 1", count)
    bank = SceneBank.open(options.scenes, options.photos, options.seed)
    if options.held_out is not None:
        bank = bank.split(holdout=options.held_out, seed=0)[1]
    return list(synthetic_samples(validation_brackets(bank, count, options.size, seed=options.seed)))
