"""The command line for cameras: response files, grouping, dark frames, counts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import afunet_core as af
from afunet_core.camera.response import load_response
from afunet_core.cli import main
from afunet_core.errors import ArgumentError
from scenes import save_photo

TIMES = (1, 4, 16)


def light() -> np.ndarray:
    random = np.random.default_rng(0)
    return np.kron(10 ** random.uniform(-2.5, 0, (16, 16, 3)), np.ones((6, 6, 1)))


def save(path: Path, time: float, second: float, exponent: float = 1 / 1.6) -> None:
    pixels = np.rint(255 * np.clip(light() * time, 0, 1) ** exponent).astype(np.uint8)
    whole, part = divmod(second, 1)
    moment = {0x9003: f"2026:06:21 12:{int(whole) // 60:02d}:{int(whole) % 60:02d}", 0x9291: f"{round(part * 10)}"}
    save_photo(path, pixels, Fraction(int(time), 400), moment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    camera = tmp_path / "camera"
    camera.mkdir()
    for number, (time, second) in enumerate([*zip(TIMES, (0, 0.5, 1), strict=True), (4, 30)]):
        save(camera / f"img_{number}.jpg", time, second)
    return camera


def test_group_merges_the_bracket_and_names_the_rest(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["merge", str(folder), "-o", str(tmp_path / "out"), "--group", "--method", "weighted", "--align", "off"]
    assert main([*words, "--override", "-q"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["img_0-img_2.exr"]
    assert "img_3.jpg" in capsys.readouterr().err


def test_group_without_brackets_is_an_error(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", 1, 0)
    assert main(["merge", str(tmp_path), "-o", str(tmp_path / "out"), "--group"]) == 2


def test_response_is_estimated_written_and_used(folder: Path, tmp_path: Path) -> None:
    frames = [str(folder / f"img_{i}.jpg") for i in range(3)]
    curve, result = tmp_path / "camera.json", tmp_path / "out.exr"
    assert main(["response", *frames, "-o", str(curve)]) == 0
    assert main(["response", *frames, "-o", str(curve)]) == 2  # it is there
    found = load_response(curve)(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    expected = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64) ** 1.6
    torch.testing.assert_close(found / found[1], expected / expected[1], rtol=0.05, atol=0)
    words = ["merge", *frames, "-o", str(result), "--response", str(curve), "--method", "weighted", "--align", "off"]
    assert main([*words, "--drift", "auto", "-q"]) == 0
    merged = af.read_image(result)
    ratio = merged.pixels / light()
    assert np.quantile(np.abs(ratio / np.median(ratio) - 1), 0.8) < 0.06
    assert merged.metadata["response"]["source"] == "camera.json"
    assert len(merged.metadata["drift"]) == 3


@pytest.mark.parametrize(("choice", "source"), [("auto", "found in the frames"), ("none", None)])
def test_border_and_response_reach_the_merge(folder: Path, tmp_path: Path, choice: str, source: str | None) -> None:
    """A power of 1.6 where 2.2 is stated is found, unless nobody asks."""
    frames, result = [str(folder / f"img_{i}.jpg") for i in range(3)], tmp_path / "out.exr"
    words = ["merge", *frames, "-o", str(result), "--border", "crop", "--response", choice, "--method", "weighted"]
    assert main([*words, "-q"]) == 0
    merged = af.read_image(result)
    assert merged.metadata["border"] == "crop"
    assert merged.metadata["area"][2:] == list(merged.pixels.shape[:2])
    assert (merged.metadata["response"] or {}).get("source") == source


def test_one_channel(tmp_path: Path) -> None:
    """A dye shines green; what saturates there leaks into red and blue. One channel is a greyscale bracket."""
    files, grey = [], []
    for time in TIMES:
        pixels = np.rint(255 * np.clip(light() * time, 0, 1)).astype(np.uint8)
        pixels[..., 0] = pixels[..., 2] = np.where(pixels[..., 1] == 255, 16, 0)
        files.append(tmp_path / f"{time}.png")
        grey.append(tmp_path / f"grey_{time}.png")
        Image.fromarray(pixels).save(files[-1])
        Image.fromarray(pixels[..., 1]).save(grey[-1])
    words = ["merge", *map(str, files), "-o", str(tmp_path / "out.tif"), "--times", *map(str, TIMES), "-q"]
    assert main([*words, "--encoding", "linear", "--channel", "green", "--method", "weighted"]) == 0
    merged = af.io.read_image(tmp_path / "out.tif").pixels
    assert merged.ndim == 2
    np.testing.assert_allclose(merged, light()[..., 1], rtol=0.3, atol=2 / 255)

    dark = np.zeros((96, 96, 3), np.uint8)
    dark[..., 1], dark[..., 0] = 1, 7
    Image.fromarray(dark).save(tmp_path / "dark.png")
    given: dict[str, Any] = {"times": TIMES, "encoding": "linear", "channel": "green"}
    bracket = af.Bracket.from_files(files, **given, black_level=tmp_path / "dark.png")
    assert (bracket.is_grey, bracket.black_level, bracket.metadata["channel"]) == (True, 1, "green")
    with pytest.warns(UserWarning, match="channel='green' is ignored: the frames are grey"):
        one_channel = af.Bracket.from_files(grey, **given)
    for one, other in zip(one_channel.frames, af.Bracket.from_files(files, **given).frames, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ArgumentError, match="red, green, blue"):
        af.Bracket.from_files(files, times=TIMES, channel="infrared")
