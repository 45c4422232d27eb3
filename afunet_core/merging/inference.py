"""The network on a bracket: which weights, in what form the frames reach it, and what is done when memory runs out."""

from __future__ import annotations

import copy
import hashlib
import os
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.merging.bracket_rows import BracketRows
from afunet_core.model.afunet import AFUNet, StageState
from afunet_core.model.checkpoint import load_model, model_path
from afunet_core.model.streaming.stream import stream
from afunet_core.utils.device import automatic_budget, describe_device, is_out_of_memory, release_memory
from afunet_core.utils.progress import Run

__all__ = ["Model", "network_input", "obtain_model", "placed", "run_network"]

Model = str | os.PathLike[str] | AFUNet
"""A shipped name, a weights file, or a network."""

PIECES_WHEN_SHORT = (None, 64, 8)
"""Attention windows computed at once: what is fastest first, then less while memory runs out."""
LARGEST_WHOLE_INPUT = 256 << 20
"""Bytes of network input that are made at once for a GPU; of a larger one each pass makes the rows that it sees."""


def obtain_model(model: Model) -> tuple[AFUNet, dict[str, Any]]:
    """The network in evaluation mode on the CPU, and what identifies it."""
    if isinstance(model, AFUNet):
        sha256 = hashlib.sha256()
        for parameter in model.parameters():
            sha256.update(parameter.detach().float().cpu().numpy().tobytes())
        return model, _describe_model(model, "a network in memory", sha256.hexdigest())
    path = model_path(model)
    stat = path.stat()
    network, digest = _cached_model(str(path), stat.st_mtime_ns, stat.st_size)
    return network, {**_describe_model(network, os.fspath(model), digest), "file": path.name}


@lru_cache(maxsize=2)
def _cached_model(path: str, mtime_ns: int, size: int) -> tuple[AFUNet, str]:
    """Stacks merge slice by slice: the file is read and checked once, until it changes on disk."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return load_model(path), digest


def _describe_model(model: AFUNet, name: str, digest: str) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"name": name, "sha256": digest, "parameters": parameters, "config": model.config.to_dict()}


def placed(model: AFUNet, device: torch.device) -> AFUNet:
    """The model ready on ``device``; the caller's own object is never moved or switched."""
    parameter = next(model.parameters())
    if parameter.device == device and parameter.dtype == torch.float32 and not model.training:
        return model
    return copy.deepcopy(model).to(device, torch.float32).eval()


def network_input(bracket: Bracket, device: torch.device) -> Tensor | BracketRows:
    """On CPUs rows of the input, made by the cores that use them; other devices get all at once, if that is little."""
    height, width = bracket.shape
    whole = bracket.batch_size * 18 * height * width * 4
    return bracket.to_tensor() if device.type != "cpu" and whole <= LARGEST_WHOLE_INPUT else BracketRows(bracket)


def run_network(
    model: AFUNet,
    frames: Tensor | BracketRows,
    device: torch.device,
    dtype: torch.dtype,
    budget: int | None,
    keep_stages: bool,
    run: Run,
) -> tuple[Tensor, list[StageState], dict[str, str]]:
    """The image, the stages, and the device and precision that served.

    Where memory runs out the same is computed in smaller pieces, at last on the CPU: the result does not change.
    """
    places = [device] if device.type == "cpu" else [device, torch.device("cpu")]
    attempts = [(place, shrink) for place in places for shrink in PIECES_WHEN_SHORT]
    for number, (place, pieces) in enumerate(attempts):
        share = (budget if budget is not None else automatic_budget(place)) if pieces is None else 0
        try:
            result = stream(
                placed(model, place),
                frames,
                memory_budget=share,
                stages=keep_stages,
                on_progress=run.report,
                should_cancel=run.cancelled,
                precision=dtype,
                piece_windows=pieces,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or number == len(attempts) - 1:
                raise
        else:
            image, states = result if isinstance(result, tuple) else (result, [])
            if number:
                how = "in smaller pieces" if place == device else "on the CPU"
                run.warn(f"Memory ran out on {describe_device(device)}; the same result was computed {how}.")
            return image, states, {"device": describe_device(place), "precision": str(dtype).removeprefix("torch.")}
        finally:
            release_memory(place)
    raise AssertionError("unreachable: the last attempt returns or raises")
