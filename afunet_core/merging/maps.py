"""Pictures that tell about a merge: computed when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from afunet_core.bracket.bracket import Bracket
from afunet_core.merging.inference import placed
from afunet_core.model.afunet import AFUNet, StageState

__all__ = ["LazyMaps", "sources", "stages_hdr"]


def sources(model: AFUNet, bracket: Bracket, last: StageState) -> np.ndarray:
    """Which frame each pixel of the network's image came from."""
    from afunet_core.merging.source_map import source_map

    return source_map(placed(model, torch.device("cpu")), bracket.to_tensor(), last.reference.cpu())


def stages_hdr(model: AFUNet, bracket: Bracket, stages: list[StageState], scale: float) -> np.ndarray:
    """The image decoded after every stage, in the units of the result."""
    from afunet_core.inspection import decode_stages

    images = np.stack(decode_stages(placed(model, torch.device("cpu")), bracket.to_tensor(), stages))
    return (images.mean(-1) if bracket.is_grey else images) * np.float32(scale)


class LazyMaps(Mapping[str, np.ndarray]):
    """A dictionary of pictures that are computed when first looked at."""

    def __init__(self, makers: dict[str, Callable[[], np.ndarray]]) -> None:
        self._makers, self._made = makers, dict[str, np.ndarray]()

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
