"""The job without a window: scripts, settings, planes, and what the viewer is given."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from napari.components import ViewerModel

from afunet_core.camera.response import ResponseCurve
from afunet_core.errors import AFUNetError, MergeCancelled
from napari_afunet import merge_layers
from napari_afunet.choosing import candidate_layers
from napari_afunet.inputs import bracket_source
from napari_afunet.job import merge_source
from napari_afunet.layers import base_name
from napari_afunet.session import as_script
from napari_afunet.settings import GIGABYTE, MergeSettings

EV = (-2.0, 0.0, 2.0)
FAST = {"method": "weighted", "align": "off"}


def test_layers_are_found_exposures_read_results_added(add_bracket, make_frames):
    viewer, (frames, truth) = ViewerModel(), make_frames()
    add_bracket(viewer, frames)
    result = merge_layers(viewer, **FAST)
    np.testing.assert_allclose(result.radiance, truth, atol=0.02)
    assert viewer.layers["scene HDR"].data is result.radiance
    assert viewer.layers.selection.active is viewer.layers["scene tone mapped"]


def test_layers_by_name_in_any_order_and_given_exposures(make_frames):
    viewer, (frames, truth) = ViewerModel(), make_frames()
    for name, frame in zip("abc", frames, strict=True):
        viewer.add_image(frame, name=name)
    result = merge_layers(viewer, ["c", "a", "b"], times=(1.0, 1 / 16, 1 / 4), show=False, **FAST)
    np.testing.assert_allclose(result.radiance, truth, atol=0.02)
    assert len(viewer.layers) == 3


def test_a_named_result_is_updated_in_place_and_another_name_adds(add_bracket, frames):
    viewer = ViewerModel()
    add_bracket(viewer, frames)
    merge_layers(viewer, name="first", **FAST)
    count = len(viewer.layers)
    layer = viewer.layers["first HDR"]
    layer.name = "renamed by the user"
    merge_layers(viewer, name="first", **FAST)
    assert len(viewer.layers) == count
    merge_layers(viewer, name="second", **FAST)
    assert len(viewer.layers) > count


def test_grey_in_grey_out_and_stacks_plane_by_plane(add_bracket, make_frames):
    viewer = ViewerModel()
    planes = [make_frames(channels=1, seed=seed)[0] for seed in range(3)]
    add_bracket(viewer, [np.stack([plane[i] for plane in planes]) for i in range(3)], scale=(5, 1, 1))
    result = merge_layers(viewer, **FAST)
    assert result.radiance.shape == (3, 24, 32)
    for index, frames in enumerate(planes):
        single = ViewerModel()
        add_bracket(single, frames)
        np.testing.assert_array_equal(merge_layers(single, **FAST).radiance, result.radiance[index])
    assert tuple(viewer.layers["scene HDR"].scale) == (5, 1, 1)
    assert "scene ghost map" in viewer.layers
    assert viewer.layers["scene ghost map"].data.shape == (3, 24, 32)


def test_exposure_fusion_is_shown_as_the_picture_it_is(add_bracket, frames):
    viewer = ViewerModel()
    add_bracket(viewer, frames)
    merge_layers(viewer, method="mertens", align="off")
    layer = viewer.layers["scene HDR"]
    assert layer.gamma == 1.0
    assert "scene tone mapped" not in viewer.layers


def test_stages_of_every_plane_share_the_stage_axis(add_bracket, make_frames, tiny_model):
    viewer = ViewerModel()
    planes = [make_frames(16, 20, seed=seed)[0] for seed in range(2)]
    add_bracket(viewer, [np.stack([plane[i] for plane in planes]) for i in range(3)], rgb=True, scale=(7, 1, 1))
    merge_layers(viewer, method="afunet", align="off", model=tiny_model, device="cpu")
    stages = viewer.layers["scene stages · over"]
    assert stages.data.shape == (2, 2, 16, 20, 3)
    assert stages.data.dtype == np.uint8
    assert stages.axis_labels[0] == "stage"
    assert tuple(stages.scale) == (1, 7, 1, 1)
    assert stages.data.std() > 1


def test_the_image_decoded_from_every_stage_is_a_layer_that_ends_in_the_result(add_bracket, make_frames, tiny_model):
    viewer = ViewerModel()
    options = {"method": "afunet", "align": "off", "model": tiny_model, "device": "cpu"}
    layers = add_bracket(viewer, make_frames(16, 20)[0], scale=(0.5, 0.5))
    result = merge_layers(viewer, layers, **options)
    decoded = viewer.layers["scene stages · HDR"]
    assert decoded.data.shape == (2, 16, 20, 3)
    assert decoded.rgb
    assert not decoded.visible
    assert decoded.axis_labels[0] == "stage"
    assert tuple(decoded.scale) == (1, 0.5, 0.5)
    assert decoded.contrast_limits == viewer.layers["scene HDR"].contrast_limits == [0, 0.25]
    assert decoded.gamma == pytest.approx(1 / 2.2)
    assert np.abs(decoded.data[0] - decoded.data[1]).max() > 0.001
    np.testing.assert_allclose(decoded.data[-1], result.radiance, atol=2e-3)
    decoded.visible, decoded.contrast_limits = True, (0, 0.125)
    assert viewer.layers["scene HDR"].contrast_limits == [0, 0.125]  # both are looked at with one exposure
    count = len(viewer.layers)
    again = merge_layers(viewer, layers, ev=(-1.0, 0.0, 1.0), **options)
    assert len(viewer.layers) == count
    assert decoded.visible
    assert decoded.contrast_limits == [0, 0.5]
    np.testing.assert_allclose(decoded.data[-1], again.radiance, atol=2e-3)


def test_decoded_stages_of_grey_planes(add_bracket, make_frames, tiny_model):
    viewer = ViewerModel()
    planes = [make_frames(16, 20, channels=1, seed=seed)[0] for seed in range(2)]
    add_bracket(viewer, [np.stack([plane[i] for plane in planes]) for i in range(3)])
    result = merge_layers(viewer, method="afunet", align="off", model=tiny_model, device="cpu", ghost_map=False)
    decoded = viewer.layers["scene stages · HDR"]
    assert not decoded.rgb
    assert decoded.data.shape == (2, 2, 16, 20)
    np.testing.assert_allclose(decoded.data[-1], result.radiance, atol=2e-3)
    assert "scene ghost map" not in viewer.layers


@pytest.mark.parametrize("layers", [None, ["a"], ["a", "b", "nobody"]])
def test_what_cannot_be_merged_is_refused(layers, frames):
    viewer = ViewerModel()
    viewer.add_image(frames[0], name="a")
    viewer.add_image(frames[1], name="b")
    with pytest.raises((AFUNetError, KeyError)):
        merge_layers(viewer, layers, ev=EV)


def test_unknown_exposures_are_asked_for(frames):
    viewer = ViewerModel()
    for frame in frames:
        viewer.add_image(frame)
    with pytest.raises(AFUNetError, match=r"ev=\(-2, 0, 2\)"):
        merge_layers(viewer, **FAST)


def test_cancel_between_planes_leaves_no_thread_of_work(add_bracket, make_frames):
    viewer = ViewerModel()
    frames = make_frames(channels=1)[0]
    layers = add_bracket(viewer, [np.stack([frame] * 5) for frame in frames])
    done = []
    settings = MergeSettings(ev=EV, **FAST)
    steps = merge_source(bracket_source(layers), settings, None, lambda: len(done) >= 2)
    done += [next(steps).done, next(steps).done]
    with pytest.raises(MergeCancelled):
        next(steps)
    assert done == [1, 2]


def test_progress_rises_over_all_planes(add_bracket, make_frames):
    frames = make_frames(channels=1)[0]
    layers = add_bracket(ViewerModel(), [np.stack([frame] * 3) for frame in frames])
    seen = []
    list(merge_source(bracket_source(layers), MergeSettings(ev=EV, **FAST), lambda f, m: seen.append((f, m))))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1
    assert fractions[-1] > 0.9
    assert "Plane 2 of 3" in " ".join(message for _, message in seen)


def test_a_script_says_no_more_than_it_must_and_runs(add_bracket, frames):
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames)
    script = as_script(bracket_source(layers), [layer.name for layer in layers], MergeSettings(ev=EV, **FAST))
    assert "precision" not in script
    assert "method='weighted'" in script
    compile(script, "<script>", "exec")


def test_what_is_known_of_the_camera_is_used_noted_and_in_the_script(add_bracket, make_frames, tmp_path):
    """A camera with gamma 1.8 whose shortest frame came out a fifth of a stop too bright."""
    viewer, (frames, truth) = ViewerModel(), make_frames(72, 96, dtype=np.float64, encoding="linear")
    frames[0] = frames[0] * 2**0.2
    layers = add_bracket(viewer, [np.round(255 * frame.clip(0, 1) ** (1 / 1.8)).astype(np.uint8) for frame in frames])
    light = torch.linspace(0, 1, 256, dtype=torch.float64)[None] ** 1.8
    ResponseCurve(light, source="bench").save(tmp_path / "camera.json")
    settings = MergeSettings(ev=EV, response=str(tmp_path / "camera.json"), drift="auto", **FAST)
    *_, step = merge_source(bracket_source(layers), settings)
    info = step.outcome.info
    assert info["drift"][0]["exposure"] == pytest.approx(0.2, abs=0.05)
    assert info["response"]["source"] == "camera.json"
    ratio = step.outcome.radiance / truth
    assert abs(np.log2(np.median(ratio[(truth > 0.02) & (truth < 0.2)]))) < 0.1
    script = as_script(bracket_source(layers), [layer.name for layer in layers], settings)
    script = script.replace("napari.current_viewer() or napari.Viewer()", "viewer")
    names = {"viewer": viewer}
    exec(compile(script.replace("viewer = viewer", ""), "<script>", "exec"), names)
    np.testing.assert_array_equal(names["result"].radiance, step.outcome.radiance)


def test_preferences_become_the_defaults(plugin_settings, plugin):
    from napari.settings import get_plugin_settings

    assert MergeSettings.from_preferences() == MergeSettings()
    preferences = get_plugin_settings("napari-afunet")
    preferences.merge.method, preferences.merge.memory_gb = "weighted", 1.5
    preferences.layers.stages = False
    preferences.camera.bit_depth, preferences.camera.black_level, preferences.camera.drift = 12, "64", True
    preferences.camera.noise, preferences.merge.units = "0.5, 4", "counts"
    settings = MergeSettings.from_preferences()
    assert (settings.bit_depth, settings.black_level, settings.drift) == (12, 64.0, "auto")
    assert (settings.noise, settings.units, settings.response) == ((0.5, 4.0), "counts", None)
    assert (settings.method, settings.memory_budget, settings.stages) == ("weighted", round(1.5 * GIGABYTE), False)


def test_twenty_merges_keep_only_the_last_result(add_bracket, frames):
    viewer = ViewerModel()
    add_bracket(viewer, frames)
    earlier = []
    for _ in range(20):
        result = merge_layers(viewer, **FAST)
        earlier.append(weakref.ref(result.radiance))
        count = len(viewer.layers)
    gc.collect()
    assert len(viewer.layers) == count
    assert earlier[-1]() is not None
    assert [ref for ref in earlier[:-1] if ref() is not None] == []


def test_a_result_saved_by_napari_and_opened_again_is_the_same(plugin, add_bracket, frames, tmp_path):
    viewer = ViewerModel()
    add_bracket(viewer, frames)
    result = merge_layers(viewer, **FAST)
    [path] = viewer.layers["scene HDR"].save(str(tmp_path / "scene.exr"), plugin="napari-afunet")
    [layer] = viewer.open(path, plugin="napari-afunet")
    np.testing.assert_array_equal(layer.data, result.radiance)
    assert layer.metadata["afunet"]["info"]["versions"] == result.info["versions"]
    assert layer not in candidate_layers(viewer.layers)


@pytest.mark.parametrize(
    ("names", "base"),
    [
        (["garage -2 EV", "garage +0 EV", "garage +2 EV"], "garage"),
        (["IMG_0960", "IMG_0959", "IMG_0961"], "IMG"),
        (["stack [0]", "stack [1]"], "stack"),
        (["a", "b"], "bracket"),
        (["1", "2", "3"], "bracket"),
    ],
)
def test_results_are_called_after_what_the_frames_share(names, base):
    assert base_name(names) == base


# ------------------------------------------------------------------------------------------------ every option


def hand_held(shift=3, seed=0):
    """Frames of a scene with texture, the outer ones moved by whole pixels, linear 12-bit counts."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    scene = gaussian_filter(random.uniform(size=(140, 180)), 1.5)
    scene = 0.02 + 0.2 * (scene - scene.min()) / np.ptp(scene)
    views = [np.roll(scene, (offset, -offset), (0, 1))[20:120, 20:160] for offset in (shift, 0, -shift)]
    counts = [
        np.round(4095 * view * 2.0 ** (value - EV[0])).clip(0, 4095) for view, value in zip(views, EV, strict=True)
    ]
    return [frame.astype(np.uint16) for frame in counts]


