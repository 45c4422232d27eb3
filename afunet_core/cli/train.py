"""afunet train: train a network by a shipped recipe or a configuration file

A run that was stopped continues where it was; the weights are in OUTPUT/model.safetensors.
"""

from __future__ import annotations

import argparse
from typing import Any

from afunet_core.errors import ArgumentError

EXAMPLES = """examples:
  afunet train --config compact -o runs/compact
  afunet train --config paper/M2 -o runs/M2 --set data.root=Kalantari/Training
  afunet train --config mine.toml -o runs/try --set steps=200 --set batch=2 --minutes 10
"""
_CONFIG = "a shipped recipe (compact, full, paper, paper/kalantari, …) or a TOML file; another name lists all recipes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", required=True, metavar="NAME|FILE", help=_CONFIG)
    parser.add_argument("-o", "--output", required=True, help="folder of the run")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="override an entry")
    parser.add_argument("--restart", action="store_true", help="do not continue an earlier run there")
    parser.add_argument("--minutes", type=float, help="stop, to be continued, after this long")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--devices", type=int, default=1, help="GPUs on this machine (1)")
    parser.add_argument("--nodes", type=int, default=1, help="machines (1)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Train."""
    overrides = dict(_assignment(text) for text in options.set)
    from afunet_core.training.config import load_config
    from afunet_core.training.loop import train

    weights = train(
        load_config(options.config, **overrides),
        options.output,
        resume=not options.restart,
        minutes=options.minutes,
        accelerator=options.accelerator,
        devices=options.devices,
        nodes=options.nodes,
        progress=not options.quiet,
    )
    print(weights)
    return 0


def _assignment(text: str) -> tuple[str, Any]:
    """Read ``name=value`` with the value as in TOML; bare words are text.

    Example:
        >>> _assignment("depths=[1, 2]"), _assignment("model=compact")
        (('depths', [1, 2]), ('model', 'compact'))
    """
    import tomllib

    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ArgumentError("set", "NAME=VALUE", repr(text))
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()
