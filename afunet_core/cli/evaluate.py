"""afunet evaluate: score models and the classics on a data set, or on synthetic brackets

The table on stdout holds the averages and says how every number is defined; with -o it is written to FOLDER/table.md
and every scene to FOLDER/scenes.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afunet_core.cli.console import progress_bar
from afunet_core.cli.options import ALIGNMENTS, PRECISIONS
from afunet_core.errors import ArgumentError
from afunet_core.published import PUBLISHED_ROWS

if TYPE_CHECKING:
    from torch import Tensor

    from afunet_core.evaluation import Evaluation, Sample

EXAMPLES = """examples:
  afunet evaluate --data Kalantari/Test --model kalantari --beside kalantari -o report/
  afunet evaluate --synthetic 12 --scenes hdr/ --model compact --model runs/mine/best.safetensors
"""
BASELINES = {"reference": "reference only", "weighted": "weighted merge", "mertens": "Mertens fusion"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    data = parser.add_argument_group("scenes (default: 8 synthetic brackets)")
    data.add_argument("--data", metavar="FOLDER", help="a data set of the field: Kalantari, Tel, Hu, Challenge123")
    data.add_argument("--layout", default="auto", help="of --data: auto, kalantari, tel, hu, challenge123")
    data.add_argument("--synthetic", type=int, metavar="N", help="this many synthetic brackets instead")
    data.add_argument("--scenes", action="append", default=[], metavar="FOLDER", help="HDR scenes for these")
    data.add_argument("--photos", action="append", default=[], metavar="FOLDER", help="photographs for these")
    data.add_argument("--size", type=int, default=256, help="side of synthetic brackets (256)")
    data.add_argument("--seed", type=int, default=0)

    methods = parser.add_argument_group("methods")
    methods.add_argument("--model", action="append", metavar="NAME|FILE", help="repeatable (default: default)")
    methods.add_argument("--no-model", action="store_true", help="the classics only")
    methods.add_argument("--align", default="off", choices=ALIGNMENTS, help="register before the network (off)")
    methods.add_argument("--baselines", nargs="*", default=list(BASELINES), choices=[*BASELINES, "opencv"])
    methods.add_argument("--device", default="auto")
    methods.add_argument("--precision", default="float32", choices=PRECISIONS)

    results = parser.add_argument_group("results")
    results.add_argument("-o", "--output", metavar="FOLDER", help="write table.md and scenes.csv there")
    results.add_argument("--metrics", nargs="+", metavar="NAME", help="default: PSNR-μ PSNR-l SSIM-μ SSIM-l")
    results.add_argument("--error-maps", action="store_true", help="also FOLDER/errors/SCENE/METHOD.png")
    results.add_argument("--beside", choices=list(PUBLISHED_ROWS), help="print this row of the paper below")
    results.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Evaluate."""
    if options.error_maps and not options.output:
        raise ArgumentError("error-maps", "an output folder as well", "none", "Add -o FOLDER.")
    if options.data and options.synthetic is not None:
        raise ArgumentError("data", "either a data set or synthetic brackets", "both")
    from afunet_core.evaluation import DEFAULT_METRICS, evaluate

    methods = _methods(options)
    samples = _samples(options)
    folder = Path(options.output) if options.output else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with progress_bar("Evaluating", options.quiet) as show:
        table = evaluate(
            methods,
            samples,
            metrics=options.metrics or DEFAULT_METRICS,
            error_maps=folder / "errors" if folder is not None and options.error_maps else None,
            on_progress=show,
        )
    beside = _published(table, options.beside) if options.beside else ""
    print(table.to_markdown() + beside)
    if folder is not None:
        table.write(folder / "scenes.csv")
        table.write(folder / "table.md")
    return 0


def _methods(options: argparse.Namespace) -> dict[str, Callable[[Sample], Tensor]]:
    from afunet_core.evaluation import baseline_methods

    wanted = [BASELINES.get(name, name) for name in options.baselines]
    known = baseline_methods(opencv="opencv" in wanted)
    methods = {name: method for name, method in known.items() if name in wanted or name.startswith("OpenCV")}
    for model in [] if options.no_model else options.model or ["default"]:
        name = Path(model).parent.name + "/" + Path(model).stem if Path(model).suffix else model
        methods[name if options.align == "off" else f"{name}, registered"] = _network(model, options)
    if not methods:
        raise ArgumentError("methods", "a model or a baseline", "neither")
    return methods


def _network(model: str, options: argparse.Namespace) -> Callable[[Sample], Tensor]:
    """A method that runs a model through :func:`afunet_core.merge`, as users do."""
    import numpy as np
    import torch

    import afunet_core as af

    af.load_model(model)  # a wrong name is told now, not after the baselines

    def method(sample: Sample) -> Tensor:
        result = af.merge(
            sample.to_bracket(),
            method="afunet",
            align=options.align,
            model=model,
            device=options.device,
            precision=options.precision,
        )
        pixels = torch.from_numpy(np.atleast_3d(result.radiance))
        pixels = pixels if pixels.dim() == 4 else pixels[None]
        return pixels.permute(0, 3, 1, 2).expand_as(sample.truth)

    return method


def _samples(options: argparse.Namespace) -> Sequence[Any]:
    from afunet_core.evaluation import dataset_samples, synthetic_samples

    if options.data:
        from afunet_core.data.datasets import BracketDataset

        dataset = BracketDataset(options.data, layout=options.layout)
        return _Lazy(len(dataset), lambda index: next(dataset_samples([dataset[index]])))
    from afunet_core.data.scenes import SceneBank
    from afunet_core.data.synthesis import validation_brackets

    count = 8 if options.synthetic is None else options.synthetic
    if count < 1:
        raise ArgumentError("synthetic", "at least 1", count)
    bank = (
        SceneBank.from_folders(hdr=options.scenes, photos=options.photos)
        if options.scenes or options.photos
        else SceneBank.procedural(seed=options.seed)
    )
    return list(synthetic_samples(validation_brackets(bank, count, options.size, seed=options.seed)))


class _Lazy(Sequence[Any]):
    """A sequence whose length is known and whose items are read one at a time: a data set does not fit in memory."""

    def __init__(self, count: int, item: Callable[[int], Any]) -> None:
        self._count, self._item = count, item

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._item(index)


def _published(table: Evaluation, name: str) -> str:
    """The paper's row under the same columns."""
    row = PUBLISHED_ROWS[name]
    scores = row.scores()
    cells = [f"{column} {scores[column]:g}" for column in table.columns if column in scores]
    return f"\nThe paper, {row.table}, {name}: {', '.join(cells)} (its own data, training and code).\n"
