"""Our modules inside kornia's containers: one differentiable chain, and masks that only what moves pixels touches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip, RandomPerspective
from kornia.augmentation.container import ImageSequential
from kornia.filters import GaussianBlur2d
from kornia.losses import SSIMLoss
from torch import nn

from afunet_core.radiometry import Encode, InverseMuLaw, Linearize, MuLaw, linearize
from afunet_core.tonemap import ToneMap, tone_map

OPERATORS = ("mu_law", "reinhard", "filmic", "exposure")


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_chain_of_both(checks: Any, operator: str) -> None:
    """Linear light, kornia's augmentation and blur, a picture, kornia's loss: gradients reach the frame."""
    torch.manual_seed(0)
    chain = nn.Sequential(
        ImageSequential(Linearize("srgb"), RandomPerspective(0.2, p=1.0), MuLaw(), InverseMuLaw()),
        GaussianBlur2d((3, 3), (1.0, 1.0)),
        ToneMap(operator, ev=-1.0),
    )
    image = checks.uniform(2, 3, 24, 32, low=0.1, dtype=torch.float32).requires_grad_()
    picture = chain(image)
    assert picture.shape == image.shape
    gradient = torch.autograd.grad(SSIMLoss(5)(picture, image.detach()), image)[0]
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) > 0


def test_masks_are_moved_but_not_developed(checks: Any) -> None:
    """An operator pixel by pixel commutes with a flip; of a mask only the flip remains."""
    image, mask = checks.uniform(2, 3, 8, 10), checks.uniform(2, 1, 8, 10, seed=1)
    chain = AugmentationSequential(
        Linearize(), RandomHorizontalFlip(p=1.0), ToneMap("reinhard"), Encode("linear"), data_keys=["input", "mask"]
    )
    picture, moved = chain(image, mask)
    checks.close(picture, tone_map(linearize(image.flip(-1)), "reinhard"))
    checks.close(moved, mask.flip(-1))
