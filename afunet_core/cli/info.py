"""afunet info: show details of a model, a result or the network variants"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from afunet_core.errors import ArgumentError

EXAMPLES = """examples:
  afunet info compact
  afunet info merged.exr
  afunet info --variants --size 1000 1504
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", nargs="?", help="a shipped or fetched model, a weights file, or a merged image")
    parser.add_argument("--variants", action="store_true", help="parameters and operations of all variants")
    parser.add_argument("--size", type=int, nargs=2, default=(128, 128), metavar=("H", "W"), help="for the operations")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """Print what was asked for."""
    if options.variants:
        found = _variants(options.size[0], options.size[1], exact=options.json)
    else:
        found = _models() if options.file is None else _describe(options.file, *options.size)
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for key, value in found.items():
        print(f"{key}:" if isinstance(value, dict) else f"{key}: {value}")
        for name, entry in value.items() if isinstance(value, dict) else ():
            print(f"  {name}: {json.dumps(entry, ensure_ascii=False)}")
    return 0


def _describe(file: str, height: int, width: int) -> dict[str, Any]:
    from afunet_core.io.formats import READABLE
    from afunet_core.io.read import read_image

    if Path(file).suffix.lower() in READABLE:
        image = read_image(file)
        size = "×".join(map(str, image.pixels.shape))
        return {"file": file, "shape": size, "dtype": str(image.pixels.dtype), "made by": image.metadata or "unknown"}
    from afunet_core.model.checkpoint import describe_checkpoint
    from afunet_core.model.complexity import count_flops
    from afunet_core.model.config import AFUNetConfig

    found = describe_checkpoint(file)
    flops = count_flops(AFUNetConfig.from_dict(found["config"]), height, width)
    return {**found, f"GFLOP at {height}×{width}": round(flops / 1e9, 2)}


def _models() -> dict[str, Any]:
    from afunet_core.model.checkpoint import model_path, shipped_models
    from afunet_core.model.pretrained import fetched_models

    models = {**shipped_models(), **fetched_models()}
    if not models:
        raise ArgumentError("file", "a model or a file", "nothing", "No model is shipped or fetched yet.")
    default = model_path("default").stem if shipped_models() else None
    return {"default": default, "models": {name: str(path) for name, path in models.items()}}


def _variants(height: int, width: int, exact: bool) -> dict[str, Any]:
    from afunet_core.model.complexity import PUBLISHED_GFLOP, PUBLISHED_PARAMETERS, complexity
    from afunet_core.model.config import VARIANTS

    if min(height, width) < 1:
        raise ArgumentError("size", "a height and width of at least 1", f"{height} {width}")
    costs = {name: complexity(config, height, width) for name, config in VARIANTS.items()}
    if exact:
        return {name: cost._asdict() for name, cost in costs.items()}
    size = f"GFLOP at {height}×{width}"  # of matrix products and convolutions, two operations a multiply-add
    found = {name: f"{cost.parameters:,} parameters, {cost.flops / 1e9:.2f} {size}" for name, cost in costs.items()}
    return found | {"the paper": f"{PUBLISHED_PARAMETERS:,} parameters, {PUBLISHED_GFLOP} GFLOP at 128×128"}
