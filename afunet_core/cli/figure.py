"""afunet figure: lay out frames, zoomed patches, results, truth and error maps, as the paper's figures do"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from afunet_core.cli.options import OPERATORS, flat, numbers
from afunet_core.errors import ArgumentError
from afunet_core.merging.output import check_destination

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = """examples:
  afunet figure --bracket scene/ --result AFUNet=out.exr --result "weighted=w.exr" -o figure.png
  afunet figure --inputs 1.tif 2.tif 3.tif --result out.exr --truth truth.hdr --box 100,200,64,64 -o figure.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    frames = parser.add_mutually_exclusive_group()
    frames.add_argument("--inputs", nargs="+", default=[], metavar="FRAME", help="the frames, shortest first")
    frames.add_argument("--bracket", metavar="FOLDER", help="a bracket folder; its HDRImg.hdr is the truth")
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

    frames, truth = [Path(path) for path in options.inputs], options.truth
    if options.bracket:
        frames, found = _bracket_files(Path(options.bracket))
        truth = truth or found
    figure = comparison_figure(
        [_read_display(path) for path in frames],
        {name: _read_radiance(path) for name, path in map(_named, options.result)},
        None if truth is None else _read_radiance(truth),
        None if options.box is None else [_box(box) for box in options.box],
        width=options.width,
        operator=options.operator,
        exposure=options.exposure,
    )
    write_image(options.output, figure)
    print(f"{options.output}: {figure.shape[1]}×{figure.shape[0]}")
    return 0


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    return (name, path) if equals else (Path(text).stem, text)


def _box(values: list[float]) -> list[int]:
    if len(values) != 4 or any(value != int(value) for value in values):
        raise ArgumentError("box", "four whole numbers top,left,height,width", flat([values]))
    return [int(value) for value in values]


def _bracket_files(folder: Path) -> tuple[list[Path], Path | None]:
    """List the frames, shortest first, and find the truth beside them."""
    from afunet_core.bracket.bracket import Bracket
    from afunet_core.bracket.folders import list_bracket_folder

    bracket = Bracket.from_folder(folder)
    by_name = {path.name: path for path in list_bracket_folder(folder)}
    frames = [by_name.get(name) or folder / name for name in bracket.names]
    truths = [path for path in folder.iterdir() if path.suffix.lower() in (".hdr", ".exr") and path not in frames]
    return frames, min(truths, default=None)


def _read_display(path: str | Path) -> np.ndarray:
    """Read a frame as a screen shows it, in [0, 1]."""
    import numpy as np

    from afunet_core.io.read import read_image, three_channels

    image = read_image(path)
    pixels = three_channels(image.pixels, path).astype(np.float32)
    if image.bit_depth is not None:
        return pixels / (2**image.bit_depth - 1)
    return np.clip(pixels, 0, 1) ** (1 / 2.2)


def _read_radiance(path: str | Path) -> np.ndarray:
    """Floating-point files hold radiance; integer ones are refused, for their scale is unknown."""
    from afunet_core.io.read import read_image, three_channels

    image = read_image(path)
    if image.pixels.dtype.kind != "f":
        advice = "Give the .exr, .hdr or float .tif."
        raise ArgumentError(str(path), "a file of floating-point radiance", f"{image.pixels.dtype}", advice)
    return three_channels(image.pixels, path)
