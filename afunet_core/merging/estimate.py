"""The radiance that a merge has come to so far, with what its report and maps are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import NoiseModel
from afunet_core.model.afunet import StageState


@dataclass(frozen=True)
class Estimate:
    """Estimate of the radiance by one step of a merge."""

    # B×3×H×W radiance, 1.0 at saturation of the bracket's shortest frame (of ``method="mertens"`` a picture)
    image: Tensor
    device: str  # the device that computed it, in words
    precision: str  # the name of the dtype that it was computed in
    three: Bracket | None = None  # the frames of the network, as it saw them, and ``None`` where there was no network
    states: Sequence[StageState] = ()  # the network's states after its stages, where they were asked for
    unit: float = 1.0  # exposure time of the shortest of ``three`` over that of the bracket's shortest frame
    # factor by which the frames were reduced for the network; ``None`` where it did not run
    working_scale: int | None = None
    # share of the picture that the network saw; less than 1 where it was asked about some parts only
    looked_at: float | None = None
    at_rest: bool | None = None  # nothing moved; ``None`` where that was not asked
    # name of an outer frame → share of its pixels that were moved to where the reference shows them
    followed: dict[str, float] | None = None
    noise: NoiseModel | str | None = None  # the noise model that weighed the frames, or ``"photons"``
    # B×1×H×W in [0, 1], the share of the network's picture where further frames joined
    network_share: Tensor | None = None
    unrecorded: Tensor | None = None  # B×1×H×W in [0, 1], where no frame recorded how bright it is
    guessed: float | None = None  # share of the pixels that a second look of the network made brighter
    rest: Tensor | None = None  # B×1×H×W in [0, 1], where nothing moved and recorded values stand in for the network's

    @classmethod
    def of_classic(cls, image: Tensor, noise: NoiseModel | str | None = None, **known: Any) -> Estimate:
        """Make an estimate of an image that no network had a part in."""
        return cls(image, str(image.device), precision_name(image.dtype), noise=noise, **known)


def precision_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype: ``"float32"``."""
    return str(dtype).removeprefix("torch.")
