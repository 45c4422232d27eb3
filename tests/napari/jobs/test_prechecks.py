"""Checks before a merge."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_afunet.jobs.merge_job import merge_source
from napari_afunet.jobs.prechecks import alignment_warnings, bit_depth_hint, black_level_hint, bracket_warnings
from napari_afunet.jobs.summary import result_warnings
from napari_afunet.layers.source import bracket_source
from napari_afunet.settings import MergeSettings
from scenes import EV, add_bracket, make_frames, snapshots, textured

FAST = MergeSettings(ev=EV, method="weighted", align="off")


def source_of(frames):
    return bracket_source(add_bracket(ViewerModel(), frames))


@pytest.mark.parametrize("lazy", [False, True])
def test_frames_of_different_scenes_are_noticed_before_merging(lazy):
    import dask.array as da

    def said(scenes, **changes):
        frames = snapshots(scenes)
        source = source_of([da.from_array(frame) for frame in frames] if lazy else frames)
        return alignment_warnings(source, MergeSettings(ev=EV).replace(**changes), lambda: False)

    scene = textured(0)
    assert said([scene] * 3) == []
    moved = [np.roll(scene, offset, 1) for offset in (40, 0, 0)]
    assert said(moved) == []  # the merge aligns it
    [warning] = said(moved, align="off", method="weighted")
    assert "scene -2" in warning
    assert "40 px" in warning
    assert len(said(moved, align="off")) == 1
    [warning] = said([scene, scene, textured(1)])
    assert "scene +2" in warning
    assert "scene +0" in warning
    assert said([scene, scene, textured(1)], ev=None) == []


def test_a_look_ahead_stops_when_nobody_waits_for_it():
    source = source_of(snapshots([textured(0)] * 2 + [textured(1)]))
    assert alignment_warnings(source, MergeSettings(ev=EV), lambda: True) == []


def test_frames_that_do_not_fit_are_said_in_the_widget_and_the_last_question_counts(widget, qtbot):
    scene = textured(0)
    layers = add_bracket(widget.viewer, snapshots([scene, scene, textured(1)]))
    qtbot.waitUntil(lambda: "hardly fit" in widget.controls.warnings_label.text())
    widget.viewer.layers.remove(layers[2])
    other = add_bracket(widget.viewer, snapshots([scene] * 3), name="other")
    widget.bracket.set_layers(other)
    qtbot.waitUntil(lambda: "hardly fit" not in widget.controls.warnings_label.text())
    assert widget.controls.status_label.text().startswith("Ready")


def test_highlights_lost_in_every_frame_are_announced():
    frames, _ = make_frames()
    fine = source_of(frames)
    assert bracket_warnings(fine, FAST) == []
    for dtype in (bool, np.int16):  # no frames, and not called saturated
        assert bracket_warnings(source_of([frame[..., 0].astype(dtype) for frame in frames]), FAST) == []
    for frame in frames:
        frame[:8] = 255
    [warning] = bracket_warnings(source_of(frames), FAST)
    assert "33%" in warning
    assert "scene -2" in warning


def test_frames_that_are_darker_than_their_exposure_says_are_named(frames):
    [*_, warning] = bracket_warnings(source_of(frames), FAST.replace(ev=(2.0, 0.0, -2.0)))
    assert "scene +0" in warning
    assert "exposures" in warning
    assert "channels" in " ".join(bracket_warnings(source_of(frames[::-1]), FAST.replace(ev=(0.0, 0.0, 2.0))))


def test_pictures_whose_colours_napari_took_for_pixels_are_noticed(merge_frames, frames):
    _, widget = merge_frames(frames, {"rgb": False})
    widget.readiness.update()
    assert "rgb=True" in widget.controls.warnings_label.text()


def test_saturation_is_where_the_stated_bits_end():
    frames, _ = make_frames(dtype=np.float64)
    twelve = [np.round(frame * 4095).astype(np.uint16) for frame in frames]
    for frame in twelve:
        frame[:8] = 4095
    source = source_of(twelve)
    assert bracket_warnings(source, FAST) == []
    assert len(bracket_warnings(source, FAST.replace(bit_depth=12))) == 1


def test_frames_that_could_not_be_aligned_are_named_after_the_merge():
    noise = np.random.default_rng(0).uniform(0.2, 0.8, (3, 64, 80))
    layers = add_bracket(ViewerModel(), [(200 * plane).astype(np.uint8) for plane in noise])
    settings = FAST.replace(align="auto", override=True)
    outcome = merge_source(bracket_source(layers), settings)
    warnings = result_warnings(outcome)
    assert any("contradict the pictures" in sentence for sentence in warnings)
    unaligned = [sentence for sentence in warnings if "could not be aligned" in sentence]
    assert len(unaligned) == 2
    assert "scene -2" in unaligned[0]


def test_bits_that_16_bit_data_do_not_use_are_noticed():
    frames = [np.round(frame * 4095).astype(np.uint16) for frame in make_frames(dtype=np.float64, encoding="linear")[0]]
    source = source_of(frames)
    assert bit_depth_hint(source, FAST) == 12
    assert bit_depth_hint(source, FAST.replace(bit_depth=12)) is None
    for dtype in (np.int16, np.int32, np.uint32):  # nor do these say where they saturate
        assert bit_depth_hint(source_of([f.astype(dtype) for f in frames]), FAST) == 12
    full = [(frame.astype(np.float64) * 16).astype(np.uint16) for frame in frames]
    assert bit_depth_hint(source_of(full), FAST) is None


def test_an_offset_of_a_linear_camera_is_noticed():
    linear = FAST.replace(encoding="linear", bit_depth=12)
    frames = [np.round(frame * 3900).astype(np.uint16) for frame in make_frames(dtype=np.float64, encoding="linear")[0]]
    for frame in frames:
        frame[:4] = 0  # as dark as a picture gets
    assert black_level_hint(source_of(frames), linear) is None
    offset = source_of([frame + np.uint16(100) for frame in frames])
    assert black_level_hint(offset, linear) == pytest.approx(100, abs=1)
    assert black_level_hint(offset, linear.replace(black_level="auto")) is None
    assert black_level_hint(offset, FAST) is None
