"""Networks, brackets and camera files that the tests of several packages share."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO
import tifffile
import torch
import torch.nn.functional as F
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
from afunet_core.radiometry import encode

ANCHORED: dict[str, Any] = {"head": "anchored", "downscale": 2, "mu_input": True}


def tiny_network(seed: int = 0, **changes: Any) -> AFUNet:
    """Make an untrained network of a few thousand parameters: what it contributes is far from the truth."""
    torch.manual_seed(seed)
    sizes = {"embed_dim": 12, "depths": (1,), "fusion_heads": 2, "dormant_norm": False}
    return AFUNet(AFUNetConfig(**{**sizes, **changes})).eval()


def drawn_network(config: AFUNetConfig, seed: int = 0, scale: float = 0.1) -> AFUNet:
    """Make a network whose every parameter matters: drawn, none left at zero or one; the same for the same config."""
    torch.manual_seed(seed)
    model = AFUNet(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return model


@cache
def _synthesizer() -> Synthesizer:
    return Synthesizer(SceneBank.procedural(0), SynthesisConfig.evaluation(16))


def synthetic_bracket(seed: int, kind: Kind = "static", size: int = 96) -> tuple[Bracket, Tensor]:
    """Make a bracket of three noisy frames, and the radiance of its scene."""
    batch = _synthesizer().sample(1, size, torch.Generator().manual_seed(seed), kind=kind)
    frames = list(batch.frames[0][:, None])
    return Bracket(frames, times=batch.times[0].tolist(), encoding="gamma", override=True), batch.truth


def blobs(height: int, width: int, cell: int = 8, seed: int = 0, mode: str = "bilinear") -> Tensor:
    """Random colours 1×3×H×W in [0, 1] that change every ``cell`` pixels, smoothly unless ``mode`` is nearest."""
    coarse = torch.rand(1, 3, height // cell, width // cell, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (height, width), mode=mode).clamp(0, 1)


def photographed(
    light: Tensor | Sequence[Tensor], times: Sequence[float], camera: Callable[[Tensor], Tensor] | str = "gamma",
    gain: float = 2e-4, read: float = 1e-3, bits: int = 8, seed: int = 1,
) -> list[Tensor]:  # fmt: skip
    """Frames of a scene, or of one for each, with photon and read noise, as a camera or an encoding stores them."""
    generator, frames = torch.Generator().manual_seed(seed), []
    for view, time in zip([light] * len(times) if isinstance(light, Tensor) else light, times, strict=True):
        noise = torch.randn(view.shape, generator=generator, dtype=view.dtype)
        seen = (view * time + noise * (gain * (view * time).clamp(0, 1) + read**2).sqrt()).clamp(0, 1)
        stored = encode(seen, camera) if isinstance(camera, str) else camera(seen)
        frames.append((stored * (2**bits - 1)).round() / (2**bits - 1) if bits else stored)
    return frames


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


def write_oiio(path: Path, *parts: tuple[str, Any, np.ndarray], **options: Any) -> Path:
    """Write a file by OpenImageIO itself: each part by its name, channels and pixels; fields and typed attributes."""
    oiio: Any = OpenImageIO  # its stubs make every call optional; a None fails these tests anyway
    specs = []
    for name, channels, pixels in parts:
        spec = oiio.ImageSpec(*pixels.shape[1::-1], pixels.shape[2], str(pixels.dtype).replace("float32", "float"))
        spec.channelnames = tuple(channels) or spec.channelnames
        for key, value in {**({"oiio:subimagename": name} if name else {}), **options}.items():
            if hasattr(spec, key):
                setattr(spec, key, value)
            else:
                spec.attribute(key, *(value if isinstance(value, tuple) else (value,)))
        specs.append(spec)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), specs if len(specs) > 1 else specs[0])
    for index, (_, _, pixels) in enumerate(parts):
        assert index == 0 or output.open(str(path), specs[index], "AppendSubimage")
        assert output.write_image(np.ascontiguousarray(pixels))
    assert output.close()
    return path


def save_photo(path: Path, pixels: np.ndarray, *exposure: Any, **more: Any) -> Path:
    """Write a picture as a camera does, by Pillow."""
    quality = {"quality": 98, "subsampling": 0} if path.suffix in (".jpg", ".JPG") else {}
    exif = exif_of(*exposure, **more)
    exif = exif.tobytes() if path.suffix == ".tif" else exif  # as a block its nested fields are beyond Pillow's writer
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif, **quality)
    return path


def write_bracket(folder: Path, frames: Sequence[np.ndarray], ev: Sequence[float] = ()) -> list[str]:
    """Write frames as ``0.tif``, ``1.tif`` …, and their exposures, where they are given, as a list beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.tif" for number in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        tifffile.imwrite(path, frame, photometric="rgb" if frame.shape[-1] == 3 else "minisblack")
    if ev:
        (folder / "exposure.txt").write_text("\n".join(map(str, ev)))
    return [str(path) for path in paths]


BLACK, WHITE, BALANCE = 256, 4095, (2.0, 1.0, 1.5)
CFA = {"RGGB": (0, 1, 1, 2), "BGGR": (2, 1, 1, 0), "GRBG": (1, 0, 2, 1), "GBRG": (1, 2, 0, 1)}


