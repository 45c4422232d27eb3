"""Networks on exact and on real cameras, sharp and soft pictures, looking at full and at half the size.

    python benchmarks/cameras.py --scenes FOLDER [--photos FOLDER] [--curves FILE.npz] [--model full --model other]
        [--brackets 32] [--size 256] [--held-out 12]

Held-out synthetic brackets, frames as taken, the network alone; PSNR-μ / PSNR-l in dB. Beside each score that after the
best monotone curve for each channel ("curve"), since a camera's curve that no calibration finds is not the network's to
know. The weighted merge stands below.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from afunet_core.baselines import weighted_merge
from afunet_core.bracket.stack import ExposureStack
from afunet_core.data.synthesis.brackets import KINDS, Synthesizer, SyntheticBatch
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.metrics import psnr_linear, psnr_mu
from afunet_core.model.checkpoint import load_model
from afunet_core.model.working_scale import WorkingScale

SETS = {"exact": (0.0, 1), "camera": (1.0, 1), "exact, soft": (0.0, 2), "camera, soft": (1.0, 2)}
"""Share of real cameras, and by how much scenes are enlarged before they are recorded."""
NODES = 64


def monotone_fit(image: Tensor, truth: Tensor) -> Tensor:
    """The image after the best rising curve for each channel, by pooling adjacent violators over its quantiles."""
    result = image.clone()
    for channel in range(image.shape[1]):
        x, y = (part[:, channel].flatten().double().numpy() for part in (image, truth))
        order = np.argsort(x)
        groups = [(float(x[part].mean()), float(y[part].mean()), 1.0) for part in np.array_split(order, NODES)]
        pooled: list[tuple[float, float, float]] = []
        for group in groups:
            pooled.append(group)
            while len(pooled) > 1 and pooled[-2][1] > pooled[-1][1]:
                (xa, ya, na), (xb, yb, nb) = pooled[-2:]
                total = na + nb
                pooled[-2:] = [((xa * na + xb * nb) / total, (ya * na + yb * nb) / total, total)]
        xs, ys = np.array([g[0] for g in pooled]), np.array([g[1] for g in pooled])
        # Gains between the nodes, not values: inside a node the image keeps its own detail.
        gain = np.interp(x, xs, ys / np.maximum(xs, 1e-9))
        result[:, channel] = torch.from_numpy(x * gain).view_as(result[:, channel]).to(result)
    return result


def scores(run: Callable[[SyntheticBatch], Tensor], brackets: list[SyntheticBatch]) -> tuple[float, ...]:
    """Mean PSNR-μ and PSNR-l, and both after the best curve."""
    found = []
    for bracket in brackets:
        with torch.inference_mode():
            image = run(bracket).clamp(0, 1)
            fitted = monotone_fit(image, bracket.truth).clamp(0, 1)
            pairs = [(psnr_mu(one, bracket.truth), psnr_linear(one, bracket.truth)) for one in (image, fitted)]
        found.append([float(value) for pair in pairs for value in pair])
    return tuple(np.mean(found, axis=0).tolist())


def at_scale(network: WorkingScale, bracket: SyntheticBatch) -> Tensor:
    """The network alone."""
    return network(bracket.network_input())


def weighted(bracket: SyntheticBatch) -> Tensor:
    """The classical merge."""
    return weighted_merge(ExposureStack(tuple(bracket.frames.unbind(1)), bracket.times[0]))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", required=True)
    parser.add_argument("--photos")
    parser.add_argument("--curves")
    parser.add_argument("--model", action="append")
    parser.add_argument("--brackets", type=int, default=32, help="of each set")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--held-out", type=int, default=12, help="scenes; 0 takes all")
    options = parser.parse_args()
    bank = SceneBank.from_folders([options.scenes], [options.photos] if options.photos else [])
    held = bank.split(options.held_out, 0)[1] if options.held_out else bank
    networks = {name: load_model(name).eval() for name in options.model or ["full", "compact"]}
    ways: dict[str, Callable[[SyntheticBatch], Tensor]] = {
        f"{name}, 1/{scale}": partial(at_scale, WorkingScale(model, scale))
        for name, model in networks.items()
        for scale in (1, 2)
    }
    print("| brackets | method | PSNR-μ | PSNR-l | curve μ | curve l |\n|---|---|---:|---:|---:|---:|")
    for title, (share, enlarge) in SETS.items():
        config = SynthesisConfig.evaluation(8, camera_share=share, camera_curves=options.curves)
        maker, generator = Synthesizer(held, config), torch.Generator().manual_seed(3)
        kinds = [KINDS[index % len(KINDS)] for index in range(options.brackets)]
        brackets = [maker.sample(1, options.size, generator, kind, enlarge) for kind in kinds]
        for name, run in {**ways, "weighted merge": weighted}.items():
            print(
                f"| {title} | {name} | " + " | ".join(f"{value:.2f}" for value in scores(run, brackets)) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
