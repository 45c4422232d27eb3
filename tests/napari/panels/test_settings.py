"""The settings form."""

import numpy as np
from qtpy.QtCore import Qt

from napari_afunet.settings import MergeSettings
from scenes import EV


def test_exposures_of_a_stack_can_be_typed_and_the_camera_be_told(viewer, widget, qtbot, frames, click_merge):
    layer = viewer.add_image(np.stack(frames), name="stack", rgb=True)
    assert widget.bracket.exposures() == (None, None)
    for edit, text in zip(widget.bracket.exposure_edits, ("-2", "0", "+2"), strict=True):
        qtbot.keyClicks(edit, text)
    options = widget.options
    qtbot.mouseClick(options.groups["camera"].toggleButton(), Qt.MouseButton.LeftButton)
    assert options.fields["drift"].control.isVisibleTo(widget)
    options.choose("response", "estimate")
    options.choose("drift", "auto")
    options.choose("override", True)
    options.fields["black_level"].control.setCurrentText("0")
    options.choose("method", "weighted")
    click_merge(widget)
    note = viewer.layers["stack HDR"].metadata["afunet"]
    assert note["settings"]["response"] == "estimate"
    assert note["info"]["response"]["source"] == "estimated"
    assert len(note["info"]["drift"]) == 3
    for text in ("response='estimate'", "drift='auto'", "override=True", "'stack'"):
        assert text in widget.copy_script()
    viewer.add_image(np.zeros((5, 5)), name="unrelated")
    assert widget.bracket.layers() == [layer]
    assert widget.bracket.exposures() == (EV, None)
    options.fields["black_level"].control.setCurrentText("dark.tif")
    assert widget.settings().black_level == "dark.tif"
    options.fields["black_level"].control.setCurrentText("64,5")
    assert widget.settings().black_level == 64.5


def test_every_control_reaches_the_settings_and_says_what_it_is(widget):
    from qtpy.QtWidgets import QAbstractSpinBox, QComboBox

    camera = {"encoding": "linear", "gamma": 1.8, "bit_depth": 12, "channel": "blue", "black_level": 64.5}
    camera |= {"response": "auto", "drift": "auto", "noise": (0.5, 4.0), "override": True}
    merge = {"method": "weighted", "align": "on", "border": "crop", "units": "counts", "model": "compact"}
    merge |= {"device": "cpu", "precision": "bfloat16", "memory_budget": 3 * 1024**3}
    wanted = MergeSettings(**camera, **merge, tone_mapped=False, stages=False, ghost_map=False)
    widget.options.set_settings(wanted)
    assert widget.options.settings() == wanted
    widget.bracket.reference_box.setCurrentIndex(2)
    assert widget.settings().reference == 1
    for panel in (widget.options, widget.display, widget.views):
        for kind in (QComboBox, QAbstractSpinBox):
            for control in panel.findChildren(kind):
                if not control.objectName().startswith("qt_") and control.parent().parent() is not None:
                    assert control.toolTip() or isinstance(control.parent(), QAbstractSpinBox), control


def test_what_is_chosen_stays_when_the_devices_and_models_of_the_machine_are_known(widget, tiny_model):
    options = widget.options
    assert options.settings().model == tiny_model  # a file, shown by its name
    options.choose("device", "cuda:1")
    options.set_models(["default", "full"])
    options.fields["device"].offer(["auto", "cpu"])
    assert options.settings().model == tiny_model
    assert options.fields["model"].control.currentText() == "tiny.safetensors"
    assert options.settings().device == "cuda:1"


def test_methods_for_scenes_at_rest_do_not_align_unless_asked_and_what_does_not_apply_is_grey(widget):
    options = widget.options
    options.set_settings(MergeSettings())
    options.choose("method", "weighted")
    assert options.settings().align == "off"
    options.choose("method", "auto")
    assert options.settings().align == "auto"
    options.choose("method", "weighted")
    options.choose("align", "on")  # asked
    options.choose("method", "mertens")
    assert options.settings().align == "on"
    options.choose("encoding", "linear")
    assert not options.fields["model"].widget.isEnabled()
    assert not options.fields["gamma"].widget.isEnabled()
    options.choose("encoding", "gamma")
    options.choose("method", "auto")
    assert options.fields["model"].widget.isEnabled()
    assert options.fields["gamma"].widget.isEnabled()


def test_defaults_are_restored_and_the_default_model_has_a_name(widget):
    options = widget.options
    options.restore_defaults()
    assert options.settings() == MergeSettings()
    options.set_models(["default", "full", "compact"], "compact")
    assert options.fields["model"].control.currentText() == "default (compact)"
    assert options.settings().model == "default"
