"""Which frame each pixel of a merge came from, for networks with an anchored head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from afunet_core.model.afunet import AFUNet, pad_to_multiple
from afunet_core.model.heads import AnchoredHead, anchored_merge, estimate_times

__all__ = ["source_map", "source_shares"]


@torch.inference_mode()
def source_map(model: AFUNet, frames: Tensor, estimate: Tensor) -> np.ndarray:
    """Shares of the shorter, the reference and the longer frame and of the network's own picture.

    Args:
        model: a network with an anchored head.
        frames: its input, ``B×18×H×W``.
        estimate: the reference features after its last stage, ``B×C×H/s×W/s``.

    Returns:
        ``H×W×4`` (``B×H×W×4`` for batches) float32; the four sum to 1. Where the image was padded, its last few columns
        and rows are off by a hair, for the features beyond them are not kept.
    """
    if not isinstance(model.head, AnchoredHead):
        raise TypeError("Only the anchored head weighs frames.")
    height, width = frames.shape[-2:]
    times = estimate_times(frames)
    frames = pad_to_multiple(frames, model.config.downscale)
    skip = model.skip(model.embed.reference(model.embed.frame_inputs(frames)[1]))
    _, trust = model.head.decode(estimate.to(frames).permute(0, 2, 3, 1) + skip)
    shares = source_shares(frames, times, trust)[..., :height, :width].permute(0, 2, 3, 1)
    return (shares[0] if len(shares) == 1 else shares).contiguous().numpy()


def source_shares(frames: Tensor, times: Tensor, trust: Tensor) -> Tensor:
    """The weights inside :func:`~afunet_core.model.heads.anchored_merge`, mean over colours: ``B×4×H×W``.

    A weighted mean reveals its weights when one of the things averaged is 1 and all others are 0.

    Example:
        >>> shares = source_shares(torch.rand(1, 18, 2, 2), torch.tensor([[1.0, 4.0, 16.0]]), torch.zeros(1, 4, 2, 2))
        >>> torch.allclose(shares.sum(1), torch.ones(1, 2, 2))
        True
    """
    shares = []
    for source in range(4):
        probe = frames.clone()
        for frame in range(3):
            probe[:, 6 * frame : 6 * frame + 3] = float(frame == source)
        prior = torch.full_like(frames[:, :3], float(source == 3))
        shares.append(anchored_merge(probe, times, prior, trust).mean(1))
    return torch.stack(shares, dim=1)
