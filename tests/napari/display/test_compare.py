"""Ways to look at a result beside its frames, and back."""

import pytest
from napari.components import ViewerModel

from napari_afunet.display import compare
from scenes import add_bracket, merged


def test_before_and_after_shows_the_reference_and_returns(frames):
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames)
    assert not compare.compare(viewer, "reference")
    _, results = merged(viewer, layers)
    before = [layer.visible for layer in viewer.layers]
    assert compare.compare(viewer, "reference")
    shown = [layer for layer in viewer.layers if layer.visible]
    assert shown == [layers[1]]
    assert not results["radiance"].visible
    compare.stop_comparing(viewer)
    assert [layer.visible for layer in viewer.layers] == before
    viewer.layers.remove(layers[1])
    assert not compare.compare(viewer, "reference")


@pytest.mark.parametrize(("comparison", "shown"), [("side by side", [1, "tone"]), ("frames", [0, 1, 2, "tone"])])
def test_side_by_side_is_a_grid_and_the_view_returns(frames, comparison, shown):
    viewer = ViewerModel()
    layers = add_bracket(viewer, frames)
    _, results = merged(viewer, layers)
    before, zoom = [layer.visible for layer in viewer.layers], viewer.scene.camera.zoom
    assert compare.compare(viewer, comparison)
    wanted = [results["tone_mapped"] if index == "tone" else layers[index] for index in shown]
    assert {layer for layer in viewer.layers if layer.visible} == set(wanted)
    grid = viewer.canvas.grid
    cells = [grid.position(viewer.layers.index(layer), viewer.layers) for layer in wanted]
    assert grid.enabled
    assert len(set(cells)) == len(wanted)
    assert cells[-1] == max(cells)  # the result comes last
    assert viewer.scene.camera.zoom == pytest.approx(zoom / 2)
    compare.stop_comparing(viewer)
    assert not grid.enabled
    assert [layer.visible for layer in viewer.layers] == before
    assert viewer.scene.camera.zoom == pytest.approx(zoom)
    assert "before_comparing" not in str([layer.metadata for layer in viewer.layers])
