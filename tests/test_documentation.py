"""The documentation says what the program does: code runs as printed, names exist, pages are well formed."""

from __future__ import annotations

import importlib
import re
import shlex
import textwrap
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import afunet_core as af
from afunet_core.cli import build_parser, main
from afunet_core.data.demo import demo_bracket
from scenes import save_photo

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

RUN_PYTHON = [
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("quickstart.md", "index.md", "concepts/network.md", "reference/index.md")),
    *(ROOT / f"docs/howto/{name}.md" for name in ("merge", "pipeline", "inspect", "evaluate", "fluorescence")),
]
RUN_SHELL = [
    ROOT / "docs/quickstart.md",
    *(ROOT / f"docs/howto/{name}.md" for name in ("merge", "cameras", "inspect", "fluorescence", "use-the-result")),
]
NOT_HERE = ("napari.Viewer", "--8<--", "NEF", "DCIM")
"""Parts of blocks that need a window, another file, or raw files that may not be passed on."""


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language, those inside tabs included."""
    found = re.findall(
        rf"^( *)```{language}[^\n]*\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return [textwrap.dedent(code) for _, code in found]


def commands(page: Path) -> list[list[str]]:
    """The words of every ``afunet`` command in the shell blocks of a page."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part, comments=True)[1:] for part in parts if part.startswith("afunet ") and "…" not in part]


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [(frame >> 8).astype(np.uint8) for frame in demo_bracket(reduction=12).frames]


@pytest.fixture
def folder(frames: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages name, as small ones."""
    monkeypatch.chdir(tmp_path)
    for names in (("under", "normal", "over"), ("u", "n", "o")):
        for index, (name, frame) in enumerate(zip(names, frames, strict=True)):
            save_photo(Path(f"{name}.jpg"), frame, Fraction(4**index, 100))
            tifffile.imwrite(f"{name}.tif", frame)
    for name in ("brackets/garage", "calibration"):
        (tmp_path / name).mkdir(parents=True)
        for number, frame in enumerate(frames):
            tifffile.imwrite(tmp_path / name / f"{number}.tif", frame)
        (tmp_path / name / "exposure.txt").write_text("-2\n0\n2\n", encoding="utf-8")
    light = np.random.default_rng(0).uniform(0.02, 1.4, (24, 36))
    for time, name in ((1, "62"), (2, "125"), (4, "250")):
        counts = np.minimum(light * time * 900 + 100, 4095)
        tifffile.imwrite(f"cell_{name}ms.tif", counts.astype(np.uint16))
        tifffile.imwrite(f"series_{name}ms.tif", np.stack([counts, counts]).astype(np.uint16))
        green = np.stack([np.zeros_like(light), np.minimum(light * time * 60, 255), np.zeros_like(light)], -1)
        Image.fromarray(green.astype(np.uint8)).save(f"gfp_{name}ms.png")
    return tmp_path


@pytest.mark.parametrize("page", RUN_PYTHON, ids=lambda page: page.name)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_python_of_the_pages_runs_as_printed(page: Path, folder: Path) -> None:
    bracket = af.Bracket.from_files(["under.jpg", "normal.jpg", "over.jpg"])
    names: dict[str, Any] = {"af": af, "bracket": bracket, "stop_event": threading.Event()}
    code = [block for block in blocks(page, "python") if not any(part in block for part in NOT_HERE)]
    assert code
    for block in code:
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", RUN_SHELL, ids=lambda page: page.name)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_commands_of_the_pages_run_as_printed(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = [words for words in commands(page) if not any(part in " ".join(words) for part in NOT_HERE)]
    assert code
    for words in code:
        assert main([*words, *(["--overwrite"] if words[0] == "merge" else [])]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_one_that_the_program_takes(page: Path) -> None:
    for words in commands(page):
        if words[0] not in ("--version", "--help"):
            build_parser().parse_args([word if word[:2] != "-2" else f" {word}" for word in words])


def resolved(name: str) -> Any:
    """The module or attribute of a dotted name."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        try:
            found = importlib.import_module(".".join(words[:length]))
        except ModuleNotFoundError:
            continue
        for word in words[length:]:
            found = getattr(found, word)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_name_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in sorted(set(re.findall(r"\bafunet_core(?:\.[A-Za-z_]\w*)+", text))):
        resolved(name)
    for name in sorted(set(re.findall(r"\baf\.([A-Za-z_]\w*)", text))):
        assert hasattr(af, name), f"af.{name}"


def test_the_changelog_names_the_new_places() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ") and line.count("|") == 3]
    names = {name for row in rows for name in re.findall(r"`(afunet_core(?:\.\w+)+)`", row)}
    assert len(names) > 20
    for name in names:
        resolved(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_one_title(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    included = "--8<--" in text or "quality/" in str(page)
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == (0 if included and "\n# " not in f"\n{text}" else 1)


def test_the_readme_shows_and_links_the_same_anywhere() -> None:
    """An index shows the README without the repository around it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("https://")} == set()