def write_dng(
    path: Path, light: np.ndarray, seconds: tuple[int, int] = (1, 100), iso: int = 200, pattern: str = "RGGB",
    black: tuple[int, ...] = (BLACK,), white: int = WHITE, orientation: int = 1, offset: float = 0.0,
    matrix: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1), balance: tuple[float, ...] = BALANCE,
) -> Path:  # fmt: skip
    """A Bayer mosaic in 16 bits, with the tags a reader needs; ``offset`` is added to the light, as noise would."""
    mosaic, levels = np.empty(light.shape[:2]), np.empty(light.shape[:2])
    for place, colour in enumerate(CFA[pattern]):
        block = (slice(place // 2, None, 2), slice(place % 2, None, 2))
        mosaic[block], levels[block] = light[block][..., colour], black[place % len(black)]
    counts = np.clip(np.round(levels + (mosaic + offset) * (white - levels)), 0, white).astype(np.uint16)
    neutral = tuple(number for gain in balance for number in (1000, round(1000 * gain)))
    to_camera = tuple(number for value in matrix for number in (round(10000 * value), 10000))
    repeat = 2 if len(black) == 4 else 1
    byte, text, short, long, rational, signed = 1, 2, 3, 4, 5, 10
    tags = [
        (271, text, 0, "Test"), (272, text, 0, "Camera"), (274, short, 1, orientation),
        (306, text, 0, "2026:06:21 12:00:05"), (33421, short, 2, (2, 2)),  # repeat of the colour filters
        (33422, byte, 4, bytes(CFA[pattern])), (33434, rational, 1, seconds), (33437, rational, 1, (8, 1)),
        (34855, short, 1, iso), (50706, byte, 4, bytes([1, 4, 0, 0])), (50707, byte, 4, bytes([1, 1, 0, 0])),  # DNG
        (50708, text, 0, "Test Camera"), (50710, byte, 3, bytes([0, 1, 2])), (50711, short, 1, 1),
        (50713, short, 2, (repeat, repeat)),  # repeat of the black levels
        (50714, rational, len(black), tuple(number for level in black for number in (level, 1))),
        (50717, long, 1, white), (50721, signed, 9, to_camera),  # from XYZ to the sensor
        (50728, rational, 3, neutral), (50778, short, 1, 21),  # white to the sensor, and the light it was seen in
    ]  # fmt: skip
    tags = [(*tag, True) for tag in tags]
    tifffile.imwrite(path, counts, photometric=32803, extratags=tags, metadata=None)
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


EV = (-2.0, 0.0, 2.0)


def make_frames(
    height: int = 24, width: int = 32, channels: int = 3, seed: int = 0, ev: Sequence[float] = EV,
    dtype: Any = np.uint8, encoding: str = "gamma",
) -> tuple[list[np.ndarray], np.ndarray]:  # fmt: skip
    """Make frames of a scene at rest, and its radiance in the unit of the shortest frame's saturation."""
    coarse = np.random.default_rng(seed).uniform(0.0, 1.0, (height // 4 + 2, width // 4 + 2, channels))
    radiance = 0.002 + 0.7 * coarse.repeat(4, 0).repeat(4, 1)[:height, :width] ** 3
    radiance = radiance[..., 0] if channels == 1 else radiance
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    frames = []
    for value in ev:
        exposed = np.clip(radiance * 2.0 ** (value - min(ev)), 0, 1)
        encoded = exposed ** (1 / 2.2) if encoding == "gamma" else exposed
        frames.append((np.round(encoded * top) if top > 1 else encoded).astype(dtype))
    return frames, radiance.astype(np.float32)


def textured(seed: int, height: int = 240, width: int = 360) -> np.ndarray:
    """Make a grey scene with detail at every size."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    scene = sum(gaussian_filter(random.uniform(size=(height, width)), sigma) * sigma for sigma in (1, 3, 9))
    return 0.01 + 0.2 * (scene - scene.min()) / np.ptp(scene)


def snapshots(scenes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Make one 8-bit frame of each scene, at -2, 0 and +2 EV."""
    exposed = [(scene * 2.0 ** (ev + 2)).clip(0, 1) for scene, ev in zip(scenes, EV, strict=True)]
    return [(255 * light ** (1 / 2.2)).astype(np.uint8) for light in exposed]


def add_bracket(viewer: Any, frames: Sequence[Any], ev: Sequence[float] = EV, name: str = "scene", **more: Any) -> Any:
    """Add layers with exposure metadata, longest first so that the order means nothing; return them shortest first."""
    if frames[0].shape[-1] == 3:
        more.setdefault("rgb", True)  # napari does not guess it for pictures this small
    layers = [
        viewer.add_image(frame, name=f"{name} {value:+.0f}", metadata={"ev": value}, **more)
        for frame, value in reversed(list(zip(frames, ev, strict=True)))
    ]
    return layers[::-1]


def merged(viewer: Any, layers: Sequence[Any], settings: Any = None) -> tuple[Any, dict[str, Any]]:
    """Merge layers without a widget; return the outcome and its layers."""
    from napari_afunet.display.tone_view import DisplaySettings
    from napari_afunet.jobs.merge_job import merge_source
    from napari_afunet.layers.results import add_result_layers
    from napari_afunet.layers.source import bracket_source
    from napari_afunet.settings import MergeSettings

    settings = settings or MergeSettings(ev=EV, method="weighted", align="off")
    outcome = merge_source(bracket_source(layers), settings)
    return outcome, add_result_layers(viewer, outcome, DisplaySettings())


def results(viewer: Any) -> list[str]:
    """Return the names of the result layers."""
    return [layer.name for layer in viewer.layers if "role" in layer.metadata.get("afunet", {})]


def messages() -> list[str]:
    """Return the texts of napari's notifications so far."""
    from napari.utils.notifications import notification_manager

    return [record.message for record in notification_manager.records]
