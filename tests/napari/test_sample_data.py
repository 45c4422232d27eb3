"""Sample brackets."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

EV = (-2.0, 0.0, 2.0)


@pytest.mark.parametrize("key", ["moving", "static"])
def test_samples_are_brackets_with_known_truth(plugin, key):
    from afunet_core import Bracket
    from napari_afunet.layers.exposures import layer_exposure
    from napari_afunet.layers.selection import guess_layers

    viewer = ViewerModel()
    layers = viewer.open_sample("napari-afunet", key)
    chosen = guess_layers(viewer.layers)
    assert [layer_exposure(layer).ev for layer in chosen] == list(EV)
    bracket = Bracket([layer.data for layer in chosen], ev=EV)
    assert bracket.shape == (480, 720)
    [truth] = [layer for layer in layers if "truth" in layer.name]
    reference = bracket.radiance(1)[0].permute(1, 2, 0).numpy()
    inside = (truth.data > 0.01) & (truth.data < 0.2)  # neither noisy nor saturated in the reference
    assert np.median(np.abs(reference / truth.data - 1)[inside]) < 0.05
    moved = np.abs(bracket.radiance(0)[0].permute(1, 2, 0).numpy() / truth.data - 1)[inside]
    assert (np.median(moved) > 0.08) == (key == "moving")
