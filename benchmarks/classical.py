"""Time of the classical methods beside OpenCV's: best of several runs each, in turn, in one process.

    python benchmarks/classical.py [--size 1000 1504] [--repeat 9] [--write docs/performance.md]

OpenCV sees 8-bit frames, as it demands; ours see what a bracket holds, float32. Both may use all cores. Registration
stands beside OpenCV's alignment too, though it is another thing: it finds turns, tilts and fractions of pixels.
Needs ``opencv-python-headless``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from afunet_core.baselines.mertens import fuse_frames
from afunet_core.baselines.weighted import merge_frames
from afunet_core.bracket.bracket import Bracket
from afunet_core.registration.frames import register

EV = (0, 2, 4)


def methods(height: int, width: int, seed: int = 0) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Name → ours and OpenCV's, on one synthetic bracket of a scene with noise; shifted, for those that align."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = rng.random((9, 13, 3)).astype(np.float32) ** 3
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(1e-3, 1)
    times = np.asarray([2.0**ev for ev in EV], np.float32)
    encoded = [(scene * time / 4 + rng.normal(0, 2e-3, scene.shape)).clip(0, 1) ** (1 / 2.2) for time in times]
    pictures = [np.ascontiguousarray((frame * 255).round().astype(np.uint8)) for frame in encoded]
    frames = [torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255 for picture in pictures]
    frames = [frame.contiguous() for frame in frames]
    shifted = [frame.roll((-5 * index, 3 * index), (2, 3)) for index, frame in enumerate(frames)]
    moved = [np.ascontiguousarray((frame[0] * 255).round().byte().permute(1, 2, 0).numpy()) for frame in shifted]
    bracket = Bracket(shifted, times=times.tolist(), override=True)

    def align_mtb() -> None:
        aligned = [picture.copy() for picture in moved]
        cv2.createAlignMTB().process(aligned, aligned)

    return {
        "weighted merge · MergeDebevec": (
            lambda: merge_frames(frames, times.tolist()),
            lambda: cv2.createMergeDebevec().process(pictures, times),
        ),
        "exposure fusion · MergeMertens": (
            lambda: fuse_frames(frames),
            lambda: cv2.createMergeMertens().process(pictures),
        ),
        "registration by homographies · AlignMTB": (lambda: register(bracket, "on"), align_mtb),
    }


def best_time(run: Callable[[], object], repeat: int) -> float:
    """Seconds of the fastest run after one that is not counted."""
    run()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(1000, 1504), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--write", metavar="PAGE.md", help="also as a section of this page")
    arguments = parser.parse_args()
    lines = ["| method | ours (s) | OpenCV (s) | ratio |", "|---|---:|---:|---:|"]
    with torch.inference_mode():
        for name, (ours, theirs) in methods(*arguments.size).items():
            mine, other = best_time(ours, arguments.repeat), best_time(theirs, arguments.repeat)
            lines.append(f"| {name} | {mine:.3f} | {other:.3f} | {mine / other:.2f} |")
    print("\n".join(lines))
    if arguments.write:
        from report import write_section

        height, width = arguments.size
        about = f"Three frames of {height}×{width}, best of {arguments.repeat} runs each (`benchmarks/classical.py`)."
        write_section(arguments.write, "Classical methods beside OpenCV", "\n".join([about, "", *lines]))


if __name__ == "__main__":
    main()
