"""afunet benchmark: how long models take on this machine, and how much memory"""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from afunet_core.cli.console import complain
from afunet_core.errors import ImageFileError

if TYPE_CHECKING:
    from afunet_core.benchmark import Measurement

EXAMPLES = """examples:
  afunet benchmark --model compact --size 1000x1504
  afunet benchmark --device cuda --precision bfloat16 --engine stream plain -o performance.md
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", nargs="+", metavar="NAME|FILE", help="default: compact published")
    parser.add_argument("--size", nargs="+", type=_size, metavar="HxW", help="default: 256x384 500x752 1000x1504")
    parser.add_argument("--device", nargs="+", default=["cpu"], help="default: cpu")
    help_precision = "default: float32, and bfloat16 where the device multiplies it itself"
    parser.add_argument("--precision", nargs="+", choices=("float32", "bfloat16", "float16"), help=help_precision)
    parser.add_argument("--engine", nargs="+", choices=("stream", "plain"), help="the product, or the plain forward")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each, of which the fastest counts (1)")
    parser.add_argument("--memory", metavar="SIZE", help="for features, such as 2GB; the rest goes to a scratch file")
    parser.add_argument("--no-compare", action="store_true", help="do not measure the difference to the plain forward")
    parser.add_argument("-o", "--output", metavar="FILE.md", help="write a page with table and plot")


def run(options: argparse.Namespace) -> int:
    """Measure."""
    if options.output and not Path(options.output).parent.is_dir():
        raise ImageFileError(f"{options.output}: its folder does not exist. Create it, or choose another.")
    from afunet_core.benchmark import benchmark, format_table, write_report
    from afunet_core.utils.device import choose_device, parse_memory

    for device in options.device:
        choose_device(device)

    def tell(one: Measurement) -> None:
        complain(f"{one.model} {one.height}×{one.width} {one.device} {one.precision} {one.engine}: {one.seconds:.2f} s")

    chosen = {
        "models": options.model,
        "sizes": options.size,
        "precisions": options.precision,
        "engines": options.engine,
    }
    results = benchmark(
        **{name: values for name, values in chosen.items() if values},
        devices=options.device,
        repeat=options.repeat,
        memory_budget=parse_memory(options.memory),
        compare=not options.no_compare,
        on_result=tell,
    )
    print(format_table(results))
    if options.output:
        write_report(results, options.output, datetime.now(UTC).date().isoformat())
    return 0


def _size(text: str) -> tuple[int, int]:
    """``1000x1504``.

    Example:
        >>> _size("1000x1504")
        (1000, 1504)
    """
    match = re.fullmatch(r"([1-9][0-9]*)[x×]([1-9][0-9]*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH")
    return int(match[1]), int(match[2])
