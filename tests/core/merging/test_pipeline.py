"""merge(): what comes out, what it says about itself, and what it does when things go wrong."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import afunet_core as af
from afunet_core.camera.noise import NoiseModel, estimate_noise
from afunet_core.errors import ArgumentError, BracketError, CheckpointError, MergeCancelled
from afunet_core.merging import alignment, inference, maps
from afunet_core.metrics import psnr_mu
from scenes import ANCHORED, blobs, photographed, tiny_network

TIMES = (1.0, 4.0, 16.0)

tiny_model = partial(tiny_network, drop_path=0.2, depths=(1, 2))
anchored_model = partial(tiny_network, **ANCHORED)


def scene(height: int = 21, width: int = 27, seed: int = 0) -> np.ndarray:
    """Smooth radiance with a highlight that only the shortest frame sees."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    generator = np.random.default_rng(seed)
    colour = generator.uniform(0.5, 1.0, 3)
    light = 0.02 + 0.02 * np.sin(x / 5) * np.cos(y / 4) + 0.8 * np.exp(-((x - 8) ** 2 + (y - 6) ** 2) / 30)
    return light[..., None] * colour


def exposed(radiance: np.ndarray, times: tuple[float, ...] = TIMES) -> list[np.ndarray]:
    return [(np.clip(radiance * time, 0, 1) ** (1 / 2.2)).astype(np.float32) for time in times]


def bracket_of(radiance: np.ndarray, times: tuple[float, ...] = TIMES, **options: Any) -> af.Bracket:
    return af.Bracket(exposed(radiance, times), times=times, **options)


# --- values ---


@pytest.mark.parametrize("times", [TIMES, (1.0, 4.0), (1.0, 2.0, 8.0, 32.0, 64.0)])
@pytest.mark.parametrize("channel", [slice(None), 0], ids=["colour", "grey"])
def test_weighted_merge_recovers_what_was_photographed(times: tuple[float, ...], channel: Any) -> None:
    truth = scene()[..., channel]
    result = af.merge(bracket_of(truth, times), method="weighted", align="off")
    assert result.radiance.dtype == np.float32
    np.testing.assert_allclose(result.radiance, truth, atol=2e-6, rtol=2e-5)


@pytest.mark.parametrize("make", [tiny_model, anchored_model])
def test_the_network_is_the_plain_forward(make: Callable[[], af.AFUNet]) -> None:
    model, bracket = make(), bracket_of(scene())
    result = af.merge(bracket, method="afunet", model=model, align="off", stages=True)
    with torch.no_grad():
        expected, states = model.forward_stages(bracket.to_tensor())
    np.testing.assert_allclose(result.radiance, expected[0].permute(1, 2, 0).numpy(), atol=2e-5)
    assert result.stages is not None
    assert len(result.stages) == len(states)
    for found, state in zip(result.stages, states, strict=True):
        for name in ("under", "reference", "over"):
            array = getattr(found, name)
            assert isinstance(array, np.ndarray)
            np.testing.assert_allclose(array, getattr(state, name).numpy(), atol=1e-4)


@pytest.mark.parametrize("method", ["weighted", "mertens", "auto"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 61), (16, 8)])
def test_any_size(method: str, size: tuple[int, int]) -> None:
    for light in (scene(*size), scene(*size)[..., 0]):
        result = af.merge(bracket_of(light), method=method, model=tiny_model())
        assert result.radiance.shape == light.shape
        assert np.isfinite(result.radiance).all()
        assert result.info["output"] == ("display" if method == "mertens" else "radiance")
        assert method != "mertens" or result.radiance.max() <= 1


def test_batches_are_merged_side_by_side() -> None:
    first, second = exposed(scene(seed=1)), exposed(scene(seed=2))
    second[2][8:18, 12:24] *= 0.4  # something moved
    model, frames = (
        tiny_model(),
        [torch.from_numpy(np.stack(pair)).permute(0, 3, 1, 2) for pair in zip(first, second, strict=True)],
    )
    both = af.merge(af.Bracket(frames, times=TIMES), model=model, align="off")
    assert both.maps["ghost"].shape == (2, 21, 27)
    assert both.maps["ghost"][1].sum() > both.maps["ghost"][0].sum()
    for index, sample in enumerate((first, second)):
        alone = af.merge(af.Bracket(sample, times=TIMES), model=model, align="off", method="afunet")
        np.testing.assert_allclose(both.radiance[index], alone.radiance, atol=2e-5)
        np.testing.assert_array_equal(both.maps["ghost"][index], alone.maps["ghost"])


