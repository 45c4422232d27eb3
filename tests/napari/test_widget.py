"""The widget as its users meet it: a real viewer, real clicks."""

import numpy as np
import pytest

from scenes import EV, add_bracket, make_frames, messages, results


def test_from_sample_frames_to_layers_and_again(viewer, widget, qtbot, frames, click_merge):
    """The whole line: layers found, exposure typed, Merge clicked, layers right, re-run in place."""
    layers = add_bracket(viewer, frames, scale=(0.5, 0.5), translate=(10, 20), units=("um", "um"))
    assert widget.bracket.layers() == layers
    assert widget.bracket.exposures() == (EV, None)
    assert widget.controls.status_label.text().startswith("Ready")

    click_merge(widget)
    assert messages() == []
    assert {layer.name for layer in viewer.layers} == {
        *(layer.name for layer in layers),
        "scene HDR",
        "scene tone mapped",
    }
    widget.options.choose("stages", True)
    widget.options.choose("ghost_map", True)
    click_merge(widget)
    expected = ["scene HDR", "scene tone mapped", "scene ghost map"]
    expected += [f"scene stages · {side}" for side in ("under", "reference", "over", "HDR")]
    assert set(expected) <= {layer.name for layer in viewer.layers}
    hdr = viewer.layers["scene HDR"]
    assert hdr.rgb
    assert hdr.data.shape == frames[0].shape
    assert hdr.data.dtype == np.float32
    assert hdr.gamma == pytest.approx(1 / 2.2)
    assert tuple(hdr.contrast_limits) == (0.0, pytest.approx(0.25))  # as the reference frame, two stops up
    for name in expected:
        layer = viewer.layers[name]
        np.testing.assert_allclose(layer.scale[-2:], (0.5, 0.5))
        np.testing.assert_allclose(layer.translate[-2:], (10, 20))
        assert str(layer.units[-1]) == "micrometer"
    stages = viewer.layers["scene stages · under"]
    assert stages.data.shape == (2, *frames[0].shape)
    assert stages.axis_labels[0] == "stage"
    assert viewer.dims.current_step[0] == 1  # the last stage
    note = hdr.metadata["afunet"]
    assert note["settings"]["ev"] == EV
    assert note["info"]["model"]["sha256"]

    before = hdr.data
    count = len(viewer.layers)
    edit = widget.bracket.exposure_edits[2]
    edit.selectAll()
    qtbot.keyClicks(edit, "1.5")
    click_merge(widget)
    assert len(viewer.layers) == count
    assert viewer.layers["scene HDR"] is hdr
    assert hdr.metadata["afunet"]["settings"]["ev"] == (-2.0, 0.0, 1.5)
    assert not np.array_equal(before, hdr.data)

    widget.views.quantity_box.setCurrentIndex(1)
    for name in ("stages", "ghost_map", "tone_mapped"):
        widget.options.choose(name, False)
    edit.clear()
    qtbot.keyClicks(edit, "1.8")
    shown = viewer.layers["scene tone mapped"].data
    click_merge(widget)  # what it did not make anew would show another merge
    assert widget.controls.status_label.text().startswith("Merged"), widget.controls.warnings_label.text()
    assert set(results(viewer)) == {"scene HDR", "scene tone mapped"}
    assert not np.array_equal(viewer.layers["scene tone mapped"].data, shown)


def test_mistakes_are_said_in_the_panel(viewer, widget, frames, click_merge):
    layers, settings = add_bracket(viewer, frames), widget.options.settings()

    def refill(frames):
        viewer.layers.clear()
        widget.bracket.set_layers(add_bracket(viewer, frames))

    for prepare, word in (
        (lambda: widget.options.choose("model", "/nowhere/model.safetensors"), "model.safetensors"),
        (lambda: widget.options.choose("device", "quantum"), "Device"),
        (lambda: widget.bracket.layer_boxes[0].setCurrentIndex(2), "twice"),
        (
            lambda: widget.bracket.set_layers([*layers[:2], viewer.add_image(frames[2][..., 0], metadata={"ev": 2.0})]),
            "grey",
        ),
        (lambda: refill([frame[..., 0] > 9 for frame in frames]), "bool"),
        (lambda: refill([frame[..., 0].astype(np.int16) for frame in frames]), "signed integers"),
        (lambda: refill([frames[2], frames[1], frames[0]]), "exposures: expected"),  # they contradict themselves
    ):
        widget.options.set_settings(settings)
        prepare()
        click_merge(widget)
        said = f"{widget.controls.status_label.text()} {widget.controls.warnings_label.text()}"
        assert word in said
        assert "Traceback" not in said
        assert widget.controls.merge_button.isEnabled()
        assert widget.controls.merge_button.text() == "Merge"
        assert "scene HDR" not in viewer.layers


