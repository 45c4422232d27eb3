"""Sampling between pixels, which registration, motion compensation and synthesis share."""

from __future__ import annotations

from typing import Any

import torch
from scipy.ndimage import map_coordinates

from afunet_core.ops.warp import sample


def test_bilinear_samples_are_those_of_scipy(checks: Any) -> None:
    image = checks.uniform(2, 3, 9, 11)
    positions = checks.uniform(2, 4, 5, 2, low=-2.0, high=12.0)  # beyond the border too
    found = sample(image, positions, "bilinear")
    for batch in range(2):
        x, y = positions[batch].unbind(-1)
        for channel in range(3):
            expected = map_coordinates(image[batch, channel].numpy(), [y.numpy(), x.numpy()], order=1, mode="nearest")
            checks.close(found[batch, channel], torch.from_numpy(expected), 1e-6)


def test_cubic_samples_are_held_between_their_four_neighbours(checks: Any) -> None:
    lamp = torch.full((1, 1, 9, 9), 0.01, dtype=torch.float64)
    lamp[..., 4, 4] = 1000.0
    places = checks.uniform(1, 20, 20, 2, low=1.0, high=7.0)
    found = sample(lamp, places)
    far = (places - 4).abs().amax(-1) > 1
    assert found.min() >= 0.01
    assert found.max() <= 1000
    assert (found[0, 0][far[0]] == 0.01).all()


def test_one_set_of_positions_serves_a_batch_and_has_gradients(checks: Any) -> None:
    image, positions = checks.uniform(2, 2, 6, 7), checks.uniform(1, 3, 4, 2, low=0.6, high=4.4)
    both = sample(image, positions)
    for index in range(2):
        checks.close(both[index : index + 1], sample(image[index : index + 1], positions), 1e-12)
    checks.gradients(lambda x: sample(x, positions, "bilinear"), image)
