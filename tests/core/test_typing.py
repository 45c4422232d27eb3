"""The public names are typed: an editor and mypy see more than ``Any`` behind ``import afunet_core as af``."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUBS = sorted((ROOT / "afunet_core").rglob("*.pyi"))
SNIPPET = """
import afunet_core as af
reveal_type(af.merge)
reveal_type(af.tone_map)
reveal_type(af.Bracket)
reveal_type(af.AFUNet)
reveal_type(af.HDRLoss)
reveal_type(af.psnr)
reveal_type(af.errors.ShapeError)
af.tone_map("not a tensor")
af.no_such_name
"""


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_the_stub_names_what_the_package_offers(stub: Path) -> None:
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    named = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    package = importlib.import_module(".".join(stub.parent.relative_to(ROOT).parts))
    assert named == set(package.__all__) - {"__version__"}
    assert all(getattr(package, name) is not None for name in named)
    assert (ROOT / "afunet_core" / "py.typed").is_file()


@pytest.mark.slow
def test_mypy_sees_the_names_of_the_package(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET)
    output, _, _ = api.run([str(file), "--config-file", str(ROOT / "pyproject.toml"), "--follow-imports=silent"])
    lines = [line.split(": ", 1)[1] for line in output.splitlines() if "snippet.py:" in line]
    revealed = [line for line in lines if "Revealed type" in line]
    assert len(revealed) == 7
    assert not [line for line in revealed if '"Any"' in line]
    assert [line for line in lines if '"tone_map" has incompatible type "str"' in line]
    assert [line for line in lines if 'no attribute "no_such_name"' in line]
