"""The widget's job without the widget, and the script of a merge."""

import gc
import weakref

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel

from afunet_core.errors import AFUNetError
from napari_afunet import merge_layers
from scenes import EV, add_bracket, make_frames

FAST = {"method": "weighted", "align": "off"}


def test_layers_are_found_exposures_read_results_added():
    viewer, (frames, truth) = ViewerModel(), make_frames()
    add_bracket(viewer, frames)
    result = merge_layers(viewer, **FAST)
    np.testing.assert_allclose(result.radiance, truth, atol=0.02)
    assert viewer.layers["scene HDR"].data is result.radiance
    assert viewer.layers.selection.active is viewer.layers["scene tone mapped"]


def test_layers_by_name_in_any_order_and_given_exposures():
    viewer, (frames, truth) = ViewerModel(), make_frames()
    for name, frame in zip("abc", frames, strict=True):
        viewer.add_image(frame, name=name)
    result = merge_layers(viewer, ["c", "a", "b"], times=(1.0, 1 / 16, 1 / 4), show=False, **FAST)
    np.testing.assert_allclose(result.radiance, truth, atol=0.02)
    assert len(viewer.layers) == 3


@pytest.mark.parametrize("kind", ["plain", "lazy", "pyramid"])
def test_grey_in_grey_out_and_stacks_plane_by_plane(kind):
    viewer = ViewerModel()
    planes = [make_frames(channels=1, seed=seed)[0] for seed in range(3)]
    stacks = [np.stack([plane[i] for plane in planes]) for i in range(3)]
    if kind == "lazy":
        stacks = [da.from_array(stack, chunks=(1, 24, 32)) for stack in stacks]
    elif kind == "pyramid":
        stacks = [[stack, stack[..., ::2, ::2]] for stack in stacks]
    layers = [viewer.add_image(each, metadata={"ev": ev}, scale=(5, 1, 1)) for each, ev in zip(stacks, EV, strict=True)]
    result = merge_layers(viewer, layers, ghost_map=True, name="scene", **FAST)
    assert result.radiance.shape == (3, 24, 32)
    for index, frames in enumerate(planes):
        single = ViewerModel()
        add_bracket(single, frames)
        np.testing.assert_array_equal(merge_layers(single, **FAST).radiance, result.radiance[index])
    assert tuple(viewer.layers["scene HDR"].scale) == (5, 1, 1)
    assert viewer.layers["scene ghost map"].data.shape == (3, 24, 32)


@pytest.mark.parametrize("layers", [None, ["a"], ["a", "b", "nobody"]])
def test_what_cannot_be_merged_is_refused_and_unknown_exposures_asked_for(layers, frames):
    viewer = ViewerModel()
    for name, frame in zip("ab", frames, strict=False):
        viewer.add_image(frame, name=name)
    with pytest.raises((AFUNetError, KeyError)):
        merge_layers(viewer, layers, ev=EV)
    with pytest.raises(AFUNetError, match=r"ev=\(-2, 0, 2\)"):
        merge_layers(viewer, ["a", "b"], **FAST)


def test_twenty_merges_keep_only_the_last_result(frames):
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


def test_the_script_repeats_a_merge_by_the_default_model_to_the_bit(open_widget, finish):
    viewer, widget = open_widget()
    widget.options.set_settings(widget.options.settings().replace(method="auto", model="default", align="auto"))
    add_bracket(viewer, make_frames(40, 48)[0])
    widget.merge()
    finish(widget)
    exec(compile(widget.copy_script(), "<script>", "exec"), names := {})
    np.testing.assert_array_equal(names["result"].radiance, viewer.layers["scene HDR"].data)
    assert "model=" not in widget.copy_script()