def test_a_microscope_series_by_the_book_measures_right(viewer, open_widget, qtbot, click_merge):
    """The how-to taken literally: 12 bits in 16, an offset, seconds that are typed; and a specimen that is dim."""
    from scipy.ndimage import gaussian_filter

    random, seconds = np.random.default_rng(0), (1 / 16, 1 / 8, 1 / 4)
    light = 2000 * gaussian_filter(random.uniform(size=(160, 200)) ** 30, 6) ** 2 * 4e3 + 3.0  # counts a second
    for name, time in zip(("62ms", "125ms", "250ms"), seconds, strict=True):
        counts = 100 + random.poisson(light * time * 8) / 2 + random.normal(0, 2, light.shape)
        viewer.add_image(np.clip(np.round(counts), 0, 4095).astype(np.uint16), name=f"cell_{name}")
    _, widget = open_widget(viewer=viewer, method="auto", align="auto")
    fields, bracket = widget.options.fields, widget.bracket
    fields["encoding"].control.setCurrentText("Linear (sensor, microscope, raw)")
    fields["method"].control.setCurrentText("Weighted average (nothing moved)")
    assert fields["align"].value() == "off"  # follows the method
    bracket.unit_box.setCurrentText("seconds")
    for edit, text in zip(bracket.exposure_edits, ("1/16", "1/8", "1/4"), strict=True):
        qtbot.keyClicks(edit, text)
    for name in ("bit_depth", "black_level"):  # offered beside the fields, before the merge
        assert not widget.options.hints[name].isHidden()
        widget.options.hints[name].click()
    fields["units"].control.setCurrentText("Counts, as in the data")
    click_merge(widget)
    hdr = viewer.layers["cell HDR"]
    truth = light * seconds[0] * 4
    for part in (truth < np.percentile(truth, 30), truth > np.percentile(truth, 90)):
        assert hdr.data[part].mean() == pytest.approx(truth[part].mean(), rel=0.02, abs=0.3)
    info = hdr.metadata["afunet"]["info"]
    assert all(entry["decision"] != "warped" for entry in info["registration"] or ())
    assert "Frames averaged" in widget.controls.summary_label.text()


def test_what_is_not_finite_is_said_and_does_not_spread(open_widget, finish, frames):
    viewer, widget = open_widget()
    values = [frame / np.float32(255) for frame in frames]
    values[0][3:6], values[1][8] = np.nan, np.inf
    add_bracket(viewer, values)
    widget.merge()
    finish(widget)
    assert np.isfinite(viewer.layers["scene HDR"].data).all()
    assert "288 NaN" in widget.controls.warnings_label.text()
    assert "96 infinite" in widget.controls.warnings_label.text()
    assert messages() == []


def test_images_of_a_few_pixels_have_a_result_stages_and_a_preview(open_widget, finish):
    viewer, widget = open_widget(stages=True, tone_mapped=False)
    for shape in ((1, 1), (7, 200), (2, 3)):
        viewer.layers.clear()
        add_bracket(viewer, make_frames(*shape)[0])
        for start in (widget.merge, widget.preview):
            start()
            finish(widget)
        assert messages() == []
        assert viewer.layers["scene HDR"].data.shape == (*shape, 3)
        assert viewer.layers["scene stages · HDR"].data.shape == (2, *shape, 3)
        assert "scene preview HDR" in viewer.layers


def test_a_preview_goes_when_it_is_out_of_date_and_never_takes_the_place_of_the_result(
    open_widget, click_merge, finish, qtbot, frames
):
    viewer, widget = open_widget(method="weighted", tone_mapped=False)
    layers = add_bracket(viewer, frames)
    widget.preview()
    finish(widget)
    assert widget.views.maps["ghost"].isEnabled()
    widget.views.tidy_button.click()
    assert results(viewer) == []
    assert widget.outcome is None
    assert not widget.views.maps["ghost"].isEnabled()
    click_merge(widget)
    merged = widget.outcome

    def preview():
        widget.preview()
        finish(widget)
        qtbot.wait(50)
        assert viewer.layers[-1].name == "scene preview HDR"
        assert widget.display.layer().name == "scene preview HDR"
        assert widget.outcome is merged

    def expect_removed():
        qtbot.waitUntil(lambda: results(viewer) == ["scene HDR"])
        assert widget.display.layer() is viewer.layers["scene HDR"]

    preview()
    preview()  # the same again stays
    widget.options.choose("border", "crop")
    expect_removed()
    preview()
    widget.bracket.set_layers(layers[:2])
    expect_removed()
    widget.bracket.set_layers(layers)
    preview()
    widget.views.regions.tools["add_rectangle"].click()
    assert [layer.name for layer in viewer.layers if "preview" in layer.name] == []
    viewer.layers.remove("scene regions")
    widget.preview()
    widget.options.choose("border", "fill")  # while it runs
    finish(widget)
    expect_removed()
    assert messages() == []


def test_the_view_and_the_selection_stay_while_results_are_added(widget, qtbot, frames):
    viewer = widget.viewer
    add_bracket(viewer, frames)
    widget.options.choose("stages", True)
    viewer.scene.camera.zoom, viewer.scene.camera.center = 20.0, (0.0, 5.0, 7.0)
    widget.merge()
    qtbot.waitUntil(lambda: not widget.is_running)
    assert viewer.dims.ndim == 3  # the stages came
    assert viewer.scene.camera.zoom == pytest.approx(20.0)
    assert viewer.scene.camera.center == pytest.approx((0.0, 5.0, 7.0))
    assert viewer.layers.selection.active.name == "scene tone mapped"
    assert viewer.add_image(frames[0], rgb=True) is viewer.layers.selection.active  # of other layers as ever
