"""VGG-19 features for the perceptual loss, from either of two files; no weights come with this package.

- *Normalised* (safetensors): ``preprocess`` (a 1×1 convolution that takes RGB in [0, 1], channel order and mean
  included), then ``conv1_1`` … as far as the file goes, with reflection padding.
- *torchvision* (``vgg19-*.pth``): its state dict with ``features.N.weight``, zero padding, ImageNet normalisation.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from afunet_core.errors import ArgumentError, CheckpointError

__all__ = ["LAYERS", "VGGFeatures"]

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

# Convolutions per block of VGG-19 (Simonyan and Zisserman, ICLR 2015, configuration E), pooling after each block.
_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
_NAMES = tuple(f"{block}_{index}" for block, (_, depth) in enumerate(_BLOCKS, 1) for index in range(1, depth + 1))
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGGFeatures(nn.Module):
    """VGG-19 up to its last wanted layer, frozen. RGB pictures in [0, 1] in, a dictionary of features out.

    Args:
        convolutions: ``{"1_1": (weight, bias), …}`` in order, without gaps.
        preprocess: weight 3×3×1×1 and bias of the 1×1 convolution before them.
        padding: ``"reflect"`` or ``"zeros"``, as the weights were made for.
        layers: names such as ``"relu2_1"`` to return.

    Raises:
        ArgumentError: for a layer that the convolutions do not reach.
        CheckpointError: for convolutions of sizes that VGG-19 does not have.
    """

    def __init__(
        self,
        convolutions: dict[str, tuple[Tensor, Tensor]],
        preprocess: tuple[Tensor, Tensor],
        padding: str,
        layers: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__()
        available = [f"relu{name}" for name in convolutions]
        self.layers = tuple(layers) if layers is not None else tuple(name for name in LAYERS if name in available)
        for layer in self.layers:
            if layer not in available:
                raise ArgumentError("layers", f"names from {available[0]} to {available[-1]}", repr(layer))
        if not self.layers:
            raise ArgumentError("layers", "at least one layer", layers)
        self.padding_mode = padding
        self.names = list(convolutions)[: 1 + max(available.index(layer) for layer in self.layers)]
        self._keep("preprocess", preprocess, (3, 3, 1, 1))
        channels = 3
        for name in self.names:
            width = _BLOCKS[int(name[0]) - 1][0]
            self._keep(f"conv{name}", convolutions[name], (width, channels, 3, 3))
            channels = width

    @classmethod
    def from_file(cls, path: str | Path, layers: tuple[str, ...] | None = None) -> VGGFeatures:
        """Load either file format; nothing in it is ever executed.

        Args:
            path: ``.safetensors`` (normalised layout) or a torchvision ``.pth`` state dict.
            layers: names such as ``"relu2_1"``; ``None`` takes those of relu1_1 … relu5_1 that the file holds.

        Raises:
            CheckpointError: if the file cannot be read or is not VGG-19.
            ArgumentError: for a layer that the file does not hold.
        """
        state = _read_state(Path(path))
        if "preprocess.weight" in state:
            return cls(_pairs(state, "conv{}", path), _pair(state, "preprocess", path), "reflect", layers)
        indices = sorted({int(m[1]) for key in state if (m := re.fullmatch(r"features\.(\d+)\.weight", key))})
        if not indices:
            raise CheckpointError(
                f"{path} is not a VGG-19 file: it has neither 'preprocess.weight' nor 'features.N.weight'."
            )
        renamed = {
            f"conv{name}.{kind}": state[f"features.{index}.{kind}"]
            for name, index in zip(_NAMES, indices, strict=False)
            for kind in ("weight", "bias")
            if f"features.{index}.{kind}" in state
        }
        mean, std = torch.tensor(_IMAGENET_MEAN), torch.tensor(_IMAGENET_STD)
        normalise = (torch.diag(1 / std).view(3, 3, 1, 1), -mean / std)
        return cls(_pairs(renamed, "conv{}", path), normalise, "zeros", layers)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Features of B×3×H×W pictures in [0, 1] by layer name, of any size (blocks that shrink to nothing repeat)."""
        x = self._convolve(picture, "preprocess")
        features: dict[str, Tensor] = {}
        for name in self.names:
            if name[2:] == "1" and name[0] != "1":
                x = F.max_pool2d(x, 2, ceil_mode=self.padding_mode == "reflect" or min(x.shape[-2:]) < 2)
            # Reflection needs a pixel to reflect; at the very bottom of tiny pictures the border repeats instead.
            mode = self.padding_mode if min(x.shape[-2:]) > 1 else "replicate"
            x = F.pad(x, (1, 1, 1, 1), mode="constant" if mode == "zeros" else mode)
            x = F.relu(self._convolve(x, f"conv{name}"))
            if f"relu{name}" in self.layers:
                features[f"relu{name}"] = x
        return features

    def _convolve(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
        return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype))

    def _keep(self, name: str, values: tuple[Tensor, Tensor], shape: tuple[int, ...]) -> None:
        weight, bias = values
        if tuple(weight.shape) != shape or tuple(bias.shape) != shape[:1]:
            raise CheckpointError(f"{name} has shape {tuple(weight.shape)} where VGG-19 has {shape}.")
        # Buffers, not parameters: no optimiser may find them. Not persistent: checkpoints stay free of them.
        self.register_buffer(f"{name}_weight", weight.float(), persistent=False)
        self.register_buffer(f"{name}_bias", bias.float(), persistent=False)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as VGG-19 weights: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} is not a state dict of tensors.")
    return state


def _pairs(state: dict[str, Tensor], pattern: str, path: str | Path) -> dict[str, tuple[Tensor, Tensor]]:
    """The convolutions from the first to the last one in the file, in order."""
    present = [name for name in _NAMES if f"{pattern.format(name)}.weight" in state]
    if not present or present != list(_NAMES[: len(present)]):
        raise CheckpointError(f"{path} does not hold the first convolutions of VGG-19 without gaps, but {present}.")
    return {name: _pair(state, pattern.format(name), path) for name in present}


def _pair(state: dict[str, Tensor], name: str, path: str | Path) -> tuple[Tensor, Tensor]:
    if f"{name}.weight" not in state or f"{name}.bias" not in state:
        raise CheckpointError(f"{path} lacks {name}.weight or {name}.bias.")
    return state[f"{name}.weight"], state[f"{name}.bias"]
