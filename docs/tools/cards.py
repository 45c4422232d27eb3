"""MkDocs hook: puts a model card where a page says ``{{ card compact }}``, its headings one level lower."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).resolve().parents[2] / "afunet_core" / "weights"
_PLACE = re.compile(r"^\{\{ card (\w+) \}\}$", re.M)


def lowered(markdown: str) -> str:
    """Return a text with every heading one level lower.

    Example:
        >>> lowered("# compact\\n\\n## Use")
        '## compact\\n\\n### Use'
    """
    return re.sub(r"^(?=#+ )", "#", markdown, flags=re.M)


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Fill the places of a page."""
    return _PLACE.sub(lambda found: lowered((WEIGHTS / f"{found[1]}.md").read_text(encoding="utf-8")), markdown)
