"""Time and memory of whole merges and of the network alone, each measured in a process of its own.

    python benchmarks/merge_speed.py [--what merge network] [--model compact full] [--size 1000x1504] [--repeat 2]
        [--precision float32] [--device cpu] [--memory 2GB] [--plain] [--write docs/performance.md]

``merge`` is all of ``merge()`` on a generated hand-held bracket with moving objects. ``network`` is the network on
random frames, in bounded memory as the product runs it; ``--plain`` adds its plain forward, for comparison. Memory is
the peak above what the process held, input included, before the run; the fastest of the repeats counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from report import PeakMemory, describe_machine, usual_precisions, write_section
from torch import Tensor

import afunet_core as af
from afunet_core.data.synthesis.brackets import SynthesisConfig, Synthesizer
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.model.checkpoint import load_model, shipped_models
from afunet_core.model.config import VARIANTS
from afunet_core.model.streaming.stream import stream
from afunet_core.utils.device import parse_memory

HEADER = "| what | model | size | device | precision | s | CPU s | MP/s | MiB | device MiB |"


def main() -> None:
    """Measure every combination, one after the other; print a table."""
    options = command_line().parse_args()
    if options.job:
        print(json.dumps(measure(json.loads(options.job))))
        return
    lines = [HEADER, "|---|---|---|---|---|---:|---:|---:|---:|---:|"]
    kinds = [*options.what, *(["plain"] if options.plain else [])]
    for kind, model, size, device in itertools.product(kinds, options.model, options.size, options.device):
        for precision in options.precision or usual_precisions(device):
            job = {"kind": kind, "model": model, "size": size, "device": device, "precision": precision}
            lines.append(in_own_process({**job, "repeat": options.repeat, "memory": options.memory}))
            print(lines[-1], flush=True)
    if options.write:
        about = f"{describe_machine()} (`benchmarks/merge_speed.py`, best of {options.repeat})."
        write_section(options.write, "Merges and the network alone", "\n".join([about, "", *lines]))


def command_line() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=("merge", "network"), default=["merge", "network"])
    parser.add_argument("--model", nargs="+", default=["compact", "full"], help="shipped model, file or variant")
    parser.add_argument("--size", nargs="+", type=parse_size, default=[(1000, 1504)], metavar="HxW")
    parser.add_argument("--device", nargs="+", default=["cpu"])
    parser.add_argument("--precision", nargs="+", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--memory", metavar="SIZE", help="for features, such as 2GB; the rest goes to a scratch file")
    parser.add_argument("--plain", action="store_true", help="also the plain forward: 7 GB for each megapixel")
    parser.add_argument("--write", metavar="PAGE.md", help="also as a section of this page")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser


def parse_size(text: str) -> tuple[int, int]:
    """Read ``1000x1504``."""
    match = re.fullmatch(r"([1-9][0-9]*)[x×]([1-9][0-9]*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH")
    return int(match[1]), int(match[2])


def in_own_process(job: dict[str, Any]) -> str:
    """Measure in a fresh interpreter, where the peak of memory is that of the run; return a line of the table."""
    run = subprocess.run([sys.executable, __file__, "--job", json.dumps(job)], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"{job['kind']} of {job['model']} at {job['size']} failed:\n{run.stderr}")
    found = json.loads(run.stdout.splitlines()[-1])
    height, width = job["size"]
    return (
        f"| {job['kind']} | {job['model']} | {height}×{width} | {job['device']} | {job['precision']} "
        f"| {found['seconds']:.2f} | {found['cpu_seconds']:.2f} | {height * width / found['seconds'] / 1e6:.3f} "
        f"| {found['memory'] >> 20} | {found['device_memory'] >> 20} |"
    )


def measure(job: dict[str, Any]) -> dict[str, float]:
    """Run a job as often as it says; return seconds, CPU seconds of that run, and peaks of memory in bytes."""
    device = torch.device(job["device"])
    run = {"merge": whole_merge, "network": network, "plain": network}[job["kind"]](job)
    cuda = device.type == "cuda"
    if cuda:
        run()  # kernels are loaded and chosen on the first call
        torch.cuda.reset_peak_memory_stats()
    times = []
    with PeakMemory() as peak:
        for _ in range(job["repeat"]):
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            if cuda:
                torch.cuda.synchronize(device)
            times.append((time.perf_counter() - start, time.process_time() - start_cpu))
    seconds, cpu_seconds = min(times)
    used = torch.cuda.max_memory_allocated() if cuda else 0
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "memory": peak.bytes, "device_memory": used}


def whole_merge(job: dict[str, Any]) -> Callable[[], Any]:
    """Prepare ``merge()`` of a hand-held bracket with moving objects, EV 0, 2, 4."""
    maker = Synthesizer(SceneBank.procedural(0), SynthesisConfig.evaluation())
    batch = maker.sample(1, tuple(job["size"]), torch.Generator().manual_seed(0), "both")
    frames = list(batch.frames[0][:, None])
    bracket = af.Bracket(frames, times=batch.times[0].tolist(), encoding="gamma", override=True)
    options = {"model": job["model"], "device": job["device"], "precision": job["precision"]}
    return lambda: af.merge(bracket, memory_budget=job["memory"], **options)


def network(job: dict[str, Any]) -> Callable[[], Any]:
    """Prepare the network on random frames: streamed, or its plain forward."""
    model, dtype = load(job["model"], job["device"]), getattr(torch, job["precision"])
    frames = torch.rand(1, 18, *job["size"], generator=torch.Generator().manual_seed(0))
    if job["kind"] == "network":
        return lambda: stream(model, frames, precision=dtype, memory_budget=parse_memory(job["memory"]))

    def plain() -> Tensor:
        with torch.inference_mode(), torch.autocast(job["device"], dtype, enabled=dtype != torch.float32):
            radiance: Tensor = model(frames.to(job["device"]))
        return radiance

    return plain


def load(name: str, device: str) -> af.AFUNet:
    """Load a shipped model or a file; a variant without weights is drawn at random."""
    if name in VARIANTS and name not in shipped_models():
        torch.manual_seed(0)
        return af.AFUNet(VARIANTS[name]).eval().to(device)
    return load_model(name, device=device)


if __name__ == "__main__":
    main()
