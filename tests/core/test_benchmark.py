"""The benchmark measures what it says, and its yardstick computes the same network."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from afunet_core.benchmark import Measurement, _measure, _PeakMemory, benchmark, plot, write_report
from afunet_core.errors import AFUNetError, ArgumentError
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import AFUNetConfig

ROOT = Path(__file__).resolve().parents[2]
ONE = Measurement("compact", 100, 200, "cpu", "float32", "stream", 0.5, 0.9, 1 << 20, 0, 1e-6)


def test_the_literal_network_is_the_network():
    spec = importlib.util.spec_from_file_location("literal", ROOT / "benchmarks" / "literal.py")
    assert spec is not None
    assert spec.loader is not None
    literal = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(literal)
    torch.manual_seed(0)
    model = AFUNet(AFUNetConfig(embed_dim=12, depths=(2, 3), fusion_heads=2)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        frames = torch.rand(2, 18, 21, 27)
        radiance = literal.literal_afunet(literal.parameters_of(model), frames)
        torch.testing.assert_close(radiance, model(frames), rtol=0, atol=5e-6)


def test_a_measurement_compares_with_the_plain_forward():
    job = {"model": "compact", "height": 24, "width": 40, "device": "cpu", "precision": "float32", "engine": "stream"}
    one = _measure({**job, "repeat": 1, "memory_budget": 0, "compare": True})
    assert one.difference is not None
    assert 0 <= one.difference < 2e-5
    assert one.seconds > 0
    assert (one.height, one.width, one.device_memory) == (24, 40, 0)


def test_peak_memory_sees_what_was_freed_again():
    with _PeakMemory() as peak:
        torch.ones(40 << 20)
    assert peak.bytes > 100 << 20


def test_a_failed_run_says_why():
    with pytest.raises(AFUNetError, match="no-such-model"):
        benchmark(["no-such-model"], [(8, 8)], precisions=["float32"])


def test_unknown_engines_are_refused():
    with pytest.raises(ArgumentError, match="engines"):
        benchmark(engines=["magic"])


def test_report_has_the_table_and_the_plot(tmp_path):
    write_report([ONE, replace(ONE, height=200, seconds=1.0)], tmp_path / "performance.md", "2026-01-01")
    text = (tmp_path / "performance.md").read_text()
    assert "| compact | 100×200 | cpu | float32 | stream | 0.50 | 0.90 | 0.040 | 1 | – | 1.0e-06 |" in text
    assert "2026-01-01" in text
    pytest.importorskip("matplotlib")
    assert plot([ONE], tmp_path / "again.svg")
    assert "<svg" in (tmp_path / "performance.svg").read_text()
