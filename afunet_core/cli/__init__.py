"""The command line, ``afunet``: one module a command; torch is loaded only by the commands that compute.

An error that the user can correct is one line and ends with status 2; an interrupt ends with 130; a batch in which
brackets failed ends with 1.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from afunet_core import __version__
from afunet_core.errors import AFUNetError

__all__ = ["COMMANDS", "build_parser", "main"]

COMMANDS = ("merge", "info", "response", "synthesize", "evaluate", "train", "fetch", "export", "figure")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with status 2."""
        self.exit(2, f"{self.prog}: error: {message}. See {self.prog} --help.\n")


def build_parser() -> Parser:
    """Build the parser of all commands."""
    parser = Parser(prog="afunet", description="Ghost-free HDR from brackets of exposures.")
    parser.add_argument("--version", action="version", version=f"afunet {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"afunet_core.cli.{name}")
        summary = (module.__doc__ or "").splitlines()[0].split(": ", 1)[-1]
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            epilog=getattr(module, "EXAMPLES", None),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(handler=module.run, refuse=command.error)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, of this process's arguments by default; returns the exit status."""
    options = None
    previous: Any = signal.getsignal(signal.SIGTERM)
    try:
        from afunet_core.cli.console import complain, printable_output, show_warning

        printable_output()
        words = sys.argv[1:] if arguments is None else arguments
        options, unknown = build_parser().parse_known_args([_plain(word) for word in words])
        if unknown:
            options.refuse(f"unrecognized arguments: {' '.join(unknown)}")
        previous = _on_terminate(signal.default_int_handler)
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            warnings.simplefilter("always", UserWarning)
            return int(options.handler(options) or 0)
    except KeyboardInterrupt:  # perhaps while modules are imported
        print("afunet: interrupted; nothing is left half-written", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (AFUNetError, OSError, RuntimeError, MemoryError) as error:
        if options is None or options.debug:
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, AFUNetError | OSError):
            from afunet_core.utils.device import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            said = "memory ran out. Give a smaller --memory, or use --device cpu."
        complain(f"error: {said}")
        return 2
    finally:
        _on_terminate(previous)


def _plain(word: str) -> str:
    """Mark ``-2,0,2`` and ``-2EV`` as values: argparse takes words with a minus for options unless a blank is before.

    Example:
        >>> _plain("-2,0,2"), _plain("-2EV"), _plain("-o")
        (' -2,0,2', ' -2EV', '-o')
    """
    return f" {word}" if re.match(r"-[.,]?[0-9]", word) else word


def _on_terminate(handler: Any) -> Any:
    """Set the handler of SIGTERM, so that it cleans up like Ctrl-C; only the main thread may."""
    try:
        return signal.signal(signal.SIGTERM, handler)
    except ValueError:
        return signal.SIG_DFL
