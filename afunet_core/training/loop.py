"""Train AFUNet with Lightning Fabric: one CPU, one GPU, several GPUs or nodes by the same command.

Every step draws its brackets from a generator seeded by (seed, step, rank), so a run that is stopped and resumed sees
the same data in the same order; with the optimiser, the averaged weights and the step in the checkpoint, it continues
as if it had never stopped.
"""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.losses.hdr import HDRLoss
from afunet_core.model.afunet import AFUNet
from afunet_core.model.checkpoint import load_model, save_model
from afunet_core.model.streaming.allocator import freed_memory_kept
from afunet_core.training.config import TrainingConfig, learning_rate, load_config
from afunet_core.training.deepen import grow
from afunet_core.utils.device import choose_training_precision

__all__ = ["TrainingConfig", "TrainingObjective", "learning_rate", "load_config", "train"]

Batch = tuple[Tensor, Tensor]  # network input B×18×H×W, truth B×3×H×W


class _Average:
    """Exponential moving average of parameters, with a warm-up so that early steps do not linger."""

    def __init__(self, model: AFUNet, decay: float) -> None:
        self.decay = decay
        self.model = AFUNet(model.config).to(next(model.parameters()).device).eval().requires_grad_(False)
        self.model.load_state_dict(model.state_dict())

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        keep = min(self.decay, (1 + step) / (10 + step))
        ours: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(ours, theirs, 1.0 - keep)


class TrainingObjective(nn.Module):
    """The network with its loss on top: what is compiled, distributed and differentiated.

    Args:
        model: the network.
        config: of the run; its ``loss`` and ``prior_weight`` count here.

    Example:
        >>> from afunet_core.model.config import COMPACT
        >>> objective = TrainingObjective(AFUNet(COMPACT), TrainingConfig())
        >>> objective(torch.rand(1, 18, 16, 16), torch.rand(1, 3, 16, 16)).shape
        torch.Size([])
    """

    def __init__(self, model: AFUNet, config: TrainingConfig) -> None:
        super().__init__()
        self.model = model
        self.loss = HDRLoss(**config.loss)
        self.prior_weight = config.prior_weight if model.config.head == "anchored" else 0.0

    def forward(self, frames: Tensor, truth: Tensor) -> Tensor:
        """``B×18×H×W`` and ``B×3×H×W`` → the loss."""
        radiance, prior = self.model.forward_with_prior(frames)
        loss = self.loss(radiance.float(), truth)
        return loss + self.prior_weight * self.loss(prior.float(), truth) if self.prior_weight else loss


