"""afunet export: write a model as ONNX or as a torch.export program, for other runtimes

The file takes brackets of any height and width: input frames B×18×H×W, output radiance B×3×H×W. An .onnx file takes
any number of samples, a .pt2 file one. Both need PyTorch 2.13 or later.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from afunet_core.errors import ArgumentError
from afunet_core.merging.output import check_destination

EXAMPLES = """examples:
  afunet export compact
  afunet export full -o full.pt2
  afunet export runs/mine/best.safetensors -o mine.onnx
"""

SUFFIXES = (".onnx", ".pt2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="NAME|FILE", help="shipped or fetched name, or weights file")
    kinds = "a file that ends in .onnx (needs the extra 'onnx') or .pt2; default: NAME.onnx"
    parser.add_argument("-o", "--output", metavar="FILE", help=kinds)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(options: argparse.Namespace) -> int:
    """Export one model."""
    if Path(options.model).suffix in SUFFIXES:
        advice = f"Name the model first, for example: afunet export compact -o {options.model}"
        raise ArgumentError("model", "the name of a model or a weights file", repr(options.model), advice)
    target = Path(options.output or f"{Path(options.model).stem}.onnx")
    check_destination(target, options.overwrite, kinds=SUFFIXES)
    from afunet_core.model.checkpoint import load_model
    from afunet_core.model.export import export_model

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names packages that this export does not need
    begin = time.perf_counter()
    model = load_model(options.model)
    print(f"Tracing {options.model}; this takes minutes on a laptop …", file=sys.stderr, flush=True)
    path = export_model(model, target, verbose=True)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, {time.perf_counter() - begin:.0f} s")
    return 0
