"""The first use of the package may come from several threads at once, as in napari or in a pipeline.

Python takes a module's lock before that of its package. So a thread that begins with a part of a package, and another
that begins with the package, can wait for each other, and then one of them sees modules that are half loaded. kornia's
parts import each other; whoever needs one of them says ``import kornia``, and nothing else.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("afunet_core", "napari_afunet") for path in (ROOT / package).rglob("*.py"))
FIRST = ("metrics", "tonemap", "registration", "motion_compensation", "merging", "grouping", "data.demo", "io.folder")

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


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_kornia_is_imported_whole(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    taken_from = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    assert not {name for name in named if name.startswith("kornia.")}
    assert not {name for name in taken_from if name.split(".")[0] == "kornia"}


@pytest.mark.parametrize("order", [FIRST, FIRST[::-1]], ids=["forwards", "backwards"])
def test_threads_may_load_it_at_once(order: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", AT_ONCE, *(f"afunet_core.{name}" for name in order)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