CAMERA = {"encoding": "linear", "bit_depth": 12, "method": "weighted"}


def test_a_cropped_result_is_the_cores_and_lies_where_it_belongs(add_bracket):
    from afunet_core import Bracket, merge

    viewer, frames = ViewerModel(), hand_held()
    layers = add_bracket(viewer, frames, scale=(2.0, 2.0), translate=(10.0, 20.0))
    result = merge_layers(viewer, layers, border="crop", **CAMERA)
    expected = merge(Bracket(frames, ev=EV, encoding="linear", bit_depth=12), method="weighted", border="crop")
    np.testing.assert_array_equal(result.radiance, expected.radiance)
    top, left, height, width = result.info["area"]
    assert (height, width) == result.radiance.shape < frames[0].shape
    for role in ("HDR", "tone mapped", "ghost map"):
        layer = viewer.layers[f"scene {role}"]
        assert layer.data.shape[:2] == (height, width)
        np.testing.assert_allclose(layer.translate, (10 + 2 * top, 20 + 2 * left))
    whole = merge_layers(viewer, layers, border="fill", **CAMERA)
    np.testing.assert_allclose(viewer.layers["scene HDR"].translate, (10, 20))
    np.testing.assert_allclose(whole.radiance[top : top + height, left : left + width], result.radiance, rtol=0.02)


