"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

__all__ = ["ALIGNMENTS", "METHODS", "OPERATORS", "PRECISIONS", "add_network_options", "flat", "numbers"]

# Stated here so that help needs no torch; a test holds them against the modules that define them.
METHODS = ("auto", "afunet", "weighted", "mertens")
ALIGNMENTS = ("auto", "camera", "on", "off")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
OPERATORS = ("mu_law", "reinhard", "filmic", "exposure")


def numbers(text: str) -> list[float]:
    """Numbers and fractions between commas.

    Example:
        >>> numbers("1/4, 2")
        [0.25, 2.0]
    """
    try:
        return [float(Fraction(word.strip())) for word in text.split(",") if word.strip()]
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error


def flat(groups: Sequence[Sequence[float]] | None) -> list[float] | None:
    """One list of the groups that :func:`numbers` made, or ``None``."""
    return None if groups is None else [value for group in groups for value in group]


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Model, device, precision and memory."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--model", default="default", metavar="NAME|FILE", help="shipped or fetched name, or weights file"
    )
    group.add_argument("--device", default="auto", help="auto, cuda, cuda:N, mps or cpu (default auto)")
    group.add_argument("--precision", default="auto", choices=PRECISIONS, help="default auto: float32 on a CPU")
    group.add_argument("--memory", metavar="SIZE", help="what the network may use, such as 2GB (default: what is free)")


def network_options(options: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of :func:`afunet_core.merge` that :func:`add_network_options` gathered."""
    return {
        "model": options.model,
        "device": options.device,
        "precision": options.precision,
        "memory_budget": options.memory,
    }
