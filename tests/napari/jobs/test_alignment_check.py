"""Registration failures predicted before a merge."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_afunet.jobs.alignment_check import alignment_warnings
from napari_afunet.layers.source import bracket_source
from napari_afunet.settings import MergeSettings

EV = (-2.0, 0.0, 2.0)
WAIT = 300_000


@pytest.mark.parametrize("lazy", [False, True])
def test_frames_of_different_scenes_are_noticed_before_merging(add_bracket, lazy, textured, photographed):
    import dask.array as da

    def said(scenes, **changes):
        frames = photographed(scenes)
        layers = add_bracket(ViewerModel(), [da.from_array(frame) for frame in frames] if lazy else frames)
        return alignment_warnings(bracket_source(layers), MergeSettings(ev=EV).replace(**changes), lambda: False)

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


def test_a_look_ahead_stops_when_nobody_waits_for_it(add_bracket, textured, photographed):
    layers = add_bracket(ViewerModel(), photographed([textured(0)] * 2 + [textured(1)]))
    assert alignment_warnings(bracket_source(layers), MergeSettings(ev=EV), lambda: True) == []


def test_frames_that_do_not_fit_are_said_in_the_widget_and_the_last_question_counts(
    widget, qtbot, add_bracket, textured, photographed
):
    scene = textured(0)
    layers = add_bracket(widget.viewer, photographed([scene, scene, textured(1)]))
    qtbot.waitUntil(lambda: "hardly fit" in widget.controls.warnings_label.text(), timeout=WAIT)
    widget.viewer.layers.remove(layers[2])
    other = add_bracket(widget.viewer, photographed([scene] * 3), name="other")
    widget.bracket.set_layers(other)
    qtbot.waitUntil(lambda: "hardly fit" not in widget.controls.warnings_label.text(), timeout=WAIT)
    assert widget.controls.status_label.text().startswith("Ready")


def test_what_is_said_of_the_planes_of_a_stack_is_said_once(widget, qtbot, monkeypatch, textured, photographed):
    """Its planes are cut out anew whenever they are asked for: that is no reason to look at them again."""
    from napari_afunet.jobs import alignment_check

    looked = []
    monkeypatch.setattr(
        alignment_check, "alignment_warnings", lambda source, *_: looked.append(source) or ["do not fit"]
    )
    qtbot.waitUntil(lambda: widget._precheck._ready, timeout=WAIT)
    widget.viewer.add_image(np.stack(photographed([textured(0)] * 3)), name="stack", metadata={"ev": EV})
    qtbot.waitUntil(lambda: "do not fit" in widget.controls.warnings_label.text(), timeout=WAIT)
    qtbot.wait(1500)  # three times as long as it waits for changes
    assert len(looked) == 1
    widget.options.choose("align", "on")
    qtbot.waitUntil(lambda: len(looked) == 2, timeout=WAIT)
