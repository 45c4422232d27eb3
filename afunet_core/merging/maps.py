"""Diagnostic maps of a merge, computed when first looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.merging.estimate import Estimate
from afunet_core.merging.inference import Network, on_device
from afunet_core.model.afunet import AFUNet, StageState, pad_to_multiple
from afunet_core.model.heads import AnchoredHead, anchored_merge, estimate_times
from afunet_core.motion.ghosts import ghost_map

__all__ = ["LazyMaps", "build_maps", "source_map", "source_shares"]

CPU = torch.device("cpu")


class LazyMaps(Mapping[str, np.ndarray]):
    """A read-only dictionary of arrays, each computed when first looked at.

    Args:
        makers: name → function that computes the array.
    """

    def __init__(self, makers: Mapping[str, Callable[[], np.ndarray]]) -> None:
        self._makers, self._made = dict(makers), dict[str, np.ndarray]()

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


def build_maps(
    aligned: Bracket, estimate: Estimate, network: Network | None, stages: list[StageState] | None, scale: float
) -> LazyMaps:
    """Return the maps of a merge.

    Args:
        aligned: all frames.
        estimate: the last one.
        network: which took part, if any.
        stages: its states after every stage as arrays, where they were asked for.
        scale: from radiance to the unit of the result.
    """
    makers: dict[str, Callable[[], np.ndarray]] = {"ghost": partial(ghost_maps, aligned)}
    if estimate.network_share is not None and not estimate.at_rest:
        makers["network"] = partial(_as_planes, estimate.network_share)
    if estimate.rest is not None:
        makers["rest"] = partial(_as_planes, estimate.rest)
    if stages and network is not None and estimate.three is not None:
        makers["stages_hdr"] = partial(stages_hdr, network.model, estimate.three, stages, scale / estimate.unit)
        if network.model.config.head == "anchored":
            makers["source"] = partial(_source_of_bracket, network.model, estimate.three, stages[-1])
    return LazyMaps(makers)


def ghost_maps(bracket: Bracket) -> np.ndarray:
    """Return the ghost map of every sample, H×W, or B×H×W for batches."""
    maps = [ghost_map(bracket, sample) for sample in range(bracket.batch_size)]
    return maps[0] if len(maps) == 1 else np.stack(maps)


def stages_hdr(model: AFUNet, bracket: Bracket, stages: list[StageState], scale: float) -> np.ndarray:
    """Return the image decoded after every stage, in the unit of the result."""
    from afunet_core.inspection import decode_stages

    images = np.stack(decode_stages(on_device(model, CPU), bracket.to_tensor(), stages))
    return (images.mean(-1) if bracket.is_grey else images) * np.float32(scale)


@torch.inference_mode()
def source_map(model: AFUNet, frames: Tensor, estimate: Tensor) -> np.ndarray:
    """Return the shares of the shorter, the reference and the longer frame and of the network's own picture.

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
    downscale = model.config.downscale
    # The convolutions reflect one pixel at the borders: what is smaller than three is padded as the network did.
    frames = pad_to_multiple(frames, downscale if min(height, width) > 2 * downscale else model.config.multiple)
    skip = model.skip(model.embed.reference(model.embed.frame_inputs(frames)[1]))
    estimate = estimate.to(frames)
    missing = (skip.shape[2] - estimate.shape[3], skip.shape[1] - estimate.shape[2])
    estimate = F.pad(estimate, (0, missing[0], 0, missing[1]), mode="replicate")
    _, trust = model.head.decode(estimate.permute(0, 2, 3, 1) + skip)
    shares = source_shares(frames, times, trust)[..., :height, :width].permute(0, 2, 3, 1)
    return (shares[0] if len(shares) == 1 else shares).contiguous().numpy()


def source_shares(frames: Tensor, times: Tensor, trust: Tensor) -> Tensor:
    """Return the weights inside :func:`~afunet_core.model.heads.anchored_merge`, mean over colours: ``B×4×H×W``.

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


def _source_of_bracket(model: AFUNet, bracket: Bracket, last: StageState) -> np.ndarray:
    return source_map(on_device(model, CPU), bracket.to_tensor(), torch.as_tensor(last.reference))


def _as_planes(mask: Tensor) -> np.ndarray:
    """Return B×1×H×W as H×W, or B×H×W for batches."""
    planes = mask[:, 0].numpy()
    return planes[0] if len(planes) == 1 else planes