def test_planes_of_a_stack_are_cropped_to_what_all_of_them_cover(add_bracket, tiny_model):
    viewer = ViewerModel()
    planes = [hand_held(shift, seed=shift) for shift in (2, 5)]
    stacks = [np.stack([plane[index] for plane in planes]) for index in range(3)]
    layers = add_bracket(viewer, stacks, scale=(5, 2, 2))
    result = merge_layers(viewer, layers, border="crop", **CAMERA)
    whole = merge_layers(viewer, layers, border="fill", name="whole", **CAMERA)
    top, left, height, width = result.info["area"]
    assert result.radiance.shape == (2, height, width)
    np.testing.assert_array_equal(result.radiance, whole.radiance[:, top : top + height, left : left + width])
    assert height <= 92  # the outer frames of the second plane lie ten rows apart
    np.testing.assert_allclose(viewer.layers["scene HDR"].translate, (0, 2 * top, 2 * left))
    options = CAMERA | {"method": "afunet", "model": tiny_model, "device": "cpu"}
    merge_layers(viewer, layers, border="crop", name="stages", **options)
    np.testing.assert_allclose(viewer.layers["stages stages · HDR"].translate, 0)
    assert viewer.layers["stages stages · HDR"].data.shape[-2:] == (100, 140)


def test_cropped_stages_lie_on_the_cropped_image(add_bracket, tiny_model):
    viewer = ViewerModel()
    layers = add_bracket(viewer, hand_held())
    options = CAMERA | {"method": "afunet", "model": tiny_model, "device": "cpu"}
    result = merge_layers(viewer, layers, border="crop", **options)
    for name in ("scene stages · under", "scene stages · HDR"):
        np.testing.assert_allclose(viewer.layers[name].translate[-2:], result.info["area"][:2])
        assert viewer.layers[name].data.shape[1:3] == result.radiance.shape


