"""Names and places of result layers."""

from __future__ import annotations

import pytest

from napari_afunet.layers.result_layer import base_name


@pytest.mark.parametrize(
    ("names", "base"),
    [
        (["garage -2 EV", "garage +0 EV", "garage +2 EV"], "garage"),
        (["IMG_0960", "IMG_0959", "IMG_0961"], "IMG_0959-0961"),
        (["stack [0]", "stack [1]"], "stack"),
        (["a", "b"], "bracket"),
        (["1", "2", "3"], "1-3"),
    ],
)
def test_results_are_called_after_what_the_frames_share(names, base):
    assert base_name(names) == base
