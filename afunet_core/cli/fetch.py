"""afunet fetch: download the authors' published weights, verify them, and make them usable as --model NAME"""

from __future__ import annotations

import argparse

from afunet_core.cli.console import complain, progress_bar

EXAMPLES = """example:
  afunet fetch kalantari && afunet merge u.tif n.tif o.tif -o out.exr --model kalantari
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", choices=("kalantari", "tel", "hu"), help="the data set the weights were trained on")
    parser.add_argument("--url", help="folder to download from, a mirror (default: the authors' repository)")
    parser.add_argument("--again", action="store_true", help="download even if it is there")


def run(options: argparse.Namespace) -> int:
    """Fetch."""
    from afunet_core.model.pretrained import LICENCE_STATEMENT, fetch

    complain(LICENCE_STATEMENT)
    with progress_bar(options.name) as show:
        path = fetch(options.name, base_url=options.url, again=options.again, on_progress=show)
    print(f"{path}\nUse it with --model {options.name}.")
    return 0
