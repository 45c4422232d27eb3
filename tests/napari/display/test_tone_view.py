"""Tone-mapped views: the right numbers, live, for results and for HDR layers from elsewhere."""

import gc
import weakref

import dask.array as da
import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from napari.layers import Image, Labels

from afunet_core import tonemap
from afunet_core.tonemap import tone_map
from napari_afunet.display.tone_view import (
    CLIPPED,
    OPERATORS,
    DisplaySettings,
    is_hdr,
    prepare,
    render,
    set_display,
    shown_exposures,
)
from napari_afunet.layers.results import show_tone_mapped

MERGED = {"ev": [0, 3, 6], "reference": 1, "scale": 4095.0}
RADIANCE = np.random.default_rng(0).uniform(0, 1.5, (10, 12, 3)).astype(np.float32)


@pytest.mark.parametrize("operator", OPERATORS)
def test_pictures_are_the_cores_in_8_bits(operator):
    assert set(OPERATORS) == set(tonemap.OPERATORS)
    shown = render(RADIANCE, DisplaySettings(operator, ev=-1.0))
    expected = tone_map(torch.from_numpy(RADIANCE).permute(2, 0, 1)[None], operator, ev=-1.0)[0].permute(1, 2, 0)
    np.testing.assert_allclose(shown / 255, expected.numpy(), atol=1 / 255)
    assert shown.dtype == np.uint8


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("warn", [False, True])
def test_stacks_are_rendered_plane_by_plane_when_looked_at(lazy, channels, warn):
    stack = np.random.default_rng(1).uniform(0, 1, (2, 3, 8, 9, *channels)).astype(np.float32)
    settings = DisplaySettings("mu_law", warn=warn)
    rgb = bool(channels)
    shown = render(da.from_array(stack, chunks=4) if lazy else stack, settings, rgb=rgb)
    assert isinstance(shown, da.Array)
    assert shown.shape == (2, 3, 8, 9, 3)
    np.testing.assert_array_equal(np.asarray(shown[1, 2]), render(stack[1, 2], settings, rgb=rgb))


def test_highlight_warning_paints_exactly_what_clips():
    radiance = np.full((4, 6, 3), 0.25, np.float32)
    radiance[1, 2] = 3.0
    plain = render(radiance, DisplaySettings("exposure"))
    warned = render(radiance, DisplaySettings("exposure", warn=True))
    different = (plain != warned).any(-1)
    assert different.sum() == 1
    np.testing.assert_array_equal(warned[1, 2], CLIPPED)
    assert render(radiance[..., 0], DisplaySettings("exposure", warn=True), rgb=False).shape == (4, 6, 3)
    assert render(radiance[:, :3, 0], DisplaySettings("exposure"), rgb=False).shape == (4, 3, 3)  # narrow, not colour


def test_light_that_is_not_a_number_is_shown_not_thrown():
    radiance = RADIANCE.copy()
    radiance[0, :3, 0] = (np.nan, np.inf, -np.inf)
    assert render(radiance, DisplaySettings("mu_law")).shape == radiance.shape


def test_exposure_zero_shows_the_result_as_the_reference_frame():
    layer = Image(RADIANCE, metadata={"afunet": {"role": "radiance", "info": {"ev": [0, 3, 6], "reference": 1}}})
    assert shown_exposures(layer) == (3.0, 0.0)
    set_display(layer, DisplaySettings(ev=1.0))
    assert layer.contrast_limits == pytest.approx([0, 2.0**-4])
    assert layer.gamma == pytest.approx(1 / 2.2)
    set_display(layer, DisplaySettings(gamma=3.0))
    assert layer.gamma == pytest.approx(1 / 3)


def test_what_was_prepared_for_a_slider_goes_with_its_data():
    radiance = RADIANCE.copy()
    prepared = prepare(radiance)
    assert prepare(radiance) is prepared
    kept = weakref.ref(prepared)
    del radiance, prepared
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("unit", [1e-4, 1.0, 5e3])
def test_hdr_files_in_any_unit_open_readably(unit):
    layer = Image(RADIANCE * unit, rgb=True)
    set_display(layer, DisplaySettings())
    shown = np.clip(layer.data / layer.contrast_limits[1], 0, 1)
    assert 0.3 < np.median(shown) < 0.8
    assert np.mean(shown >= 1) < 0.05
    for operator in OPERATORS:
        view = show_tone_mapped(ViewerModel(), layer, DisplaySettings(operator)).data / 255
        assert 0.3 < np.median(view) < 0.98
        assert np.mean(view >= 1) < 0.1


@pytest.mark.parametrize("operator", OPERATORS)
def test_counts_are_shown_as_the_same_image_in_relative_units(operator):
    relative = Image(RADIANCE, metadata={"afunet": {"role": "radiance", "info": MERGED}})
    info = {**MERGED, "units": "counts"}
    counts = Image(RADIANCE * np.float32(4095), metadata={"afunet": {"role": "radiance", "info": info}})
    views = [show_tone_mapped(ViewerModel(), layer, DisplaySettings(operator)).data for layer in (relative, counts)]
    np.testing.assert_allclose(views[0].astype(int), views[1], atol=2)
    for layer in (relative, counts):
        set_display(layer, DisplaySettings())
    assert counts.contrast_limits[1] / relative.contrast_limits[1] == pytest.approx(4095)


def test_which_layers_are_light():
    assert is_hdr(Image(RADIANCE, rgb=True))
    assert is_hdr(Image(RADIANCE[..., 0]))
    assert not is_hdr(Image((RADIANCE * 100).astype(np.uint8), rgb=True))
    assert not is_hdr(Image(RADIANCE, metadata={"afunet": {"role": "ghost"}}))
    assert not is_hdr(Labels(np.zeros((5, 5), int)))


def test_a_view_is_added_once_and_then_updated():
    viewer = ViewerModel()
    hdr = viewer.add_image(RADIANCE, rgb=True, name="opened", scale=(2, 2), translate=(5, 6))
    first = show_tone_mapped(viewer, hdr, DisplaySettings("mu_law"))
    before = first.data.copy()
    again = show_tone_mapped(viewer, hdr, DisplaySettings("mu_law", ev=1.0))
    assert again is first
    assert len(viewer.layers) == 2
    assert first.data.mean() > before.mean()
    assert (tuple(first.scale), tuple(first.translate)) == ((2, 2), (5, 6))
    assert first.name == "opened tone mapped"


def test_a_grey_layer_gets_a_view_that_can_warn_in_colour():
    viewer = ViewerModel()
    hdr = viewer.add_image(RADIANCE[..., 0], name="grey", metadata={"afunet": {"role": "radiance", "info": MERGED}})
    view = show_tone_mapped(viewer, hdr, DisplaySettings("mu_law"))
    assert (view.data.max(-1) == view.data.min(-1)).all()
    assert show_tone_mapped(viewer, hdr, DisplaySettings("mu_law", warn=True)) is view
    clipped = (view.data == CLIPPED).all(-1)
    assert clipped[RADIANCE[..., 0] >= 1].all()
    assert not clipped[RADIANCE[..., 0] < 0.95].any()
