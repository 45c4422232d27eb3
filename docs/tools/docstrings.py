"""Griffe extension: lets the API pages show docstrings that were written to read well in a terminal.

Roles such as ``:func:`name``` become code or formulas, and ``Example:`` becomes the section that renders as doctest.
"""

from __future__ import annotations

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


class DocstringsToMarkdown(griffe.Extension):
    """Rewrites every docstring once it has been read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
