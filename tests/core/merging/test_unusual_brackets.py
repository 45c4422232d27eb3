"""Brackets that people merge by accident: each gives a good picture, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import afunet_core as af
from afunet_core.cli import main
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.metrics import psnr_mu
from scenes import photographed, save_photo

HEIGHT, WIDTH = 128, 160
Run = Callable[..., float]
Shoot = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def scene() -> Tensor:
    """Radiance 3×H×W, 1.0 at the saturation of an exposure of one."""
    found = SceneBank.procedural(seed=5, count=2, size=(HEIGHT, WIDTH)).hdr[1].float()[:, :HEIGHT, :WIDTH]
    return (found / torch.quantile(found.amax(0).flatten(), 0.995)).clamp(0, 1)


@pytest.fixture
def shoot(scene: Tensor) -> Shoot:
    def photograph(time: float, shift: int = 0) -> np.ndarray:
        (frame,) = photographed(scene.roll(shift, -1)[None], (time,), read=2e-3, seed=int(time))
        return (255 * frame[0]).round().byte().permute(1, 2, 0).numpy()

    return photograph


@pytest.fixture
def merged(tmp_path: Path, scene: Tensor) -> Run:
    """Merge pictures, the shortest first, on the command line; PSNR-μ of the result."""

    def run(frames: Sequence[Any], *options: str) -> float:
        output = tmp_path / "out.exr"
        files = [save_photo(tmp_path / f"{k}.png", picture) for k, picture in enumerate(frames)]
        options = options or ("--ev", "0", "2", "4")
        assert main(["merge", *map(str, files), *options, "-o", str(output), "--model", "compact", "-q"]) == 0
        found = torch.from_numpy(np.asarray(af.read_image(output).pixels, np.float32))
        return float(psnr_mu(found.permute(2, 0, 1)[None].clamp(0, 1), scene[None]))

    return run


def test_nine_frames(shoot: Shoot, merged: Run) -> None:
    assert merged([shoot(2.0**k) for k in range(9)], "--ev", *map(str, range(9))) > 45


def test_a_frame_upside_down_is_told(shoot: Shoot, merged: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert merged([np.ascontiguousarray(shoot(1)[::-1, ::-1]), shoot(4), shoot(16)]) > 25
    assert "'0.png' could not be aligned" in capsys.readouterr().err


@pytest.mark.parametrize(("empty", "value", "told", "least"), [(0, 0, "black", 25), (2, 255, "saturated", 30)])
def test_a_frame_that_shows_nothing_is_told(
    shoot: Shoot, merged: Run, capsys: Any, empty: int, value: int, told: str, least: int
) -> None:
    pictures = [shoot(t) for t in (1, 4, 16)]
    pictures[empty] = np.full_like(pictures[empty], value)
    assert merged(pictures) > least
    assert f"'{empty}.png' is {told} everywhere" in capsys.readouterr().err


def test_frames_that_hardly_overlap(shoot: Shoot, merged: Run) -> None:
    """The short frame lies three quarters of its width away: whatever is found of it, it does no harm."""
    assert merged([shoot(t, shift) for t, shift in ((1, 120), (4, 0), (16, 0))]) > 25
