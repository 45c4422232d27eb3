"""Brackets that people merge by accident: each gives a good picture, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from torch import Tensor

import afunet_core as af
from afunet_core.cli import main
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.data.synthesis.sensor import add_sensor_noise
from afunet_core.metrics import psnr_mu

HEIGHT, WIDTH = 128, 160
ORIENTATION, CAMERA, EXIF, SECONDS = 0x0112, 0x0110, 0x8769, 0x829A
Run = Callable[..., float]


@pytest.fixture(scope="module")
def scene() -> Tensor:
    """Radiance 3×H×W, 1.0 at the saturation of an exposure of one."""
    found = SceneBank.procedural(seed=5, count=2, size=(HEIGHT, WIDTH)).hdr[1].float()[:, :HEIGHT, :WIDTH]
    return (found / torch.quantile(found.amax(0).flatten(), 0.995)).clamp(0, 1)


@pytest.fixture
def shoot(scene: Tensor) -> Callable[..., np.ndarray]:
    generator = torch.Generator().manual_seed(0)

    def photograph(time: float, shift: int = 0) -> np.ndarray:
        light = scene.roll(shift, -1) * time
        exposed = add_sensor_noise(light, 2e-4, 2e-3, torch.randn(light.shape, generator=generator))
        return (exposed.clamp(0, 1) ** (1 / 2.2) * 255).round().byte().permute(1, 2, 0).numpy()

    return photograph


@pytest.fixture
def merged(tmp_path: Path, scene: Tensor) -> Run:
    """Merge files on the command line; PSNR-μ of the result where the reference shows the scene."""

    def run(files: Sequence[str], *options: str, unit: float = 1.0) -> float:
        output = tmp_path / "out.exr"
        assert main(["merge", *files, *options, "-o", str(output), "--model", "compact", "-q"]) == 0
        found = torch.from_numpy(np.asarray(af.read_image(output).pixels, np.float32)) * unit
        truth = scene if found.ndim == 3 else scene.mean(0, keepdim=True)
        found = found.permute(2, 0, 1) if found.ndim == 3 else found[None]
        return float(psnr_mu(found[None].clamp(0, 1), truth[None]))

    return run


def save(path: Path, picture: np.ndarray, seconds: Fraction | None = None, orientation: int = 1) -> str:
    exif = Image.Exif()
    exif[CAMERA], exif[ORIENTATION] = "Camera", orientation
    if seconds is not None:
        exif[EXIF] = {SECONDS: IFDRational(seconds.numerator, seconds.denominator)}
    Image.fromarray(picture).save(path, exif=exif, **({"quality": 98} if path.suffix == ".jpg" else {}))
    return str(path)


def test_nine_frames(tmp_path: Path, shoot: Callable[..., np.ndarray], merged: Run) -> None:
    files = [save(tmp_path / f"{k}.png", shoot(2.0**k)) for k in range(9)]
    assert merged(files, "--ev", *map(str, range(9))) > 45


def test_files_in_any_order(tmp_path: Path, shoot: Callable[..., np.ndarray], merged: Run) -> None:
    files = [save(tmp_path / f"{t}.jpg", shoot(t), Fraction(t, 160)) for t in (16, 1, 4)]
    assert merged(files) > 33


@pytest.mark.parametrize(("orientation", "turned"), [(3, 2), (6, 1), (8, 3)])
def test_a_frame_that_the_camera_stored_turned(
    tmp_path: Path, shoot: Callable[..., np.ndarray], merged: Run, orientation: int, turned: int
) -> None:
    stored = np.ascontiguousarray(np.rot90(shoot(1), turned))
    files = [save(tmp_path / "1.jpg", stored, Fraction(1, 160), orientation)]
    files += [save(tmp_path / f"{t}.jpg", shoot(t), Fraction(t, 160)) for t in (4, 16)]
    assert merged(files) > 33


def test_a_frame_upside_down_is_told(
    tmp_path: Path, shoot: Callable[..., np.ndarray], merged: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [np.ascontiguousarray(shoot(1)[::-1, ::-1]), shoot(4), shoot(16)]
    files = [save(tmp_path / f"{k}.png", picture) for k, picture in enumerate(pictures)]
    assert merged(files, "--ev", "0", "2", "4") > 25
    assert "'0.png' could not be aligned" in capsys.readouterr().err


def test_greyscale(tmp_path: Path, shoot: Callable[..., np.ndarray], merged: Run, scene: Tensor) -> None:
    light = scene.mean(0)
    pictures = [((light * t).clamp(0, 1) ** (1 / 2.2) * 255).round().byte().numpy() for t in (1, 4, 16)]
    files = [save(tmp_path / f"{k}.png", picture) for k, picture in enumerate(pictures)]
    assert merged(files, "--ev", "0", "2", "4") > 38


@pytest.mark.parametrize(
    ("empty", "value", "told", "least"),
    [(0, 0, "'0.png' is black everywhere", 25), (2, 255, "'2.png' is saturated everywhere", 30)],
)
def test_a_frame_that_shows_nothing_is_told(
    tmp_path: Path,
    shoot: Callable[..., np.ndarray],
    merged: Run,
    capsys: pytest.CaptureFixture[str],
    empty: int,
    value: int,
    told: str,
    least: float,
) -> None:
    pictures = [shoot(t) for t in (1, 4, 16)]
    pictures[empty] = np.full_like(pictures[empty], value)
    files = [save(tmp_path / f"{k}.png", picture) for k, picture in enumerate(pictures)]
    assert merged(files, "--ev", "0", "2", "4") > least
    assert told in capsys.readouterr().err


def test_frames_that_hardly_overlap(tmp_path: Path, shoot: Callable[..., np.ndarray], merged: Run) -> None:
    """The short frame lies three quarters of its width away: whatever is found of it, it does no harm."""
    files = [save(tmp_path / f"{t}.png", shoot(t, shift)) for t, shift in ((1, 120), (4, 0), (16, 0))]
    assert merged(files, "--ev", "0", "2", "4") > 25


@pytest.mark.parametrize(
    ("change", "exposures", "said"),
    [
        (lambda frame: frame[:100], ("0", "2", "4"), "same height and width"),
        (lambda frame: frame, ("0", "0", "0"), "different exposures"),
        (lambda frame: frame, ("4", "2", "0"), "order of the frames"),
        (lambda frame: frame, ("0", "2"), "one a frame"),
    ],
    ids=["sizes", "equal", "reversed", "too few"],
)
def test_what_cannot_be_merged_is_said(
    tmp_path: Path,
    shoot: Callable[..., np.ndarray],
    capsys: pytest.CaptureFixture[str],
    change: Callable[[np.ndarray], np.ndarray],
    exposures: tuple[str, ...],
    said: str,
) -> None:
    files = [save(tmp_path / "0.png", np.ascontiguousarray(change(shoot(1))))]
    files += [save(tmp_path / f"{t}.png", shoot(t)) for t in (4, 16)]
    assert main(["merge", *files, "--ev", *exposures, "-o", str(tmp_path / "out.exr")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.exr").exists()
