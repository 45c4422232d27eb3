"""Train `full` and `compact` further for some minutes by the clock, on one GPU (or, to try it, on a CPU).

    python benchmarks/gpu_training.py --out FOLDER --hdr FOLDER --photos FOLDER [--held FOLDER] [--curves FILE.npz]
        [--minutes 8] [--networks full compact] [--device cuda]

Started by `benchmarks/gpu.py`; stands alone, too. Worker processes synthesise brackets: half by a camera that is as
stated, half by cameras as people have them; sharp ones of 128 pixels and soft ones of 256. A store on the device keeps
the latest few thousand, and batches are drawn from it with flips, turns and exchanged colours, so that the GPU never
waits. Every third step looks at the large ones at half their size (`afunet_core.model.working_scale`). Each network's
step is captured as one CUDA graph, since launching its thousands of small kernels one by one takes longer than they do.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_data import LARGE, SMALL, Store, Workers
from report import write_row
from torch import Tensor

from afunet_core.data.synthesis.brackets import KINDS, Synthesizer, SyntheticBatch
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.losses import HDRLoss
from afunet_core.metrics import psnr_linear, psnr_mu
from afunet_core.model.afunet import AFUNet, pad_to_multiple
from afunet_core.model.checkpoint import load_model, save_model
from afunet_core.model.heads import AnchoredHead, anchored_merge, anchored_weights, estimate_times
from afunet_core.model.streaming.at_scale import enlarged_maps, fit_maps, reduce_frames
from afunet_core.radiometry import mu_law

LOSS: dict[str, Any] = {"radiance": 0.3, "radiance_kind": "l1", "decibel": 0.02}
"""As the shipped models were trained."""
PRIOR_WEIGHT = 0.3
INVENTED_WEIGHT = 0.002
"""Of the prior's share where a frame has recorded the truth: a recorded value beats an imagined one."""
RATES = {"full": 8e-4, "compact": 1e-3}
"""Peak learning rates, for batches of 32; the shipped models ended on 6e-4 and 8e-4 with batches of 4."""
WARMUP, LAST_RATE, DECAY, CLIP = 0.06, 0.002, 0.998, 1.0
"""Share of the time until the peak; last rate in shares of the peak; of the averaged weights; largest gradient norm."""
SCALED_EVERY = 3
VALIDATE_EVERY, SAVE_EVERY, LOG_EVERY = 75.0, 50.0, 10.0
"""Seconds."""


class Objective:
    """The loss of a network on encoded frames, at a working scale.

    Args:
        model: with an anchored head.
        scale: by which the network looks at reduced frames.
        device: decides on mixed precision.
    """

    def __init__(self, model: AFUNet, scale: int, device: torch.device) -> None:
        self.model, self.scale, self.loss, self.device = model, scale, HDRLoss(**LOSS), device

    def __call__(self, frames: Tensor, times: Tensor, truth: Tensor) -> Tensor:
        """``B×3×3×H×W``, ``B×3``, ``B×3×H×W`` → the loss."""
        stacked = torch.cat([frames.clamp_min(0) ** 2.2 / times[:, :, None, None, None], frames], dim=2).flatten(1, 2)
        # Nothing of the casts may be kept: a graph replays them with the weights of its time.
        mixed = torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.device.type == "cuda", cache_enabled=False
        )
        with mixed:
            prior, trust = decode_at_scale(self.model, stacked, self.scale)
        radiance = merged(stacked, prior, trust)
        loss = self.loss(radiance, truth) + PRIOR_WEIGHT * self.loss(prior, truth)
        return loss + INVENTED_WEIGHT * invented(stacked, trust, truth)