def test_of_five_frames_the_network_sees_three_and_keeps_the_unit() -> None:
    bracket = bracket_of(scene(), (1.0, 2.0, 8.0, 32.0, 64.0), reference=2)
    model = anchored_model()
    result = af.merge(bracket, method="afunet", model=model, align="off")
    middle = bracket_of(scene() * 2, (1.0, 4.0, 16.0))  # the three in the middle as a bracket of their own
    expected = af.merge(middle, method="afunet", model=model, align="off").radiance / 2
    np.testing.assert_allclose(result.radiance, expected, atol=2e-5)


def test_two_frames_are_merged_and_the_missing_side_is_told() -> None:
    bracket = bracket_of(scene(), (1.0, 4.0))
    with pytest.warns(UserWarning, match="no frame (shorter|longer)"):
        result = af.merge(bracket, model=anchored_model(), align="off")
    assert result.info["frames_used"]["missing"] in ("longer", "shorter")
    assert np.isfinite(result.radiance).all()


@pytest.mark.filterwarnings("ignore:This processor does not multiply bfloat16")
@pytest.mark.parametrize(("precision", "decibel"), [("bfloat16", 40.0), ("float16", 50.0)])
def test_low_precision_stays_close(precision: str, decibel: float) -> None:
    model, bracket = anchored_model(), bracket_of(scene())
    exact = af.merge(bracket, method="afunet", model=model, align="off")
    rough = af.merge(bracket, method="afunet", model=model, align="off", precision=precision)
    assert (rough.info["precision"], rough.radiance.dtype) == (precision, np.float32)
    found, expected = (torch.from_numpy(result.radiance).permute(2, 0, 1)[None] for result in (rough, exact))
    assert decibel < float(psnr_mu(found, expected)) < 120


@pytest.mark.parametrize("own", [True, False])
def test_bfloat16_that_does_not_pay_is_told(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "multiplies_bfloat16", lambda device: own)
    told = {}
    for precision in ("bfloat16", "float32"):
        with warnings.catch_warnings(record=True):
            result = af.merge(bracket_of(scene()), model=anchored_model(), align="off", precision=precision)
        told[precision] = any("bfloat16" in sentence for sentence in result.info["warnings"])
    assert told == {"bfloat16": not own, "float32": False}


# --- wild input ---


