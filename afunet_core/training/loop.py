"""Training of AFUNet with Lightning Fabric: one CPU, one GPU, several GPUs or nodes by the same command.

Every step draws its brackets from a generator seeded by (seed, step, rank), so a resumed run continues as if it had
never stopped.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from afunet_core.errors import ArgumentError, CheckpointError, DependencyError
from afunet_core.io.atomic import write_atomically
from afunet_core.losses.hdr import HDRLoss
from afunet_core.model.afunet import AFUNet
from afunet_core.model.checkpoint import load_model, save_model
from afunet_core.training.config import TrainingConfig, check_names, learning_rate
from afunet_core.training.sources import Batch, data_source, training_batches, validate
from afunet_core.utils.device import choose_training_precision


class TrainingObjective(nn.Module):
    """The network with its loss on top: what is compiled, distributed and differentiated.

    Example:
        >>> from afunet_core.model.config import COMPACT
        >>> objective = TrainingObjective(AFUNet(COMPACT), TrainingConfig())
        >>> objective(torch.rand(1, 18, 16, 16), torch.rand(1, 3, 16, 16)).shape
        torch.Size([])
    """

    def __init__(self, model: AFUNet, config: TrainingConfig) -> None:
        super().__init__()
        check_names("loss", config.loss, inspect.signature(HDRLoss).parameters)
        self.model = model
        self.loss = HDRLoss(**config.loss)
        self.prior_weight = config.prior_weight if model.config.head == "anchored" else 0.0

    def forward(self, frames: Tensor, truth: Tensor) -> Tensor:
        """Compute the loss of ``B×18×H×W`` and ``B×3×H×W``."""
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
    """Train a network; write its averaged weights, of which the path is returned, checkpoints and logs.

    The folder holds ``model.safetensors`` (averaged weights), ``best.safetensors`` (those that validated best),
    ``last.ckpt`` (to resume from), ``config.json``, and for each start of the run ``log/from-STEP/metrics.csv``.

    Args:
        config: the run.
        out: folder for everything that is written.
        resume: continue from ``last.ckpt`` there, if any; a damaged one is refused before anything is written.
        minutes: stop cleanly (with a checkpoint) after this long, to be resumed later.
        accelerator, devices, nodes: as Lightning Fabric takes them.
        progress: show a bar with the time left.
    """
    from tqdm import tqdm

    folder, deadline = Path(out), math.inf if minutes is None else time.monotonic() + 60 * minutes
    fabric = _fabric(config, accelerator, devices, nodes)
    from lightning.fabric.loggers import CSVLogger

    state = _TrainingState.start(config, fabric.device)
    source = data_source(config, fabric.device)
    objective: Any = TrainingObjective(state.model, config)
    if resume and (folder / "last.ckpt").is_file():
        state.load(folder / "last.ckpt", fabric.device)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2))

    for group in state.optimizer.param_groups:
        group["initial_lr"] = config.learning_rate
    share = lambda step: learning_rate(config, step) / config.learning_rate  # noqa: E731
    schedule = LambdaLR(state.optimizer, share, last_epoch=state.step - 1)
    objective, optimizer = fabric.setup(torch.compile(objective) if config.compile else objective, state.optimizer)
    # A log of its own for each start of a run: Lightning's logger replaces the file it finds.
    logger: Any = CSVLogger(folder, name="log", version=f"from-{state.step:07d}", flush_logs_every_n_steps=1)
    bar = tqdm(total=config.steps, initial=state.step, disable=not (progress and fabric.is_global_zero), unit="step")
    running = torch.zeros((), device=fabric.device)
    for batch in training_batches(source, range(state.step, config.steps), fabric.global_rank):
        # The randomness inside the network (stochastic depth) is seeded by the step, so that resuming repeats it.
        torch.manual_seed((config.seed * 1_000_003 + state.step) * 64 + fabric.global_rank)
        running += _optimise(fabric, objective, optimizer, fabric.to_device(batch), config.clip)
        rate = schedule.get_last_lr()[0]
        schedule.step()
        state.step += 1
        state.average.update_parameters(state.model)
        bar.update()
        if fabric.is_global_zero and state.step % config.log_every == 0:
            mean = float(running) / config.log_every
            running.zero_()
            bar.set_postfix(loss=f"{mean:.4f}", lr=f"{rate:.1e}")
            logger.log_metrics({"loss": mean, "learning_rate": rate}, state.step)
        if fabric.is_global_zero and config.validate_every and state.step % config.validate_every == 0:
            logger.log_metrics(_validate(state, source, folder), state.step)
        if fabric.is_global_zero and state.step % config.checkpoint_every == 0:
            state.save(folder, config)
        if time.monotonic() > deadline:
            break
    bar.close()
    if fabric.is_global_zero:
        logger.save()
        state.save(folder, config)
    return folder / "model.safetensors"


@dataclass
class _TrainingState:
    """Everything that a checkpoint holds."""

    model: AFUNet
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: float = -math.inf

    @classmethod
    def start(cls, config: TrainingConfig, device: torch.device) -> _TrainingState:
        """Draw the weights, or take those that ``start_from`` names."""
        model = AFUNet(config.network())
        if config.start_from:
            start = load_model(config.start_from)
            found, wanted = start.config.to_dict(), model.config.to_dict()
            if other := [name for name in found if found[name] != wanted[name] and name != "drop_path"]:
                expected, actual = (", ".join(f"{name} {sizes[name]}" for name in other) for sizes in (wanted, found))
                advice = "Name a model, or model_overrides, with the sizes of the weights."
                raise ArgumentError("start_from", f"weights of {expected}", actual, advice)
            model.load_state_dict(start.state_dict())
        model.to(device)
        average = AveragedModel(model, multi_avg_fn=_warmed_up_average(config.ema)).eval().requires_grad_(False)
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        options: dict[str, Any] = {"lr": config.learning_rate, "betas": config.betas, "fused": True}
        if config.optimizer == "adamw":
            return cls(model, average, torch.optim.AdamW(trainable, weight_decay=config.weight_decay, **options))
        return cls(model, average, torch.optim.Adam(trainable, **options))

    @property
    def averaged(self) -> AFUNet:
        """The network with the averaged weights."""
        network = self.average.module
        assert isinstance(network, AFUNet)
        return network

    def load(self, path: Path, device: torch.device) -> None:
        """Read a checkpoint; CheckpointError if it is damaged or of another network. Nothing in it is executed."""
        advice = "Train into another folder, or start again with resume=False (afunet train --restart)."
        try:
            saved = torch.load(path, map_location=device, weights_only=True)
            odd = [
                key for part in ("model", "average") for key, value in saved[part].items() if not value.isfinite().all()
            ]
            if odd:
                raise ValueError(f"{len(odd)} of its parameters are not finite, the first is {odd[0]}.")
            self.model.load_state_dict(saved["model"])
            self.averaged.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.best = int(saved["step"]), float(saved["best"])
        except Exception as error:  # what damaged files raise has no common class
            reason = str(error).strip().partition("\n")[0].partition(". ")[0]  # torch goes on with unsafe advice
            raise CheckpointError(
                f"{path} cannot be resumed from: {reason.rstrip('.:') or type(error).__name__}. {advice}"
            ) from error
        self.average.n_averaged.fill_(self.step)

    def save(self, folder: Path, config: TrainingConfig) -> None:
        """Write ``last.ckpt`` and ``model.safetensors``."""
        saved = {
            "model": self.model.state_dict(),
            "average": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        write_atomically(folder / "last.ckpt", lambda temporary: torch.save(saved, temporary))
        save_model(self.averaged, folder / "model.safetensors", {"step": str(self.step), "seed": str(config.seed)})


def _fabric(config: TrainingConfig, accelerator: str, devices: int | str, nodes: int) -> Any:
    """Start Lightning Fabric, with the random numbers of the run."""
    try:
        from lightning.fabric import Fabric
    except ImportError as error:
        raise DependencyError("Training needs Lightning: pip install 'napari-afunet[train]'.") from error
    if accelerator == "auto" and not torch.cuda.is_available():
        accelerator = "cpu"
    gpu = "cuda" if torch.cuda.is_available() else "mps"
    device = torch.device(gpu if accelerator in ("auto", "gpu") else accelerator)
    precision: Any = choose_training_precision(config.precision, device)
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=precision)
    fabric.launch()
    fabric.seed_everything(config.seed, verbose=False)
    return fabric


def _warmed_up_average(decay: float) -> Any:
    """Return the function of :class:`AveragedModel`, with a lower decay at first so that early steps are forgotten."""

    def update(averaged: Any, current: Any, count: int | Tensor) -> None:
        steps = int(count) + 1
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averaged, current, count)

    return update


def _optimise(fabric: Any, objective: nn.Module, optimizer: Any, batch: Batch, clip: float) -> Tensor:
    """Take one step of the optimiser, unless a gradient is not finite; return the loss."""
    loss = objective(*batch)
    fabric.backward(loss)
    norm = fabric.clip_gradients(objective, optimizer, max_norm=clip, error_if_nonfinite=False)
    if norm is None or bool(torch.isfinite(norm)):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def _validate(state: _TrainingState, source: Any, folder: Path) -> dict[str, float]:
    """Score the averaged weights; write them to ``best.safetensors`` if they are the best so far."""
    scores = validate(state.averaged, source.samples(), folder / f"validation-{state.step:07d}.png", source.device)
    if scores["psnr_mu"] > state.best:
        state.best = scores["psnr_mu"]
        notes = {"step": str(state.step), **{name: f"{value:.4f}" for name, value in scores.items()}}
        save_model(state.averaged, folder / "best.safetensors", notes)
    return scores
