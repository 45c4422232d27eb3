"""Time of the classical methods beside OpenCV's: best of several runs each, in turn, in one process.

    python benchmarks/classical.py [--size 1000 1504] [--repeat 9]

OpenCV sees 8-bit frames, as it demands; ours see what a bracket holds, float32. Both may use all cores. Needs
``opencv-python-headless``.
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

from afunet_core.baselines import fuse_frames, merge_frames

EV = (0, 2, 4)


def methods(height: int, width: int, seed: int = 0) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Name → ours and OpenCV's, on one synthetic bracket of a smooth scene with noise."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = rng.random((9, 13, 3)).astype(np.float32) ** 3
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(1e-3, 1)
    times = np.asarray([2.0**ev for ev in EV], np.float32)
    encoded = [(scene * time / 4 + rng.normal(0, 2e-3, scene.shape)).clip(0, 1) ** (1 / 2.2) for time in times]
    pictures = [np.ascontiguousarray((frame * 255).round().astype(np.uint8)) for frame in encoded]
    frames = [torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255 for picture in pictures]
    frames = [frame.contiguous() for frame in frames]
    return {
        "weighted merge · MergeDebevec": (
            lambda: merge_frames(frames, times.tolist()),
            lambda: cv2.createMergeDebevec().process(pictures, times),
        ),
        "exposure fusion · MergeMertens": (
            lambda: fuse_frames(frames),
            lambda: cv2.createMergeMertens().process(pictures),
        ),
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
    arguments = parser.parse_args()
    print("| method | ours (s) | OpenCV (s) | ratio |\n|---|---:|---:|---:|")
    with torch.inference_mode():
        for name, (ours, theirs) in methods(*arguments.size).items():
            mine, other = best_time(ours, arguments.repeat), best_time(theirs, arguments.repeat)
            print(f"| {name} | {mine:.3f} | {other:.3f} | {mine / other:.2f} |", flush=True)


if __name__ == "__main__":
    main()
