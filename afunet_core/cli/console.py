"""Terminal output of the commands: progress bars, warnings and errors on stderr, results on stdout."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent.parent
_OPTIONS = {"memory_budget": "memory"}  # options that are called something else on the command line
# Functions of Python, and what a user of the command line does instead.
_WORDS = {"group_folder()": "--group", "Bracket.from_folder": "the folder itself", "Bracket.from_files": "the files"}


def complain(message: str) -> None:
    """Say one line on stderr, above any progress bar; control characters are not passed on."""
    from tqdm import tqdm

    tqdm.write(f"afunet: {harmless(as_options(message))}", file=sys.stderr)


def harmless(text: str) -> str:
    """One line without control characters, which names of files and answers of servers may hold."""
    return "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else " " for c in text)


def as_options(message: str) -> str:
    """Turn the advice of a message into the words of the command line instead of Python's.

    Example:
        >>> as_options("Give ev=(-2, 0, 2), or method='weighted'. override=True merges them all the same.")
        'Give --ev -2 0 2, or --method weighted. --override merges them all the same.'
    """

    def option(match: re.Match[str]) -> str:
        value = next((part for part in match.groups()[1:] if part is not None), "").replace(",", "")
        name = _OPTIONS.get(match[1], match[1].replace("_", "-"))
        return f"--{name} {value}".rstrip()

    for python, words in _WORDS.items():
        message = message.replace(python, words)
    pattern = r"\b([a-z_]+)=(?:'([^']*)'|\"([^\"]*)\"|\(([^()]*)\)|True\b|([-+]?\d[\w.]*\w|\d)|(?=[\s.,;)]|$))"
    return re.sub(pattern, option, message)


_PLAIN = {"×": "x", "–": "-", "—": "-", "−": "-", "…": "...", "“": '"', "”": '"', "‘": "'", "’": "'", "→": "->"}
_PLAIN |= {"±": "+-", "µ": "u", "μ": "u", "²": "^2", "·": "*", "≥": ">=", "≤": "<=", "│": "|", "█": "#", "°": " deg"}


def printable_output() -> None:
    """Let stdout and stderr say every character: those that the terminal's encoding lacks by others, or by number.

    A service or a program with windows may have closed them: then nothing is said.
    """
    codecs.register_error("afunet", _replace)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # as long as the process
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test's or a program's own stream may have none
        if reconfigure is not None:
            reconfigure(errors="afunet")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    escaped = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking)
    return "".join(escaped), error.end


def show_warning(message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
    """Show a warning to the user in one line; those of libraries, which are for programmers, stay unsaid."""
    if issubclass(category, UserWarning) and Path(filename).is_relative_to(_PACKAGE):
        complain("warning: " + " ".join(str(message).split()))


@contextmanager
def progress_bar(title: str, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar for one job: gives the ``on_progress(done, total, message)`` to pass on. Only terminals see it."""
    from tqdm import tqdm

    layout = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
    with tqdm(total=1000, desc=title, bar_format=layout, leave=False, disable=True if quiet else None) as bar:

        def show(done: int, total: int, message: str) -> None:
            bar.total = total
            bar.set_postfix_str(message, refresh=False)
            bar.update(done - bar.n)

        yield show
