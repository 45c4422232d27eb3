"""Options that several commands share, and arguments made from declared options."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from itertools import chain
from typing import Any

from afunet_core.io.exposure import parse_exposure
from afunet_core.merging.options import MergeOptions
from afunet_core.utils.options import GROUPS, Option, options_of

ALIGNMENTS = tuple(options_of(MergeOptions)["align"].choices)
PRECISIONS = tuple(options_of(MergeOptions)["precision"].choices)
# Stated here so that help needs no torch; a test holds them against the module that defines them.
OPERATORS = ("mu_law", "reinhard", "filmic", "exposure")
# Two numbers of one digit, as in ``-1,1`` or ``-2,0``; with more digits (``0,01``, ``2,5``…) the comma is decimal.
_PAIR = re.compile(r"[-+−]?[1-9],[-+−]?[1-9]|[-+−][1-9],0")


def numbers(text: str) -> list[float]:
    """Read exposures as people type them: ``1/4``, ``2.5ms``, ``0,01``, ``−2``; several between commas.

    Example:
        >>> numbers("1/4, 2"), numbers("2.5ms"), numbers("0,01"), numbers("-2,0,2")
        ([0.25, 2.0], [0.0025], [0.01], [-2.0, 0.0, 2.0])
    """
    text = text.strip().strip("[]()")
    whole = parse_exposure(text)
    if whole is not None and not _PAIR.fullmatch(text.strip()):
        return [whole]
    words = [word for word in re.split(r"[,;\s]+", text.strip()) if word]
    values = [parse_exposure(word) for word in words]
    if not values or None in values:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; write 1/100, 0.01, 10ms or -2")
    return [value for value in values if value is not None]


def _stops(text: str) -> list[float]:
    if re.search(r"\d\s*([mµμu]?s|secs?|seconds?)\W*$", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError(f"{text!r} is a time; state it by --times")
    return numbers(text)


def _seconds(text: str) -> list[float]:
    if re.search(r"\d\s*(ev|stops?)\W*$", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError(f"{text!r} is in stops; state it by --ev")
    return numbers(text)


def add_exposures(parser: Any) -> None:
    """Add the arguments that state exposures, in stops or in seconds."""
    exposures = parser.add_mutually_exclusive_group()
    exposures.add_argument("--ev", nargs="+", type=_stops, metavar="EV", help="exposures in stops: --ev -2 0 2")
    exposures.add_argument("--times", nargs="+", type=_seconds, metavar="S", help="in seconds: --times 1/100 1/25 1/6")


def stated_exposures(arguments: argparse.Namespace) -> dict[str, list[float] | None]:
    """Return ``ev`` and ``times`` of :func:`add_exposures`, each one list or ``None``."""
    stated = {"ev": arguments.ev, "times": arguments.times}
    return {name: groups and [*chain.from_iterable(groups)] for name, groups in stated.items()}


def add_declared_options(parser: argparse.ArgumentParser, *classes: type) -> None:
    """Add an argument for each option that the classes declare, in their groups."""
    offered = [each for cls in classes for each in options_of(cls).values() if each.command_line]
    for group, title in GROUPS.items():
        members = [each for each in offered if each.group == group]
        arguments = parser.add_argument_group(title.lower()) if members else parser
        for each in members:
            _add_argument(arguments, each)


def declared_options(arguments: argparse.Namespace, cls: type) -> dict[str, Any]:
    """Return the options of a class that :func:`add_declared_options` gathered, by name."""
    return {name: getattr(arguments, name) for name, each in options_of(cls).items() if each.command_line}


def _add_argument(group: Any, option: Option) -> None:
    flag = option.flag or "--" + option.name.replace("_", "-")
    help_text = option.help[0].lower() + option.help[1:].rstrip(".").replace("%", "%%")
    if option.kind == "flag":
        group.add_argument(flag, dest=option.name, action="store_true", help=help_text)
        return
    choices = [value for value in option.choices if value is not None] if option.kind == "choice" else None
    default = "" if option.default is None else f" (default: {option.default})"
    group.add_argument(
        flag,
        dest=option.name,
        type=_reader(option),
        default=option.default,
        choices=choices,
        metavar=option.metavar,
        help=help_text + default,
    )


def _reader(option: Option) -> Callable[[str], Any]:
    """Return the option's parser, with errors in the words of the command line."""

    def read(text: str) -> Any:
        try:
            return option.parse(text)
        except ValueError as error:
            wanted = option.metavar or "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from error

    return read
