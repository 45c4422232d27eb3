"""The measuring scripts run, and the literal network is the same network."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch

from afunet_core.model.config import AFUNetConfig
from scenes import drawn_network

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a script by name, as Python does when it is run."""
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for name in [
        name for name, module in sys.modules.items() if Path(str(getattr(module, "__file__", ""))).parent == FOLDER
    ]:
        del sys.modules[name]


def test_the_literal_network_is_the_network(load):
    literal = load("literal")
    model, frames = drawn_network(AFUNetConfig(embed_dim=12, depths=(2, 3), fusion_heads=2)), torch.rand(2, 18, 21, 27)
    with torch.no_grad():
        radiance = literal.literal_afunet(literal.parameters_of(model), frames)
        torch.testing.assert_close(radiance, model(frames), rtol=0, atol=5e-6)


def test_methods_are_measured_beside_opencv_with_their_error(load):
    pytest.importorskip("cv2")
    sizes = load("sizes")
    rows = sizes.measure(megapixels=0.006, frames=3, methods=["opencv", "weighted"])
    assert [row["method"] for row in rows] == ["opencv", "weighted"]
    assert all(row["cpu"] > 0 and 5 < row["psnr"] < 80 for row in rows)
    assert sizes.lines(rows)[0].startswith("| 0.006 | 3 | OpenCV |")


def test_a_table_is_written_from_processes_of_their_own(load, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    words = ["--megapixels", "0.006", "--method", "weighted", "--write", str(page)]
    monkeypatch.setattr(sys, "argv", ["sizes.py", *words, "--frames", "3"])
    load("sizes").main()
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"\| 0.006 \| 3 \| weighted \|( [\d.]* \|){6}  \|", line)
    assert line in page.read_text(encoding="utf-8")


def test_peak_memory_includes_what_was_freed_again(load):
    with load("report").PeakMemory() as peak:
        torch.ones(40 << 20)
    assert peak.peak - peak.start > 100 << 20