@settings(max_examples=15)
@given(data=st.data(), method=st.sampled_from(["auto", "weighted", "mertens"]))
def test_anything_in_finite_out(data: st.DataObject, method: str) -> None:
    """NaN, infinities, negatives, constants: whatever a bracket accepts comes out finite."""
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
    values = st.floats(width=32, allow_nan=True, allow_infinity=True)
    frames = [data.draw(hnp.arrays(np.float32, (*shape, 3), elements=values)) for _ in TIMES]
    encoding = data.draw(st.sampled_from(["gamma", "srgb", "linear"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bracket = af.Bracket(frames, times=TIMES, encoding=encoding, override=True)
        except BracketError:  # values far above saturation: never scaled to [0, 1]
            return
        result = af.merge(bracket, method=method, model=anchored_model())
    assert np.isfinite(result.radiance).all()
    assert (result.radiance >= 0).all()


def test_what_the_network_breaks_is_mended_and_said() -> None:
    model = tiny_model()
    with torch.no_grad():
        assert model.head.conv.bias is not None
        model.head.conv.bias[0] = float("nan")
    with pytest.warns(UserWarning, match="NaN or infinite"):
        result = af.merge(bracket_of(scene()), method="afunet", model=model, align="off")
    assert np.isfinite(result.radiance).all()


# --- choices ---


@pytest.mark.parametrize(
    ("named", "value"),
    [
        ("method", "best"), ("align", True), ("device", "abacus"), ("device", "cuda:99"), ("precision", "float8"),
        ("memory_budget", "lots"), ("memory_budget", -1), ("on_progress", 1), ("should_cancel", True),
        ("model", torch.nn.Linear(1, 1)),
    ],
)  # fmt: skip
def test_wrong_choices_are_named(named: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{named}: expected"):
        af.merge(bracket_of(scene()), **{"model": tiny_model(), named: value})


def test_what_is_no_bracket_and_no_model() -> None:
    with pytest.raises(ArgumentError, match="Bracket"):
        af.merge(exposed(scene()))
    with pytest.raises(CheckpointError, match="no-such-model"):
        af.merge(bracket_of(scene()), model="no-such-model")


@pytest.mark.parametrize(
    ("choose", "value", "usual"),
    [(torch.set_default_dtype, torch.float64, torch.float32), (torch.set_default_device, "meta", None)],
    ids=["double", "another device"],
)
@pytest.mark.parametrize("scale", ["full", "half"])
def test_torchs_defaults_change_nothing(choose: Callable[[Any], None], value: Any, usual: Any, scale: str) -> None:
    """Programs set them for themselves."""
    model, radiance = anchored_model().eval(), scene(64, 72)
    frames = [np.roll(frame, 3 * number, 1) for number, frame in enumerate(exposed(radiance))]

    def run() -> af.MergeResult:
        return af.merge(af.Bracket(frames, times=TIMES), model=model, align="on", working_scale=scale)

    expected = run()
    choose(value)
    try:
        result = run()
        ghost = result.maps["ghost"]
    finally:
        choose(usual)
    np.testing.assert_array_equal(result.radiance, expected.radiance)
    np.testing.assert_array_equal(ghost, expected.maps["ghost"])


# --- the model and its identity ---


def test_a_file_and_a_network_in_memory_are_the_same(tmp_path: Path) -> None:
    model, bracket = tiny_model(), bracket_of(scene())
    path = tmp_path / "mine.safetensors"
    af.save_model(model, path)
    from_file = af.merge(bracket, method="afunet", model=path, align="off")
    in_memory = af.merge(bracket, method="afunet", model=model, align="off")
    np.testing.assert_array_equal(from_file.radiance, in_memory.radiance)
    assert from_file.info["model"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert from_file.info["model"]["config"] == model.config.to_dict()
    af.save_model(tiny_model(seed=1), path)
    assert not np.array_equal(af.merge(bracket, method="afunet", model=path, align="off").radiance, from_file.radiance)


def test_the_callers_network_is_left_alone() -> None:
    model = tiny_model().double().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    af.merge(bracket_of(scene()), model=model, align="off")
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float64


def test_provenance_is_complete_and_plain() -> None:
    info = af.merge(bracket_of(scene()), model=tiny_model()).info
    assert json.loads(json.dumps(info)) == info
    assert (info["times"], info["ev"], info["exposure_seconds"]) == ([1, 4, 16], [0, 2, 4], [1, 4, 16])
    assert info["device"] == "cpu" or info["device"].startswith(("cuda", "mps"))
    assert {"afunet", "torch", "kornia", "numpy", "python"} <= set(info["versions"])
    assert [entry["decision"] for entry in info["registration"]][1] == "identity"
    assert set(info["seconds"]) == {"Registering the frames", "Merging", "Finishing"}


# --- noise ---


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("count", [3, 5])
def test_the_noise_given_serves_every_step_and_is_not_estimated(
    count: int, moving: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, radiance = tuple(2.0**k for k in range(count)), torch.from_numpy(scene(64, 64) / 2).permute(2, 0, 1)[None]
    lights = [radiance.clone() for _ in times]
    for index, light in enumerate(lights if moving else ()):
        light[..., 20:44, 10 + 8 * index : 26 + 8 * index] *= 0.3
    frames = [frame.float() for frame in photographed(lights, times, gain=0, read=0.003, bits=0)]
    bracket, estimated = af.Bracket(frames, times=times), list[NoiseModel]()
    merge = partial(af.merge, bracket, model=anchored_model(), align="off")
    monkeypatch.setattr(
        alignment, "estimate_noise", lambda stack: estimated.append(estimate_noise(stack)) or estimated[0]
    )
    found = merge()
    assert found.info["at_rest"] is not moving
    assert len(estimated) == (count > 3 or not moving)
    for noise in estimated[:]:
        np.testing.assert_array_equal(merge(noise=noise).radiance, found.radiance)
        in_counts = (noise.gain * bracket.scale, noise.read_noise * bracket.scale)
        np.testing.assert_allclose(merge(noise=in_counts).radiance, found.radiance, rtol=1e-5)
        other = merge(noise=NoiseModel(noise.gain, 10 * noise.read_noise))
        assert np.abs(other.radiance - found.radiance).max() > 1e-4
        assert len(estimated) == 1


# --- registration ---


@pytest.fixture
def shifted() -> tuple[af.Bracket, np.ndarray]:
    """A bracket whose last frame is shifted by 4 rows and 6 columns, and the truth."""
    radiance = (0.01 + 0.05 * blobs(96, 128, 4, 3, "bicubic"))[0].permute(1, 2, 0).numpy()
    frames = exposed(radiance)
    frames[2] = np.roll(frames[2], (4, 6), (0, 1))
    return af.Bracket(frames, times=TIMES), radiance


def test_the_border_is_filled_or_cropped(shifted: tuple[af.Bracket, np.ndarray]) -> None:
    """Cropped, the result is what all frames show, and lies where the provenance says."""
    bracket, radiance = shifted
    filled = af.merge(bracket, method="weighted")
    cropped = af.merge(bracket, method="weighted", border="crop")
    unregistered = af.merge(bracket, method="weighted", align="off").radiance
    errors = [np.abs(image - radiance)[12:-12, 12:-12].mean() for image in (filled.radiance, unregistered)]
    assert errors[0] < 0.2 * errors[1]
    assert "area" not in filled.info
    top, left, height, width = cropped.info["area"]
    assert cropped.radiance.shape == (height, width, 3)
    assert 88 <= height <= 92
    assert 118 <= width <= 122
    shown = radiance[top : top + height, left : left + width]
    assert np.abs(cropped.radiance - shown)[4:-4, 4:-4].mean() < 2e-3
    with pytest.raises(ArgumentError, match="fill, crop"):
        af.merge(bracket, method="weighted", border="mirror")


# --- maps ---


def test_maps_are_made_when_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(maps, "ghost_map", lambda bracket, sample: calls.append(1) or np.zeros(bracket.shape))
    result = af.merge(bracket_of(scene()), method="weighted", align="off")
    assert list(result.maps) == ["ghost"]
    assert "ghost" in result.maps
    assert not calls
    assert result.maps["ghost"] is result.maps["ghost"]
    assert len(calls) == 1
    assert result.maps.get("source") is None


def test_results_travel_between_processes() -> None:
    """With their maps; and a copy is not the result itself."""
    result = af.merge(bracket_of(scene(32, 40)), model=anchored_model().eval(), align="off", stages=True)
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert other != result
        assert other.info == result.info
        np.testing.assert_array_equal(other.radiance, result.radiance)
        assert sorted(other.maps) == sorted(result.maps) == ["ghost", "source", "stages_hdr"]
        np.testing.assert_array_equal(other.maps["source"], result.maps["source"])
        with pytest.raises(ArgumentError, match="Merge again"):
            other.with_regions([])


def test_the_source_map_explains_the_result() -> None:
    """With a known decoded picture (0.5 everywhere) and grey frames, shares and sources make the result."""
    model = anchored_model()
    bracket = bracket_of(scene(32, 48)[..., 0])
    with torch.no_grad():
        decoded = 3 * model.config.downscale**2  # the first channels of the last convolution
        assert model.head.conv.bias is not None
        model.head.conv.weight[:decoded] = 0
        model.head.conv.bias[:decoded] = 0
    result = af.merge(bracket, method="afunet", model=model, align="off", stages=True)
    shares = result.maps["source"]
    assert shares.shape == (*bracket.shape, 4)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    sources = [*(bracket.radiance(index)[0, 0].numpy() for index in range(3)), np.full(bracket.shape, 0.5)]
    np.testing.assert_allclose((shares * np.stack(sources, -1)).sum(-1), result.radiance, atol=2e-5)


@pytest.mark.parametrize("make", [tiny_model, anchored_model])
@pytest.mark.parametrize("units", ["relative", "counts"])
@pytest.mark.parametrize("grey", [False, True])
def test_the_image_decoded_after_the_last_stage_is_the_result(make, units: str, grey: bool) -> None:
    model, truth = make(), scene(32, 48)
    frames = [np.round(255 * frame).astype(np.uint8) for frame in exposed(truth[..., 0] if grey else truth)]
    bracket = af.Bracket(frames, times=(0.5, 2.0, 8.0))
    result = af.merge(bracket, method="afunet", model=model, align="off", stages=True, units=units)
    decoded = result.maps["stages_hdr"]
    assert decoded.shape == (len(model.config.depths), *result.radiance.shape)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded[-1], result.radiance, atol=2e-5 * result.radiance.max())


# --- progress, cancel, memory ---


@pytest.mark.parametrize("method", ["auto", "afunet", "weighted", "mertens"])
def test_a_cancel_at_any_report_ends_the_merge(method: str) -> None:
    """Progress never falls; whatever the moment of the cancel, nothing is reported after it."""
    bracket, options = bracket_of(scene()), {"method": method, "model": tiny_model()}
    reports: list[tuple[int, int, str]] = []
    af.merge(bracket, **options, on_progress=lambda *report: reports.append(report))
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert (done[0], done[-1], {report[1] for report in reports}) == (0, 1000, {1000})
    assert method != "afunet" or len(set(done)) > 6, "the stages of the network must show"
    messages = dict.fromkeys(report[2] for report in reports)
    assert set(messages) >= {"Registering the frames", "Merging", "Finishing"}
    for last in messages:
        seen: list[str] = []
        with pytest.raises(MergeCancelled):
            af.merge(
                bracket,
                **options,
                on_progress=lambda done, total, message, seen=seen: seen.append(message),
                should_cancel=lambda seen=seen, last=last: last in seen,
            )
        assert seen[-1] == last
        assert seen.count(last) == 1


def test_the_input_is_made_in_rows_but_for_a_gpu_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bracket = bracket_of(scene(45, 37))
    made = [inference.network_input(bracket, torch.device(name)) for name in ("cpu", "cuda")]
    monkeypatch.setattr(inference, "LARGEST_WHOLE_INPUT", 0)
    made.append(inference.network_input(bracket, torch.device("cuda")))
    assert [isinstance(frames, torch.Tensor) for frames in made] == [False, True, False]


@pytest.mark.parametrize(
    ("device", "refuse", "told", "tried"),
    [
        ("cpu", lambda device, pieces: pieces is None or pieces > 8, "smaller pieces", ["cpu"] * 3),
        ("meta", lambda device, pieces: device == "meta", "CPU", ["meta"] * 3 + ["cpu"]),
    ],
)
def test_short_of_memory(
    device: str, refuse: Any, told: str, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """First in smaller pieces, then on the CPU. The meta device stands for one that never has enough."""
    model, bracket = tiny_model(), bracket_of(scene())
    expected = af.merge(bracket, method="afunet", model=model, align="off")
    stream, tries, seen = inference.stream, list[tuple[str, int | None]](), list[int]()

    def short(model: af.AFUNet, frames: torch.Tensor, **options: Any) -> Any:
        tries.append((next(model.parameters()).device.type, options["tile_windows"]))
        if refuse(*tries[-1]):
            options["on_progress"](1, 2, "half-way")
            raise torch.OutOfMemoryError("out of memory")
        return stream(model, frames, **options)

    monkeypatch.setattr(inference, "choose_device", lambda name: torch.device(device))
    monkeypatch.setattr(inference, "stream", short)
    with pytest.warns(UserWarning, match=told) as warned:
        result = af.merge(
            bracket, method="afunet", model=model, align="off", on_progress=lambda done, *_: seen.append(done)
        )
    assert [place for place, _ in tries] == tried
    assert [pieces for _, pieces in tries[:3]] == [None, 64, 8]
    assert seen == sorted(seen)
    assert result.info["device"] == "cpu"
    assert result.info["warnings"] == [str(warning.message) for warning in warned]
    assert len(warned) == 1
    np.testing.assert_allclose(result.radiance, expected.radiance, atol=2e-5)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("of memory"), RuntimeError("mat1 and mat2 shapes")])
def test_what_smaller_pieces_do_not_help_is_raised(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory anywhere, or another error."""

    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(inference, "stream", broken)
    with pytest.raises(type(error), match=str(error)):
        af.merge(bracket_of(scene()), method="afunet", model=tiny_model(), align="off")
