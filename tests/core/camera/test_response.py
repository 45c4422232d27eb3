"""The camera response: estimated on curves whose truth is known, beside OpenCV's, kept in files, used by brackets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

import afunet_core as af
from afunet_core.camera.calibration import estimate_response
from afunet_core.camera.response import ResponseCurve, load_response
from afunet_core.errors import ArgumentError, ImageFileError
from afunet_core.radiometry import encode
from scenes import blobs, photographed

GRID = torch.linspace(0, 1, 256, dtype=torch.float64)


def contrasty(light: Tensor) -> Tensor:
    """Gamma with an S on top, as cameras draw it."""
    value = light.clamp(0, 1) ** (1 / 2.2)
    return 0.5 * value + 0.5 * value * value * (3 - 2 * value)


CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "gamma 1.8": lambda light: light.clamp(0, 1) ** (1 / 1.8),
    "srgb": lambda light: encode(light.clamp(0, 1), "srgb"),
    "contrasty": contrasty,
    "film": lambda light: torch.log1p(40 * light.clamp(0, 1)) / np.log1p(40),
    "toe": lambda light: 1.35 * light.clamp(0, 1) ** 0.45 / (1 + 0.35 * light.clamp(0, 1) ** 0.45),
}


def scene() -> Tensor:
    """Four decades of light: smooth patches of three different colours."""
    return 10 ** (-4 + 4 * blobs(120, 120, 6, mode="nearest").double())


def photograph(curve: Callable[[Tensor], Tensor], times: tuple[float, ...]) -> list[Tensor]:
    return photographed(scene(), times, curve, gain=4e-6, read=0.0)


def truth_of(curve: Callable[[Tensor], Tensor]) -> Tensor:
    """Light at the values of `GRID`."""
    light = torch.linspace(0, 1, 2**18, dtype=torch.float64) ** 4
    return torch.from_numpy(np.interp(GRID, curve(light), light))


def error(light: Tensor, truth: Tensor) -> float:
    """Largest relative error over the well-exposed range, up to the common factor nobody can know."""
    inside = (GRID > 0.1) & (GRID < 0.9)
    ratio = light[..., inside] / truth[inside]
    return float((ratio / ratio.median() - 1).abs().max())


@pytest.mark.parametrize("name", CURVES)
def test_within_two_percent_and_no_worse_than_opencv(name: str) -> None:
    curve, times = CURVES[name], (1.0, 4.0, 16.0, 64.0)
    frames = photograph(curve, times)
    truth = truth_of(curve)
    found = estimate_response(frames, times)
    assert found.light.shape == (1, 256)
    assert error(found.light, truth) < 0.02
    pictures = [(f[0].permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype(np.uint8).copy() for f in frames]
    theirs = cv2.createCalibrateDebevec(samples=70).process(pictures, np.array(times, np.float32))
    light = torch.from_numpy(theirs[:, 0, ::-1].copy()).double().T
    assert error(found.light, truth) < error(light, truth) + 0.01


def test_a_bracket_with_the_curve_is_linear() -> None:
    times = (1.0, 4.0, 16.0, 64.0)
    frames = photograph(contrasty, times)
    plain = af.Bracket(frames, times=times, response=None)
    exact = ResponseCurve(truth_of(contrasty)[None].clamp(0, 1))
    for response, tolerance in ((exact, 0.02), ("estimate", 0.06)):
        bracket = af.Bracket(frames, times=times, response=response)
        merged = af.merge(bracket, method="weighted", align="off").radiance
        light = scene()[0].permute(1, 2, 0).numpy()
        inside = (light > 2e-3) & (light < 0.8)
        ratio = merged[inside] / light[inside]
        assert np.quantile(np.abs(ratio / np.median(ratio) - 1), 0.95) < tolerance
        without = af.merge(plain, method="weighted", align="off").radiance[inside] / light[inside]
        assert np.quantile(np.abs(without / np.median(without) - 1), 0.95) > 2 * tolerance
        assert bracket.metadata["response"]["source"] == ("estimated" if response == "estimate" else "given")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_curve_is_differentiable_and_comes_back_from_its_file(tmp_path: Path, checks: Any, channels: int) -> None:
    curve = ResponseCurve(torch.stack([GRID ** (2 + 0.2 * c) for c in range(channels)]))
    checks.gradients(curve, checks.uniform(2, 3, 4, 5, low=0.02, high=0.98))
    curve.save(tmp_path / "camera.json")
    torch.testing.assert_close(load_response(tmp_path / "camera.json").light, curve.light, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"light": [[0, 1, 0.5]]}', '{"light": "none"}', "\0\0"])
def test_files_that_hold_no_curve(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises((ImageFileError, ArgumentError), match=r"response curve|light"):
        load_response(tmp_path / "a.json")
    with pytest.raises(ImageFileError, match="cannot be read"):
        load_response(tmp_path / "missing.json")


@pytest.mark.parametrize(
    "light", [torch.zeros(1, 8), torch.linspace(0, 1, 8), torch.linspace(0, 2, 8)[None], torch.rand(2, 8)]
)
def test_curves_that_are_none(light: Tensor) -> None:
    with pytest.raises(ArgumentError, match="light"):
        ResponseCurve(light)


def test_nothing_to_learn_from() -> None:
    dark, bright = torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    with pytest.raises(ArgumentError, match="two frames record"):
        estimate_response([dark, bright], (1, 8))
    with pytest.raises(ArgumentError, match="times"):
        estimate_response([dark], (1,))
