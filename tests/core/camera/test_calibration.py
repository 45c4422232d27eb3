"""Calibration from the bracket: what is exact is left alone, what a camera did is found, wherever things are."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import afunet_core as af
from afunet_core.camera.calibration import calibrate
from afunet_core.camera.response import ResponseCurve
from afunet_core.camera.tone_curve import ToneCurve
from scenes import blobs, photographed

Camera = Callable[[Tensor], Tensor]
THREE = (1.0, 4.0, 16.0)


def gamma(light: Tensor) -> Tensor:
    return light.clamp(0, 1) ** (1 / 2.2)


def s_curve(light: Tensor) -> Tensor:
    value = gamma(light)
    return 0.4 * value + 0.6 * value * value * (3 - 2 * value)


def scene(factor: int = 4) -> Tensor:
    return blobs(24 * factor, 32 * factor, factor) ** 4


def photograph(camera: Camera | str, times: tuple[float, ...], light: Tensor | None = None) -> list[Tensor]:
    return photographed(scene() if light is None else light, times, camera)


def error_in_stops(curve: ToneCurve, camera: Camera) -> float:
    """Largest, over stored values from 0.1 to 0.9, up to a common factor."""
    light = torch.linspace(1e-4, 1, 4000, dtype=torch.float64)
    stored = camera(light)
    known = (stored > 0.1) & (stored < 0.9)
    off = (curve.light(stored[known]) / light[known]).log2()
    return float((off - off.median()).abs().max())


@pytest.mark.parametrize("times", [(1.0, 4.0), THREE, (1.0, 2.0, 4.0, 8.0, 16.0)])
@pytest.mark.parametrize("encoding", ["gamma", "srgb", "linear"])
def test_exact_encodings_are_left_alone(encoding: str, times: tuple[float, ...]) -> None:
    frames = photograph(encoding, times)
    bracket = af.Bracket(frames, times=times, encoding="linear" if encoding == "linear" else "gamma")
    assert all(torch.equal(kept, frame) for kept, frame in zip(bracket.frames, frames, strict=True))
    assert bracket.times.tolist() == list(times)
    assert "calibration" not in bracket.metadata


def test_frames_are_believed_where_nothing_is_to_be_found() -> None:
    """Asked not to, or where gradients must pass."""
    frames = photograph(s_curve, THREE)
    plain = af.Bracket(frames, times=THREE, response=None, override=True)
    assert all(torch.equal(kept, frame) for kept, frame in zip(plain.frames, frames, strict=True))
    learning = af.Bracket([frame.requires_grad_() for frame in frames], times=THREE, override=True)
    assert learning.frames[0].requires_grad


def test_no_tone_curve_is_found_in_motion_nor_in_pictures_that_tell_nothing() -> None:
    frames = photograph(gamma, THREE)
    frames[2][..., :40] = frames[2][..., :40].flip(-2)
    frames[0] = torch.roll(frames[0], (7, -5), (-2, -1))
    assert calibrate(frames, THREE).curve is None
    for size in ((1, 1), (8, 8), (3, 500), (64, 64)):
        for value in (0.0, 1.0):
            assert calibrate([torch.full((1, 3, *size), value)] * 2, (1, 4)).curve is None


@pytest.mark.parametrize("times", [(1.0, 4.0), THREE, (1.0, 2.0, 4.0, 8.0, 16.0)])
@pytest.mark.parametrize("moves", [False, True])
def test_an_s_curve_is_found(times: tuple[float, ...], moves: bool) -> None:
    frames = photograph(s_curve, times)
    if moves:
        frames[-1][..., :30] = frames[-1][..., :30].flip(-2)
        frames = [torch.roll(frame, (2 * i, -3 * i), (-2, -1)) for i, frame in enumerate(frames)]
    found = calibrate(frames, times)
    assert found.curve is not None
    assert error_in_stops(found.curve, s_curve) < 0.15
    assert found.after < 0.25 * found.before


def test_grey_stays_grey_and_radiance_rises_with_exposure() -> None:
    bracket = af.Bracket(photograph(s_curve, THREE), times=THREE)
    assert bracket.encoding == "gamma"
    assert bracket.metadata["calibration"]["curve_found"]
    curve = ResponseCurve(torch.tensor(bracket.metadata["response"]["light"]))  # what is noted can be given again
    half, quarter = curve(s_curve(torch.tensor([0.5, 0.25]))).tolist()
    assert half / quarter == pytest.approx(2, rel=0.1)
    first, second = bracket.radiance(0), bracket.radiance(1)
    both = (bracket.frames[0] > 0.15) & (bracket.frames[1] < 0.85)
    assert abs(float((first[both] / second[both]).log2().median())) < 0.05
    grey = af.Bracket([frame[:, :1] for frame in photograph(s_curve, THREE)], times=THREE)
    assert grey.is_grey
    assert all(frame.stride(1) == 0 for frame in grey.frames)


def test_one_wrong_step_is_corrected_and_told() -> None:
    frames = photograph(s_curve, (1.0, 4.0, 64.0), scene(8))
    found = calibrate(frames, THREE, names=("a", "b", "c"))
    assert found.times == pytest.approx((1, 4, 64), rel=0.15)
    assert "from 'b' to 'c' 2.0 EV are stated" in found.sentences[0]


def test_a_mere_power_may_be_wrong_exposures() -> None:
    """Frames of gamma 2.2, three stops apart and said to be two: a gamma of 1.5 would look the same."""
    found = calibrate(photograph(gamma, (1.0, 8.0, 64.0), scene(8)), THREE)
    assert "each step looks 1.5 times as large as stated" in found.sentences[0]
    assert found.as_dict()["contradictions"] == [found.sentences[0]]
    bent = calibrate(photograph(s_curve, THREE), THREE)
    assert bent.as_dict()["contradictions"] == []


@pytest.mark.parametrize("stated", [1.0, 2.0])
@pytest.mark.parametrize("brightness", [0.35, 4.0])
def test_equally_bright_frames_are_told(stated: float, brightness: float) -> None:
    frames = photograph(gamma, (brightness,) * 5)
    times = tuple(2.0 ** (stated * index) for index in range(5))
    found = calibrate(frames, times)
    assert found.curve is None
    assert found.times == pytest.approx(times)
    assert found.sentences[0].count("the pictures show 0.0") == 4


@pytest.mark.parametrize("true", [(0, 0, 4), (0, 4, 4), (0, 0, 2), (0, 4, 6), (0, 1, 4), (0, 2.7, 4), (0, 0, 0)])
@pytest.mark.parametrize("camera", [gamma, s_curve, lambda light: light.clamp(0, 1)], ids=["gamma", "s", "linear"])
def test_wrong_exposures_never_pass_silently_and_are_told_once(true: tuple[float, ...], camera: Camera) -> None:
    frames = photograph(camera, tuple(2.0**stops for stops in true), 0.35 * scene())
    encoding = "gamma" if float(camera(torch.tensor(0.5))) > 0.5 else "linear"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            bracket = af.Bracket(frames, ev=(0, 2, 4), encoding=encoding)
        except af.ExposureError:
            return
    contradictions = bracket.metadata.get("calibration", {}).get("contradictions", [])
    assert len(contradictions) + len(caught) == 1
