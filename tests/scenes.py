"""Networks, brackets and camera files that the tests of several packages share."""

from __future__ import annotations

import struct
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
from afunet_core.io.icc import SRGB_D50
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
    plain = {"make": "Maker", **plain}  # without a plain field Pillow takes it for empty
    for name, tag in (("make", 0x010F), ("model", 0x0110), ("orientation", 0x0112)):
        if plain.get(name):
            exif[tag] = plain[name]
    time = {} if seconds is None else {0x829A: IFDRational(seconds.numerator, seconds.denominator)}
    exif[0x8769] = {**time, **(fields or {})}
    return exif


def save_photo(path: Path, pixels: np.ndarray, *exposure: Any, **more: Any) -> Path:
    """Write a picture as a camera does, by Pillow."""
    quality = {"quality": 98, "subsampling": 0} if path.suffix in (".jpg", ".JPG") else {}
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif_of(*exposure, **more), **quality)
    return path


def icc_profile(matrix: np.ndarray, curve: bytes, space: bytes = b"RGB ") -> bytes:
    """Make an ICC profile independently of the product's: version 2, one curve."""

    def fix(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78), b"wtpt": fix(np.ones(3))}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
        tags |= {name: fix(matrix[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += name + struct.pack(">II", start + len(body), len(padded))
        body += padded
    head = bytearray(128)
    head[8:12], head[12:24], head[36:40] = b"\x02\x10\0\0", b"mntr" + space + b"XYZ ", b"acsp"
    return struct.pack(">I", 128 + len(table) + len(body)) + bytes(head)[4:] + table + body


def table_profile(space: bytes, corners: np.ndarray, gamma: float) -> bytes:
    """Make a profile as scanners and presses have: curves and a table of XYZ at the corners (lut16Type)."""
    inputs = {b"RGB ": 3, b"CMYK": 4}[space]
    curve = np.rint(np.linspace(0, 1, 256) ** gamma * 65535).astype(">u2").tobytes()
    table = np.rint(corners * 32768).clip(0, 65535).astype(">u2").tobytes()
    head = b"mft2\0\0\0\0" + bytes((inputs, 3, 2, 0)) + struct.pack(">9i", *(np.eye(3).ravel() * 65536).astype(int))
    tag = head + struct.pack(">HH", 256, 2) + curve * inputs + table + np.array([0, 65535] * 3, ">u2").tobytes()
    made = bytearray(icc_profile(SRGB_D50, tag))
    made[16:20] = space
    return bytes(made).replace(b"rTRC", b"A2B0", 1)
