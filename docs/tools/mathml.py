"""MkDocs hook: LaTeX becomes MathML while the site is built, so that pages need no scripts or fonts from a network."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

_MARKED = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.S)
_NUMBER = re.compile(r"\\tag\{([^}]*)\}")


def to_mathml(latex: str, block: bool) -> str:
    r"""One formula as HTML; ``\tag{n}`` numbers it at the right.

    Example:
        >>> to_mathml(r"a \tag{1}", block=True).endswith('<span class="equation-number">(1)</span></div>')
        True
    """
    number = _NUMBER.search(latex)
    formula = convert(_NUMBER.sub("", latex).strip(), display="block" if block else "inline")
    if not block:
        return formula
    label = f'<span class="equation-number">({number[1]})</span>' if number else ""
    return f'<div class="equation">{formula}{label}</div>'


def on_page_content(content: str, **kwargs: Any) -> str:
    """Replaces what the arithmatex extension marked."""
    return _MARKED.sub(lambda found: to_mathml(html.unescape(found["latex"]), found["tag"] == "div"), content)
