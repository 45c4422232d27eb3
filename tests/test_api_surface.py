"""Public names do not vanish or change by accident.

After a change on purpose: ``python tests/test_api_surface.py`` writes ``api_surface.json`` anew; tell CHANGELOG.md.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

SURFACE = Path(__file__).with_name("api_surface.json")
MODULES = (
    "afunet_core",
    "afunet_core.baselines",
    "afunet_core.errors",
    "afunet_core.metrics",
    "afunet_core.radiometry",
    "afunet_core.tonemap",
    "napari_afunet",
)


def signature(value: object) -> str:
    try:
        return re.sub(r" at 0x\w+", "", str(inspect.signature(value)))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return type(value).__name__


def describe(value: object) -> str | dict[str, str]:
    """The signature of a function; those of a class, its public methods and properties; the type of anything else."""
    if not inspect.isclass(value):
        return signature(value)
    members = {"(call)": signature(value)}
    for name, member in sorted(vars(value).items()):
        if not name.startswith("_") and not name.isupper():
            plain = getattr(member, "__func__", member)
            members[name] = signature(plain) if inspect.isfunction(plain) else type(plain).__name__
    return members


def surface(module: str) -> dict[str, str | dict[str, str]]:
    loaded = importlib.import_module(module)
    return {name: describe(getattr(loaded, name)) for name in sorted(loaded.__all__)}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_public_vanished_or_changed(module):
    recorded, found = json.loads(SURFACE.read_text(encoding="utf-8"))[module], surface(module)
    assert not sorted(set(recorded) - set(found)), "public names vanished"
    for name, before in recorded.items():
        now = found[name]
        if isinstance(before, dict) and isinstance(now, dict):
            now = {member: now.get(member, "missing") for member in before}  # new methods break nobody
        assert now == before, f"{module}.{name} changed; see the top of this file if that was on purpose"
        value = getattr(importlib.import_module(module), name)
        assert inspect.getdoc(value) or not callable(value), f"{module}.{name} has no docstring"


if __name__ == "__main__":
    SURFACE.write_text(
        json.dumps({m: surface(m) for m in MODULES}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
