"""Elsewhere: exported programs, ONNX in onnxruntime, autocast. The contract of the operators compiles the network."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import onnx
import onnxruntime
import pytest
import torch

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.model.config import COMPACT, AFUNetConfig
from afunet_core.model.export import export_model
from scenes import drawn_network

FOR_ANY_SIZE = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13), reason="older exporters fail"
)

TINY = AFUNetConfig(embed_dim=6, depths=(2,), window_size=4, fusion_heads=1, alignment_heads=1, channel_heads=1)
SMALL_COMPACT = replace(
    COMPACT, embed_dim=6, depths=(2,), window_size=4, fusion_heads=1, alignment_heads=1, channel_heads=1
)
SIZES = ((21, 27), (16, 40), (9, 7), (1, 1), (1, 30))
"""Some fill windows, some need less padding than they have pixels, some more."""


def bracket(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 18, height, width, generator=torch.Generator().manual_seed(height))


@FOR_ANY_SIZE
def test_exported_program_equals_the_network_at_any_size_in_its_precision(tmp_path):
    model = drawn_network(TINY).double()
    path = export_model(model, tmp_path / "tiny.pt2")
    program = torch.export.load(path).module()
    for size in SIZES:
        frames = bracket(*size).double()
        with torch.no_grad():
            torch.testing.assert_close(program(frames), model(frames), rtol=0, atol=1e-12)
    with pytest.raises(AssertionError, match=r"size\(\)\[0\]"):
        program(bracket(9, 9, batch=2).double())
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.pt2"]


@pytest.mark.parametrize("depth", [1, pytest.param(2, marks=pytest.mark.slow)])  # twice as long for shifted windows
@FOR_ANY_SIZE
def test_onnx_equals_the_network_at_any_size(tmp_path, depth):
    config = replace(SMALL_COMPACT, depths=(depth,))
    model = drawn_network(config).train()
    path = export_model(model, tmp_path / "compact.onnx")
    assert model.training
    model.eval()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size, batch in itertools.product(SIZES, (1, 3)):
        frames = bracket(*size, batch=batch)
        (radiance,) = session.run(["radiance"], {"frames": frames.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(radiance), model(frames), rtol=0, atol=2e-6)
    stored = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert AFUNetConfig.from_dict(json.loads(stored["afunet_config"])) == config


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"\.onnx or \.pt2"):
        export_model(drawn_network(TINY), tmp_path / "model.pb")
    assert list(tmp_path.iterdir()) == []


def test_autocast_stays_close_to_float32_and_differentiable():
    model, frames = drawn_network(TINY), bracket(12, 20).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(frames)
    exact = model(frames)
    assert 0 < (rough.float() - exact).abs().max() < 0.05
    rough.float().sum().backward()
    assert torch.isfinite(frames.grad).all()


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".ONNX"])
def test_an_older_exporter_is_refused(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.7.1+cpu")
    with pytest.raises(DependencyError, match=r"needs PyTorch 2\.13 or later, and 2\.7\.1\+cpu is installed"):
        export_model(drawn_network(TINY), tmp_path / f"tiny{suffix}")
