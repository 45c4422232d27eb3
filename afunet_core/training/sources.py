"""Sources of training data: batches by step number, and a fixed validation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from afunet_core.data.datasets import BracketDataset
from afunet_core.data.synthesis.brackets import Synthesizer, validation_brackets
from afunet_core.data.synthesis.config import SynthesisConfig
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.errors import AFUNetError, ArgumentError
from afunet_core.evaluation.evaluator import DatasetSamples, Sample, evaluate, synthetic_samples
from afunet_core.radiometry import mu_law, network_input
from afunet_core.training.config import check_names

if TYPE_CHECKING:
    from afunet_core.model.afunet import AFUNet
    from afunet_core.training.config import TrainingConfig

Batch: TypeAlias = tuple[Tensor, Tensor]  # network input B×18×H×W and truth B×3×H×W


def training_batches(source: Source, steps: range, rank: int) -> Iterator[Batch]:
    """Yield the batches of these steps, made in advance by other processes; each depends on its step alone."""
    source.rank = rank
    for batch in DataLoader(source, batch_size=None, sampler=steps, num_workers=source.workers):
        if isinstance(batch, AFUNetError):
            raise batch
        yield batch


def data_source(config: TrainingConfig, device: torch.device) -> Source:
    """Open the source that ``config.data`` names."""
    kinds: dict[str, type[Source]] = {"synthetic": SyntheticSource, "folder": FolderSource}
    kind = config.data.get("kind", "synthetic")
    if kind not in kinds:
        raise ArgumentError("data.kind", f"one of {', '.join(kinds)}", kind)
    return kinds[kind](config, device)


class Source(Dataset["Batch | AFUNetError"]):
    """Batches by the number of their step; an error is an entry, since torch would make it a traceback."""

    rank = 0

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        cores = os.cpu_count() or 2
        # Processes that prepare batches; on a CPU the network needs cores as well.
        self.workers = max(1, min(4, cores // 2) if device.type == "cpu" else cores - 1)

    def __getitem__(self, step: int) -> Batch | AFUNetError:
        # The generator depends on nothing else, so that a resumed run repeats the step.
        generator = torch.Generator().manual_seed((self.config.seed * 1_000_003 + step) * 64 + self.rank + 1)
        try:
            return self.make(generator)
        except AFUNetError as error:
            return AFUNetError(str(error))

    def make(self, generator: torch.Generator) -> Batch:
        """Make a batch: network input ``B×18×H×W`` and truth ``B×3×H×W``."""
        raise NotImplementedError

    def samples(self) -> Iterable[Sample]:
        """Return the scenes to validate on."""
        raise NotImplementedError


class SyntheticSource(Source):
    """Brackets synthesised on the fly from HDR scenes and photographs (or from procedural scenes without any)."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        super().__init__(config, device)
        options = {key: value for key, value in config.data.items() if key != "kind"}
        known = [entry.name for entry in fields(SynthesisConfig)]
        check_names("data", options, ["kind", "hdr", "photos", "holdout", "split_seed", *known])
        hdr, photos = options.pop("hdr", None), options.pop("photos", None)
        holdout, split_seed = options.pop("holdout", 12), options.pop("split_seed", 0)
        if hdr or photos:
            bank = SceneBank.from_folders(hdr=[hdr] if hdr else [], photos=[photos] if photos else [])
            training, held_out = bank.split(holdout=holdout, seed=split_seed) if holdout else (bank, bank)
        else:  # none of these few scenes need be held out: others can be had
            training, held_out = (SceneBank.procedural(config.seed + other) for other in (0, 1_000_000))
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        self.synthesizer = Synthesizer(training, SynthesisConfig(**options))
        self.validation: list[Sample] = []
        if config.validate_every:
            brackets = validation_brackets(held_out, config.validation_count, config.validation_size, seed=1)
            self.validation = list(synthetic_samples(brackets))

    def make(self, generator: torch.Generator) -> Batch:
        """Synthesise a batch."""
        batch = self.synthesizer.sample(self.config.batch, self.config.patch, generator)
        return batch.network_input(), batch.truth

    def samples(self) -> Iterable[Sample]:
        """Return the held-out brackets, by kind of motion."""
        return self.validation


class FolderSource(Source):
    """Brackets of a data set on disk, in any layout of the field: random windows, turned and mirrored."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        super().__init__(config, device)
        options = config.data
        check_names("data", options, ["kind", "root", "layout", "validation"])
        if "root" not in options:
            raise ArgumentError("data.root", "the folder of a data set", "none")
        layout = options.get("layout", "auto")
        self.scenes = BracketDataset(options["root"], layout, crop=config.patch, augment=True)
        held_out = options.get("validation")
        self.validation = BracketDataset(held_out, layout) if held_out and config.validate_every else None

    def make(self, generator: torch.Generator) -> Batch:
        """Read a batch; which scenes, windows and turns depends on the generator alone."""
        chosen = torch.randint(len(self.scenes), (self.config.batch,), generator=generator).tolist()
        # The data set draws from torch's global generator, as its workers' seeds expect.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            samples = [self.scenes[index] for index in chosen]
        parts = ([sample["frames"], sample["times"], sample["truth"]] for sample in samples)
        frames, times, truth = map(torch.stack, zip(*parts, strict=True))
        return network_input(frames.unbind(1), times.to(frames)), truth

    def samples(self) -> Iterable[Sample]:
        """Return the held-out scenes, or those to learn from if there are no others."""
        scenes = self.validation if self.validation is not None else self.scenes
        return DatasetSamples(scenes)


def validate(model: AFUNet, samples: Iterable[Sample], picture: Path, device: torch.device) -> dict[str, float]:
    """Compute PSNR-μ and PSNR-l in dB, averaged overall and by kind; write the first results beside their truths."""
    import imageio.v3 as imageio

    strips: list[Tensor] = []

    def network(sample: Sample) -> Tensor:
        estimate = model(sample.to_tensor().to(device)).float().clamp(0, 1).cpu()
        if len(strips) < 8 and all(strip.shape[0] == estimate.shape[2] for strip in strips):
            strips.append(mu_law(torch.cat([estimate, sample.truth], dim=-1))[0].permute(1, 2, 0))
        return estimate

    table = evaluate({"network": network}, samples, metrics=("PSNR-μ", "PSNR-l"))
    width = min(strip.shape[1] for strip in strips)
    pixels = torch.cat([strip[:, :width] for strip in strips]).clamp(0, 1).mul(255).round().byte()
    imageio.imwrite(picture, pixels.numpy())
    averages = {"psnr": table.mean("network")} | {kind: table.mean("network", kind) for kind in sorted(table.kinds)}
    return {
        f"{name}_{end}": means[column]
        for name, means in averages.items()
        for end, column in (("mu", "PSNR-μ"), ("l", "PSNR-l"))
    }
