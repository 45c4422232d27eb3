"""Load and save weights safely; the configuration is inferred from the tensors."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afunet_core.errors import ArgumentError, CheckpointError
from afunet_core.io.atomic import write_atomically
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import AGREEMENT_MAPS, AFUNetConfig
from afunet_core.model.published_names import is_published, to_published
from afunet_core.utils.device import choose_device, cpu_by_default

__all__ = [
    "describe_checkpoint",
    "infer_config",
    "load_model",
    "model_path",
    "read_checkpoint",
    "save_model",
    "shipped_models",
]

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
_DERIVED = ("relative_position_index", "attn_mask")
_DEEPEST = 8  # dictionaries within each other around the parameters; trainers make two or three
_LARGEST = 1e6  # no weight of a network that works comes near; damaged exponents do, and end as NaN

_WRAPPERS = ("state_dict", "model_state_dict", "params_ema", "params", "model", "net")


def shipped_models() -> dict[str, Path]:
    """List names and files of the models in the package (``default`` is an alias, see :func:`model_path`)."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


def model_path(name_or_path: str | os.PathLike[str]) -> Path:
    """Find the file of a shipped name, a fetched name or a path; CheckpointError if there is none."""
    if not isinstance(name_or_path, str | os.PathLike):
        raise ArgumentError("model", "an AFUNet, or the name or the file of one", type(name_or_path).__name__)
    models = shipped_models()
    name = os.fspath(name_or_path)
    if name == "default":
        name = json.loads((WEIGHTS / "default.json").read_text())["default"]
    if name in models:
        return models[name]
    if re.fullmatch(r"[\w-]+", name) and (cached := fetched_file(name)) is not None:
        return cached
    if os.path.isfile(path := os.path.expanduser(name)):
        return Path(path)
    from afunet_core.model.pretrained import PUBLISHED

    if name in PUBLISHED:
        advice = f"Download the authors' weights first: afunet fetch {name}"
    else:
        advice = f"Shipped models: {', '.join(['default', *models])}. Others can be fetched: {', '.join(PUBLISHED)}"
    raise CheckpointError(f"model: there is no model or file named {name!r}. {advice}.")


def cache_folder() -> Path:
    """Return the folder of fetched weights: ``AFUNET_CACHE``, else the user's cache folder, if there is one."""
    if own := os.environ.get("AFUNET_CACHE"):
        return Path(own).absolute()
    stated = os.environ.get("XDG_CACHE_HOME", "")
    folder = stated if os.path.isabs(stated) else os.path.expanduser("~/.cache")  # as its standard says
    if not os.path.isabs(folder):
        raise CheckpointError("model: this user has no home folder for fetched weights. Name one in AFUNET_CACHE.")
    return Path(folder, "afunet")


def fetched_file(name: str) -> Path | None:
    """Return the file of fetched weights, or ``None`` where they were not fetched."""
    try:
        path = cache_folder() / f"{name}.safetensors"
    except CheckpointError:
        return None
    return path if path.is_file() else None


