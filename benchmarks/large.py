"""Time and memory of a whole merge of very large frames: decision, registration, network, finishing.

    python benchmarks/large.py 10000 10000 --memory 4GB [--precision bfloat16] [--model compact] [--still]
        [--write docs/performance.md]

The bracket is generated row by row: a scene with texture everywhere, hand-held (a shift and a turn between the frames,
unless ``--still``), with discs that move. Reported is the most that the process took beyond what it held before,
the frames included, while it merged.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from report import PeakMemory, describe_machine, write_section

import afunet_core as af
from afunet_core.data.synthesis.scenes import SceneBank

TIMES = (1.0, 4.0, 16.0)
TURN, SHIFT = math.radians(0.25), (31.4, -17.8)
"""How far the hand moved from one frame to the next: radians about the centre, pixels along x and y."""


def bracket(height: int, width: int, still: bool = False) -> af.Bracket:
    """Three frames of ``height×width``, EV 0, 2, 4, made in strips."""
    scene, generator = scenery(), torch.Generator().manual_seed(1)
    frames = []
    for index, exposure in enumerate(TIMES):
        frame = torch.empty(1, 3, height, width)
        moved = 0 if still else index - 1
        for top in range(0, height, 64):
            rows = slice(top, min(top + 64, height))
            light = scene_rows(scene, (height, width), rows, moved)
            light = light * exposure + 2e-3 * torch.randn(light.shape, generator=generator)
            frame[..., rows, :] = light.clamp(0, 1).pow(1 / 2.2)
        frames.append(frame)
    return af.Bracket(frames, times=TIMES, encoding="gamma", override=True)


def scenery() -> tuple[Tensor, Tensor, Tensor]:
    """Make what the scene consists of: coarse light, texture, and discs."""
    generator = torch.Generator().manual_seed(0)
    coarse = SceneBank.procedural(0).hdr[0].float()[None, :3]
    coarse = (coarse / coarse.flatten().quantile(0.98)).clamp(1e-3, 4.0)
    noise = torch.rand(1, 1, 512, 512, generator=generator)
    octaves = [F.interpolate(noise[..., : 512 // k, : 512 // k], size=(512, 512), mode="bicubic") for k in (1, 2, 4)]
    texture = torch.stack(octaves).sum(0)
    discs = torch.rand(12, 3, generator=generator)
    return coarse, texture, discs


def scene_rows(scene: tuple[Tensor, Tensor, Tensor], size: tuple[int, int], rows: slice, moved: int) -> Tensor:
    """Linear light of some rows, ``1×3×rows×W``, as seen after ``moved`` steps of the hand."""
    coarse, texture, discs = scene
    height, width = size
    y = torch.arange(rows.start, rows.stop, dtype=torch.float64)[:, None] - height / 2
    x = torch.arange(width, dtype=torch.float64)[None] - width / 2
    turn = moved * TURN
    seen_x = math.cos(turn) * x - math.sin(turn) * y + moved * SHIFT[0]
    seen_y = math.sin(turn) * x + math.cos(turn) * y + moved * SHIFT[1]
    whole = torch.stack([2 * seen_x / width, 2 * seen_y / height], -1)[None].float()
    tile = torch.stack([seen_x / 256, seen_y / 256], -1)[None].float()
    light = F.grid_sample(coarse, 0.95 * whole, mode="bilinear", padding_mode="reflection", align_corners=False)
    detail = F.grid_sample(texture, tile, mode="bilinear", padding_mode="reflection", align_corners=False)
    light = light * (0.55 + 0.3 * detail)
    for centre_x, centre_y, tone in discs.tolist():
        radius = 0.004 * width
        left, middle = (centre_x - 0.5) * 0.9 * width + 2.5 * moved * radius, (centre_y - 0.5) * 0.9 * height
        if seen_y.min() - radius < middle < seen_y.max() + radius:
            inside = (seen_x - left) ** 2 + (seen_y - middle) ** 2 < radius**2
            light = torch.where(inside, 0.4 * tone, light)
    return light


def main() -> None:
    """Generate, merge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="*", type=int, default=[4000, 6000], metavar="HEIGHT WIDTH")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--memory", default=None, help="memory_budget of merge()")
    parser.add_argument("--still", action="store_true", help="nothing but the discs moves between the frames")
    parser.add_argument("--write", metavar="PAGE.md", help="also as a section of this page")
    options = parser.parse_args()
    height, width = options.size
    frames = bracket(height, width, options.still)
    shown = [0.0]

    def report(done: int, total: int, message: str) -> None:
        now = time.perf_counter()
        if now - shown[0] > 20:
            shown[0] = now
            print(f"  {done / total:4.0%} {message}, {peak.bytes >> 20} MiB so far", file=sys.stderr, flush=True)

    with PeakMemory() as peak:
        start, cpu = time.perf_counter(), time.process_time()
        result = af.merge(
            frames,
            model=options.model,
            precision=options.precision,
            memory_budget=options.memory,
            device="cpu",
            on_progress=report,
        )
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    output = result.radiance.nbytes
    decisions = ", ".join(entry["decision"] for entry in result.info["registration"])
    finite = bool(torch.from_numpy(result.radiance).isfinite().all())
    lines = [
        f"{height}×{width}, {options.model}, {options.precision}, memory budget {options.memory}, "
        f"{'at rest' if options.still else 'hand-held'} (`benchmarks/large.py`); {describe_machine()}:",
        f"{wall:.1f} s, {cpu:.1f} s of processor time; at most {peak.bytes / 2**30:.2f} GiB more than before, "
        f"{(peak.bytes - output) / 2**30:.2f} GiB beyond input and output.",
        f"Frames {decisions}; at rest: {result.info['at_rest']}; all values finite: {finite}; "
        f"seconds by phase {result.info['seconds']}.",
    ]
    print("\n".join(lines))
    if options.write:
        write_section(options.write, f"A very large merge, {height}×{width}", "\n".join(lines))


if __name__ == "__main__":
    main()
