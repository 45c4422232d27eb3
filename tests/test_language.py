"""The language of the code: docstrings that say what a thing is, functions that fit on a screen."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for name in ("afunet_core", "napari_afunet", "benchmarks", "tests") for path in (ROOT / name).rglob("*.py")
)
OPENER = re.compile(r"(What|Whether|Where|How|Which|Who|Why|When)\b")
LONGEST = 60
"""Lines of code of a function, its docstring not counted: what a screen shows."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented(path: Path) -> Iterator[tuple[str, Documented]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Documented):
            yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', '')}", node


@pytest.fixture(scope="module")
def nodes() -> list[tuple[str, Documented]]:
    return [found for path in FILES for found in documented(path)]


def test_docstrings_open_with_a_noun_or_a_verb(nodes: list[tuple[str, Documented]]) -> None:
    openings = {where: (ast.get_docstring(node) or "").partition("\n")[0] for where, node in nodes}
    assert {where: line for where, line in openings.items() if OPENER.match(line)} == {}


def test_functions_fit_on_a_screen(nodes: list[tuple[str, Documented]]) -> None:
    lengths = {}
    for where, node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            code = node.body[1 if ast.get_docstring(node) else 0 :]
            head = node.body[0].lineno - node.lineno
            lengths[where] = head + (code[-1].end_lineno or 0) - code[0].lineno + 1 if code else 0
    assert {where: length for where, length in lengths.items() if length > LONGEST} == {}


def test_the_rule_catches_what_it_should() -> None:
    assert OPENER.match("Whether frames agree")
    assert not OPENER.match("Whole frames")
