"""Elsewhere: exported programs, ONNX in onnxruntime, one graph without breaks, autocast."""

from __future__ import annotations

import itertools
import json
import warnings
from dataclasses import replace

import onnx
import onnxruntime
import pytest
import torch

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.model.config import COMPACT, AFUNetConfig
from afunet_core.model.export import export_model, export_program

FOR_ANY_SIZE = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13), reason="older exporters tie a program to some sizes"
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
def test_exported_program_equals_the_network_at_any_size(drawn, tmp_path):
    model = drawn(TINY)
    path = export_model(model, tmp_path / "tiny.pt2")
    program = torch.export.load(path).module()
    for size in SIZES:
        with torch.no_grad():
            torch.testing.assert_close(program(bracket(*size)), model(bracket(*size)), rtol=0, atol=1e-6)
    with pytest.raises(AssertionError, match=r"size\(\)\[0\]"):
        program(bracket(9, 9, batch=2))
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.pt2"]


def test_onnx_equals_the_network_at_any_size(drawn, tmp_path):
    model = drawn(SMALL_COMPACT).train()
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
    assert AFUNetConfig.from_dict(json.loads(stored["afunet_config"])) == SMALL_COMPACT


def test_unknown_formats_are_refused(drawn, tmp_path):
    with pytest.raises(ArgumentError, match=r"\.onnx or \.pt2"):
        export_model(drawn(TINY), tmp_path / "model.pb")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_old_file(drawn, tmp_path, monkeypatch):
    old = tmp_path / "model.pt2"
    old.write_text("old")

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("afunet_core.model.export.export_program", lambda model: None)
    monkeypatch.setattr(torch.export, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        export_model(drawn(TINY), old)
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("config", [TINY, SMALL_COMPACT])
def test_compiles_as_one_graph(drawn, config):
    model, frames = drawn(config), bracket(21, 27)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(frames), model(frames), rtol=0, atol=1e-6)


def test_autocast_stays_close_to_float32_and_differentiable(drawn):
    model, frames = drawn(TINY), bracket(12, 20).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(frames)
    exact = model(frames)
    assert 0 < (rough.float() - exact).abs().max() < 0.05
    rough.float().sum().backward()
    assert torch.isfinite(frames.grad).all()


@FOR_ANY_SIZE
def test_export_of_double_precision_keeps_it(drawn):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = export_program(drawn(replace(TINY, depths=(0,))).double()).module()
    assert program(bracket(9, 9).double()).dtype == torch.float64


def test_an_older_exporter_is_refused(drawn, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.7.1+cpu")
    with pytest.raises(DependencyError, match=r"needs PyTorch 2\.13 or later; 2\.7\.1\+cpu is installed.*\.onnx"):
        export_program(drawn(TINY))
