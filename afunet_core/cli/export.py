"""afunet export: write a model as ONNX or as a torch.export program, for other runtimes

The file takes brackets of any size: input frames 1×18×H×W, output radiance 1×3×H×W.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from afunet_core.errors import ArgumentError, ImageFileError

EXAMPLES = """examples:
  afunet export compact.onnx
  afunet export mine.pt2 --model runs/mine/best.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("output", help="a file that ends in .onnx (needs the extra 'onnx') or .pt2")
    parser.add_argument(
        "--model", default="default", metavar="NAME|FILE", help="shipped or fetched name, or weights file"
    )
    parser.add_argument("--overwrite", action="store_true")


def run(options: argparse.Namespace) -> int:
    """Export."""
    target = Path(options.output)
    if target.suffix not in (".onnx", ".pt2"):
        raise ArgumentError("output", "a name that ends in .onnx or .pt2", repr(target.name))
    if not target.parent.is_dir():
        raise ImageFileError(f"{target}: the folder {target.parent} does not exist. Create it, or choose another.")
    if target.exists() and not options.overwrite:
        raise ImageFileError(f"{target}: exists already. Add --overwrite to replace it.")
    from afunet_core.model.checkpoint import load_model
    from afunet_core.model.export import export_model

    path = export_model(load_model(options.model), target)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")
    return 0
