"""afunet response: estimate the response curve of a camera from a bracket, for merge --response FILE

Any still scene with shadows and highlights serves; more frames, on a tripod, serve better. The curve belongs to the
camera and its picture style, and is good for all brackets taken with them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from afunet_core.cli.options import add_exposures, stated_exposures

EXAMPLES = """examples:
  afunet response calibration/ -o camera.json
  afunet response 1.jpg 2.jpg 3.jpg 4.jpg 5.jpg -o camera.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("inputs", nargs="+", metavar="FRAME|FOLDER", help="frames of one bracket, or its folder")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the curve (.json)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing curve")
    add_exposures(parser)


def run(options: argparse.Namespace) -> int:
    """Estimate and write."""
    import afunet_core as af
    from afunet_core.camera.calibration import estimate_response
    from afunet_core.merging.output import check_destination
    from afunet_core.registration.frames import register

    check_destination(options.output, options.overwrite, options.inputs, kinds={".json"})
    inputs = [Path(path) for path in options.inputs]
    given: dict[str, Any] = {**stated_exposures(options), "encoding": "gamma", "response": None, "override": True}
    if len(inputs) == 1 and inputs[0].is_dir():
        bracket = af.Bracket.from_folder(inputs[0], **given)
    else:
        bracket = af.Bracket.from_files(inputs, **given)
    bracket, _ = register(bracket)
    curve = estimate_response(bracket.frames, bracket.times)
    curve.save(options.output)
    print(f"{options.output}: light at half the stored value: {float(curve.light[0, 128]):.3f}")
    return 0