def train(
    config: TrainingConfig,
    out: str | os.PathLike[str],
    *,
    resume: bool = True,
    minutes: float | None = None,
    accelerator: str = "auto",
    devices: int | str = 1,
    nodes: int = 1,
    progress: bool = True,
) -> Path:
    """Train; write averaged weights (``model.safetensors``), ``last.ckpt``, ``log.csv`` and ``config.json`` to ``out``.

    Args:
        config: the run.
        out: folder for everything that is written.
        resume: continue from ``last.ckpt`` there, if any.
        minutes: stop cleanly (with a checkpoint) after this long, to be resumed later.
        accelerator, devices, nodes: as Lightning Fabric takes them.
        progress: show a bar with the time left.

    Returns:
        The path of the averaged weights.

    Raises:
        DependencyError: without the ``train`` extra.
    """
    try:
        from lightning.fabric import Fabric
    except ImportError as error:
        raise DependencyError("Training needs Lightning: pip install 'napari-afunet[train]'.") from error
    from tqdm import tqdm

    if accelerator == "auto" and not torch.cuda.is_available():
        accelerator = "cpu"
    gpu = "cuda" if torch.cuda.is_available() else "mps"
    place = torch.device(gpu if accelerator in ("auto", "gpu") else accelerator)
    precision: Any = choose_training_precision(config.precision, place)
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=precision)
    fabric.launch()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2))

    fabric.seed_everything(config.seed, verbose=False)
    model = AFUNet(config.network())
    if config.start_from:
        model = grow(load_model(config.start_from), config.network())
    average = _Average(model.to(fabric.device), config.ema)
    inner = model
    optimizer_class = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    decay = {"weight_decay": config.weight_decay} if config.optimizer == "adamw" else {}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = optimizer_class(trainable, lr=config.learning_rate, betas=config.betas, fused=True, **decay)
    step, best = 0, -math.inf
    checkpoint = folder / "last.ckpt"
    if resume and checkpoint.is_file():
        state = torch.load(checkpoint, map_location=fabric.device, weights_only=True)
        inner.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, best = state["step"], state["best"]
    objective: Any = TrainingObjective(model, config)
    if config.compile:
        objective = torch.compile(objective)
    objective, optimizer = fabric.setup(objective, optimizer)
    source = _data_source(config, fabric.device)
    deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def save() -> None:
        if fabric.is_global_zero:
            parts = {"model": inner.state_dict(), "average": average.model.state_dict()}
            state = {**parts, "optimizer": optimizer.state_dict(), "step": step, "best": best}
            temporary = checkpoint.with_suffix(".partial")
            torch.save(state, temporary)
            os.replace(temporary, checkpoint)
            save_model(average.model, folder / "model.safetensors", {"step": str(step), "seed": str(config.seed)})

    # As in streaming: on a CPU, memory that is freed and asked for again at each operation stays with the process.
    memory = freed_memory_kept() if fabric.device.type == "cpu" else nullcontext()
    bar = tqdm(total=config.steps, initial=step, disable=not (progress and fabric.is_global_zero), unit="step")
    running = torch.zeros((), device=fabric.device)
    with memory:
        for batch in _prefetch(source.batches, step, config.steps, fabric.global_rank):
            rate = learning_rate(config, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            _seed_step(config.seed, step, fabric.global_rank)
            frames, truth = batch
            loss = objective(frames, truth)
            fabric.backward(loss)
            norm = fabric.clip_gradients(objective, optimizer, max_norm=config.clip, error_if_nonfinite=False)
            if norm is None or bool(torch.isfinite(norm)):
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            average.update(inner, step)
            running += loss.detach()
            bar.update()
            if step % config.log_every == 0:
                mean = float(running) / config.log_every
                running.zero_()
                bar.set_postfix(loss=f"{mean:.4f}", lr=f"{rate:.1e}")
                _log(folder / "log.csv", fabric.is_global_zero, step=step, loss=mean, learning_rate=rate)
            if config.validate_every and step % config.validate_every == 0 and fabric.is_global_zero:
                scores = source.validate(average.model, folder / f"validation-{step:07d}.png")
                _log(folder / "validation.csv", True, step=step, **scores)
                if scores["psnr_mu"] > best:
                    best = scores["psnr_mu"]
                    save_model(average.model, folder / "best.safetensors", {"step": str(step), **_strings(scores)})
            if step % config.checkpoint_every == 0:
                save()
            if time.monotonic() > deadline:
                break
    bar.close()
    save()
    return folder / "model.safetensors"


def _seed_step(seed: int, step: int, rank: int) -> None:
    """Randomness inside the network (stochastic depth) depends on the step alone, so that resuming repeats it."""
    torch.manual_seed((seed * 1_000_003 + step) * 64 + rank)


def _prefetch(make: Callable[[int, int], Batch], start: int, stop: int, rank: int) -> Iterator[Batch]:
    """Make the next batches on another thread while this one is used.

    There each operation runs on one core: pictures are small, and two teams of threads would wait for each other.
    """
    torch.get_num_threads()  # settles the number for this thread, which would else take over the other's
    with ThreadPoolExecutor(max_workers=1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = [pool.submit(make, step, rank) for step in range(start, min(start + 2, stop))]
        for step in range(start, stop):
            batch = waiting.pop(0).result()
            if step + 2 < stop:
                waiting.append(pool.submit(make, step + 2, rank))
            try:
                yield batch
            except GeneratorExit:
                for future in waiting:
                    future.cancel()
                raise


def _strings(values: Mapping[str, float]) -> dict[str, str]:
    return {key: f"{value:.4f}" for key, value in values.items()}


def _log(path: Path, active: bool, **values: float) -> None:
    if not active:
        return
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(values))
        if fresh:
            writer.writeheader()
        writer.writerow(values)


def _data_source(config: TrainingConfig, device: torch.device) -> Any:
    from afunet_core.training.sources import FolderSource, SyntheticSource

    kinds: dict[str, Any] = {"synthetic": SyntheticSource, "folder": FolderSource}
    kind = config.data.get("kind", "synthetic")
    if kind not in kinds:
        raise ArgumentError("data.kind", f"one of {', '.join(kinds)}", kind)
    return kinds[kind](config, device)
