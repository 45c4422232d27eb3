"""Checks and times of `gpu.py`; see there.

    python benchmarks/gpu_checks.py check|time --out FOLDER [--device cuda] [--small] [--until SECONDS_SINCE_1970]

Every entry is tried on its own, in order of importance, and written as one JSON line at once.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpu_training import decode_at_scale
from large import bracket
from literal import literal_afunet, parameters_of

import afunet_core as af
from afunet_core.data.synthesis.brackets import Synthesizer
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.model.afunet import AFUNet
from afunet_core.model.checkpoint import load_model
from afunet_core.model.complexity import count_flops
from afunet_core.model.config import PUBLISHED
from afunet_core.model.streaming.stream import stream

NETWORKS = ("full", "compact", "published")


def network(name: str) -> AFUNet:
    """A shipped network, or the published configuration with random parameters."""
    torch.manual_seed(0)
    return (AFUNet(PUBLISHED) if name == "published" else load_model(name)).eval()


def brackets(count: int, side: int, device: str = "cpu", **changes: Any) -> Tensor:
    """Network input of synthetic brackets."""
    config = SynthesisConfig.evaluation(8, **changes)
    batch = Synthesizer(SceneBank.procedural(0), config, device).sample(count, side, torch.Generator().manual_seed(0))
    return batch.network_input()


def difference(found: Tensor, wanted: Tensor) -> dict[str, float]:
    """Largest absolute and root mean square relative difference."""
    found, wanted = found.double().cpu(), wanted.double().cpu()
    return {"largest": float((found - wanted).abs().max()), "relative": float((found - wanted).norm() / wanted.norm())}


# --- checks ---


def check_forward(name: str, device: torch.device, side: int) -> dict[str, float]:
    """The plain forward in float32 on the device against float64 on the CPU."""
    model, frames = network(name), brackets(1, side)
    with torch.no_grad():
        wanted = model.double()(frames.double())
        return difference(model.float().to(device)(frames.to(device)), wanted)


def check_stream(name: str, precision: str, device: torch.device, side: int) -> dict[str, float]:
    """Piecewise execution in a precision on the device against the plain forward on the CPU."""
    model, frames = network(name), brackets(1, side)
    with torch.no_grad():
        wanted = model(frames)
        found = stream(model.to(device), frames.to(device), precision=getattr(torch, precision))
    assert isinstance(found, Tensor)
    return difference(found, wanted)


def check_merge(model: str, precision: str, device: torch.device, side: int) -> dict[str, Any]:
    """`merge()` on the device against `merge()` on the CPU, of a hand-held bracket in which things move."""
    frames = bracket(side, side * 3 // 2)
    wanted = af.merge(frames, model=model, device="cpu", precision="float32")
    found = af.merge(frames, model=model, device=str(device), precision=precision)
    result: dict[str, Any] = difference(torch.from_numpy(found.radiance), torch.from_numpy(wanted.radiance))
    return {**result, "ran": str(found.info["device"]), "in": str(found.info["precision"])}


def check_scale(device: torch.device, side: int) -> dict[str, float]:
    """The working scale 2 on the device against the CPU."""
    model, frames = network("compact"), brackets(1, side)
    with torch.no_grad():
        wanted, _ = decode_at_scale(model, frames, 2)
        return difference(decode_at_scale(model.to(device), frames.to(device), 2)[0], wanted)


def check_synthesis(device: torch.device, side: int) -> dict[str, float]:
    """Noiseless brackets by real cameras, made on the device and on the CPU; rounding to 8 bits may fall either way."""
    still: dict[str, Any] = {"camera_share": 1.0, "gain": (0.0, 0.0), "read_noise": (0.0, 0.0)}
    found, wanted = brackets(2, side, str(device), **still), brackets(2, side, **still)
    return {**difference(found, wanted), "mean": float((found.cpu() - wanted).abs().mean())}


def check(options: argparse.Namespace, record: Callable[..., None]) -> None:
    """All checks."""
    device = torch.device(options.device)
    side = 64 if options.small else 192
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    half = ("float32", "bfloat16", "float16") if device.type == "cuda" else ("float32",)
    for name in NETWORKS:
        record(f"forward {name} float32", lambda name=name: check_forward(name, device, side))
    for precision in half:
        record(f"stream full {precision}", lambda p=precision: check_stream("full", p, device, side))
    record("working scale 2", lambda: check_scale(device, side))
    record("synthesis", lambda: check_synthesis(device, side))
    for model, precision in (("compact", "float32"), ("full", "auto"), ("full", half[-1])):
        record(f"merge() {model} {precision}", lambda m=model, p=precision: check_merge(m, p, device, side))


# --- times ---


class Traffic(TorchDispatchMode):
    """Bytes that operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        result = function(*arguments, **(keywords or {}))
        if not getattr(function, "is_view", False):
            tensors = [x for x in (*arguments, *(keywords or {}).values(), result) if isinstance(x, Tensor)]
            lists = [x for part in (*arguments, result) if isinstance(part, list | tuple) for x in part]
            tensors += [x for x in lists if isinstance(x, Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return result


class Clock:
    """Seconds of calls on a device, and its measured limits."""

    def __init__(self, device: torch.device, small: bool) -> None:
        self.device, self.small = device, small
        self.flops, self.bandwidth = math.nan, math.nan

    def seconds(self, run: Callable[[], object], repeats: int) -> float:
        """The median of some calls after one that warms up."""
        run()
        found = []
        for _ in range(repeats):
            self._wait()
            start = time.perf_counter()
            run()
            self._wait()
            found.append(time.perf_counter() - start)
        return statistics.median(found)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def limits(self) -> dict[str, float]:
        """Rates of a large bfloat16 product and of a large copy, read and written bytes counted."""
        side = 256 if self.small else 8192
        a, b = (torch.randn(side, side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        self.flops = 2 * side**3 / self.seconds(lambda: a @ b, 10)
        source = torch.randn(1 << (18 if self.small else 30), device=self.device)
        target = torch.empty_like(source)
        self.bandwidth = 2 * source.numel() * 4 / self.seconds(lambda: target.copy_(source), 10)
        return {"TFLOP/s": self.flops / 1e12, "TB/s": self.bandwidth / 1e12}

    def network(self, name: str, way: str, size: tuple[int, int]) -> dict[str, float]:
        """Seconds of a network on random frames of a size, and shares of the limits."""
        model = network(name).to(self.device)
        frames = torch.rand(1, 18, *size, device=self.device)
        parameters = parameters_of(model)
        mixed = self.device.type == "cuda"
        precision = torch.bfloat16 if mixed else torch.float32

        def run() -> object:
            if way == "in pieces":
                return stream(model, frames, precision=precision)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
                if way == "literal":
                    return literal_afunet(parameters, frames)
                return decode_at_scale(model, frames, 2) if way == "at half size" else model(frames)

        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        pixels = size[0] * size[1]
        with torch.inference_mode():
            taken = self.seconds(run, 5 if pixels < 4e6 else 2 if pixels < 50e6 else 1)
            found = {"megapixels": pixels / 1e6, "seconds": taken, "MP/s": pixels / 1e6 / taken}
            scale = 2 if way == "at half size" else 1
            flops = count_flops(model.config, size[0] // scale, size[1] // scale)
            found["share of arithmetic"] = flops / taken / self.flops
            if self.device.type == "cuda":
                found["GiB"] = torch.cuda.max_memory_allocated() / 2**30
            if pixels < 4e6:
                with Traffic() as traffic:
                    run()
                found |= {"GB moved": traffic.bytes / 1e9, "share of bandwidth": traffic.bytes / taken / self.bandwidth}
        return found

    def merge(self, model: str, size: tuple[int, int]) -> dict[str, Any]:
        """Seconds of a whole merge of a hand-held bracket."""
        frames = bracket(*size)
        start = time.perf_counter()
        result = af.merge(frames, model=model, device=str(self.device))
        taken = time.perf_counter() - start
        phases = {key: round(value, 2) for key, value in result.info["seconds"].items()}
        return {"megapixels": size[0] * size[1] / 1e6, "seconds": taken, "phases": str(phases)}


def times(options: argparse.Namespace, record: Callable[..., None]) -> None:
    """All times, the most telling first."""
    clock = Clock(torch.device(options.device), options.small)
    sizes = {1.5: (1000, 1500), 24: (4000, 6000), 100: (10000, 10000)}
    if options.small:
        sizes = {1.5: (64, 96), 24: (96, 128), 100: (128, 128)}
    record("limits of the card", clock.limits)
    ways = [(name, "in pieces", mp) for mp in (1.5, 24) for name in ("full", "compact")]
    ways += [("published", way, 1.5) for way in ("literal", "plain", "in pieces")]
    ways += [("full", "plain", 1.5), ("full", "at half size", 24), ("full", "in pieces", 100)]
    ways += [("published", "literal", 24), ("published", "in pieces", 24), ("compact", "in pieces", 100)]
    for name, way, mp in ways[:7]:
        record(f"{name} {way} {mp} MP", lambda n=name, w=way, s=sizes[mp]: clock.network(n, w, s))
    record("merge() full 1.5 MP", lambda: clock.merge("full", sizes[1.5]))
    record("merge() full 1.5 MP again", lambda: clock.merge("full", sizes[1.5]))
    for name, way, mp in ways[7:]:
        record(f"{name} {way} {mp} MP", lambda n=name, w=way, s=sizes[mp]: clock.network(n, w, s))
    record("merge() full 24 MP", lambda: clock.merge("full", sizes[24]))


def main() -> None:
    """Run one part, line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("check", "time"))
    parser.add_argument("--out", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--until", type=float, default=math.inf, help="nothing more is begun after this")
    options = parser.parse_args()

    def record(name: str, measure: Callable[[], dict[str, Any]]) -> None:
        if time.time() > options.until:
            return
        start = time.perf_counter()
        try:
            found = measure()
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"[:300]}
        if options.device == "cuda":
            torch.cuda.empty_cache()
        line = {"part": options.part, "what": name, **found, "took": round(time.perf_counter() - start, 2)}
        with (Path(options.out) / "checks.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)

    if options.device == "cuda":
        print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    (check if options.part == "check" else times)(options, record)


if __name__ == "__main__":
    main()
