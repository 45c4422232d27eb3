"""Warnings and forecasts before a merge."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_afunet.jobs.merge_job import merge_source
from napari_afunet.jobs.prechecks import bracket_warnings, estimated_seconds, remember_speed, result_warnings
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
    assert estimated_seconds(bracket_source(layers), settings) is None
    outcome, _ = merged(viewer, layers, settings)
    remember_speed(outcome, 3.0)
    stack = add_bracket(ViewerModel(), [np.stack([frame] * 4) for frame in frames])
    assert estimated_seconds(bracket_source(stack), settings) == pytest.approx(12.0)
    assert estimated_seconds(bracket_source(stack), settings.replace(method="afunet")) is None


def test_frames_that_could_not_be_aligned_are_named_after_the_merge(add_bracket):

    noise = np.random.default_rng(0).uniform(0.2, 0.8, (3, 64, 80))
    layers = add_bracket(ViewerModel(), [(200 * plane).astype(np.uint8) for plane in noise])
    settings = FAST.replace(align="auto", override=True)
    *_, step = merge_source(bracket_source(layers), settings)
    warnings = result_warnings(step.outcome)
    assert len(warnings) == 2
    assert "scene -2" in warnings[0]
    assert "could not be aligned" in warnings[0]
