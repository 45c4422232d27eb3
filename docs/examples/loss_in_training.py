"""HDRLoss in a training loop of your own: a small network learns to merge brackets of scenes at rest.

The brackets are made in memory (:mod:`afunet_core.data.synthesis`), so nothing is downloaded. The network is a few
convolutions; replace it by yours, and the loop stays.

    python docs/examples/loss_in_training.py          about a quarter of a minute on a laptop
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

import afunet_core as af
from afunet_core.data.synthesis import Synthesizer
from afunet_core.data.synthesis.scenes import SceneBank


class SmallMerger(nn.Module):
    """18 channels of network input to radiance: a learned weight for each frame and pixel."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            af.MuLaw(),  # radiance spans five decades; convolutions see it better compressed
            nn.Conv2d(18, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 3, 3, padding=1),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """``B×18×H×W`` → ``B×3×H×W`` linear radiance."""
        radiance = frames.unflatten(1, (3, 6))[:, :, :3]
        return (self.weights(frames).softmax(1)[:, :, None] * radiance).sum(1)


def batches(steps: int, size: int = 32, batch: int = 4, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Synthetic network inputs and the true radiance."""
    bank = SceneBank.procedural(seed, count=2)
    maker, generator = Synthesizer(bank), torch.Generator().manual_seed(seed)
    made = [maker.sample(batch, size, generator, "static") for _ in range(steps)]
    return [(item.network_input(), item.truth) for item in made]


def train(model: nn.Module, data: list[tuple[Tensor, Tensor]], report: bool = False) -> list[float]:
    """Minimise HDRLoss; returns the loss of every step."""
    objective = af.HDRLoss(mu_l1=1.0, radiance=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step, (frames, truth) in enumerate(data):
        loss = objective(model(frames), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if report and step % 40 == 0:
            print(f"step {step:3d}: loss {losses[-1]:.4f}", flush=True)
    return losses


def main() -> None:
    torch.manual_seed(0)
    begin = time.perf_counter()
    model = SmallMerger()
    frames, truth = batches(1, batch=8, seed=1)[0]
    with torch.no_grad():
        before = af.psnr_mu(model(frames), truth).mean()
    train(model, 2 * batches(80), report=True)
    with torch.no_grad():
        after = af.psnr_mu(model(frames), truth).mean()
    print(f"PSNR-μ on new brackets: untrained {before:.1f} dB, trained {after:.1f} dB", end="")
    print(f"   ({time.perf_counter() - begin:.0f} s)")


if __name__ == "__main__":
    main()
