"""What training draws from: batches by step number, and a fixed validation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from afunet_core.data.scenes import SceneBank
from afunet_core.data.synthesis import KINDS, SynthesisConfig, Synthesizer, validation_brackets
from afunet_core.radiometry import mu_law

if TYPE_CHECKING:
    from afunet_core.model.afunet import AFUNet
    from afunet_core.training import TrainingConfig

__all__ = ["SyntheticSource"]


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Randomness of one step: depends on nothing else, so that a resumed run repeats it."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 64 + rank + 1)


class SyntheticSource:
    """Brackets synthesised on the fly from HDR scenes and photographs (or from procedural scenes without any)."""

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        options = {key: value for key, value in config.data.items() if key != "kind"}
        hdr, photos = options.pop("hdr", None), options.pop("photos", None)
        holdout, split_seed = options.pop("holdout", 12), options.pop("split_seed", 0)
        bank = (
            SceneBank.from_folders(hdr=[hdr] if hdr else [], photos=[photos] if photos else [])
            if hdr or photos
            else SceneBank.procedural(config.seed)
        )
        training, held_out = bank.split(holdout=holdout, seed=split_seed) if holdout else (bank, bank)
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        self.config = config
        self.device = device
        self.synthesizer = Synthesizer(training, SynthesisConfig(**options), device)
        self.validation = (
            validation_brackets(held_out, config.validation_count, config.validation_size, seed=1)
            if config.validate_every
            else []
        )

    def batches(self, step: int, rank: int) -> tuple[Tensor, Tensor]:
        """The batch of a step: network input ``B×18×H×W`` and truth ``B×3×H×W``."""
        generator = step_generator(self.config.seed, step, rank)
        batch = self.synthesizer.sample(self.config.batch, self.config.patch, generator)
        return batch.network_input().to(self.device), batch.truth.to(self.device)

    @torch.inference_mode()
    def validate(self, model: AFUNet, picture: Path) -> dict[str, float]:
        """PSNR-μ and PSNR-l in dB (peak 1), mean over brackets, overall and by kind of motion."""
        scores: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        strips = []
        for batch in self.validation:
            truth = batch.truth.to(self.device)
            estimate = model(batch.network_input().to(self.device)).float().clamp(0, 1)
            mu_error = (mu_law(estimate) - mu_law(truth)).square().mean().item()
            linear_error = (estimate - truth).square().mean().item()
            scores[batch.kind[0]].append((_decibel(mu_error), _decibel(linear_error)))
            if len(strips) < 8:
                strips.append(torch.cat([mu_law(estimate), mu_law(truth)], dim=-1)[0])
        _write_picture(picture, torch.cat(strips, dim=-2))
        pairs = [pair for values in scores.values() for pair in values]
        result = {"psnr_mu": _mean([a for a, _ in pairs]), "psnr_l": _mean([b for _, b in pairs])}
        for kind, values in scores.items():
            result[f"{kind}_mu"] = _mean([a for a, _ in values])
            result[f"{kind}_l"] = _mean([b for _, b in values])
        return result


def _decibel(error: float) -> float:
    return -10.0 * torch.log10(torch.tensor(max(error, 1e-12))).item()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _write_picture(path: Path, image: Tensor) -> None:
    import imageio.v3 as imageio

    pixels = image.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    imageio.imwrite(path, pixels)
