"""Pictures and maps of the features after every unfolding stage.

Stages go in as the model returns them (tensors on any device) or as :class:`afunet_core.MergeResult` keeps them
(arrays); NumPy arrays come out. All take ``stages``, S states; those of one side take ``side``, ``"under"``,
``"reference"`` or ``"over"``; ``sample`` is the index in the batch. They raise ``ShapeError`` if there are no stages or
their features differ in shape, and ``ArgumentError`` for a side, sample or channel that there is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.model.afunet import AFUNet, StageState, check_network_input, pad_to_multiple
from afunet_core.model.heads import AnchoredHead, anchored_weights, estimate_times
from afunet_core.motion.ghosts import ghost_map

__all__ = [
    "SIDES",
    "FeatureBasis",
    "decode_stages",
    "feature_basis",
    "ghost_map",
    "source_shares",
    "stage_channel",
    "stage_energy",
    "stage_movement",
    "stage_rgb",
    "stage_similarity",
]

Map: TypeAlias = NDArray[np.float32]
Side: TypeAlias = Literal["under", "reference", "over"]
SIDES: tuple[Side, ...] = ("under", "reference", "over")

_EPSILON = 1e-12
BASIS_PIXELS = 20_000  # pixels, on a regular grid, that a basis of colours is learned from
CLIPPED_PERCENT = 1.0  # of the projections of features, at either end of their range, that colours clip to 0 or 1


@dataclass(frozen=True)
class FeatureBasis:
    """Three principal directions of the features, and for each side the range of values that becomes dark to bright."""

    means: Mapping[Side, NDArray[np.float64]]  # per side, the (C,) average feature
    # (3, C) directions of largest variance, in order; rows of zeros where there are fewer than three
    components: NDArray[np.float64]
    low: Mapping[Side, NDArray[np.float64]]  # per side, the (3,) projection shown as 0
    high: Mapping[Side, NDArray[np.float64]]  # per side, the (3,) projection shown as 1

    def to_rgb(self, features: NDArray[np.floating], side: Side) -> Map:
        """Colours in [0, 1], …×3, of features …×C of one side."""
        projected = (features - self.means[side].astype(features.dtype)) @ self.components.T.astype(features.dtype)
        low, span = self.low[side].astype(features.dtype), (self.high[side] - self.low[side]).astype(features.dtype)
        return np.clip((projected - low) / span, 0.0, 1.0).astype(np.float32)


def feature_basis(stages: Sequence[StageState], sample: int = 0) -> FeatureBasis:
    """Compute principal components of the features of all stages and sides together, each side about its own mean.

    The same directions for everything make colours comparable: a feature that does not change keeps its colour, and a
    hue means the same kind of structure on all sides. Mean and range are a side's own, and every side counts alike:
    the sides differ from each other by more than a scene varies within them. Signs make the largest loading of each
    component positive, so that a re-run does not come out in complementary colours.

    Example:
        >>> from types import SimpleNamespace
        >>> feature = np.random.default_rng(0).standard_normal((1, 8, 16, 16))
        >>> feature_basis([SimpleNamespace(under=feature, reference=feature, over=feature)]).components.shape
        (3, 8)
    """
    channels, height, width = _check(stages, sample)
    step = max(1, int(np.ceil(np.sqrt(height * width / BASIS_PIXELS))))
    means, tables = dict[Side, NDArray[np.float64]](), dict[Side, NDArray[np.float64]]()
    for side in SIDES:
        grids = [_array(getattr(stage, side)[sample][:, ::step, ::step]) for stage in stages]
        table = np.concatenate([grid.reshape(channels, -1).T for grid in grids]).astype(np.float64)
        means[side] = table.mean(0)
        tables[side] = table - means[side]
    scatter = sum(table.T @ table / max((table**2).sum(), _EPSILON) for table in tables.values())
    found = np.linalg.eigh(scatter).eigenvectors[:, ::-1].T[:3]
    signs = np.sign(np.take_along_axis(found, np.abs(found).argmax(1)[:, None], 1))
    components = np.zeros((3, channels))
    components[: len(found)] = found * np.where(signs == 0, 1, signs)
    low, high = dict[Side, NDArray[np.float64]](), dict[Side, NDArray[np.float64]]()
    for side, table in tables.items():
        bottom, top = np.percentile(table @ components.T, [CLIPPED_PERCENT, 100 - CLIPPED_PERCENT], axis=0)
        flat = top - bottom < _EPSILON
        low[side], high[side] = np.where(flat, -0.5, bottom), np.where(flat, 0.5, top)
    return FeatureBasis(means, components, low, high)


def stage_rgb(stages: Sequence[StageState], side: Side, sample: int = 0, basis: FeatureBasis | None = None) -> Map:
    """Show the features of one side as colours: S×H×W×3 float32 in [0, 1].

    ``basis`` is from :func:`feature_basis`, and learned here if not given: give it to save that work for the other
    sides.
    """
    _check(stages, sample, side)
    basis = feature_basis(stages, sample) if basis is None else basis
    return np.stack([basis.to_rgb(_pixels(stage, side, sample), side) for stage in stages])


def stage_energy(stages: Sequence[StageState], side: Side, sample: int = 0) -> Map:
    """Compute the strength of the features, their root mean square over channels: S×H×W float32."""
    _check(stages, sample, side)
    return np.stack([_rms(_pixels(stage, side, sample)) for stage in stages])


def stage_channel(stages: Sequence[StageState], side: Side, channel: int, sample: int = 0) -> Map:
    """Return one channel (negative from the end) of the features, unchanged: S×H×W float32."""
    channels, _, _ = _check(stages, sample, side)
    if not -channels <= channel < channels:
        raise ArgumentError("channel", f"an index from 0 to {channels - 1}", channel)
    return np.stack([_array(getattr(stage, side)[sample][channel]) for stage in stages])


def stage_similarity(stages: Sequence[StageState], side: Side, sample: int = 0) -> Map:
    """Compute the cosine between the features of a side and of the reference: S×H×W float32, 1 where it is aligned.

    0 where either feature vanishes.
    """
    _check(stages, sample, side)
    result = []
    for stage in stages:
        feature, reference = (_pixels(stage, name, sample) for name in (side, "reference"))
        norms = np.sqrt((feature**2).sum(-1) * (reference**2).sum(-1))
        result.append(np.clip((feature * reference).sum(-1) / np.maximum(norms, _EPSILON), -1.0, 1.0))
    return np.stack(result)


def stage_movement(stages: Sequence[StageState], side: Side, sample: int = 0) -> Map:
    """Compute how much the features of a side changed since the stage before: S×H×W float32, in the unit of the energy.

    The first stage, which has none before it, is 0.
    """
    _check(stages, sample, side)
    pairs = pairwise([*stages[:1], *stages])
    return np.stack([_rms(_pixels(after, side, sample) - _pixels(before, side, sample)) for before, after in pairs])


@torch.inference_mode()
def decode_stages(model: AFUNet, frames: torch.Tensor, stages: Sequence[StageState]) -> list[Map]:
    """Decode the HDR image after each stage by the head trained for the last: what the following stages still repair.

    Args:
        model: the network, on any device.
        frames: its input, ``B×18×H×W``.
        stages: states as the model returns them for these frames.

    Returns:
        Per stage, linear radiance ``H×W×3`` (``B×H×W×3`` for batches) float32 in the unit of the model's output, which
        the last stage repeats. Where the image was padded, the last few columns and rows are off by a hair, for the
        features beyond them are not kept.

    Raises:
        ShapeError: if there are no stages, or they do not belong to frames of this shape.

    Example:
        >>> from afunet_core.model.config import AFUNetConfig
        >>> model, frames = AFUNet(AFUNetConfig(embed_dim=12, depths=(1, 1), fusion_heads=1)), torch.rand(1, 18, 8, 16)
        >>> [image.shape for image in decode_stages(model, frames, model.forward_stages(frames)[1])]
        [(8, 16, 3), (8, 16, 3)]
    """
    padded, times, features = _head_inputs(model, frames, stages)
    return [_cropped(model.head(feature, padded, times)[0], *frames.shape[-2:]) for feature in features]


@torch.inference_mode()
def source_shares(model: AFUNet, frames: torch.Tensor, stages: Sequence[StageState]) -> Map:
    """Compute the shares of the shorter, the reference and the longer frame and of the network's own picture.

    Args:
        model: a network with an anchored head.
        frames: its input, ``B×18×H×W``.
        stages: states as the model returns them for these frames; the last one decides.

    Returns:
        ``H×W×4`` (``B×H×W×4`` for batches) float32; the four sum to 1.

    Raises:
        ArgumentError: for a network with a direct head.
        ShapeError: as :func:`decode_stages`.
    """
    if not isinstance(model.head, AnchoredHead):
        raise ArgumentError("model", "a network with an anchored head", model.config.head, "Use compact or full.")
    padded, times, features = _head_inputs(model, frames, stages[-1:])
    shares = anchored_weights(padded, times, model.head.decode(features[0])[1]).mean(2)
    return _cropped(shares, *frames.shape[-2:])


def _head_inputs(
    model: AFUNet, frames: torch.Tensor, stages: Sequence[StageState]
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Make the padded frames, their times, and what the head decodes after each stage."""
    check_network_input(frames)
    _check(stages, 0)
    height, width = frames.shape[-2:]
    fold, channels = model.config.downscale, model.config.branch_dim
    expected = (len(frames), channels, -(-height // fold), -(-width // fold))
    if tuple(stages[0].reference.shape) != expected:
        raise ShapeError("stages", f"features {expected} of these frames", tuple(stages[0].reference.shape))
    frames = frames.to(next(model.parameters()))
    times = estimate_times(frames)
    rows, columns = (max(0, 2 - side) for side in expected[-2:])  # reflected borders take two features
    frames = F.pad(pad_to_multiple(frames, fold), (0, columns * fold, 0, rows * fold), mode="replicate")
    skip = model.skip(model.embed.reference(model.embed.frame_inputs(frames)[1]))
    kept = (torch.as_tensor(stage.reference).to(skip) for stage in stages)
    padded = (F.pad(feature, (0, columns, 0, rows), mode="replicate") for feature in kept)
    return frames, times, [feature.permute(0, 2, 3, 1) + skip for feature in padded]


def _cropped(image: torch.Tensor, height: int, width: int) -> Map:
    """``B×C×H×W`` as ``[B×]H×W×C`` without its padding."""
    image = image[..., :height, :width].permute(0, 2, 3, 1)
    return _array(image[0] if len(image) == 1 else image)


def _pixels(stage: StageState, side: str, sample: int) -> NDArray[np.float32]:
    """A feature of one sample as an H×W×C array."""
    return np.moveaxis(_array(getattr(stage, side)[sample]), 0, -1)


def _array(values: Any) -> NDArray[np.float32]:
    """Single-precision array of a tensor or an array of any precision; NaN and Inf become 0 and spoil no average."""
    values = values.detach().float().cpu().numpy() if isinstance(values, torch.Tensor) else values
    return np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _rms(features: NDArray[np.float32]) -> Map:
    return np.sqrt((features**2).mean(-1))


def _check(stages: Sequence[StageState], sample: int, side: str | None = None) -> tuple[int, int, int]:
    """Channels, height and width that all features share."""
    if len(stages) == 0:
        raise ShapeError("stages", "at least one stage", 0, "Merge with stages=True to keep them.")
    if side is not None and side not in SIDES:
        raise ArgumentError("side", f"one of {', '.join(SIDES)}", repr(side))
    shape = tuple(stages[0].reference.shape)
    for index, stage in enumerate(stages):
        for name in SIDES:
            found = tuple(getattr(stage, name).shape)
            if len(found) != 4 or found != shape:
                raise ShapeError(f"stages[{index}].{name}", f"B×C×H×W like the others, {shape}", found)
    batch, channels, height, width = shape
    if not -batch <= sample < batch:
        raise ArgumentError("sample", f"an index from 0 to {batch - 1}", sample)
    return channels, height, width
