"""Sample brackets."""

import pytest
from napari.components import ViewerModel

EV = (-2.0, 0.0, 2.0)


@pytest.mark.parametrize("key", ["moving", "static"])
def test_samples_are_brackets_and_nothing_else(plugin, key):
    from afunet_core import Bracket
    from napari_afunet.layers.exposures import layer_exposure
    from napari_afunet.layers.selection import guess_layers

    viewer = ViewerModel()
    layers = viewer.open_sample("napari-afunet", key)
    chosen = guess_layers(viewer.layers)
    assert [layer_exposure(layer).ev for layer in chosen] == list(EV)
    assert chosen == layers
    bracket = Bracket([layer.data for layer in chosen], ev=EV)
    assert bracket.shape == (480, 720)
