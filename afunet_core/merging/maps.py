"""Diagnostic maps of a merge, computed when first looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.inspection import decode_stages, source_shares
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.inference import Network, on_device
from afunet_core.model.afunet import AFUNet, StageState
from afunet_core.motion.ghosts import ghost_map
from afunet_core.utils.device import cpu_by_default

CPU = torch.device("cpu")


class LazyMaps(Mapping[str, np.ndarray]):
    """A read-only dictionary of arrays, each computed by a function when first looked at."""

    def __init__(self, makers: Mapping[str, Callable[[], np.ndarray]]) -> None:
        self._makers, self._made = dict(makers), dict[str, np.ndarray]()

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._made:
            with cpu_by_default():
                self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def build_maps(
    aligned: Bracket, estimate: Estimate, network: Network | None, stages: list[StageState] | None, scale: float
) -> LazyMaps:
    """Return the maps of a merge; ``scale`` leads from radiance to the unit of the result."""
    makers: dict[str, Callable[[], np.ndarray]] = {"ghost": partial(ghost_maps, aligned)}
    if estimate.network_share is not None and not estimate.at_rest:
        makers["network"] = partial(_as_planes, estimate.network_share)
    if estimate.rest is not None:
        makers["rest"] = partial(_as_planes, estimate.rest)
    three = estimate.three
    if stages and network is not None and three is not None:
        model = network.model
        makers["stages_hdr"] = lambda: _stages_hdr(model, three, stages, scale / estimate.unit)
        if model.config.head == "anchored":
            makers["source"] = lambda: source_shares(on_device(model, CPU), three.to_tensor(), stages)
    return LazyMaps(makers)


def ghost_maps(bracket: Bracket) -> np.ndarray:
    """Return the ghost map of every sample, H×W, or B×H×W for batches."""
    maps = [ghost_map(bracket, sample) for sample in range(bracket.batch_size)]
    return maps[0] if len(maps) == 1 else np.stack(maps)


def _stages_hdr(model: AFUNet, three: Bracket, stages: list[StageState], scale: float) -> np.ndarray:
    """Return the image decoded after every stage, in the unit of the result."""
    images = np.stack(decode_stages(on_device(model, CPU), three.to_tensor(), stages))
    return (images.mean(-1) if three.is_grey else images) * np.float32(scale)


def _as_planes(mask: Tensor) -> np.ndarray:
    """Return B×1×H×W as H×W, or B×H×W for batches."""
    planes = mask[:, 0].numpy()
    return planes[0] if len(planes) == 1 else planes
