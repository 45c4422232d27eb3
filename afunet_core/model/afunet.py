"""AFUNet: embedding, unfolded stages, reconstruction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from afunet_core.errors import ShapeError
from afunet_core.model.config import AFUNetConfig
from afunet_core.model.heads import AnchoredHead, DirectHead, estimate_times
from afunet_core.model.layers import Conv3x3
from afunet_core.model.stages import Stage
from afunet_core.ops.arguments import check_tensor
from afunet_core.ops.box_filter import block_mean
from afunet_core.radiometry import MU, exposure_times


class StageState(NamedTuple):
    """Features after a stage, ``B×C×H×W`` each: the aligned sides (α₁, α₃) and the estimate of the scene (x)."""

    under: Tensor
    reference: Tensor
    over: Tensor


class Embedding(nn.Module):
    """One 3×3 convolution per frame, then one LayerNorm over the three branches together."""

    def __init__(self, config: AFUNetConfig) -> None:
        super().__init__()
        self.fold, self.mu_input, self.agreement_input = config.downscale, config.mu_input, config.agreement_input
        inputs, dim = config.embedding_inputs, config.branch_dim
        self.under = Conv3x3(inputs, dim)
        self.reference = Conv3x3(inputs, dim)
        self.over = Conv3x3(inputs, dim)
        self.norm = nn.LayerNorm(config.embed_dim)
        if config.dormant_norm:
            # Published checkpoints carry this norm although their forward pass never calls it.
            self.dormant_norm = nn.LayerNorm(dim).requires_grad_(False)

    def frame_inputs(self, frames: Tensor) -> list[Tensor]:
        """Make the inputs of the convolution of each frame, channels last: ``B×H/fold×W/fold×inputs``.

        No pixel depends on another fold, so that rows of an image give rows of the result.
        """
        parts = frames.chunk(3, dim=1)
        compressed: list[Tensor] = []
        if self.mu_input or self.agreement_input:
            compressed = [torch.log1p(MU * frame[:, :3].clamp_min(0)) / math.log1p(MU) for frame in parts]
        inputs = []
        for slot, part in enumerate(parts):
            frame = torch.cat([part, compressed[slot]], dim=1) if self.mu_input else part
            image = pixel_unshuffle(frame, self.fold)
            if self.agreement_input:
                # Under and over are compared with the reference, the reference's slot holds under against over.
                one, other = ((0, 1), (0, 2), (2, 1))[slot]
                agreement = agreement_maps(compressed[one], compressed[other], parts[one][:, 3:], parts[other][:, 3:])
                # Exported programs want one operation whatever the size; elsewhere another way is faster.
                mean = F.avg_pool2d if torch.compiler.is_compiling() else block_mean
                image = torch.cat([image, mean(agreement, self.fold)], dim=1)
            inputs.append(image.permute(0, 2, 3, 1))
        return inputs

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """``B×18×H×W`` → normalised ``B×H×W×3C`` and the skip ``s₂`` (the reference before the norm)."""
        under, reference, over = self.frame_inputs(frames)
        skip = self.reference(reference)
        return self.norm(torch.cat([self.under(under), skip, self.over(over)], dim=-1)), skip


class AFUNet(nn.Module):
    """Alignment-and-fusion unfolding network for multi-exposure HDR [1].

    Args:
        config: sizes and variants; the default is the published configuration.

    Shape:
        - Input: ``B×18×H×W``, per frame (under, normal, over) first the linearised radiance ``L^γ / t`` (3 channels),
          then the encoded frame ``L`` (3 channels), as :meth:`afunet_core.Bracket.to_tensor` makes
          it. Any height and width, and any number of samples, 0 included.
        - Times, optional: the relative exposure times, ``(3,)`` or ``(B, 3)``.
        - Output: ``B×3×H×W`` linear radiance in the dtype of the input; 1.0 is the saturation of the frame with
          ``t = 1``.

    References:
        [1] X. Li, Z. Ni, W. Yang, "AFUNet: Cross-Iterative Alignment-Fusion Synergy for HDR Reconstruction via Deep
        Unfolding Paradigm", ICCV 2025.

    Example:
        >>> model = AFUNet(AFUNetConfig(embed_dim=12, depths=(1,), fusion_heads=1))
        >>> model(torch.rand(1, 18, 10, 9)).shape
        torch.Size([1, 3, 10, 9])
    """

    def __init__(self, config: AFUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AFUNetConfig()
        self.embed = Embedding(config)
        fusion_drop = _rates(config.drop_path, sum(config.depths))
        alignment_drop = _rates(config.drop_path, config.stages)
        stages = []
        for index, depth in enumerate(config.depths):
            first = sum(config.depths[:index])
            stages.append(Stage(config, depth, fusion_drop[first : first + depth], alignment_drop[index]))
        self.stages = nn.ModuleList(stages)
        self.skip = Conv3x3(config.branch_dim, config.branch_dim)
        self.head = AnchoredHead(config) if config.head == "anchored" else DirectHead(config)

    def forward(self, frames: Tensor, times: Tensor | Sequence[float] | None = None) -> Tensor:
        """Merge a bracket.

        Args:
            frames: ``B×18×H×W`` network input.
            times: relative exposure times, ``(3,)`` or ``(B, 3)``. Without them they are estimated from the frames,
                which hold radiance and encoded values; give them if an augmentation changes one and not the other.

        Raises:
            TensorTypeError: if ``frames`` is not a floating-point tensor.
            ShapeError: if ``frames`` is not ``B×18×H×W`` with at least one pixel, or ``times`` fit it not.
            ArgumentError: for a time that is not above 0.
        """
        return self._run(frames, times, keep_states=False)[0]

    def forward_stages(
        self, frames: Tensor, times: Tensor | Sequence[float] | None = None
    ) -> tuple[Tensor, list[StageState]]:
        """Merge a bracket and keep the state after every stage; arguments as for :meth:`forward`.

        Returns:
            The radiance ``B×3×H×W``, and per stage the features ``B×C×⌈H/s⌉×⌈W/s⌉`` with ``s`` the configuration's
            ``downscale``.
        """
        radiance, _, states = self._run(frames, times, keep_states=True)
        return radiance, states

    def forward_with_prior(
        self, frames: Tensor, times: Tensor | Sequence[float] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Merge a bracket for training: the radiance and the prior of the anchored head, ``B×3×H×W`` each.

        Of a direct head, the same image twice.
        """
        radiance, prior, _ = self._run(frames, times, keep_states=False)
        return radiance, prior

    def _run(
        self, frames: Tensor, times: Tensor | Sequence[float] | None, keep_states: bool
    ) -> tuple[Tensor, Tensor, list[StageState]]:
        check_network_input(frames)
        height, width = frames.shape[-2:]
        if times is not None:
            times = exposure_times(times, frames).expand(frames.shape[0], 3)
        else:
            times = estimate_times(frames) if self.config.head == "anchored" else frames.new_ones(frames.shape[0], 3)
        rows, columns = (-(-size // self.config.downscale) for size in (height, width))
        if frames.shape[0] == 0:  # no samples: results of the shapes and dtype that samples would have
            image, feature = frames[:, :3], frames.new_empty(0, self.config.branch_dim, rows, columns)
            return image, image, [StageState(feature, feature, feature)] * (self.config.stages * keep_states)
        dtype = frames.dtype
        frames = pad_to_multiple(frames, self.config.multiple)
        features, passed = self._features(frames, keep_states)
        states = [StageState(*(x.permute(0, 3, 1, 2)[..., :rows, :columns] for x in after)) for after in passed]
        radiance, prior = self.head(features, frames, times)
        return _crop(radiance, height, width).to(dtype), _crop(prior, height, width).to(dtype), states

    def _features(self, frames: Tensor, keep: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """Padded frames → what the head decodes, ``B×H×W×C``, and, if kept, α₁, x, α₃ after each stage."""
        joined, skip = self.embed(frames)
        under, estimate, over = joined.chunk(3, dim=-1)
        observed = estimate
        passed = []
        for stage in self.stages:
            under, estimate, over = stage(under, estimate, over, observed)
            if keep:
                passed.append((under, estimate, over))
        return estimate + self.skip(skip), passed


def agreement_maps(one: Tensor, other: Tensor, encoded_one: Tensor, encoded_other: Tensor) -> Tensor:
    """Compare two frames, after the μ-law and as encoded (``B×3×H×W``), where neither is clipped: ``B×5×H×W``.

    Signed differences (3 channels), their mean size, and a weight that falls to 0 where a frame is clipped. Differences
    are scaled by 4, to bring those that matter near 1.
    """
    clipped = torch.maximum(encoded_one, encoded_other).amax(1, keepdim=True)
    weight = ((0.97 - clipped) / 0.07).clamp(0, 1)
    difference = 4.0 * weight * (one - other)
    return torch.cat([difference, difference.abs().mean(1, keepdim=True), weight], dim=1)


def _rates(largest: float, count: int) -> list[float]:
    """Stochastic depth of each block, growing from 0 to the largest."""
    return [largest * index / max(count - 1, 1) for index in range(count)]


def check_network_input(frames: Tensor) -> None:
    """Refuse anything but a ``B×18×H×W`` floating tensor with pixels."""
    check_tensor("frames", frames)
    if frames.dim() != 4 or frames.shape[1] != 18 or 0 in frames.shape[2:]:
        advice = "Use Bracket.to_tensor() or network_input() to build it."
        raise ShapeError("frames", "a tensor B×18×H×W", tuple(frames.shape), advice)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad ``B×C×H×W`` at the right and bottom by reflection; images too small to reflect repeat their border."""
    height, width = image.shape[-2:]
    if torch.compiler.is_exporting():
        rows, columns = (_reflected_index(size, multiple, image.device) for size in (height, width))
        return image[..., rows, :][..., columns]
    right, bottom = -width % multiple, -height % multiple
    if right:
        image = F.pad(image, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    if bottom:
        image = F.pad(image, (0, 0, 0, bottom), mode="reflect" if bottom < height else "replicate")
    return image


def _crop(image: Tensor, height: int, width: int) -> Tensor:
    if torch.compiler.is_exporting():  # a slice would compare symbolic strides and so tie the program to some sizes
        return image[..., torch.arange(height, device=image.device), :][..., torch.arange(width, device=image.device)]
    return image[..., :height, :width]


def _reflected_index(size: int, multiple: int, device: torch.device) -> Tensor:
    """Give the padding as row or column numbers, without a branch: the sizes of exported programs are symbols."""
    index = torch.arange((size + multiple - 1) // multiple * multiple, device=device)
    reflected = 2 * (size - 1) - index
    beyond = torch.where(reflected[-1:] >= 0, reflected, size - 1)  # repeat the border where reflection runs out
    return torch.where(index < size, index, beyond)
