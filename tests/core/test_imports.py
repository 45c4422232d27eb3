"""The first use of the package may come from several threads at once, as in napari or in a pipeline.

Python takes a module's lock before that of its package. So a thread that begins with a part of a package, and another
that begins with the package, can wait for each other; Python then fails one of the imports, or shows it modules that
are half loaded. So nothing here loads in circles, and a package loads none of its parts. kornia's parts import each
other; whoever needs one of them says ``import kornia``, and nothing else.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("afunet_core", "napari_afunet") for path in (ROOT / package).rglob("*.py"))
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES}
FIRST = ("metrics", "tonemap", "registration.frames", "motion.compensation", "merging.pipeline", "bracket.grouping")

AT_ONCE = """
import importlib, sys, threading
names, errors = sys.argv[1:], []
gate = threading.Barrier(len(names))

def load(name):
    gate.wait()
    try:
        importlib.import_module(name)
    except BaseException as error:
        errors.append(f"{name}: {error!r}")

import torch  # so that the others start together
threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("; ".join(errors) or 0)
"""


def test_kornia_is_imported_whole() -> None:
    for path in SOURCES:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        taken_from = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
        assert not {name for name in named if name.startswith("kornia.")}, path
        assert not {name for name in taken_from if name.split(".")[0] == "kornia"}, path


def named(module: str, functions: bool) -> set[str]:
    """The modules that one imports outside functions, or within them too, but not for types only."""
    names: set[str] = set()
    for node in _nodes(ast.parse(MODULES[module].read_text(encoding="utf-8")), functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = {f"{node.module}.{alias.name}" for alias in node.names if alias.name != "__version__"}
            names |= {name if name in MODULES else str(node.module) for name in parts}
    return {name for name in names if name in MODULES}


def loaded_with(module: str) -> set[str]:
    """Our modules that this one waits for: what it imports at load, and the packages around each."""
    parts = [name.split(".") for name in {module, *named(module, functions=False)}]
    around = {".".join(words[:length]) for words in parts for length in range(1, len(words) + 1)}
    return around - {module}


def _nodes(tree: ast.AST, functions: bool) -> Iterator[ast.AST]:
    """All that runs, without what is for types only; within functions only on demand."""
    for node in ast.iter_child_nodes(tree):
        for_types_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not for_types_only and (functions or not in_function):
            yield node
            yield from _nodes(node, functions)


LAYERS = """
    errors weights
    ops utils
    radiometry
    io metrics tonemap
    tonemap_lut
    bracket.stack bracket.pixels
    camera
    bracket
    motion registration
    baselines model
    inspection losses
    data merging
    evaluation
    training
    benchmark
    afunet_core
    cli
"""
"""Lowest first. What is on a line imports what is on lines above it, and nothing beside it or below; types excepted.

A bracket may need a black level or a response curve, and those need pixels; so the package `bracket` stands on both
sides of `camera`."""
ORDER = {name: height for height, line in enumerate(LAYERS.split("\n")) for name in line.split()}
MAY_CLIMB = {("afunet_core.merging.batch", "afunet_core")}
"""A job of a batch calls the public merge, as a worker on another machine does."""


def layer(module: str) -> tuple[str, int]:
    """The package (or the part of one that has a line of its own) that a module belongs to, and its height."""
    words = (module.removeprefix("afunet_core.")).split(".")
    name = ".".join(words[:2]) if ".".join(words[:2]) in ORDER else words[0]
    return name, ORDER[name]


def test_imports_go_one_way() -> None:
    assert "afunet_core.bracket.files" in named("afunet_core.bracket.bracket", functions=True)
    climbing = []
    for module in (name for name in MODULES if name.startswith("afunet_core.")):
        package, height = layer(module)
        core = {name for name in named(module, functions=True) if name.startswith("afunet_core")}
        above = {name for name in core if layer(name)[0] != package and layer(name)[1] >= height}
        climbing += [(module, name) for name in above if (module, name) not in MAY_CLIMB]
    assert not climbing, "these import from above or beside themselves"


def test_nothing_loads_in_circles() -> None:
    graph = {module: loaded_with(module) for module in MODULES}
    assert "afunet_core.io" in graph["afunet_core.bracket.folders"]
    assert "afunet_core.errors" in graph["afunet_core.bracket.bracket"]
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
    assert set(order) == MODULES.keys()


@pytest.mark.parametrize("order", [FIRST, FIRST[::-1]], ids=["forwards", "backwards"])
def test_threads_may_load_it_at_once(order: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", AT_ONCE, *(f"afunet_core.{name}" for name in order)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
