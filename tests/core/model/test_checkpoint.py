"""Weights in and out: every configuration, the published form, and files that are damaged, foreign or hostile."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from afunet_core import AFUNet, AFUNetConfig, load_model, save_model
from afunet_core.errors import CheckpointError
from afunet_core.model.checkpoint import (
    describe_checkpoint,
    model_path,
    read_checkpoint,
    shipped_models,
)
from afunet_core.model.published_names import to_published
from scenes import tiny_network as tiny_model

Change = Callable[[dict[str, torch.Tensor]], Any]

PUBLISHED = json.loads((Path(__file__).parent / "published_parameters.json").read_text())


def published_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """Small random values under the published names and shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {key: 0.02 * torch.randn(shape, generator=generator) for key, shape in PUBLISHED["parameters"].items()}


CONFIGS = st.builds(
    AFUNetConfig,
    embed_dim=st.sampled_from([12, 36]),
    depths=st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
    window_size=st.sampled_from([2, 4, 8]),
    alignment_heads=st.sampled_from([1, 2, 4]),
    fusion_heads=st.sampled_from([1, 2, 3, 6]),
    channel_heads=st.sampled_from([1, 2, 4]),
    mlp_ratio=st.sampled_from([1.0, 2.0, 2.5]),
    drop_path=st.sampled_from([0.0, 0.1]),
    order=st.sampled_from(["AF", "FA"]),
    downscale=st.sampled_from([1, 2, 3]),
    head=st.sampled_from(["direct", "anchored"]),
    **dict.fromkeys(
        ("alignment", "channel_fusion", "data_consistency", "mu_input", "agreement_input", "dormant_norm"),
        st.booleans(),
    ),
).filter(lambda config: config.alignment or sum(config.depths) > 0)


@settings(max_examples=15)
@given(config=CONFIGS)
def test_any_configuration_comes_back_from_its_file(config: AFUNetConfig, tmp_path: Path) -> None:
    model = AFUNet(config).eval()
    path = tmp_path / "model.safetensors"
    save_model(model, path, {"trained on": "nothing"})
    again, told = load_model(path), describe_checkpoint(path)
    assert not again.training
    assert json.loads(json.dumps(told)) == told
    assert told["metadata"] == {"trained on": "nothing"}
    assert told["config"] == again.config.to_dict()
    assert (told["bytes"], told["parameters"]) == (path.stat().st_size, sum(p.numel() for p in model.parameters()))
    expected = dict(model.named_parameters())
    for key, value in again.named_parameters():
        assert torch.equal(value, expected[key]), key
    frames = torch.rand(1, 18, 11, 13, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again(frames), model(frames))
    assert {value.dtype for value in load_model(path, dtype=torch.float64).parameters()} == {torch.float64}
    # What leaves no trace in the shapes of a network that lacks the module may differ; nothing else.
    ignored = set() if config.channel_fusion else {"channel_heads"}
    ignored |= set() if config.alignment else {"alignment_heads"}
    ignored |= set() if sum(config.depths) else {"fusion_heads"}
    found, stated = again.config.to_dict(), config.to_dict()
    assert {k: v for k, v in found.items() if k not in ignored} == {k: v for k, v in stated.items() if k not in ignored}


