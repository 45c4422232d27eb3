"""L1 between VGG-19 features, from torchvision's file of weights; none come with this package.

Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016; Simonyan and
Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015 (configuration E).
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from afunet_core.errors import ArgumentError, CheckpointError, ShapeError
from afunet_core.losses.pair_loss import PairLoss, paired, reduced
from afunet_core.ops.arguments import Scalar
from afunet_core.radiometry import MU

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
"""Layers of the AFUNet paper's loss."""

# Of every convolution its index in torchvision's ``features`` and its channels; of a block the first index comes first.
_BLOCKS = ((0, 64, 2), (5, 128, 2), (10, 256, 4), (19, 512, 4), (28, 512, 4))
_CONVOLUTIONS = {
    f"relu{block}_{number + 1}": (first + 2 * number, width)
    for block, (first, width, depth) in enumerate(_BLOCKS, 1)
    for number in range(depth)
}
_MEAN = (0.485, 0.456, 0.406)  # mean of ImageNet, as torchvision's weights expect it
_STD = (0.229, 0.224, 0.225)  # standard deviation of ImageNet


def perceptual_loss(
    prediction: Tensor, target: Tensor, features: VGGFeatures, mu: Scalar | None = MU, reduction: str = "mean"
) -> Tensor:
    """Sum over layers the mean absolute difference between VGG-19 features.

    The AFUNet paper adds 0.005 of this to the L1-μ loss, on relu1_1 to relu5_1.

    Args:
        prediction: linear radiance B×3×H×W.
        target: the truth, of the same shape; no gradient flows into it.
        features: the network, from :meth:`VGGFeatures.from_file`.
        mu: strength of the compression that makes pictures of the radiance, or ``None`` if both are pictures already.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or (B,) with ``"none"``.

    Raises:
        ShapeError: if the shapes differ or there are not 3 channels.
        ArgumentError: for an unknown reduction.
    """
    images, truths = paired(prediction, target, mu)
    if images.shape[1] != 3:
        raise ShapeError("prediction", "3 channels", tuple(images.shape), "Repeat a grey channel three times.")
    with torch.no_grad():
        wanted = features(truths)
    found = features(images)
    layers = [(found[layer] - wanted[layer]).abs().flatten(1).mean(1) for layer in wanted]
    return reduced(torch.stack(layers).sum(0), reduction, prediction, target)


class VGGPerceptualLoss(PairLoss):
    """Module twin of :func:`perceptual_loss`, with the VGG-19 features it compares.

    Args:
        features: VGG-19 features, or a file of them, as :meth:`VGGFeatures.from_file` reads.
        mu: strength of the compression, or ``None`` if inputs are pictures already.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        CheckpointError: if the file is not VGG-19.
    """

    def __init__(self, features: VGGFeatures | str | Path, mu: Scalar | None = MU, reduction: str = "mean") -> None:
        found = features if isinstance(features, VGGFeatures) else VGGFeatures.from_file(features)
        super().__init__(perceptual_loss, features=found, mu=mu, reduction=reduction)


class VGGFeatures(nn.Module):
    """VGG-19 up to its last wanted layer, frozen.

    Args:
        state: torchvision's state dict (``features.N.weight`` and ``features.N.bias``; the classifier is not needed).
        layers: names such as ``"relu2_1"`` to return.

    Raises:
        ArgumentError: for a layer that VGG-19 does not have, or none.
        CheckpointError: if a tensor is missing or of another shape than in VGG-19.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, state: dict[str, Tensor], layers: tuple[str, ...] = LAYERS) -> None:
        super().__init__()
        available = list(_CONVOLUTIONS)
        if not layers or not set(layers) <= set(available):
            raise ArgumentError("layers", f"names from {available[0]} to {available[-1]}", layers)
        self.layers = tuple(layers)
        self.names = available[: max(available.index(layer) for layer in layers) + 1]
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1))
        channels = 3
        for name in self.names:
            index, width = _CONVOLUTIONS[name]
            # Buffers, not parameters: no optimiser may find them.
            for kind, shape in (("weight", (width, channels, 3, 3)), ("bias", (width,))):
                values = state.get(f"features.{index}.{kind}")
                if values is None or tuple(values.shape) != shape:
                    found = "nothing" if values is None else tuple(values.shape)
                    raise CheckpointError(f"features.{index}.{kind}: expected the {shape} of VGG-19, got {found}.")
                self.register_buffer(f"{name}_{kind}", values.float())
            channels = width

    @classmethod
    def from_file(cls, path: str | Path, layers: tuple[str, ...] = LAYERS) -> VGGFeatures:
        """Load torchvision's ``vgg19-*.pth``, of which nothing is ever executed; ``layers`` as in the class.

        Raises:
            CheckpointError: if the file cannot be read or is not VGG-19.
            ArgumentError: for a layer that VGG-19 does not have.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path} cannot be read as VGG-19 weights: {error}") from error
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise CheckpointError(f"{path} is not a state dict of tensors.")
        try:
            return cls(state, layers)
        except CheckpointError as error:
            raise CheckpointError(f"{path} is not torchvision's VGG-19: {error}") from error

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Compute features by layer name from RGB pictures B×3×H×W in [0, 1] of any size."""
        x = (picture - self.mean.to(picture.dtype)) / self.std.to(picture.dtype)
        features: dict[str, Tensor] = {}
        for name in self.names:
            if name.endswith("_1") and name != "relu1_1":
                # Rounding up keeps a row of a single pixel.
                x = F.max_pool2d(x, 2, ceil_mode=min(x.shape[-2:]) < 2)
            weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
            features[name] = x = F.relu(F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), padding=1))
        return {name: features[name] for name in self.names if name in self.layers}