def test_counts_noise_and_reference_reach_the_core_and_the_script(add_bracket):
    viewer, frames = ViewerModel(), hand_held(shift=0)
    layers = add_bracket(viewer, frames)
    options = CAMERA | {"units": "counts", "noise": (0.5, 4.0), "reference": 0, "align": "off"}
    result = merge_layers(viewer, layers, **options)
    assert result.info["units"] == "counts"
    assert result.info["reference"] == 0
    assert result.info["noise"]["counts_per_electron"] == pytest.approx(0.5)
    assert result.info["noise"]["read_noise_counts"] == pytest.approx(4.0)
    well = frames[0] > 100
    np.testing.assert_allclose(result.radiance[well], frames[0][well], rtol=0.05)
    script = as_script(bracket_source(layers), [layer.name for layer in layers], MergeSettings(ev=EV, **options))
    for text in ("units='counts'", "noise=(0.5, 4.0)", "reference=0"):
        assert text in script


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("planes", [0, 2])
def test_one_channel_of_colour_frames_is_merged_as_greyscale(add_bracket, make_frames, lazy, planes):
    import dask.array as da

    from afunet_core import Bracket, merge

    viewer, frames = ViewerModel(), make_frames()[0]
    data = [np.stack([frame] * planes) if planes else frame for frame in frames]
    layers = add_bracket(viewer, [da.from_array(values) for values in data] if lazy else data, rgb=True)
    result = merge_layers(viewer, layers, channel="green", **FAST)
    expected = merge(Bracket([frame[..., 1] for frame in frames], ev=EV), **FAST).radiance
    for plane in result.radiance if planes else [result.radiance]:
        np.testing.assert_array_equal(plane, expected)
    assert result.info["channel"] == "green"
    assert not viewer.layers["scene HDR"].rgb
    script = as_script(bracket_source(layers), ["a", "b", "c"], MergeSettings(ev=EV, channel="green"))
    assert "channel='green'" in script
    with pytest.raises(AFUNetError, match="infrared"):
        merge_layers(viewer, layers, channel="infrared", **FAST)


