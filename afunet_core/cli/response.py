"""afunet response: estimate the response curve of a camera from a bracket, for merge --response FILE

Any still scene with shadows and highlights serves; more frames, on a tripod, serve better. The curve belongs to the
camera and its picture style, and is good for all brackets taken with them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from afunet_core.cli.options import flat, numbers

EXAMPLES = """examples:
  afunet response calibration/ -o camera.json
  afunet response 1.jpg 2.jpg 3.jpg 4.jpg 5.jpg -o camera.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("inputs", nargs="+", metavar="FRAME|FOLDER", help="frames of one bracket, or its folder")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the curve (.json)")
    exposures = parser.add_mutually_exclusive_group()
    exposures.add_argument("--ev", nargs="+", type=numbers, metavar="EV", help="exposures in stops: --ev -2 0 2")
    exposures.add_argument("--times", nargs="+", type=numbers, metavar="S", help="in seconds: --times 1/100 1/25 1/6")


def run(options: argparse.Namespace) -> int:
    """Estimate and write."""
    import afunet_core as af
    from afunet_core.camera.calibration import estimate_response
    from afunet_core.registration.frames import register

    inputs = [Path(path) for path in options.inputs]
    given: dict[str, Any] = {
        "ev": flat(options.ev),
        "times": flat(options.times),
        "encoding": "gamma",
        "response": None,
        "override": True,
    }
    one_folder = len(inputs) == 1 and inputs[0].is_dir()
    read: Any = af.Bracket.from_folder if one_folder else af.Bracket.from_files
    bracket, _ = register(read(inputs[0] if one_folder else inputs, **given))
    curve = estimate_response(bracket.frames, bracket.times)
    curve.save(options.output)
    print(f"{options.output}: light at half the stored value: {float(curve.light[0, 128]):.3f}")
    return 0
