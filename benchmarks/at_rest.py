"""What the network adds to the classical merge of scenes at rest, and what each part of the rule for it is worth.

    python benchmarks/at_rest.py [--scenes FOLDER] [--photos FOLDER] [--model compact full] [--count 32] [--size 320]

Brackets at rest as `afunet evaluate --synthetic` makes them. Gains are over the weighted merge, in dB, after the μ-law
and in linear light: their mean, and the scene that gains least. Last, how many of the brackets are taken for scenes at
rest when blocks of 1, 2 or 4 pixels are asked.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from runs import add_scenes, held_out_bank
from torch import Tensor

from afunet_core.baselines.weighted import weighted_merge
from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import noise_optimal_merge
from afunet_core.data.synthesis.brackets import SynthesisConfig, Synthesizer
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.merging import static_scene as gating
from afunet_core.metrics import psnr, psnr_mu
from afunet_core.model.checkpoint import load_model
from afunet_core.ops.smoothstep import smoothstep

Way = Callable[[Tensor, Bracket], Tensor]


def tempered(**settings: Any) -> Way:
    """The rule of merge(), with some of its numbers changed."""

    def way(network: Tensor, bracket: Bracket) -> Tensor:
        with mock.patch.multiple(gating, **{"TOLERANCE": gating.TOLERANCE, **settings}):
            result = gating.merge_at_rest(network, bracket)
        return weighted_merge(bracket) if result is None else result

    return way


def in_the_shadows(network: Tensor, bracket: Bracket) -> Tensor:
    """The rule before: the network in the shadows, the weighted merge in the lights."""
    return network.lerp(weighted_merge(bracket), smoothstep(bracket.frames[bracket.reference], *gating.LIGHTS))


ALWAYS, ANYTHING = (-2.0, -1.0), 1e6
WAYS: dict[str, Way] = {
    "noise-optimal merge, no network": lambda _, bracket: noise_optimal_merge(bracket),
    "network alone": lambda network, _: network,
    "network in the shadows, weighted merge in the lights": in_the_shadows,
    "merge(): all of the rule": tempered(),
    "without the bound on single pixels": tempered(OF_ONE_PIXEL=ANYTHING),
    "neighbourhoods of 3 pixels only": tempered(NEIGHBOURHOODS=(3,)),
    "neighbourhoods of 9 pixels only": tempered(NEIGHBOURHOODS=(9,)),
    "also where the classic has hardly any noise": tempered(NOTICEABLE=ALWAYS),
    "lights treated like shadows": tempered(LIGHTS=(2.0, 3.0)),
    "shadows treated like lights": tempered(LIGHTS=(-2.0, -1.0)),
}


def brackets(bank: SceneBank, count: int, size: int, seed: int) -> Iterator[tuple[Bracket, Tensor, Tensor]]:
    """Brackets at rest, half of 8 and half of 16 bits: what merge() sees, what the network sees, and the truth."""
    generator = torch.Generator().manual_seed(seed)
    makers = [Synthesizer(bank, SynthesisConfig.evaluation(bits)) for bits in (8, 16)]
    for index in range(count):
        batch = makers[index % 2].sample(1, size, generator, kind="static")
        frames = list(batch.frames[0][:, None])
        bracket = Bracket(frames, times=batch.times[0].tolist(), encoding="gamma", override=True)
        yield bracket, batch.network_input(), batch.truth


@torch.inference_mode()
def gains(model: str, bank: SceneBank, options: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """For every way and bracket: by how much PSNR-μ and PSNR-l exceed those of the weighted merge."""
    network, found = load_model(model), {name: list[tuple[float, float]]() for name in WAYS}
    for bracket, shown, truth in brackets(bank, options.count, options.size, options.seed):
        image, classic = network(shown), weighted_merge(bracket)
        for name, way in WAYS.items():
            ours = way(image, bracket)
            pair = [
                float(score(ours.clamp(0, 1), truth) - score(classic.clamp(0, 1), truth)) for score in (psnr_mu, psnr)
            ]
            found[name].append((pair[0], pair[1]))
    return found


def found_at_rest(bank: SceneBank, options: argparse.Namespace, block: int) -> int:
    """How many of the brackets merge() takes for scenes at rest if blocks of so many pixels squared are asked."""
    with mock.patch.object(gating, "BLOCK", block):
        stacks = (bracket for bracket, *_ in brackets(bank, options.count, options.size, options.seed))
        return sum(gating.is_at_rest(stack) for stack in stacks)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scenes(parser)
    parser.add_argument("--model", nargs="+", default=["compact", "full"])
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--seed", type=int, default=21)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each model."""
    options = parse(arguments)
    bank = held_out_bank(options.scenes, options.photos)
    for model in options.model:
        print(f"| {model} | mean gain, PSNR-μ | PSNR-l | least gain, PSNR-μ | PSNR-l |\n|---|---:|---:|---:|---:|")
        for name, pairs in gains(model, bank, options).items():
            values = torch.tensor(pairs)
            cells = [f"{value:+.2f}" for value in (*values.mean(0), *values.amin(0))]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        print()
    counts = [f"{found_at_rest(bank, options, block)} (blocks of {block})" for block in (1, 2, 4)]
    print(f"Taken for at rest, of {options.count}: {', '.join(counts)}")


if __name__ == "__main__":
    main()
