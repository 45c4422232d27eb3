"""Gain of denoising over the weighted merge where nothing moves, on held-out synthetic brackets.

    python benchmarks/at_rest.py --scenes FOLDER [--photos FOLDER] [--brackets 24] [--size 256] [--held-out 12]

The weighted merge, and ``merge()``, which starts from it where the scene is at rest; PSNR-μ / PSNR-l in dB.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import afunet_core as af
from afunet_core.data.synthesis.brackets import Synthesizer
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.metrics import psnr_linear, psnr_mu


def main() -> None:
    """Measure and print the gains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", required=True)
    parser.add_argument("--photos")
    parser.add_argument("--brackets", type=int, default=24)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--held-out", type=int, default=12, help="scenes; 0 takes all")
    options = parser.parse_args()
    bank = SceneBank.from_folders([options.scenes], [options.photos] if options.photos else [])
    held = bank.split(options.held_out, 0)[1] if options.held_out else bank
    maker, generator = Synthesizer(held, SynthesisConfig.evaluation(8)), torch.Generator().manual_seed(11)
    gains = []
    for _ in range(options.brackets):
        batch = maker.sample(1, options.size, generator, "static")
        frames = list(batch.frames[0][:, None])
        bracket = af.Bracket(frames, times=batch.times[0].tolist(), encoding="gamma", override=True)
        result = af.merge(bracket)
        if not result.info["at_rest"]:
            continue
        pictures = (af.merge(bracket, method="weighted").radiance, result.radiance)
        images = [torch.from_numpy(each).permute(2, 0, 1)[None].clamp(0, 1) for each in pictures]
        classic, ours = ([float(score(each, batch.truth)) for score in (psnr_mu, psnr_linear)] for each in images)
        gains.append([after - before for before, after in zip(classic, ours, strict=True)])
    found = torch.tensor(gains)
    for name, values in (("mean", found.mean(0)), ("worst bracket", found.amin(0))):
        print(f"{name} of {len(gains)}: " + " / ".join(f"{value:+.2f}" for value in values.tolist()))


if __name__ == "__main__":
    main()
