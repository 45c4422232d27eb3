"""Sample brackets."""

import pytest
from napari.components import ViewerModel


@pytest.mark.parametrize("key", ["moving", "static"])
def test_samples_are_brackets_and_nothing_else(plugin, key):
    from napari_afunet.layers.exposures import layer_exposure
    from napari_afunet.layers.selection import guess_layers

    viewer = ViewerModel()
    layers = viewer.open_sample("napari-afunet", key)
    chosen = guess_layers(viewer.layers)
    assert [layer_exposure(layer).ev for layer in chosen] == [-2, 0, 2]
    assert chosen == layers
    assert {layer.data.shape for layer in chosen} == {(480, 720, 3)}
