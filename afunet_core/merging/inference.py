"""The network on a bracket: its weights, the form in which frames reach it, and what is done when memory runs out."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.merging.estimate import Estimate, precision_name
from afunet_core.merging.options import MergeOptions
from afunet_core.model.afunet import AFUNet, StageState
from afunet_core.model.checkpoint import load_model, model_path
from afunet_core.model.streaming.at_scale import stream_at_scale
from afunet_core.model.streaming.rows import FrameSource
from afunet_core.model.streaming.stream import stream
from afunet_core.utils.device import (
    automatic_budget,
    choose_device,
    choose_precision,
    describe_device,
    is_out_of_memory,
    multiplies_bfloat16,
    parse_memory,
    release_memory,
)
from afunet_core.utils.progress import ProgressReporter

# Attention windows computed at once: what is fastest first, then less while memory runs out.
PIECES_WHEN_SHORT = (None, 64, 8)
# Bytes of network input that are made at once for a GPU; of a larger one each pass makes the rows that it sees.
LARGEST_WHOLE_INPUT = 256 << 20


@dataclass(frozen=True)
class Network:
    """A network with the place and the manner of running it."""

    model: AFUNet  # the network, on any device
    description: dict[str, Any]  # what identifies it
    device: torch.device  # to compute on
    dtype: torch.dtype  # of its features
    budget: int | None  # bytes it may use; ``None`` decides by what is free
    keep_stages: bool  # keep the states after every stage
    reporter: ProgressReporter  # hears of progress and warnings, and may cancel
    scale: int = 1  # by which frames are reduced before it looks at them

    def estimate(self, three: Bracket, unit: float = 1.0, where: Tensor | None = None) -> Estimate:
        """Run the network on a shorter frame, the reference and a longer one.

        Where memory runs out the same is computed in smaller pieces, at last on the CPU: the result does not change.
        ``unit`` is the exposure time of the shorter one over that of the frame whose saturation is 1.0 in the result;
        where ``where``, B×1×h×w of any size, is 0, the result is the weighted merge.
        """
        frames = network_input(three, self.device)
        devices = [self.device] if self.device.type == "cpu" else [self.device, torch.device("cpu")]
        attempts = [(device, pieces) for device in devices for pieces in PIECES_WHEN_SHORT]
        for number, (device, pieces) in enumerate(attempts):
            try:
                image, states, looked_at = self._attempt(frames, device, pieces, where)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or number == len(attempts) - 1:
                    raise
            else:
                if number:
                    how = "in smaller pieces" if device == self.device else "on the CPU"
                    place = describe_device(self.device)
                    self.reporter.warn(f"Memory ran out on {place}; the same result was computed {how}.")
                image = image if unit == 1.0 else image / unit
                known: dict[str, Any] = {"three": three, "states": states, "unit": unit, "looked_at": looked_at}
                precision = precision_name(self.dtype)
                return Estimate(image, describe_device(device), precision, working_scale=self.scale, **known)
            finally:
                release_memory(device)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempt(
        self, frames: Tensor | BracketRows, device: torch.device, pieces: int | None, where: Tensor | None
    ) -> tuple[Tensor, Sequence[StageState], float]:
        free = self.budget if pieces is not None or self.budget is not None else automatic_budget(device)
        options: dict[str, Any] = {
            "memory_budget": free if pieces is None else 0,
            "on_progress": self.reporter.report,
            "should_cancel": self.reporter.cancelled,
            "precision": self.dtype,
            "tile_windows": pieces,
        }
        model = on_device(self.model, device)
        if self.scale > 1 or where is not None:
            image, looked_at = stream_at_scale(model, frames, self.scale, where, **options)
            return image, [], looked_at
        result = stream(model, frames, stages=self.keep_stages, **options)
        image, states = result if isinstance(result, tuple) else (result, [])
        return image, states, 1.0


def load_network(options: MergeOptions, reporter: ProgressReporter) -> Network | None:
    """Return the network that the options ask for, or ``None`` for a method without one."""
    device = choose_device(options.device)
    dtype = choose_precision(options.precision, device)
    budget = parse_memory(options.memory_budget)
    if options.method not in ("auto", "afunet"):
        return None
    if dtype == torch.bfloat16 and not multiplies_bfloat16(device):
        reporter.warn("This processor does not multiply bfloat16 itself: precision='float32' is several times as fast.")
    model, description = _load_model(options.model)
    return Network(model, description, device, dtype, budget, options.stages, reporter)


def _load_model(model: str | os.PathLike[str] | AFUNet) -> tuple[AFUNet, dict[str, Any]]:
    """Return the network in evaluation mode on the CPU, and what identifies it."""
    if isinstance(model, AFUNet):
        sha256 = hashlib.sha256()
        for parameter in model.parameters():
            sha256.update(parameter.detach().float().cpu().numpy().tobytes())
        network, name, digest, file = model, "a network in memory", sha256.hexdigest(), {}
    else:
        path = model_path(model)
        stat = path.stat()
        network, digest = _cached_model(str(path), stat.st_mtime_ns, stat.st_size)
        name, file = os.fspath(model), {"file": path.name}
    count = sum(parameter.numel() for parameter in network.parameters())
    config = network.config.to_dict()
    return network, {"name": name, "sha256": digest, "parameters": count, "config": config, **file}


@lru_cache(maxsize=2)
def _cached_model(path: str, mtime_ns: int, size: int) -> tuple[AFUNet, str]:
    """Stacks merge slice by slice: the file is read and checked once, until it changes on disk."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return load_model(path), digest


def on_device(model: AFUNet, device: torch.device) -> AFUNet:
    """Return the model ready on a device; the caller's own object is never moved or switched."""
    parameter = next(model.parameters())
    if parameter.device == device and parameter.dtype == torch.float32 and not model.training:
        return model
    return copy.deepcopy(model).to(device, torch.float32).eval()


def network_input(bracket: Bracket, device: torch.device) -> Tensor | BracketRows:
    """Return the input of a network: rows of it on CPUs, made by the cores that use them; all of it where it is little.

    Other devices get all at once up to :data:`LARGEST_WHOLE_INPUT`.
    """
    height, width = bracket.shape
    whole = bracket.batch_size * 18 * height * width * 4
    return bracket.to_tensor() if device.type != "cpu" and whole <= LARGEST_WHOLE_INPUT else BracketRows(bracket)


class BracketRows(FrameSource):
    """The tensor of :meth:`Bracket.to_tensor`, row by row: 72 bytes a pixel that are never held all at once."""

    def __init__(self, bracket: Bracket) -> None:
        self.bracket = bracket.triplet()
        self.shape = (self.bracket.batch_size, 18, *self.bracket.shape)
        self.device = self.bracket.frames[0].device

    def rows(self, index: int, start: int, stop: int) -> Tensor:
        frames = [frame[index : index + 1, :, start:stop] for frame in self.bracket.frames]
        return self.bracket.with_frames(frames).to_tensor()[0]

    def times(self, index: int) -> Tensor:
        return self.bracket.times