def decode_at_scale(model: AFUNet, frames: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Prior and log-trusts at full size by a network that looks at frames reduced by ``scale``, differentiable."""
    coarse = reduce_frames(frames, scale) if scale > 1 else frames
    height, width = coarse.shape[-2:]
    assert isinstance(model.head, AnchoredHead)
    features, _ = model._features(pad_to_multiple(coarse, model.config.multiple), keep=False)
    prior, trust = (maps[..., :height, :width] for maps in model.head.decode(features))
    if scale == 1:
        return prior, trust
    decoded = torch.cat([prior, trust], dim=1)
    with torch.autocast(frames.device.type, enabled=False):  # differences of means need all their digits
        prior, trust = enlarged_maps(fit_maps(decoded, coarse), scale, frames, (0, frames.shape[2])).split((3, 4), 1)
    return prior, trust


def merged(frames: Tensor, prior: Tensor, trust: Tensor) -> Tensor:
    """The weighted mean of frames and prior."""
    frames = frames.to(prior.dtype)
    return anchored_merge(frames, estimate_times(frames), prior, trust)


def invented(frames: Tensor, trust: Tensor, truth: Tensor) -> Tensor:
    """The prior's mean share where a frame that is neither dark nor clipped shows the truth within 3 % and noise."""
    stacked = frames.unflatten(1, (3, 2, 3))
    recorded, encoded = stacked[:, :, 0], stacked[:, :, 1]
    near = (mu_law(recorded) - mu_law(truth)[:, None]).abs().amax(2) < 0.01
    exposed = (encoded.amin(2) > 0.1) & (encoded.amax(2) < 0.9)
    known = (near & exposed).any(1).to(trust.dtype)
    share = anchored_weights(frames, estimate_times(frames), trust)[:, 3].mean(1)
    return (share * known).mean()


class Trainee:
    """A network that learns, its averaged weights, its optimiser, and its steps as CUDA graphs where there is CUDA."""

    def __init__(self, name: str, start: str, device: torch.device, peak: float) -> None:
        self.name, self.device, self.peak = name, device, peak
        self.model = load_model(start).to(device).train()
        self.average = load_model(start).to(device).eval().requires_grad_(False)
        self.parameters: list[Tensor] = [value for value in self.model.parameters() if value.requires_grad]
        self.averaged: list[Tensor] = list(self.average.parameters())
        options: dict[str, Any] = {"fused": True, "capturable": True} if device.type == "cuda" else {}
        rate = torch.tensor(0.0, device=device)  # a tensor, so that a captured graph sees it change
        self.optimizer = torch.optim.AdamW(self.parameters, lr=rate, betas=(0.9, 0.99), weight_decay=1e-4, **options)
        self.rate: Tensor = self.optimizer.param_groups[0]["lr"]
        self.objectives = {scale: Objective(self.model, scale, device) for scale in (1, 2)}
        self.graphs: dict[int, Any] = {}
        self.inputs: dict[int, tuple[Tensor, ...]] = {}
        self.losses: dict[int, Tensor] = {}
        self.sums = {scale: torch.zeros((), device=device) for scale in (1, 2)}
        self.counts = dict.fromkeys((1, 2), 0)

    def learn(self, scale: int, batch: tuple[Tensor, ...], rate: float) -> None:
        """One step on frames, times and truth."""
        self.rate.fill_(rate)
        if scale in self.graphs:
            for kept, given in zip(self.inputs[scale], batch, strict=True):
                kept.copy_(given)
            self.graphs[scale].replay()
        else:
            self.losses[scale] = self._step(scale, batch)
        self.sums[scale] += self.losses[scale]
        self.counts[scale] += 1

    def capture(self, scale: int, batch: tuple[Tensor, ...]) -> None:
        """Make the step on batches of this shape one CUDA graph; its warm-up steps have a rate of 0."""
        self.rate.fill_(0.0)
        self.inputs[scale] = tuple(part.clone() for part in batch)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._step(scale, self.inputs[scale])
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.losses[scale] = self._step(scale, self.inputs[scale])
        self.graphs[scale] = graph

    def _step(self, scale: int, batch: tuple[Tensor, ...]) -> Tensor:
        """Loss, gradient, update, averaging; nothing that waits for the device, and no update where anything is NaN."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objectives[scale](*batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        sound = torch.isfinite(norm)
        if self.device.type == "cuda":  # the fused update leaves everything alone where it is told of an overflow
            self.optimizer.grad_scale = torch.ones((), device=self.device)  # type: ignore[attr-defined]
            self.optimizer.found_inf = (~sound).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif bool(sound):
            self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.parameters, 1 - DECAY)
        return torch.where(sound, loss.detach(), 0.0)

    def report(self) -> dict[str, float]:
        """Mean losses since the last report."""
        found = {
            f"{self.name}_x{scale}": float(total) / max(self.counts[scale], 1) for scale, total in self.sums.items()
        }
        for scale, total in self.sums.items():
            total.zero_()
            self.counts[scale] = 0
        return found

    def save(self, folder: Path, steps: int, seconds: float) -> None:
        """The averaged weights, unless they are broken: then the last good ones stay."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.averaged):
            print(f"{self.name}: the averaged weights are not finite, not saved", flush=True)
            return
        partial = folder / f"{self.name}.partial.safetensors"
        save_model(self.average, partial, {"steps": str(steps), "seconds": f"{seconds:.0f}"})
        os.replace(partial, folder / f"{self.name}.safetensors")


def schedule(share: float) -> float:
    """Learning rate in shares of its peak, at a share of the time: a linear rise, then a cosine.

    Example:
        >>> [round(schedule(share), 2) for share in (0.0, 0.03, 0.06, 0.53, 1.0)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if share < WARMUP:
        return share / WARMUP
    fall = 0.5 * (1 + math.cos(math.pi * min((share - WARMUP) / (1 - WARMUP), 1.0)))
    return LAST_RATE + (1 - LAST_RATE) * fall


class Validation:
    """Held-out brackets: exact gamma, cameras as they are, and soft ones looked at at half their size."""

    def __init__(self, bank: SceneBank, curves: str | None, count: int, side: int) -> None:
        self.sets: dict[str, tuple[int, SyntheticBatch]] = {}
        for name, camera, enlarge, scale in (("exact", 0.0, 1, 1), ("camera", 1.0, 1, 1), ("soft", 0.5, 2, 2)):
            config = SynthesisConfig.evaluation(8, camera_share=camera, camera_curves=curves)
            maker, generator = Synthesizer(bank, config), torch.Generator().manual_seed(1)
            made = [maker.sample(1, side, generator, KINDS[i % len(KINDS)], enlarge) for i in range(count)]
            self.sets[name] = scale, SyntheticBatch.concatenate(made)

    @torch.inference_mode()
    def score(self, model: AFUNet, device: torch.device) -> dict[str, float]:
        """PSNR-μ and PSNR-l of every set, in dB: all of its brackets at once."""
        found = {}
        for name, (scale, brackets) in self.sets.items():
            here = brackets.to(device)
            frames = here.network_input()
            image = merged(frames, *decode_at_scale(model, frames, scale)).clamp(0, 1)
            found[f"{name}_mu"] = float(psnr_mu(image, here.truth).mean())
            found[f"{name}_l"] = float(psnr_linear(image, here.truth).mean())
        return found


def batches(
    store: Store, large: Store, size: int, generator: torch.Generator
) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Scale and batch of each step, for ever: every third looks at large pictures at half their size."""
    step = 0
    while True:
        step += 1
        if step % SCALED_EVERY == 0 and len(large):
            yield 2, large.draw(max(size // 4, 1), generator)
        else:
            soft = size // 4 if len(large) else 0
            parts = [store.draw(size - soft, generator)]
            if soft:
                parts.append(large.draw(soft, generator, crop=SMALL))
            yield 1, tuple(torch.cat(part) for part in zip(*parts, strict=True))


def train(options: argparse.Namespace) -> None:
    """Train until the time is over."""
    torch.set_num_threads(1)  # before anything is computed: worker processes are forked from this one
    out, started = Path(options.out), time.time()
    out.mkdir(parents=True, exist_ok=True)
    begin = options.begin or started
    end = options.end or started + 60 * options.minutes
    bank = SceneBank.from_folders([options.hdr], [options.photos]) if options.hdr else SceneBank.procedural(0)
    held = SceneBank.from_folders([options.held]) if options.held else SceneBank.procedural(1_000_000)
    print(f"{time.time() - started:5.1f} s: {len(bank.hdr)} scenes, {len(bank.photos)} photographs", flush=True)
    workers = Workers(bank, options.curves, options.workers, end, int(started))
    validation = Validation(held, options.curves, options.brackets, 128 if options.small else 192)
    print(f"{time.time() - started:5.1f} s: {options.workers} workers started, validation ready", flush=True)

    device = torch.device(options.device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    small, large = Store(SMALL, options.keep, device), Store(LARGE, max(options.keep // 4, 8), device)
    fill = options.batch * 4
    while len(small) < fill or (time.time() < begin and not (options.ready and Path(options.ready).exists())):
        if len(small) < max(options.keep // 2, fill):
            workers.deliver(small, large, wait=1.0)
        else:  # enough: workers wait when their queue is full, and leave the processor to what is being timed
            time.sleep(0.2)
        if time.time() > end or not workers.alive():
            break
    if not len(small):
        raise SystemExit("No worker made any bracket.")
    print(f"{time.time() - started:5.1f} s: {len(small)} + {len(large)} brackets are there", flush=True)

    starts = {name: out / f"{name}.safetensors" if options.resume else name for name in options.networks}
    trainees = [
        Trainee(name, str(path if Path(path).is_file() else name), device, RATES.get(name, 8e-4) * options.rate)
        for name, path in starts.items()
    ]
    generator = torch.Generator().manual_seed(int(started))
    source = batches(small, large, options.batch, generator)
    if options.profile:
        try:
            profile(trainees, source, device)
        except Exception as error:  # it must not cost the training
            print(f"no profile: {error}", flush=True)
    if device.type == "cuda" and not options.eager:
        capture(trainees, source)
    run(trainees, source, workers, (small, large), validation, out, begin=time.time(), end=end, device=device)
    workers.stop()


def profile(trainees: list[Trainee], source: Iterator[tuple[int, tuple[Tensor, ...]]], device: torch.device) -> None:
    """Print where the time of a step goes, kernel by kernel; the rate of these steps is 0."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    for trainee in trainees:
        scale, batch = next(part for part in source if part[0] == 1)
        trainee.learn(scale, batch, 0.0)
        with record(activities=activities) as found:
            start = time.perf_counter()
            for _ in range(2):
                trainee.learn(scale, batch, 0.0)
            if device.type == "cuda":
                torch.cuda.synchronize()
            print(f"{trainee.name}: {(time.perf_counter() - start) / 2:.4f} s a step, kernel by kernel", flush=True)
        order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=order, row_limit=22, max_name_column_width=60)
        columns = [line[:62] + line[-90:] for line in table.splitlines()]
        print("\n".join(columns), flush=True)


def capture(trainees: list[Trainee], source: Iterator[tuple[int, tuple[Tensor, ...]]]) -> None:
    """CUDA graphs of all steps; where one cannot be captured, that step runs kernel by kernel."""
    waiting = {1, 2}
    for _ in range(2 * SCALED_EVERY):
        scale, batch = next(source)
        if scale not in waiting:
            continue
        waiting.remove(scale)
        for trainee in trainees:
            try:
                trainee.capture(scale, batch)
            except Exception as error:
                trainee.graphs.pop(scale, None)
                print(f"{trainee.name} x{scale}: no CUDA graph ({str(error).splitlines()[0]})", flush=True)
    torch.cuda.synchronize()
    print(f"CUDA graphs: {[(trainee.name, sorted(trainee.graphs)) for trainee in trainees]}", flush=True)


def run(
    trainees: list[Trainee],
    source: Iterator[tuple[int, tuple[Tensor, ...]]],
    workers: Workers,
    stores: tuple[Store, Store],
    validation: Validation,
    out: Path,
    *,
    begin: float,
    end: float,
    device: torch.device,
) -> None:
    """The loop: deliveries, steps, logs, validations and saves by the clock."""
    steps, windows = 0, 0
    logged = saved = begin
    validated = 0.0
    try:
        while (now := time.time()) < end:
            workers.deliver(*stores, most=4)
            if now - validated > VALIDATE_EVERY:
                validated = now
                validate(trainees, validation, out, steps, now - begin, device)
            scale, batch = next(source)
            for trainee in trainees:
                trainee.learn(scale, batch, trainee.peak * schedule((time.time() - begin) / (end - begin)))
            steps, windows = steps + 1, windows + len(batch[0])
            if device.type == "cuda" and steps % 10 == 0:
                torch.cuda.synchronize()  # else the clock runs ahead of the device by seconds
            if now - logged > LOG_EVERY or steps == 20:
                found = {key: value for trainee in trainees for key, value in trainee.report().items()}
                seconds = time.time() - begin
                rate = schedule(seconds / (end - begin))
                row = {"seconds": round(seconds), "step": steps, "rate": rate, "fresh": workers.made, **found}
                write_row(out / "training.csv", **row, windows_per_second=windows / (time.time() - logged))
                print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
                logged, windows = time.time(), 0
            if now - saved > SAVE_EVERY:
                saved = now
                for trainee in trainees:
                    trainee.save(out, steps, now - begin)
    finally:  # whatever happened, the weights come home
        for trainee in trainees:
            trainee.save(out, steps, time.time() - begin)
    validate(trainees, validation, out, steps, time.time() - begin, device)


def validate(
    trainees: list[Trainee], validation: Validation, out: Path, steps: int, seconds: float, device: torch.device
) -> None:
    """Scores of the averaged weights, printed and written."""
    for trainee in trainees:
        scores = validation.score(trainee.average, device)
        write_row(out / "validation.csv", network=trainee.name, step=steps, seconds=round(seconds), **scores)
        print(f"  {trainee.name}: " + "  ".join(f"{key} {value:.2f}" for key, value in scores.items()), flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--hdr", help="folder of linear scenes; without, procedural ones")
    parser.add_argument("--photos", help="folder of photographs")
    parser.add_argument("--held", help="folder of scenes to validate on")
    parser.add_argument("--curves", help="an .npz file with a basis of response curves")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--begin", type=float, help="seconds since 1970 before which the device is left alone")
    parser.add_argument("--ready", help="a file that lets the training begin earlier when it appears")
    parser.add_argument("--end", type=float, help="seconds since 1970; goes before --minutes")
    parser.add_argument("--networks", nargs="+", default=["full", "compact"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=max((os.cpu_count() or 2) - 2, 1))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--keep", type=int, default=6144, help="brackets of 128 pixels in the store")
    parser.add_argument("--brackets", type=int, default=24, help="of each kind of validation")
    parser.add_argument("--rate", type=float, default=1.0, help="factor on the learning rates")
    parser.add_argument("--profile", action="store_true", help="first print where the time of a step goes")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument(
        "--resume", action="store_true", help="from the weights in the output folder, where there are any"
    )
    parser.add_argument("--small", action="store_true", help="small validation, to try things out")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    train(parse())
