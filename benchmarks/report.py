"""Sections of the performance page that are measured by scripts of this folder, one each, replaced when run again."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path


def write_section(path: str | Path, title: str, text: str) -> None:
    """Put ``## title``, the date and a text into a Markdown page: in place of that section, or at the end.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = Path(folder, "page.md")
        ...     _ = page.write_text("# Page\\n")
        ...     for text in ("old", "new"):
        ...         write_section(page, "Times", text)
        ...     text = page.read_text()
        >>> text.count("## Times"), text.endswith("new\\n"), "Measured on 2" in text
        (1, True, True)
    """
    page = Path(path)
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    section = f"## {title}\n\nMeasured on {date.today()}. {text.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(before):
        after = pattern.sub(lambda _: section + "\n", before, count=1)
    else:
        after = before.rstrip() + "\n\n" + section
    page.write_text(after.strip() + "\n", encoding="utf-8")
