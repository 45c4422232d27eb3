"""Brackets of two, five and seven frames: what further frames bring beside the best three, and beside the classics.

    python benchmarks/many_frames.py [--scenes 8] [--size 144] [--model default] [--seed 0] [--frames 5 7]

Every bracket is synthetic: a procedural scene of high dynamic range, of which 1 % is brighter than the shortest frame
records, photographed as 8 bits of gamma by a small sensor (5000 electrons, read noise 10). With ``object`` a textured
disc, somewhere between half and sixteen times as bright as the scene, crosses it; with ``both`` the camera moves as
well, by up to 6 pixels. The score is PSNR-μ in dB of the radiance held to [0, 1] against the truth at the reference
frame. "Best three" is the best, chosen by the truth, of all symmetric triplets, each merged by ``merge()`` as if there
were no others; all is ``merge()`` of the whole bracket; the weighted mean is that of all frames after registration.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import afunet_core as af
from afunet_core.data.synthesis.sampling import pixel_grid, warp
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.data.synthesis.sensor import add_sensor_noise, quantize
from afunet_core.metrics import psnr_mu
from afunet_core.radiometry import encode

BRACKETS = ((0, 2), (0, 4), (-4, -2, 0, 2, 4), (-3, -2, -1, 0, 1, 2, 3), (-6, -4, -2, 0, 2, 4, 6))
KINDS = ("static", "object", "both")
MARGIN, RADIUS = 20, 24


def make_bracket(
    scenes: list[Tensor], seed: int, ev: tuple[float, ...], kind: str, reference: int, size: int
) -> tuple[af.Bracket, Tensor]:
    """A synthetic bracket and the radiance at the instant of its reference frame, 1×3×size×size."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    canvas = F.interpolate(scenes[seed % len(scenes)][None], size=(size + 2 * MARGIN,) * 2, mode="bilinear")[0]
    canvas = canvas / torch.quantile(canvas.amax(0).flatten(), 0.99)
    paint = scenes[(seed + 1) % len(scenes)][:, : 2 * RADIUS, : 2 * RADIUS]
    paint = paint / paint.mean() * canvas.median() * 2 ** rng.uniform(-1, 4)
    shake = rng.uniform(-6, 6, (len(ev), 2)) if kind == "both" else np.zeros((len(ev), 2))
    shake[reference] = 0
    velocity = rng.uniform(-14, 14, 2)
    grid = pixel_grid(size, size) + MARGIN
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    times, frames, truth = [2.0 ** (value - ev[0]) for value in ev], [], canvas
    for index, time in enumerate(times):
        view = warp(canvas[None], (grid + torch.tensor(shake[index], dtype=torch.float32))[None, None])[0, 0]
        if kind != "static":
            centre = size * np.array([0.4, 0.5]) + velocity * (index - reference)
            top, left = (round(value) - RADIUS for value in centre)
            disc = (y - centre[0]).square() + (x - centre[1]).square() < RADIUS**2
            view = torch.where(disc, paint[:, (y - top).clamp(0, 47), (x - left).clamp(0, 47)], view)
        exposed = add_sensor_noise(view * time, 2e-4, 2e-3, torch.randn(view.shape, generator=generator))
        frames.append(quantize(encode(exposed.clamp(0, 1)), 8)[None])
        truth = view if index == reference else truth
    return af.Bracket(frames, times=times, reference=reference, override=True), truth.clamp(0, 1)[None]


def score(bracket: af.Bracket, truth: Tensor, unit: float = 1.0, **options: Any) -> float:
    """PSNR-μ of a merge whose radiance is worth ``unit`` of the truth's."""
    radiance = torch.from_numpy(af.merge(bracket, **options).radiance).permute(2, 0, 1)[None] * unit
    return float(psnr_mu(radiance.clamp(0, 1), truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=8, help="brackets for each row")
    parser.add_argument("--size", type=int, default=144)
    parser.add_argument("--model", default="default")
    parser.add_argument("--seed", type=int, default=0, help="of the first bracket of each row")
    parser.add_argument("--frames", type=int, nargs="*", help="rows of brackets with so many frames only")
    parser.add_argument("--steps", type=int, nargs="*", help="rows of brackets with so many EV between frames only")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    scenes = [scene.float() for scene in SceneBank.procedural(seed=5, count=6).hdr]

    print("| bracket | reference | motion | best three | weighted mean | merge() |")
    print("|---|---|---|---|---|---|")
    for ev in BRACKETS:
        if (args.frames and len(ev) not in args.frames) or (args.steps and ev[1] - ev[0] not in args.steps):
            continue
        middle = len(ev) // 2
        for reference in (0, 1) if len(ev) == 2 else (middle,):
            for kind in args.kinds:
                rows = []
                for seed in range(args.seed, args.seed + args.scenes):
                    bracket, truth = make_bracket(scenes, seed, ev, kind, reference, args.size)
                    three = [
                        score(bracket.select((middle - k, middle, middle + k), 1), truth, unit, model=args.model)
                        for k in range(1, middle + 1)
                        if len(ev) > 2
                        for unit in [1 / float(bracket.times[middle - k])]
                    ]
                    weighted = score(bracket, truth, method="weighted")
                    rows.append((max(three, default=float("nan")), weighted, score(bracket, truth, model=args.model)))
                means = [f"{value:.1f}" if value == value else "" for value in np.mean(rows, axis=0)]
                name = f"{len(ev)} frames, {ev[1] - ev[0]} EV"
                print(f"| {name} | {reference} | {kind} | {' | '.join(means)} |", flush=True)


if __name__ == "__main__":
    main()