def load_model(
    name_or_path: str | os.PathLike[str] = "default",
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> AFUNet:
    """Load a network, ready for inference.

    Args:
        name_or_path: a shipped name (``"default"``, ``"compact"``, …), a ``.safetensors`` or a published ``.pth``
            file.
        device: where the network goes: ``"cpu"``, ``"cuda"``, ``"mps"``, ``"auto"`` or a device.
        dtype: floating dtype of its parameters, and of its results for frames of that dtype.

    Raises:
        ArgumentError: for a device that this machine does not have, or a dtype that is not floating.
        CheckpointError: for a missing, damaged, hostile or foreign file.

    Example:
        >>> load_model("compact").training
        False
    """
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ArgumentError("dtype", "a floating dtype such as torch.float16", repr(dtype))
    tensors, _, config = _read_network(model_path(name_or_path))
    with cpu_by_default():
        model = AFUNet(config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(tensors[to_published(key)].reshape(parameter.shape))
    where = device if isinstance(device, torch.device) else choose_device(device)
    return model.to(device=where, dtype=dtype).eval()


def save_model(model: AFUNet, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write a network as safetensors under the published names, with its configuration; atomically."""
    from safetensors.torch import save

    target = Path(path)
    tensors = {to_published(key): value.detach().cpu().contiguous() for key, value in model.named_parameters()}
    notes = {**(metadata or {}), "afunet_config": json.dumps(model.config.to_dict())}
    data = save(tensors, metadata=notes)
    write_atomically(target, lambda temporary: temporary.write_bytes(data))


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read parameters under their published names, and metadata, from a ``.safetensors`` or PyTorch file.

    Nothing in the file is ever executed: PyTorch files are opened with ``weights_only=True``.

    Raises:
        CheckpointError: saying what is wrong with the file.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"model: there is no file {path}.")
    content, metadata = _read_safetensors(path) if path.suffix == ".safetensors" else (_read_torch(path), {})
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        name = str(key).removeprefix("module.").removeprefix("_orig_mod.")
        if not name.endswith(_DERIVED):
            _check_plain(value, str(key), path)
            tensors[name] = value
    foreign = [name for name in tensors if not is_published(name)]
    if foreign or not tensors:
        found = f"unknown parameters such as {', '.join(foreign[:3])}" if foreign else "no parameters"
        raise CheckpointError(f"model: {path.name} is not an AFUNet checkpoint ({found}).")
    return tensors, metadata


def _check_plain(value: object, key: str, path: Path) -> None:
    """Refuse what is no ordinary tensor of numbers, before anything is computed or made as large as it claims."""
    if not isinstance(value, Tensor):
        raise CheckpointError(f"model: {path.name} holds a {type(value).__name__} under {key!r}, not a tensor.")
    odd = value.layout is not torch.strided or value.is_quantized or value.is_nested or value.is_meta
    if odd or not value.is_floating_point():
        known = "quantised" if value.is_quantized else "nested" if value.is_nested else ""
        kind = known or f"{value.layout} {value.dtype}".replace("torch.", "")
        raise CheckpointError(f"model: {path.name} holds a {kind} tensor under {key!r}, not plain floats.")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise CheckpointError(f"model: {path.name} claims {value.numel()} numbers under {key!r} and holds fewer.")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except Exception as error:
        raise CheckpointError(f"model: {path.name} is not a readable safetensors file ({error}).") from error


def _read_torch(path: Path) -> Mapping[str, Any]:
    """Return the innermost dictionary, of parameters, of what a trainer saved."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        advice = "It is truncated, not a PyTorch file, or holds code, which is never run."
        raise CheckpointError(f"model: {path.name} cannot be loaded safely. {advice}") from error
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            raise CheckpointError(f"model: {path.name} holds a {type(content).__name__}, not named parameters.")
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            return content
        content = inner
    raise CheckpointError(f"model: {path.name} holds dictionaries within dictionaries without end.")


def infer_config(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> AFUNetConfig:
    """Infer the configuration from tensors under their published names.

    Shapes decide everything but the order of the stage and the stochastic depth, which come from the metadata, if
    any.

    Raises:
        CheckpointError: if the tensors fit no configuration.
    """
    hints: dict[str, Any] = {}
    try:
        if metadata and "afunet_config" in metadata:
            stored = json.loads(metadata["afunet_config"])
            hints = {name: stored[name] for name in ("order", "drop_path") if name in stored}
        return AFUNetConfig(**_sizes({name: tuple(value.shape) for name, value in tensors.items()}), **hints)
    except (KeyError, IndexError, ValueError, ZeroDivisionError, TypeError, AttributeError) as error:
        raise CheckpointError(f"model: the parameters fit no AFUNet configuration ({error}).") from error


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    branch, inputs = shapes["conv1.0.weight"][:2]
    outputs = shapes["out.0.weight"][0]  # 3 or 7 maps, fold × fold pixels each
    head = "direct" if 3 * math.isqrt(outputs // 3) ** 2 == outputs else "anchored"
    fold = math.isqrt(outputs // (3 if head == "direct" else 7))
    stages = 1 + max(int(key.split(".")[1]) for key in shapes if key.startswith("mlps_end."))
    if stages > len(shapes):
        raise ValueError(f"{len(shapes)} parameters for {stages} stages")
    depths = [0] * stages
    for key in shapes:
        match = re.match(r"SFM\.(\d+)\.residual_group\.blocks\.(\d+)\.", key)
        if match:
            depths[int(match[1])] = max(depths[int(match[1])], int(match[2]) + 1)
    fusion = next((s for k, s in shapes.items() if k.startswith("SFM.") and k.endswith("bias_table")), None)
    alignment = next((s for k, s in shapes.items() if k.startswith("a_12.") and k.endswith("bias_table")), None)
    table = fusion or alignment
    sizes: dict[str, Any] = {
        "embed_dim": 3 * branch,
        "depths": tuple(depths),
        "mlp_ratio": shapes["mlps_end.0.fc1.weight"][0] / branch,
        "alignment": alignment is not None,
        "channel_fusion": "f_12.0.attn.temperature" in shapes,
        "data_consistency": "inv.0.fc1.weight" in shapes,
        "downscale": fold,
        "head": head,
        "mu_input": inputs in (9 * fold**2, 9 * fold**2 + AGREEMENT_MAPS),
        "agreement_input": inputs not in (6 * fold**2, 9 * fold**2),
        "dormant_norm": "patch_embed_div3.norm.weight" in shapes,
    }
    if table is not None:
        sizes["window_size"] = (math.isqrt(table[0]) + 1) // 2
    # A module that is not there has no heads to count; 1 fits every width.
    sizes["fusion_heads"] = fusion[1] if fusion is not None else 1
    sizes["alignment_heads"] = alignment[1] if alignment is not None else 1
    sizes["channel_heads"] = shapes["f_12.0.attn.temperature"][0] if sizes["channel_fusion"] else 1
    return sizes


def _read_network(path: Path) -> tuple[dict[str, Tensor], dict[str, str], AFUNetConfig]:
    """Read tensors, metadata and configuration; parameters that do not fit, or are absurd, are refused first."""
    tensors, metadata = read_checkpoint(path)
    config = infer_config(tensors, metadata)
    depths = sum(config.depths)
    if depths > len(tensors):
        raise CheckpointError(f"model: {len(tensors)} parameters cannot fill {depths} blocks.")
    try:
        with torch.device("meta"):  # shapes alone: what a file claims is not allocated
            expected = {to_published(key): value for key, value in AFUNet(config).named_parameters()}
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(f"model: the parameters fit no AFUNet configuration ({error}).") from error
    shared = [key for key in expected if key in tensors]
    problems = {
        "missing": lambda: sorted(set(expected) - set(tensors)),
        "left over": lambda: sorted(set(tensors) - set(expected)),
        "of another shape": lambda: [k for k in shared if _shape(expected[k], tensors[k]) != expected[k].shape],
        "not finite": lambda: [k for k in shared if not torch.isfinite(tensors[k]).all()],
        "beyond any that work": lambda: [k for k in shared if float(tensors[k].abs().max()) > _LARGEST],
    }
    for problem, found in problems.items():
        if keys := found():
            raise CheckpointError(f"model: {len(keys)} parameters are {problem}, the first is {keys[0]}.")
    return tensors, metadata, config


def _shape(parameter: Tensor, value: Tensor) -> torch.Size:
    """Shape of a stored value; published files hold some matrices as 1×1 convolutions, scalars as one element."""
    if parameter.dim() == 0 and value.numel() == 1:
        return parameter.shape
    return value.shape[:2] if parameter.dim() == 2 and value.shape[2:] == (1, 1) else value.shape


def describe_checkpoint(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a checkpoint: file, parameters, configuration, metadata; CheckpointError if it is none."""
    path = model_path(name_or_path)
    tensors, metadata, config = _read_network(path)
    notes = {key: value for key, value in metadata.items() if key != "afunet_config"}
    card = path.with_suffix(".md")
    return {
        "file": path.name,
        **({"card": f"{card} (training data, scores, known failures)"} if card.is_file() else {}),
        "bytes": path.stat().st_size,
        "parameters": sum(value.numel() for value in tensors.values()),
        "published_form": config.published_form,
        "config": config.to_dict(),
        "metadata": notes,
    }
