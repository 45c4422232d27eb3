"""MkDocs hook: puts the table of the options where a page says ``{{ options }}``, made from their declaration."""

from __future__ import annotations

from typing import Any


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Fill the place of a page.

    Example:
        >>> "| `method` | `--method` |" in on_page_markdown("{{ options }}")
        True
    """
    if "{{ options }}" not in markdown:
        return markdown
    from afunet_core.bracket.options import BracketOptions
    from afunet_core.merging.options import MergeOptions
    from afunet_core.utils.options import options_table

    return markdown.replace("{{ options }}", options_table([BracketOptions, MergeOptions]))
