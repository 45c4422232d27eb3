"""The result of a merge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from afunet_core.errors import ArgumentError

if TYPE_CHECKING:
    from afunet_core.model.afunet import StageState

__all__ = ["MergeResult"]


@dataclass(eq=False)
class MergeResult:
    """Result of a merge. Copies and pickled ones hold all maps, computed then, and take no other regions.

    Attributes:
        radiance: ``H×W×3`` float32 linear radiance, 1.0 = saturation of the shortest frame; ``H×W`` for greyscale
            brackets, with a leading batch axis for batches. For ``method="mertens"`` a display-encoded picture instead
            (``info["output"]`` is ``"display"``).
        stages: the network's state after every stage as arrays ``B×C×H×W``, or ``None`` when not asked for.
        info: how the result was made: method, model and its hash, exposures, registration, device, versions, times.
            JSON can hold all of it.
        maps: pictures about the merge, computed when first looked at, with a leading batch axis for batches:
            ``"ghost"`` ``H×W``, where a plain weighted merge would have failed; for a bracket of other than three
            frames in which something moved ``"network"`` ``H×W``, the share of the network's picture beside what frames
            that agree recorded; where the frames contradict their encoding ``"rest"`` ``H×W``, how surely nothing
            moved, so that recorded values decide; with ``stages`` also ``"stages_hdr"``, ``S×`` the shape of
            ``radiance``, what the network would have given after each stage; and, with ``stages`` and an anchored head,
            ``"source"`` ``H×W×4``, how much of each pixel came from the shorter, the reference and the longer frame and
            from the network's own picture.
        finish: regions → the result with them; of :meth:`with_regions`.
    """

    radiance: np.ndarray
    stages: list[StageState] | None = None
    info: dict[str, Any] = field(default_factory=dict)
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    finish: Callable[[Sequence[Any]], MergeResult] | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "maps": dict(self.maps), "finish": None}

    def with_regions(self, regions: Sequence[Any]) -> MergeResult:
        """Return this result with regions that are taken from single frames, without merging again.

        Args:
            regions: in place of those there were, as for :func:`afunet_core.merge`; none restores the merge.

        Raises:
            ArgumentError: a region that is none; or the result does not come from :func:`afunet_core.merge`.
        """
        if self.finish is None:
            raise ArgumentError("result", "a result of afunet_core.merge", "one made otherwise", "Merge again.")
        result = self.finish(regions)
        result.finish = self.finish
        return result