def test_of_a_dark_frame_the_same_channel_is_taken(add_bracket, make_frames, tmp_path):
    import imageio.v3 as iio

    viewer, dark = ViewerModel(), np.full((24, 32, 3), (0, 400, 9), np.uint16)
    iio.imwrite(tmp_path / "dark.tif", dark)
    linear = make_frames(encoding="linear", dtype=np.float64)[0]
    layers = add_bracket(viewer, [np.round(3600 * frame + dark).astype(np.uint16) for frame in linear])
    options = FAST | {"encoding": "linear", "bit_depth": 12, "channel": "green"}
    with_frame = merge_layers(viewer, layers, black_level=str(tmp_path / "dark.tif"), **options)
    np.testing.assert_allclose(with_frame.radiance, merge_layers(viewer, layers, black_level=400, **options).radiance)


def test_everything_that_the_core_offers_is_a_setting():
    """Whoever adds an option to the core is reminded of the widget, and of a preference for cameras."""
    import inspect

    from afunet_core import Bracket, merge

    offered = set(inspect.signature(merge).parameters) - {"bracket", "on_progress", "should_cancel"}
    assert offered == set(MergeSettings().core_arguments())
    offered = set(inspect.signature(Bracket.__init__).parameters) - {"self", "frames", "names", "metadata"}
    assert offered == set(MergeSettings().bracket_arguments())
