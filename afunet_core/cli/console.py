"""What the commands say on the terminal: progress bars, warnings and errors on stderr, results on stdout."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["as_options", "complain", "progress_bar", "show_warning", "table"]

_PACKAGE = Path(__file__).resolve().parent.parent


def complain(message: str) -> None:
    """One line on stderr, above any progress bar."""
    from tqdm import tqdm

    tqdm.write(f"afunet: {as_options(message)}", file=sys.stderr)


def as_options(message: str) -> str:
    """The advice of a message in the words of the command line instead of Python's.

    Example:
        >>> as_options("Give ev=(-2, 0, 2), or method='weighted'. override=True merges them all the same.")
        'Give --ev -2 0 2, or --method weighted. --override merges them all the same.'
    """

    def option(match: re.Match[str]) -> str:
        value = (match[2] or match[3] or "").replace(",", "")
        return f"--{match[1].replace('_', '-')} {value}".rstrip()

    return re.sub(r"\b([a-z_]+)=(?:'([^']*)'|\(([^()]*)\)|True\b)", option, message)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    """A warning for the user in one line; those of libraries, which are for programmers, stay unsaid."""
    if issubclass(category, UserWarning) and Path(filename).is_relative_to(_PACKAGE):
        complain("warning: " + " ".join(str(message).split()))


@contextmanager
def progress_bar(title: str, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """A bar for one job: gives the ``on_progress(done, total, message)`` to pass on. Only terminals see it."""
    from tqdm import tqdm

    layout = "{l_bar}{bar}| {elapsed}<{remaining} {postfix}"
    with tqdm(total=1000, desc=title, bar_format=layout, leave=False, disable=True if quiet else None) as bar:

        def show(done: int, total: int, message: str) -> None:
            bar.total = total
            bar.set_postfix_str(message, refresh=False)
            bar.update(done - bar.n)

        yield show


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Rows in aligned columns: text to the left, numbers to the right.

    Example:
        >>> print(table([["a", 1], ["bc", 20]], ["name", "n"]))
        name   n
        a      1
        bc    20
    """
    cells = [list(header), *([str(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    lines = []
    for row in cells:
        padded = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
