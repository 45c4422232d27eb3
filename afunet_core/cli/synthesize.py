"""afunet synthesize: brackets with motion and known truth, from HDR scenes or rendered ones"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from afunet_core.cli.console import progress_bar
from afunet_core.errors import ArgumentError

EXAMPLES = """examples:
  afunet synthesize -o brackets/ --count 8 --size 384 --sheet
  afunet synthesize -o brackets/ --count 100 --scenes hdr/ --photos photos/ --kind both
"""
KINDS = ("static", "camera", "objects", "both")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-o", "--output", required=True, help="folder of the bracket folders")
    parser.add_argument("--count", type=int, default=8, help="how many (8)")
    parser.add_argument("--size", type=int, nargs="+", default=[384], metavar="PIXELS", help="side, or both sides")
    folders: dict[str, Any] = {"metavar": "FOLDER", "action": "append", "default": []}
    parser.add_argument("--scenes", **folders, help="HDR scenes (.exr, .hdr)")
    parser.add_argument("--photos", **folders, help="photographs, for moving objects")
    parser.add_argument("--kind", choices=KINDS, help="what moves (default: all kinds in turn)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", action="store_true", help="also a contact sheet, sheet.png")


def run(options: argparse.Namespace) -> int:
    """Write bracket folders in the layout of Kalantari's data set."""
    if options.count < 1:
        raise ArgumentError("count", "at least 1", options.count)
    if len(options.size) > 2:
        raise ArgumentError("size", "a side, or height and width", options.size)
    import torch

    from afunet_core.data.datasets import write_bracket_folder
    from afunet_core.data.synthesis.brackets import Synthesizer, SyntheticBatch, contact_sheet
    from afunet_core.data.synthesis.scenes import SceneBank
    from afunet_core.io.write import write_image

    maker = Synthesizer(SceneBank.open(options.scenes, options.photos, options.seed))
    generator = torch.Generator().manual_seed(options.seed)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    height, width = options.size[0], options.size[-1]
    made = []
    with progress_bar("Brackets") as show:
        for index in range(options.count):
            kind: Any = options.kind or KINDS[index % len(KINDS)]
            batch = maker.sample(1, (height, width), generator, kind)
            write_bracket_folder(batch, folder / f"{index:04d}-{kind}")
            show(index + 1, options.count, kind)
            if options.sheet:
                made.append(batch)
    if made:
        write_image(folder / "sheet.png", contact_sheet(SyntheticBatch.concatenate(made)))
    print(f"{options.output}: {options.count} brackets of {width}×{height}")
    return 0
