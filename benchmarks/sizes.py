"""Whole merges of photographs of real sizes beside OpenCV: CPU seconds of one thread, memory, and error.

    python benchmarks/sizes.py [--megapixels 1.5 6 24 100] [--frames 3 5 9] [--method opencv weighted compact default]
        [--rows FILE.jsonl] [--write docs/performance.md] [--plot docs/performance.svg]

Hand-held brackets with moving discs and a known truth, 8-bit. All methods of a row of sizes run in one process, in
turn, on one thread; memory is the peak above what the process held with the bracket. OpenCV is AlignMTB and
MergeDebevec. Without ``--frames`` large sizes are measured with three and nine frames, the largest with three, and
there without ``compact``. The method ``opencv`` needs ``opencv-python-headless``, the plot matplotlib.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from large import scene_rows, scenery
from numpy.typing import NDArray
from report import PeakMemory, describe_machine, write_section
from torch import Tensor

import afunet_core as af
from afunet_core.baselines.opencv import opencv_debevec
from afunet_core.ops.strips import row_strips
from afunet_core.radiometry import mu_law

METHODS = ("opencv", "weighted", "compact", "default")
"""Those that take least memory first, for freed memory may stay with the process."""
STOPS = {3: (0.0, 2.0, 4.0)} | {count: tuple(float(ev) for ev in range(count)) for count in (5, 7, 9)}
HEADER = "| megapixels | frames | method | CPU s | CPU s per megapixel | × OpenCV | s | MiB | PSNR-μ dB | looked at |"
ABOUT = """Brackets of 8 bits, hand-held, in which twelve discs move; `default` and `compact` merge by a network. One
process and one thread for all methods of a bracket. MiB: the peak beyond the frames. PSNR-μ: against the true radiance.
Looked at: the share of the picture that the network saw, and the size at which it did."""
STRIP = 64
NAMES = {"opencv": "OpenCV", "weighted": "weighted", "compact": "compact", "default": "default"}


def main() -> None:
    """Measure every size and number of frames in a process of its own; print a table."""
    options = command_line().parse_args()
    if options.job:
        print(json.dumps(measure(**json.loads(options.job))))
        return
    kept = Path(options.rows) if options.rows else None
    found = [json.loads(line) for line in kept.read_text().splitlines()] if kept and kept.exists() else []
    print(HEADER)
    for megapixels in options.megapixels:
        for frames in options.frames or usual_frames(megapixels):
            methods = [each for each in METHODS if each in options.method and usual(each, megapixels)]
            job = json.dumps({"megapixels": megapixels, "frames": frames, "methods": methods})
            run = subprocess.run([sys.executable, __file__, "--job", job], capture_output=True, text=True)
            if run.returncode != 0:
                raise SystemExit(f"{frames} frames of {megapixels} megapixels failed:\n{run.stderr}")
            rows = json.loads(run.stdout.splitlines()[-1])
            found += rows
            if kept:
                with kept.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
            print("\n".join(lines(rows)), flush=True)
    found.sort(key=lambda row: (row["megapixels"], row["frames"], METHODS.index(row["method"])))
    if options.write:
        about = f"{describe_machine()} (`benchmarks/sizes.py`). {ABOUT}"
        plot = f"\n\n![CPU seconds by size]({Path(options.plot).name})" if options.plot else ""
        table = "\n".join([HEADER, "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|", *lines(found)])
        write_section(options.write, "Photographs of real sizes", f"{about}\n\n{table}{plot}")
    if options.plot:
        draw(found, options.plot)


def command_line() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", nargs="*", type=float, default=[1.5, 6.0, 24.0, 100.0])
    parser.add_argument("--frames", nargs="+", type=int, choices=sorted(STOPS))
    parser.add_argument("--method", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--rows", metavar="FILE.jsonl", help="results are added here; the table is of all in it")
    parser.add_argument("--write", metavar="PAGE.md", help="also as a section of this page")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the seconds by size")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser


def usual_frames(megapixels: float) -> tuple[int, ...]:
    """Return the numbers of frames that are measured at a size."""
    return (3, 5, 7, 9) if megapixels <= 2 else (3, 5, 9) if megapixels <= 10 else (3, 9) if megapixels <= 30 else (3,)


def usual(method: str, megapixels: float) -> bool:
    """Return True if a method is measured at a size."""
    return method != "compact" or megapixels <= 30


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """Format results as lines of the table."""
    beside = {(row["megapixels"], row["frames"]): row["cpu"] for row in rows if row["method"] == "opencv"}
    made = []
    for row in rows:
        base = beside.get((row["megapixels"], row["frames"]))
        times = f"{row['cpu'] / base:.1f}" if base else ""
        looked = "" if row["looked_at"] is None else f"{row['looked_at']:.0%} at 1/{row['scale']}"
        made.append(
            f"| {row['megapixels']:g} | {row['frames']} | {NAMES[row['method']]} | {row['cpu']:.2f} "
            f"| {row['cpu'] / row['megapixels']:.2f} | {times} | {row['seconds']:.2f} | {row['memory'] >> 20} "
            f"| {row['psnr']:.1f} | {looked} |"
        )
    return made


def measure(megapixels: float, frames: int, methods: list[str]) -> list[dict[str, Any]]:
    """Run all methods on one bracket; return what was measured."""
    torch.set_num_threads(1)
    if "opencv" in methods:
        import cv2

        cv2.setNumThreads(1)
    height = 2 * round(math.sqrt(megapixels * 1e6 / 6))
    width = 3 * height // 2
    bracket, truth = bracket_and_truth(height, width, frames)
    warm_up = bracket.crop(0, 0, 64, 64)  # libraries and weights are loaded
    rows = []
    for method in methods:
        runner(method)(warm_up)
    before = PeakMemory()
    with before:
        pass
    for method in methods:
        gc.collect()
        with PeakMemory() as peak:
            start, start_cpu = time.perf_counter(), time.process_time()
            image, info = runner(method)(bracket)
            cpu, seconds = time.process_time() - start_cpu, time.perf_counter() - start
        rows.append(
            {
                "megapixels": megapixels,
                "frames": frames,
                "method": method,
                "cpu": cpu,
                "seconds": seconds,
                "memory": peak.peak - before.start,
                "psnr": error(image, truth),
                "looked_at": info.get("looked_at"),
                "scale": info.get("working_scale"),
            }
        )
        del image
    return rows


def runner(method: str) -> Callable[[af.Bracket], tuple[NDArray[np.float32], dict[str, Any]]]:
    """Return a method as a function of a bracket."""

    def opencv(bracket: af.Bracket) -> tuple[NDArray[np.float32], dict[str, Any]]:
        return opencv_debevec(bracket)[0].permute(1, 2, 0).numpy(), {}

    def ours(bracket: af.Bracket) -> tuple[NDArray[np.float32], dict[str, Any]]:
        chosen: dict[str, Any] = {"method": "weighted"} if method == "weighted" else {"model": method}
        result = af.merge(bracket, **chosen)
        return result.radiance, result.info

    return opencv if method == "opencv" else ours


def bracket_and_truth(height: int, width: int, frames: int) -> tuple[af.Bracket, NDArray[np.float16]]:
    """Make a hand-held bracket, and the radiance that its middle frame saw."""
    stops, middle = STOPS[frames], frames // 2
    scene = scenery()
    generator = torch.Generator().manual_seed(0)
    pictures = [np.empty((height, width, 3), np.uint8) for _ in stops]
    truth = np.empty((height, width, 3), np.float16)
    for top in range(0, height, STRIP):
        rows = slice(top, min(top + STRIP, height))
        for index, ev in enumerate(stops):
            light = scene_rows(scene, (height, width), rows, index - middle)
            if index == middle:
                truth[rows] = light[0].permute(1, 2, 0).numpy()
            light = light * 2.0**ev
            light = light + (1e-4 * light + 4e-6).sqrt() * torch.randn(light.shape, generator=generator)
            encoded = light.clamp(0, 1).pow(1 / 2.2)
            pictures[index][rows] = (encoded[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return af.Bracket(pictures, ev=stops, reference=middle, override=True), truth


def error(image: NDArray[np.float32], truth: NDArray[np.float16]) -> float:
    """PSNR-μ of what the shortest frame could record, in strips."""
    total = 0.0
    height, width = truth.shape[:2]
    for rows in row_strips(height, width, 1 << 20):
        one, other = (mu_law(_planes(part[rows])) for part in (image, truth))
        total += float(F.mse_loss(one, other)) * (rows.stop - rows.start)
    return -10 * math.log10(total / height)


def _planes(pixels: NDArray[Any]) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None].clamp(0, 1)


def draw(rows: list[dict[str, Any]], path: str) -> None:
    """Draw the CPU seconds of three frames over the megapixels, one line a method."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    for method in METHODS:
        chosen = [(row["megapixels"], row["cpu"]) for row in rows if row["method"] == method and row["frames"] == 3]
        if chosen:
            axes.loglog(*zip(*sorted(chosen), strict=True), marker="o", label=NAMES[method])
    axes.set_xlabel("megapixels")
    axes.set_ylabel("CPU seconds, one thread")
    axes.set_title("Merge of three hand-held frames")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
