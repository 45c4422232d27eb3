"""Shared by the plugin's tests: the manifest, tiny brackets with a known truth, and a tiny network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

MANIFEST = Path(__file__).parents[2] / "napari.yaml"
EV = (-2.0, 0.0, 2.0)


@pytest.fixture
def plugin(npe2pm):
    """Only this plugin, registered from the manifest in the repository."""
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_file(MANIFEST))
    return npe2pm


@pytest.fixture(autouse=True)
def no_trial(monkeypatch):
    """No merge in the background to learn how fast this computer is: the tests of that ask for it."""
    from napari_afunet import advice

    monkeypatch.setattr(advice, "_speeds", {advice._DEFAULT: 0.0})


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Weights of a tiny random network; accepted wherever a model can be named."""
    import torch

    from afunet_core.model.afunet import AFUNet
    from afunet_core.model.checkpoint import save_model
    from afunet_core.model.config import AFUNetConfig

    torch.manual_seed(0)
    config = AFUNetConfig(embed_dim=6, depths=(1, 1), alignment_heads=1, fusion_heads=1, channel_heads=1, window_size=4)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(AFUNet(config), path)
    return str(path)


@pytest.fixture(scope="session")
def make_frames():
    """``make_frames(height, width, channels, seed, ev, dtype, encoding)`` → frames, radiance."""
    return _make_frames


def _make_frames(height=24, width=32, channels=3, seed=0, ev=EV, dtype=np.uint8, encoding="gamma"):
    """Frames of a scene at rest, and its radiance in the unit of the shortest frame's saturation."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0.0, 1.0, (height // 4 + 2, width // 4 + 2, channels))
    smooth = coarse.repeat(4, 0).repeat(4, 1)[:height, :width]
    radiance = 0.002 + 0.7 * smooth**3
    if channels == 1:
        radiance = radiance[..., 0]
    frames = []
    for value in ev:
        exposed = np.clip(radiance * 2.0 ** (value - min(ev)), 0, 1)
        encoded = exposed ** (1 / 2.2) if encoding == "gamma" else exposed
        top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
        frames.append((np.round(encoded * top) if top > 1 else encoded).astype(dtype))
    return frames, radiance.astype(np.float32)


@pytest.fixture
def frames():
    return _make_frames()[0]


@pytest.fixture(scope="session")
def add_bracket():
    """``add_bracket(viewer, frames, ev, name, **options)`` → the layers, shortest first."""
    return _add_bracket


def _add_bracket(viewer, frames, ev=EV, name="scene", **options):
    """Three layers with exposure metadata, longest first so that the order means nothing."""
    if frames[0].shape[-1] == 3:
        options.setdefault("rgb", True)  # napari does not guess it for pictures this small
    layers = [
        viewer.add_image(frame, name=f"{name} {value:+.0f}", metadata={"ev": value}, **options)
        for frame, value in reversed(list(zip(frames, ev, strict=True)))
    ]
    return layers[::-1]


@pytest.fixture
def take_photographs(tmp_path, make_frames):
    """``take_photographs(names, seconds)`` → paths of JPEG files with EXIF, as a camera leaves them."""
    from PIL import Image as Picture
    from PIL.TiffImagePlugin import IFDRational

    def take(names, seconds, seed=0):
        ev = np.log2(np.asarray(seconds) / min(seconds))
        paths = []
        for name, frame, time in zip(names, make_frames(40, 48, seed=seed, ev=ev)[0], seconds, strict=True):
            exif = Picture.Exif()
            exif[0x010F] = "Maker"  # without a plain field Pillow takes the block for empty
            exif[0x8769] = {0x829A: IFDRational(time, 400)}
            paths.append(str(tmp_path / f"{name}.jpg"))
            Picture.fromarray(frame).save(paths[-1], exif=exif, quality=95)
        return paths

    return take


@pytest.fixture
def photographs(take_photographs):
    """A bracket with nothing in the names of its files to sort them by."""
    return take_photographs("bca", (1, 4, 16))
