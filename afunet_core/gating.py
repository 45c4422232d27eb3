"""Where nothing moved, the classical merge is the best estimate there is: find out where, and say so.

The network's own gate learned when to trust a frame, but it never equals the noise-optimal mean exactly. A tripod
bracket should not be worse for having been through a network, so ``merge(method="auto")`` uses the weighted merge where
the frames agree within their noise, all around, and the network everywhere else.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from afunet_core.baselines import ExposureStack
from afunet_core.ghosts import ghost_map

__all__ = ["REST_EVERYWHERE", "blend_at_rest", "rest_map"]

CELL = 8
"""Side in pixels of the cells in which ghosts are counted."""

REACH = 2
"""Cells around a ghost that are left to the network: clipped pixels hide motion, and ghosts have dark rims."""

TOLERATED = 0.05
"""Share of ghost pixels in a cell from which the weighted merge is not used at all."""

REST_EVERYWHERE = 0.9999
"""Mean of the map from which a bracket counts as taken from a tripod, of a scene at rest."""


def rest_map(bracket: ExposureStack, sample: int = 0) -> Tensor:
    """How far the frames may be averaged at each pixel: 1 where nothing moved nearby, 0 where something did.

    Args:
        bracket: frames already registered.
        sample: which sample of the batch.

    Returns:
        ``H×W`` float32 in [0, 1] on the CPU.

    Raises:
        ArgumentError: for a sample that does not exist.

    Example:
        >>> from types import SimpleNamespace
        >>> frames = tuple(torch.full((1, 3, 20, 30), value) for value in (0.1, 0.4))
        >>> times = torch.tensor([1.0, 4.0])
        >>> still = SimpleNamespace(frames=frames, times=times, encoding="linear", gamma=2.2, reference=1)
        >>> float(rest_map(still).min())
        1.0
    """
    ghosts = torch.from_numpy(ghost_map(bracket, sample))[None, None]
    cells = F.avg_pool2d(ghosts, CELL, ceil_mode=True, count_include_pad=False)
    near = F.max_pool2d(cells, 2 * REACH + 1, stride=1, padding=REACH)
    smooth = F.avg_pool2d(F.pad(near, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    moved = F.interpolate(smooth, scale_factor=CELL, mode="bilinear", align_corners=False)
    height, width = ghosts.shape[-2:]
    return (1 - moved[0, 0, :height, :width] / TOLERATED).clamp(0, 1)


def blend_at_rest(network: Tensor, weighted: Tensor, rest: Tensor) -> Tensor:
    """``rest · weighted + (1 − rest) · network``, for ``B×3×H×W`` images and ``B×H×W`` (or ``H×W``) maps.

    Example:
        >>> blend_at_rest(torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), torch.full((2, 2), 0.25)).mean()
        tensor(0.2500)
    """
    share = rest.to(network).reshape(-1, 1, *rest.shape[-2:])
    return torch.lerp(network, weighted.to(network), share)
