"""afunet figure: lay out frames, zoomed patches, results, truth and error maps, as the paper's figures do"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from afunet_core.cli.options import OPERATORS, numbers
from afunet_core.errors import ArgumentError
from afunet_core.merging.output import check_destination

EXAMPLES = """examples:
  afunet figure --bracket scene/ --result AFUNet=out.exr --result "weighted=w.exr" -o figure.png
  afunet figure --result out.exr --truth truth.hdr --box 100,200,64,64 -o figure.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--bracket", metavar="FOLDER", help="folder of the frames; its HDRImg.hdr is the truth")
    parser.add_argument("--result", action="append", required=True, metavar="[NAME=]FILE", help="radiance; repeatable")
    parser.add_argument("--truth", metavar="FILE", help="radiance to compare with")
    parser.add_argument("--box", action="append", type=numbers, metavar="T,L,H,W", help="a patch to enlarge")
    parser.add_argument("-o", "--output", required=True, help=".png or .jpg")
    parser.add_argument("--width", type=int, default=1600, help="of the figure in pixels (1600)")
    parser.add_argument("--operator", default="mu_law", choices=OPERATORS, help="tone mapping (mu_law)")
    parser.add_argument("--exposure", type=float, default=0.0, metavar="EV", help="brightens radiance (0)")
    parser.add_argument("--overwrite", action="store_true")


def run(options: argparse.Namespace) -> int:
    """Make the figure."""
    check_destination(options.output, options.overwrite)
    from afunet_core.evaluation.figures import comparison_figure
    from afunet_core.io.write import write_image

    frames, truth = _read_bracket(Path(options.bracket)) if options.bracket else ([], None)
    truth = options.truth or truth
    named = [text.partition("=") for text in options.result]
    results = {name if equals else Path(name).stem: path if equals else name for name, equals, path in named}
    figure = comparison_figure(
        frames,
        {name: _read_radiance(path) for name, path in results.items()},
        None if truth is None else _read_radiance(truth),
        None if options.box is None else [_box(box) for box in options.box],
        width=options.width,
        operator=options.operator,
        exposure=options.exposure,
    )
    write_image(options.output, figure)
    print(f"{options.output}: {figure.shape[1]}×{figure.shape[0]}")
    return 0


def _box(values: list[float]) -> list[int]:
    if len(values) != 4 or any(value != int(value) for value in values):
        raise ArgumentError("box", "four whole numbers top,left,height,width", values)
    return [int(value) for value in values]


def _read_bracket(folder: Path) -> tuple[list[Any], Path | None]:
    """Read the frames as a screen shows them, shortest first, and find the truth beside them."""
    from afunet_core.bracket.bracket import Bracket
    from afunet_core.radiometry import encode

    bracket = Bracket.from_folder(folder)
    shown = [encode(frame.clamp(0, 1)) if bracket.encoding == "linear" else frame for frame in bracket.frames]
    used = {Path(file) for file in bracket.metadata["files"]}
    truths = [path for path in folder.iterdir() if path.suffix.lower() in (".hdr", ".exr") and path not in used]
    return [frame[0].expand(3, -1, -1).permute(1, 2, 0).numpy() for frame in shown], min(truths, default=None)


def _read_radiance(path: str | Path) -> Any:
    """Floating-point files hold radiance; integer ones are refused, for their scale is unknown."""
    from afunet_core.io.read import read_image, three_channels

    image = read_image(path)
    if image.pixels.dtype.kind != "f":
        advice = "Give the .exr, .hdr or float .tif."
        raise ArgumentError(str(path), "a file of floating-point radiance", f"{image.pixels.dtype}", advice)
    return three_channels(image.pixels, path)
