"""MkDocs hook: puts the help text of a command where a page says ``{{ afunet merge }}``, so that it cannot go stale."""

from __future__ import annotations

import os
import re
from argparse import _SubParsersAction
from typing import Any

_PLACE = re.compile(r"^\{\{ afunet (\w+) \}\}$", re.M)


def help_text(command: str) -> str:
    """What ``afunet COMMAND --help`` prints, in 100 columns."""
    from afunet_core.cli import build_parser

    os.environ["COLUMNS"] = "100"
    groups = [action for action in build_parser()._actions if isinstance(action, _SubParsersAction)]
    return groups[0].choices[command].format_help().rstrip()


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Fills the places of a page."""
    return _PLACE.sub(lambda found: f"```text\n{help_text(found[1])}\n```", markdown)
