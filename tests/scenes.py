"""Networks, brackets and camera files that the tests of several packages share."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.data.synthesis.brackets import SynthesisConfig, Synthesizer
from afunet_core.data.synthesis.config import Kind
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import AFUNetConfig

ANCHORED: dict[str, Any] = {"head": "anchored", "downscale": 2, "mu_input": True}


def tiny_network(seed: int = 0, **changes: Any) -> AFUNet:
    """Make an untrained network of a few thousand parameters: what it contributes is far from the truth."""
    torch.manual_seed(seed)
    sizes = {"embed_dim": 12, "depths": (1,), "fusion_heads": 2, "dormant_norm": False}
    return AFUNet(AFUNetConfig(**{**sizes, **changes})).eval()


@cache
def _synthesizer() -> Synthesizer:
    return Synthesizer(SceneBank.procedural(0), SynthesisConfig.evaluation(16))


def synthetic_bracket(seed: int, kind: Kind = "static", size: int = 96) -> tuple[Bracket, Tensor]:
    """Make a bracket of three noisy frames, and the radiance of its scene."""
    batch = _synthesizer().sample(1, size, torch.Generator().manual_seed(seed), kind=kind)
    frames = list(batch.frames[0][:, None])
    return Bracket(frames, times=batch.times[0].tolist(), encoding="gamma", override=True), batch.truth


def exif_of(seconds: Fraction | None = None, fields: dict[int, Any] | None = None, **plain: Any) -> Image.Exif:
    """Make the EXIF block of a camera: an exposure time, further fields, ``make``, ``model``, ``orientation``."""
    exif = Image.Exif()
    for name, tag in (("make", 0x010F), ("model", 0x0110), ("orientation", 0x0112)):
        if plain.get(name, "Maker" if name == "make" else None):  # without a plain field Pillow takes it for empty
            exif[tag] = plain.get(name, "Maker")
    time = {} if seconds is None else {0x829A: IFDRational(seconds.numerator, seconds.denominator)}
    exif[0x8769] = {**time, **(fields or {})}
    return exif


def save_photo(path: Path, pixels: np.ndarray, *exposure: Any, **more: Any) -> Path:
    """Write a picture as a camera does, by Pillow."""
    quality = {"quality": 98, "subsampling": 0} if path.suffix in (".jpg", ".JPG") else {}
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif_of(*exposure, **more), **quality)
    return path
