"""How long a merge takes and what it needs: size × model × device × precision, each in a process of its own.

A process of its own makes the peak of memory mean something, and lets the plain forward be measured beside the
streamed one without either warming the other's caches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from afunet_core.errors import AFUNetError, ArgumentError
from afunet_core.utils.device import choose_device, multiplies_bfloat16

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from afunet_core.model.afunet import AFUNet

__all__ = ["Measurement", "benchmark", "format_table", "plot", "write_report"]

SIZES = ((256, 384), (500, 752), (1000, 1504))
PLAIN_LIMIT = 512 * 768
"""Largest image, in pixels, that the plain forward is run on for comparison: it needs 7 GB for each megapixel."""
ENGINES = ("stream", "plain")


@dataclass(frozen=True)
class Measurement:
    """One run.

    Args:
        model, height, width, device, precision, engine: what was run; engine ``stream`` (the product) or ``plain``
            (the network's forward).
        seconds: wall time, the best of the repetitions.
        cpu_seconds: processor time of that repetition, all cores together.
        memory: peak resident bytes of the process above what it held, frames included, before the run.
        device_memory: peak bytes on the device, 0 on the CPU.
        difference: largest absolute difference to the plain forward in float32, None where that was not run.
    """

    model: str
    height: int
    width: int
    device: str
    precision: str
    engine: str
    seconds: float
    cpu_seconds: float
    memory: int
    device_memory: int
    difference: float | None

    @property
    def megapixels_per_second(self) -> float:
        """Image pixels, not feature pixels."""
        return self.height * self.width / self.seconds / 1e6


def benchmark(
    models: Sequence[str] = ("compact", "published"),
    sizes: Sequence[tuple[int, int]] = SIZES,
    devices: Sequence[str] = ("cpu",),
    precisions: Sequence[str] | None = None,
    engines: Sequence[str] = ("stream",),
    *,
    repeat: int = 1,
    memory_budget: int | None = None,
    compare: bool = True,
    on_result: Callable[[Measurement], None] | None = None,
) -> list[Measurement]:
    """Measure every combination, one after the other.

    Args:
        models: configurations (``compact``, ``published``, …), shipped models or files.
        sizes: height and width of random brackets.
        devices: such as ``cpu``, ``cuda``.
        precisions: ``float32``, ``bfloat16``, ``float16``; by default the first, and the second where the device
            multiplies it itself.
        engines: ``stream`` and, to compare, ``plain``.
        repeat: runs of each, of which the fastest counts.
        memory_budget: bytes of features in memory, the rest goes to a scratch file.
        compare: also run the plain forward where the image is small enough, and report the difference.
        on_result: called after each.

    Raises:
        ArgumentError: for a name that is none of these.
        AFUNetError: if a run failed; with what its process printed.
    """
    for engine in engines:
        if engine not in ENGINES:
            raise ArgumentError("engines", f"names among {', '.join(ENGINES)}", engine)
    if repeat < 1:
        raise ArgumentError("repeat", "at least 1", repeat)
    results = []
    for model in models:
        for height, width in sizes:
            for device in devices:
                for precision in precisions or usual_precisions(device):
                    for engine in engines:
                        job = {
                            "model": model,
                            "height": height,
                            "width": width,
                            "device": device,
                            "precision": precision,
                            "engine": engine,
                            "repeat": repeat,
                            "memory_budget": memory_budget,
                            "compare": compare and height * width <= PLAIN_LIMIT,
                        }
                        results.append(_in_own_process(job))
                        if on_result is not None:
                            on_result(results[-1])
    return results


def usual_precisions(device: str) -> tuple[str, ...]:
    """float32, and bfloat16 where it pays."""
    return ("float32", "bfloat16") if multiplies_bfloat16(choose_device(device)) else ("float32",)


def _in_own_process(job: dict[str, object]) -> Measurement:
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "afunet_core.benchmark", "--job", json.dumps(job)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if run.returncode != 0:
        reason = run.stderr.strip().splitlines()[-1] if run.stderr.strip() else f"exit status {run.returncode}"
        raise AFUNetError(f"The measurement of {job['model']} at {job['height']}×{job['width']} failed: {reason}")
    return Measurement(**json.loads(run.stdout.splitlines()[-1]))


def _measure(job: dict[str, object]) -> Measurement:
    import torch

    model = _network(str(job["model"]), str(job["device"]))
    height, width = int(str(job["height"])), int(str(job["width"]))
    frames = torch.rand(1, 18, height, width, generator=torch.Generator().manual_seed(0))
    run = _engine(model, frames, job)
    best, cpu = float("inf"), 0.0
    if _device(model).type == "cuda":
        run()  # kernels are loaded and chosen on the first call
        torch.cuda.reset_peak_memory_stats()
    with _PeakMemory() as peak:
        for _ in range(int(str(job["repeat"]))):
            start, start_cpu = time.perf_counter(), time.process_time()
            result = run()
            seconds, used = time.perf_counter() - start, time.process_time() - start_cpu
            if seconds < best:
                best, cpu = seconds, used
    device_memory = torch.cuda.max_memory_allocated() if _device(model).type == "cuda" else 0
    difference = None
    if job["compare"]:
        with torch.inference_mode():
            expected = model.float()(frames.to(_device(model))).cpu()
        difference = float((expected - result.float().cpu()).abs().max())
    return Measurement(
        model=str(job["model"]),
        height=height,
        width=width,
        device=str(job["device"]),
        precision=str(job["precision"]),
        engine=str(job["engine"]),
        seconds=best,
        cpu_seconds=cpu,
        memory=peak.bytes,
        device_memory=device_memory,
        difference=difference,
    )


def _device(model: AFUNet) -> torch.device:
    return next(model.parameters()).device


def _network(name: str, device: str) -> AFUNet:
    """A shipped model or file; a configuration by name with parameters drawn at random, where there are no weights."""
    import torch

    from afunet_core.model.afunet import AFUNet
    from afunet_core.model.checkpoint import load_model, shipped_models
    from afunet_core.model.config import VARIANTS

    if name in VARIANTS and name not in shipped_models():
        torch.manual_seed(0)
        return AFUNet(VARIANTS[name]).eval().to(device)
    return load_model(name, device=device)


def _engine(model: AFUNet, frames: Tensor, job: dict[str, object]) -> Callable[[], Tensor]:
    import torch

    from afunet_core.model.streaming.stream import stream

    device = _device(model)
    dtype = getattr(torch, str(job["precision"]))
    budget = job["memory_budget"]

    def streamed() -> Tensor:
        result = stream(model, frames, precision=dtype, memory_budget=None if budget is None else int(str(budget)))
        assert not isinstance(result, tuple)
        _synchronise(device)
        return result

    def plain() -> Tensor:
        autocast = nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
        with torch.inference_mode(), autocast:
            result = model(frames.to(device))
        _synchronise(device)
        return result

    return streamed if job["engine"] == "stream" else plain


def _synchronise(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _PeakMemory:
    """Largest resident size of this process inside the ``with`` above that at its start, sampled every 5 ms."""

    def __enter__(self) -> _PeakMemory:
        self.start = self.peak = _resident()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.stop.wait(0.005):
            self.peak = max(self.peak, _resident())

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.peak = max(self.peak, _resident())

    @property
    def bytes(self) -> int:
        """Between the start and the largest size seen so far."""
        return self.peak - self.start


def _resident() -> int:
    """Resident bytes of this process (Linux; elsewhere through psutil, 0 without it)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        try:
            import psutil
        except ImportError:
            return 0
        return int(psutil.Process().memory_info().rss)


def format_table(results: Iterable[Measurement]) -> str:
    """The measurements as a Markdown table.

    Example:
        >>> one = Measurement("compact", 1000, 1504, "cpu", "float32", "stream", 2.0, 3.9, 300 << 20, 0, None)
        >>> print(format_table([one]).splitlines()[-1])
        | compact | 1000×1504 | cpu | float32 | stream | 2.00 | 3.90 | 0.752 | 300 | – | – |
    """
    lines = [
        "| model | size | device | precision | engine | s | CPU s | MP/s | MiB | device MiB | difference |",
        "|---|---|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in results:
        device_memory = f"{one.device_memory >> 20}" if one.device_memory else "–"
        difference = "–" if one.difference is None else f"{one.difference:.1e}"
        lines.append(
            f"| {one.model} | {one.height}×{one.width} | {one.device} | {one.precision} | {one.engine} "
            f"| {one.seconds:.2f} | {one.cpu_seconds:.2f} | {one.megapixels_per_second:.3f} "
            f"| {one.memory >> 20} | {device_memory} | {difference} |"
        )
    return "\n".join(lines)


def write_report(results: Sequence[Measurement], path: str | os.PathLike[str], when: str = "") -> None:
    """A page with the machine, the table and, where matplotlib is installed, a plot beside it (``performance.svg``)."""
    target = Path(path)
    sections = [
        "# Performance",
        f"Written by `afunet benchmark`{f' on {when}' if when else ''}; {describe_machine()}.",
        "Time is that of the network alone, on random brackets; memory is what the process needed at most beyond what "
        "it held before the run; the difference is the largest one to the plain float32 forward.",
        format_table(results),
    ]
    if plot(results, target.with_suffix(".svg")):
        sections.append(f"![Time and memory against image size]({target.stem}.svg)")
    target.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def describe_machine() -> str:
    """The processor, its cores and PyTorch's version, in words."""
    import platform

    import torch

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {torch.get_num_threads()} cores, {vectors}, PyTorch {torch.__version__}"


def plot(results: Sequence[Measurement], path: str | os.PathLike[str]) -> bool:
    """Time and memory against megapixels, one line for each model, device, precision and engine.

    Returns:
        False if matplotlib is not installed; nothing is written then.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    groups: dict[str, list[Measurement]] = {}
    for one in results:
        groups.setdefault(" ".join([one.model, one.device, one.precision, one.engine]), []).append(one)
    for label, group in groups.items():
        group.sort(key=lambda one: one.height * one.width)
        size = [one.height * one.width / 1e6 for one in group]
        axes[0].plot(size, [one.seconds for one in group], "o-", label=label)
        axes[1].plot(size, [one.memory / 2**20 for one in group], "o-", label=label)
    for axis, unit in zip(axes, ("seconds", "MiB"), strict=True):
        axis.set(xlabel="megapixels", ylabel=unit, xscale="log", yscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(fontsize="small", frameon=False)
    figure.savefig(path)
    return True


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", required=True, help="one measurement, as JSON")
    print(json.dumps(asdict(_measure(json.loads(parser.parse_args().job)))))


if __name__ == "__main__":
    _main()
