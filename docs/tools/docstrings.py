"""Griffe extension: lets the API pages show docstrings that were written to read well in a terminal.

Roles such as ``:func:`name``` become code or formulas, ``Example:`` becomes the section that renders as doctest, and
the comments at the fields of a data class become its ``Attributes:``.
"""

from __future__ import annotations

import ast
import itertools
import re
from typing import Any

import griffe


def to_markdown(text: str) -> str:
    """The docstring in Markdown.

    Example:
        >>> to_markdown("See :func:`~afunet_core.merge` and :math:`x^2`.")
        'See `merge` and $x^2$.'
    """
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    text = re.sub(r":(?:func|class|meth|mod|data|attr|exc|obj):`~[\w.]*?(\w+)`", r"`\1`", text)
    text = re.sub(r":(?:func|class|meth|mod|data|attr|exc|obj):`([^`]+)`", r"`\1`", text)
    text = re.sub(r"^\.\. math::\n\n((?:[ ]+.*\n?)+)", lambda found: f"$$\n{found[1].strip()}\n$$\n", text, flags=re.M)
    return re.sub(r"^Example:$", "Examples:", text, flags=re.M)


def field_comments(node: ast.ClassDef, lines: list[str]) -> dict[str, str]:
    """The comments at the fields of a class: behind each, or in the lines above it.

    Example:
        >>> text = ["class A:", "    # in pixels,", "    # odd", "    side: int", '    name: str = "#"  # of the file']
        >>> field_comments(ast.parse("\\n".join(text)).body[0], text)
        {'side': 'in pixels, odd', 'name': 'of the file'}
    """
    found = {}
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            above = itertools.takewhile(lambda line: line.strip().startswith("#"), reversed(lines[: field.lineno - 1]))
            comment = [line.strip().lstrip("# ") for line in above][::-1]
            line = lines[(field.end_lineno or 1) - 1].encode()
            behind = line[field.end_col_offset :].decode().strip()
            text = " ".join([*comment, behind.lstrip("# ")]).strip()
            if text:
                found[field.target.id] = text
    return found


class DocstringsToMarkdown(griffe.Extension):
    """Rewrites every docstring once it has been read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)

    def on_class_members(self, *, node: Any, cls: griffe.Class, **kwargs: Any) -> None:
        if cls.docstring and isinstance(node, ast.ClassDef):
            fields = field_comments(node, cls.lines_collection[cls.filepath])
            if fields:
                entries = "".join(f"\n    {name}: {to_markdown(text)}" for name, text in fields.items())
                cls.docstring.value += f"\n\nAttributes:{entries}"
