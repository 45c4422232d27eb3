"""What a result says of where it comes from: the bracket as it was understood, and the software."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from afunet_core.bracket.bracket import Bracket

__all__ = ["describe_bracket", "versions"]


def describe_bracket(bracket: Bracket) -> dict[str, Any]:
    """Frames, exposures, encoding and scale."""
    return {
        "frames": [str(name) for name in bracket.names],
        "ev": [float(value) for value in bracket.ev],
        "times": [float(value) for value in bracket.times],
        "exposure_seconds": list(bracket.seconds) if bracket.seconds is not None else None,
        "encoding": bracket.encoding,
        "gamma": float(bracket.gamma),
        "grey": bool(bracket.is_grey),
        "black_level": bracket.black_level,
        "scale": bracket.scale,
        "reference": int(bracket.reference),
        "response": bracket.metadata.get("response"),
        "calibration": bracket.metadata.get("calibration"),
        "channel": bracket.metadata.get("channel"),
    }


def versions() -> dict[str, str]:
    """Of this package, Python, and the libraries that decide the result."""
    from afunet_core import __version__

    found = {"afunet": __version__, "python": platform.python_version()}
    for name in ("torch", "kornia", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an unpacked library without its metadata
            found[name] = "unknown"
    return found
