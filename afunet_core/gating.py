"""A bracket from a tripod, of a scene at rest: find out, for then the classical merge can hardly be beaten.

It is the best estimate that looks at one pixel alone. A network that looks around removes more noise in the shadows;
in highlights, which the shortest frame alone records, it can do harm. Nobody should lose by trusting the default, so
``merge(method="auto")`` takes the shadows from the network and what is brighter from the classic.
"""

from __future__ import annotations

from torch import Tensor

from afunet_core.baselines import ExposureStack
from afunet_core.ghosts import ghost_map
from afunet_core.smoothstep import smoothstep

__all__ = ["AT_REST", "is_at_rest", "merge_at_rest"]

AT_REST = 2e-4
"""Mean of the ghost map up to which a scene counts as at rest: one ghost of 14×14 pixels in a megapixel."""

BRIGHT = (0.3, 0.6)
"""Encoded values of the reference between which a pixel goes over from the network's image to the classic's."""


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


def merge_at_rest(network: Tensor, classic: Tensor, reference: Tensor) -> Tensor:
    """The network's image in the shadows, the classical one where it is brighter.

    Args:
        network: B×3×H×W radiance.
        classic: the same from :func:`~afunet_core.baselines.weighted_merge`.
        reference: the reference frame, B×3×H×W encoded with gamma 2.2 in [0, 1].

    Returns:
        B×3×H×W radiance.

    Example:
        >>> import torch
        >>> one, encoded = torch.ones(1, 3, 1, 3), torch.tensor([0.2, 0.45, 1.0]).expand(1, 3, 1, 3)
        >>> merge_at_rest(one, 3 * one, encoded)[0, 0, 0].round(decimals=3)
        tensor([1., 2., 3.])
    """
    return network.to(classic).lerp(classic, smoothstep(reference.to(classic), *BRIGHT))
