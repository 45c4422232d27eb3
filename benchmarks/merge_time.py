"""How long a whole merge takes: registration, network, finishing, on a hand-held bracket with moving objects.

    python benchmarks/merge_time.py [1000 1504] [--model compact full] [--repeat 2] [--write docs/performance.md]

The bracket is generated. One line for each model and precision; the fastest of the repeats counts.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

import afunet_core as af
from afunet_core.benchmark import describe_machine, usual_precisions
from afunet_core.data.synthesis.brackets import SynthesisConfig, Synthesizer
from afunet_core.data.synthesis.scenes import SceneBank


def bracket(height: int, width: int) -> af.Bracket:
    """Hand-held, with objects that move, EV 0, 2, 4."""
    maker = Synthesizer(SceneBank.procedural(0), SynthesisConfig.evaluation())
    batch = maker.sample(1, (height, width), torch.Generator().manual_seed(0), "both")
    frames = list(batch.frames[0][:, None])
    return af.Bracket(frames, times=batch.times[0].tolist(), encoding="gamma", override=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="*", type=int, default=[1000, 1504])
    parser.add_argument("--model", nargs="+", default=["compact", "full"])
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--write", metavar="PAGE.md", help="also as a section of this page")
    options = parser.parse_args()
    frames = bracket(*options.size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = ["| model | precision | s | MiB so far |", "|---|---|---:|---:|"]
    for model in options.model:
        for precision in usual_precisions("cpu"):
            seconds = []
            for _ in range(options.repeat):
                start = time.perf_counter()
                result = af.merge(frames, model=model, device="cpu", precision=precision)
                seconds.append(time.perf_counter() - start)
            moved = [entry["decision"] for entry in result.info["registration"]]
            peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
            lines.append(f"| {model} | {precision} | {min(seconds):.2f} | {peak} |")
            print(
                f"{model} {precision}: {min(seconds):.2f} s, at most {peak} MiB more so far, frames {moved}", flush=True
            )
    if options.write:
        from report import write_section

        size = f"{options.size[0]}×{options.size[1]}"
        about = (
            f"{describe_machine()}. All of `merge()` on a hand-held bracket of {size} with moving objects, registration"
            f" included (`benchmarks/merge_time.py`, best of {options.repeat}); memory beyond the input."
        )
        write_section(options.write, "A whole merge", "\n".join([about, "", *lines]))


if __name__ == "__main__":
    main()
