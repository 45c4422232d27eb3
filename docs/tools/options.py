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
    from afunet_core.utils.options import options_of

    rows = [_row(each) for cls in (BracketOptions, MergeOptions) for each in options_of(cls).values()]
    table = ["| Python | Command line | Widget | Default | Meaning |", "|---|---|---|---|---|", *rows]
    return markdown.replace("{{ options }}", "\n".join(table) + "\n")


def _row(option: Any) -> str:
    command_line = f"`{option.flag or '--' + option.name.replace('_', '-')}`" if option.command_line else ""
    choices = ", ".join(f"`{_literal(value)}` ({text})" for value, text in option.choices.items())
    meaning = f"{option.help} Choices: {choices}." if choices else option.help
    default, shown = f"`{_literal(option.default)}`", option.label if option.form else ""
    return f"| `{option.name}` | {command_line} | {shown} | {default} | {meaning} |"


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
