"""AFUNet inside kornia's ImageSequential, between augmentations and a tone mapper.

kornia draws the augmentation of the 18 channels once for all of them, so the three frames stay registered. Only
augmentations that move pixels belong before the network: one that changes values would have to change radiance and
encoded frames alike, and the exposure times, which the network reads off both, would no longer be right.

    python docs/examples/augmentation.py              a few seconds on a laptop
"""

from __future__ import annotations

import torch
from kornia.augmentation import RandomHorizontalFlip, RandomRotation90
from kornia.augmentation.container import ImageSequential
from torch import Tensor

import afunet_core as af


def scene(height: int = 64, width: int = 96, batch: int = 2) -> Tensor:
    """Radiance with a bright window: B×3×H×W, 1.0 at saturation of the shortest frame."""
    generator = torch.Generator().manual_seed(0)
    radiance = 0.02 + 0.1 * torch.rand(batch, 3, height // 8, width // 8, generator=generator)
    radiance = torch.nn.functional.interpolate(radiance, (height, width), mode="bilinear")
    radiance[:, :, 10:24, 60:84] += 0.8
    return radiance


def network_input(radiance: Tensor, times: Tensor) -> Tensor:
    """Photograph a scene three times and build the 18 channels."""
    return af.network_input([af.expose(radiance, time) for time in times], times)


def pipeline(model: af.AFUNet) -> ImageSequential:
    """Flip and turn the bracket, merge it, show it."""
    return ImageSequential(
        RandomHorizontalFlip(p=0.5),
        RandomRotation90(times=(-1, 1), p=0.5),
        model,
        af.ToneMap("reinhard", ev=1.0),
    )


def main() -> None:
    torch.manual_seed(0)
    radiance, times = scene(), torch.tensor([1.0, 4.0, 16.0])
    model = af.load_model("compact")
    with torch.no_grad():
        picture = pipeline(model)(network_input(radiance, times))
        merged = model(network_input(radiance, times), times)
    print(f"pictures {tuple(picture.shape)} between {picture.min():.2f} and {picture.max():.2f}")
    print(f"the network alone: PSNR-μ {af.psnr_mu(merged, radiance).mean():.1f} dB")


if __name__ == "__main__":
    main()