@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [(None, ""), ("state_dict", "module."), ("model", "_orig_mod."), ("params_ema", "module._orig_mod.")],
)
def test_published_files_load(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    tensors = published_tensors()
    if wrapper == "model":  # scalars with one element
        tensors = {key: value.reshape(1) if value.dim() == 0 else value for key, value in tensors.items()}
    content: dict[str, object] = OrderedDict((prefix + key, value) for key, value in tensors.items())
    # Derived buffers, of whatever shape training left them in.
    for number, key in enumerate(PUBLISHED["buffers"]):
        content[prefix + key] = torch.zeros(3 + number)
    torch.save({wrapper: content, "epoch": 7} if wrapper else content, tmp_path / "Published.pth")
    model = load_model(tmp_path / "Published.pth")
    assert model.config == AFUNetConfig(drop_path=model.config.drop_path)
    for key, value in model.named_parameters():
        assert torch.equal(value, tensors[to_published(key)].reshape(value.shape)), key


class Hostile:
    """A pickle that would make a file if it were ever executed."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle"])
def test_hostile_files_execute_nothing(tmp_path: Path, kind: str) -> None:
    proof, path = tmp_path / "proof", tmp_path / "model.pth"
    content = {"state_dict": {**published_tensors(), "extra": Hostile(proof)}}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    with pytest.raises(CheckpointError, match=r"cannot be loaded safely.*never run"):
        load_model(path)
    assert not proof.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_files(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        torch.save(published_tensors(), path)
    else:
        save_model(tiny_model(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"^model: cut"):
        load_model(path)


def test_other_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "picture.pth", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError, match="cannot be loaded safely"):
        load_model(tmp_path / "picture.pth")
    save_file({"layer1.weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match=r"foreign.safetensors is not an AFUNet checkpoint.*layer1.weight"):
        load_model(tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="no file"):
        read_checkpoint(tmp_path / "gone.safetensors")
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(CheckpointError, match="no parameters"):
        load_model(tmp_path / "empty.safetensors")
    (tmp_path / "lie.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")  # the size of its header
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        load_model(tmp_path / "lie.safetensors")


@pytest.mark.parametrize("content", [[1, 2, 3], torch.zeros(3), {"state_dict": {"conv1.0.weight": "not a tensor"}}])
def test_torch_files_without_parameters(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        load_model(tmp_path / "a.pth")


def _altered(folder: Path, change: Change) -> Path:
    save_model(tiny_model(), folder / "good.safetensors")
    tensors = load_file(folder / "good.safetensors")
    change(tensors)
    save_file(tensors, folder / "bad.safetensors")
    return folder / "bad.safetensors"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("conv_skip.bias"), r"1 parameters are missing, the first is conv_skip\.bias"),
        (lambda t: t.update({"beta1.7": torch.zeros(())}), r"left over, the first is beta1\.7"),
        (lambda t: t.update({"conv_skip.bias": torch.zeros(5)}), r"another shape, the first is conv_skip\.bias"),
        (lambda t: t["conv_skip.bias"].fill_(float("nan")), r"not finite, the first is conv_skip\.bias"),
        (lambda t: t["beta1.0"].fill_(float("inf")), r"not finite, the first is beta1\.0"),
        (lambda t: t.pop("conv1.0.weight"), "fit no AFUNet configuration"),
        (lambda t: t.update({"out.0.weight": torch.zeros(5, 4, 3, 3)}), "fit no AFUNet configuration"),
        (lambda t: t.update({"conv1.0.weight": torch.zeros(())}), "fit no AFUNet configuration"),
        (lambda t: t.update({"mlps_end.0.fc1.weight": torch.zeros(0, 3)}), "fit no AFUNet configuration"),
    ],
)
def test_parameters_must_match_strictly(tmp_path: Path, change: Change, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_model(_altered(tmp_path, change))


@pytest.mark.parametrize("note", ["not json", "[]", '{"order": "sideways"}', '{"drop_path": 7}', "null"])
def test_a_spoilt_configuration_note(tmp_path: Path, note: str) -> None:
    save_model(tiny_model(), tmp_path / "good.safetensors")
    save_file(load_file(tmp_path / "good.safetensors"), tmp_path / "bad.safetensors", metadata={"afunet_config": note})
    try:
        model = load_model(tmp_path / "bad.safetensors")
    except CheckpointError as error:
        assert "configuration" in str(error)  # noqa: PT017 - refusing and ignoring are both right
    else:
        assert model.config.depths == (1,)


@pytest.mark.parametrize(
    ("name", "said"),
    [("nothing", "named 'nothing'.*default"), ("tel", "Download .*: afunet fetch tel"), ("../tel", "no model or file")],
)
def test_unknown_names_say_what_there_is(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=said):
        model_path(name)


def test_shipped_models_load_and_default_names_one() -> None:
    models = shipped_models()
    assert models, "at least one trained model ships with the package"
    assert model_path("default") in models.values()
    for name, path in models.items():
        assert model_path(name) == path
        assert describe_checkpoint(name)["parameters"] == sum(p.numel() for p in load_model(name).parameters())
