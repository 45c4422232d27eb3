"""A bracket from a tripod, of a scene at rest: find out, for then the classical merge is the best estimate there is.

The anchored head comes close to the weighted mean where nothing moved, but never equals it. Nobody should lose by
trusting the default, so ``merge(method="auto")`` answers with the classical merge where all frames agree
within their noise.
"""

from __future__ import annotations

from afunet_core.baselines import ExposureStack
from afunet_core.ghosts import ghost_map

__all__ = ["AT_REST", "is_at_rest"]

AT_REST = 2e-4
"""Mean of the ghost map up to which a scene counts as at rest: one ghost of 14×14 pixels in a megapixel."""


def is_at_rest(bracket: ExposureStack, batch_size: int = 1) -> bool:
    """Whether nothing moved between the frames, as far as they can tell.

    Args:
        bracket: the frames as they were taken; a bracket that had to be registered did move.
        batch_size: samples in the batch; all of them must be at rest.

    Returns:
        True where :func:`~afunet_core.ghosts.ghost_map` finds no ghost worth the name.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> frames = tuple(torch.full((1, 3, 20, 30), value) for value in (0.1, 0.4))
        >>> times = torch.tensor([1.0, 4.0])
        >>> is_at_rest(SimpleNamespace(frames=frames, times=times, encoding="linear", gamma=2.2, reference=1))
        True
    """
    return all(float(ghost_map(bracket, sample).mean()) <= AT_REST for sample in range(batch_size))
