"""Costs and savings of looking at reduced frames: merges of pictures as soft as large ones, at every working scale.

    python benchmarks/working_scale.py --scenes FOLDER [--photos FOLDER] [--size 384 576] [--enlarge 2]
        [--kind objects both camera static] [--model full] [--held-out 12] [--seed 1]

Held-out synthetic brackets are rendered at a fraction of the size, enlarged, and then recorded, motion in proportion;
PSNR-μ / PSNR-l in dB and CPU seconds of one thread of whole merges, the weighted merge beside them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import afunet_core as af
from afunet_core.data.synthesis.brackets import KINDS, Synthesizer
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.metrics import psnr_linear, psnr_mu

WAYS: dict[str, dict[str, Any]] = {
    "weighted": {"method": "weighted"},
    "auto": {},
    "full": {"working_scale": "full"},
    "half": {"working_scale": "half"},
    "quarter": {"working_scale": "quarter"},
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", required=True)
    parser.add_argument("--photos")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 576), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--enlarge", type=int, default=2)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=["objects", "both", "camera", "static"])
    parser.add_argument("--model", default="full")
    parser.add_argument("--held-out", type=int, default=12, help="scenes; 0 takes all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bank = SceneBank.from_folders([options.scenes], [options.photos] if options.photos else [])
    held = bank.split(options.held_out, 0)[1] if options.held_out else bank
    maker, generator = Synthesizer(held, SynthesisConfig.evaluation(8)), torch.Generator().manual_seed(options.seed)
    print("| bracket | " + " | ".join(WAYS) + " |\n|---" + "|---" * len(WAYS) + "|")
    for kind in options.kind:
        batch = maker.sample(1, tuple(options.size), generator, kind, options.enlarge)
        frames = list(batch.frames[0][:, None])
        bracket = af.Bracket(frames, times=batch.times[0].tolist(), encoding="gamma", override=True)
        cells = []
        for way in WAYS.values():
            start = time.process_time()
            result = af.merge(bracket, model=options.model, **way)
            seconds = time.process_time() - start
            image = torch.from_numpy(result.radiance).permute(2, 0, 1)[None].clamp(0, 1)
            scores = [float(score(image, batch.truth)) for score in (psnr_mu, psnr_linear)]
            cells.append(f"{scores[0]:.1f} / {scores[1]:.1f} ({seconds:.1f} s)")
        print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
