"""Diagnostic maps of a merge, computed when first looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from afunet_core.bracket.bracket import Bracket
from afunet_core.inspection import decode_stages, source_shares
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.inference import Network, on_device
from afunet_core.model.afunet import StageState
from afunet_core.motion.ghosts import ghost_map
from afunet_core.utils.device import cpu_by_default


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

    def ghost() -> np.ndarray:
        return _alone([ghost_map(aligned, sample) for sample in range(aligned.batch_size)])

    makers: dict[str, Callable[[], np.ndarray]] = {"ghost": ghost}
    shares = {"network": None if estimate.at_rest else estimate.network_share, "rest": estimate.rest}
    for name, share in shares.items():
        if share is not None:
            makers[name] = partial(_alone, list(share[:, 0].numpy()))
    three = estimate.three
    if stages and network is not None and three is not None:
        model = network.model

        def stages_hdr() -> np.ndarray:
            images = np.stack(decode_stages(on_device(model, torch.device("cpu")), three.to_tensor(), stages))
            return (images.mean(-1) if three.is_grey else images) * np.float32(scale / estimate.unit)

        makers["stages_hdr"] = stages_hdr
        if model.config.head == "anchored":
            makers["source"] = lambda: source_shares(on_device(model, torch.device("cpu")), three.to_tensor(), stages)
    return LazyMaps(makers)


def _alone(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the map of every sample, B×H×W; that of a single one as H×W."""
    return planes[0] if len(planes) == 1 else np.stack(planes)
