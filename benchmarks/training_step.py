"""How long one training step takes on this CPU: with the modules as they are written, and with the compiled kernels.

    python benchmarks/training_step.py [--write docs/performance.md] [--repeats 5]

A step is the loss, its gradient and the update of the weights for four windows of 128×128 pixels, in the precision that
a run takes by itself on this CPU; making the brackets is not in it. The ways are measured in turn, in one process, and
the least of the repetitions counts.
"""

from __future__ import annotations

import argparse
import time

import torch
from report import write_section

from afunet_core.benchmark import describe_machine
from afunet_core.device import multiplies_bfloat16
from afunet_core.model.afunet import AFUNet
from afunet_core.model.allocator import freed_memory_kept
from afunet_core.model.config import AFUNetConfig
from afunet_core.native.accelerate import accelerate
from afunet_core.training import TrainingConfig, TrainingObjective

TITLE = "A training step"
NAMES = ("compact", "full", "published")
WINDOWS, SIDE = 4, 128
MIXED = multiplies_bfloat16(torch.device("cpu"))


class Steps:
    """A network that can be trained step by step."""

    def __init__(self, config: AFUNetConfig, native: bool) -> None:
        torch.manual_seed(0)
        model = AFUNet(config)
        self.native = accelerate(model) if native else False
        settings = TrainingConfig(loss={"radiance": 0.3, "radiance_kind": "l1", "decibel": 0.02})
        self.objective = TrainingObjective(model, settings)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
        self.frames, self.truth = torch.rand(WINDOWS, 18, SIDE, SIDE), torch.rand(WINDOWS, 3, SIDE, SIDE)

    def __call__(self) -> float:
        """Seconds of one step."""
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=MIXED):
            loss = self.objective(self.frames, self.truth)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start


def measure(name: str, repeats: int) -> tuple[float, float | None]:
    """Seconds of a step with the modules, and with the kernels (None where they cannot be compiled)."""
    config = TrainingConfig(model=name).network()
    plain, native = Steps(config, native=False), Steps(config, native=True)
    ways = [plain, native] if native.native else [plain]
    with freed_memory_kept():
        least = [min(times) for times in zip(*([way() for way in ways] for _ in range(repeats + 1)), strict=True)]
    return least[0], least[1] if native.native else None


def main() -> None:
    """Measure, print, and write a section of the performance page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", metavar="PAGE", help="put the table into this Markdown page")
    options = parser.parse_args()
    lines = ["| network | modules | compiled kernels | |", "|---|---:|---:|---:|"]
    for name in NAMES:
        plain, native = measure(name, options.repeats)
        cells = ("–", "–") if native is None else (f"{native:.2f} s", f"{plain / native:.1f}×")
        lines.append(f"| {name} | {plain:.2f} s | {cells[0]} | {cells[1]} |")
        print(lines[-1], flush=True)
    text = f"{describe_machine()}.\n\n```sh\npython benchmarks/training_step.py\n```\n\n" + "\n".join(lines)
    text += (
        f"\n\nLoss, gradient and update for {WINDOWS} windows of {SIDE}×{SIDE} pixels, brackets not included; "
        f"{'bfloat16' if MIXED else 'float32'} outside the kernels, which always multiply bfloat16. What the kernels "
        "are is said in [decision 0008](decisions/0008-native-training.md)."
    )
    if options.write:
        write_section(options.write, TITLE, text)


if __name__ == "__main__":
    main()
