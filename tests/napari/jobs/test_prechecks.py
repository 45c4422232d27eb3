"""Warnings and forecasts before a merge."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_afunet.jobs.merge_job import merge_source
from napari_afunet.jobs.prechecks import (
    bit_depth_hint,
    black_level_hint,
    bracket_warnings,
    forecast,
    remember_speed,
)
from napari_afunet.jobs.summary import result_warnings
from napari_afunet.layers.source import bracket_source
from napari_afunet.settings import MergeSettings

EV = (-2.0, 0.0, 2.0)
FAST = MergeSettings(ev=EV, method="weighted", align="off")


def test_highlights_lost_in_every_frame_are_announced(add_bracket, make_frames):
    frames, _ = make_frames()
    fine = bracket_source(add_bracket(ViewerModel(), frames))
    assert bracket_warnings(fine, FAST) == []
    for frame in frames:
        frame[:8] = 255
    [warning] = bracket_warnings(bracket_source(add_bracket(ViewerModel(), frames)), FAST)
    assert "33%" in warning
    assert "scene -2" in warning


def test_frames_that_are_darker_than_their_exposure_says_are_named(add_bracket, frames):
    layers = add_bracket(ViewerModel(), frames)
    [*_, warning] = bracket_warnings(bracket_source(layers), FAST.replace(ev=(2.0, 0.0, -2.0)))
    assert "scene +0" in warning
    assert "exposures" in warning


def test_saturation_is_where_the_stated_bits_end(add_bracket, make_frames):
    frames, _ = make_frames(dtype=np.float64)
    twelve = [np.round(frame * 4095).astype(np.uint16) for frame in frames]
    for frame in twelve:
        frame[:8] = 4095
    source = bracket_source(add_bracket(ViewerModel(), twelve))
    assert bracket_warnings(source, FAST) == []
    assert len(bracket_warnings(source, FAST.replace(bit_depth=12))) == 1


def test_the_time_is_known_after_a_merge_like_it(add_bracket, make_frames, monkeypatch, merged):
    monkeypatch.setattr("napari_afunet.jobs.prechecks._speeds", {})
    frames, _ = make_frames(256, 256, channels=1)
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames)
    settings = FAST.replace(precision="float32")
    assert forecast(bracket_source(layers), settings) == ""
    outcome, _ = merged(viewer, layers, settings)
    remember_speed(outcome, 3.0)
    stack = add_bracket(ViewerModel(), [np.stack([frame] * 4) for frame in frames])
    assert forecast(bracket_source(stack), settings) == "about 12 s"
    assert forecast(bracket_source(stack), settings.replace(method="afunet")) == ""


def test_frames_that_could_not_be_aligned_are_named_after_the_merge(add_bracket):

    noise = np.random.default_rng(0).uniform(0.2, 0.8, (3, 64, 80))
    layers = add_bracket(ViewerModel(), [(200 * plane).astype(np.uint8) for plane in noise])
    settings = FAST.replace(align="auto", override=True)
    *_, step = merge_source(bracket_source(layers), settings)
    warnings = result_warnings(step.outcome)
    assert any("contradict the pictures" in sentence for sentence in warnings)
    unaligned = [sentence for sentence in warnings if "could not be aligned" in sentence]
    assert len(unaligned) == 2
    assert "scene -2" in unaligned[0]


def test_bits_that_16_bit_data_do_not_use_are_noticed(add_bracket, make_frames):
    frames = [np.round(frame * 4095).astype(np.uint16) for frame in make_frames(dtype=np.float64, encoding="linear")[0]]
    source = bracket_source(add_bracket(ViewerModel(), frames))
    assert bit_depth_hint(source, FAST) == 12
    assert bit_depth_hint(source, FAST.replace(bit_depth=12)) is None
    full = [(frame.astype(np.float64) * 16).astype(np.uint16) for frame in frames]
    assert bit_depth_hint(bracket_source(add_bracket(ViewerModel(), full)), FAST) is None


def test_an_offset_of_a_linear_camera_is_noticed(add_bracket, make_frames):
    linear = FAST.replace(encoding="linear", bit_depth=12)
    frames = [np.round(frame * 3900).astype(np.uint16) for frame in make_frames(dtype=np.float64, encoding="linear")[0]]
    for frame in frames:
        frame[:4] = 0  # as dark as a picture gets
    assert black_level_hint(bracket_source(add_bracket(ViewerModel(), frames)), linear) is None
    offset = bracket_source(add_bracket(ViewerModel(), [frame + np.uint16(100) for frame in frames]))
    assert black_level_hint(offset, linear) == pytest.approx(100, abs=1)
    assert black_level_hint(offset, linear.replace(black_level="auto")) is None
    assert black_level_hint(offset, FAST) is None


def test_memory_is_forecast_where_it_is_much(add_bracket):
    import dask.array as da

    large = [da.zeros((6000, 8000, 3), dtype=np.uint8) for _ in EV]
    assert "GB of memory" in forecast(bracket_source(add_bracket(ViewerModel(), large)), FAST)
