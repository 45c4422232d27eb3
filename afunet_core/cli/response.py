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
  afunet response 1.jpg 2.jpg 3.jpg 4.jpg 5.jpg -o camera.csv --shared
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("inputs", nargs="+", metavar="FRAME|FOLDER", help="frames of one bracket, or its folder")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the curve (.json or .csv)")
    add_exposures(parser)
    parser.add_argument("--shared", action="store_true", help="one curve for all three channels")


def run(options: argparse.Namespace) -> int:
    """Estimate and write."""
    import afunet_core as af
    from afunet_core.camera.response import estimate_response
    from afunet_core.registration.frames import register

    inputs = [Path(path) for path in options.inputs]
    given: dict[str, Any] = {**stated_exposures(options), "encoding": "gamma", "response": None, "override": True}
    if len(inputs) == 1 and inputs[0].is_dir():
        bracket = af.Bracket.from_folder(inputs[0], **given)
    else:
        bracket = af.Bracket.from_files(inputs, **given)
    bracket, _ = register(bracket)
    curve = estimate_response(bracket.frames, bracket.times, shared=options.shared)
    curve.save(options.output)
    rows = len(curve.light)
    middle = ", ".join(f"{float(row[len(row) // 2]):.3f}" for row in curve.light)
    print(f"{options.output}: {rows} {'curve' if rows == 1 else 'curves'}; light at half the stored value: {middle}")
    return 0
