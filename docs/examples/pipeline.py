"""Joint optimisation of exposures and tone mapping, by gradient, through the network.

The exposure times in a file are nominal: a camera's "1/30" may be 1/32, and no aperture closes twice in the same way.
Here the stated exposures of the outer frames are wrong by a good half stop, and the wanted look is known only from a
picture. One optimiser finds both, because everything between the frames and the loss is differentiable:

    frames, exposures → network_input → AFUNet → ToneMap → kornia losses → gradients of exposures and tone mapping

Run it::

    python docs/examples/pipeline.py                  about a quarter of a minute on a laptop
"""

from __future__ import annotations

import kornia
import torch
from torch import Tensor, nn

import afunet_core as af
from afunet_core.data.demo import demo_bracket
from afunet_core.radiometry import expose, network_input
from afunet_core.tonemap import ToneMap


class Darkroom(nn.Module):
    """A pipeline with three learnable numbers: the exposures of the outer frames, and the brightness of the print."""

    def __init__(self, network: af.AFUNet, stated_ev: tuple[float, float, float]) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        under, reference, over = stated_ev
        self.outer_ev = nn.Parameter(torch.tensor([reference - under, over - reference]))
        self.print_ev = nn.Parameter(torch.tensor(0.0))

    @property
    def times(self) -> Tensor:
        """Exposure times relative to the shortest frame, (3,)."""
        below, above = self.outer_ev
        return torch.stack([torch.zeros_like(below), below, below + above]).exp2()

    def forward(self, frames: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Encoded frames, B×3×H×W each → linear radiance and the print, B×3×H×W both."""
        radiance = self.network(network_input(frames, self.times))
        # Radiance counts in the unit of the shortest frame, which moves with the exposures; a print should not.
        tone_map = ToneMap("filmic", ev=self.print_ev + self.outer_ev[0])
        return radiance, tone_map(radiance)


def consistency_loss(radiance: Tensor, frames: list[Tensor], times: Tensor) -> Tensor:
    """The merged scene, photographed again, should give the same frames, except where they are clipped or black."""
    losses = []
    for frame, time in zip(frames, times, strict=True):
        usable = ((frame > 0.05) & (frame < 0.9)).to(frame.dtype)
        losses.append((usable * (expose(radiance, time) - frame).abs()).sum() / usable.sum().clamp_min(1))
    return torch.stack(losses).sum()


def look_loss(picture: Tensor, wanted: Tensor) -> Tensor:
    """Structure and colour, as kornia measures them: SSIM, and the distance of softly blurred pictures in CIE Lab."""

    def soft_lab(image: Tensor) -> Tensor:
        return kornia.color.rgb_to_lab(kornia.filters.gaussian_blur2d(image, (5, 5), (1.5, 1.5))) / 100

    structure = kornia.losses.ssim_loss(picture, wanted, window_size=7)
    return structure + (soft_lab(picture) - soft_lab(wanted)).abs().mean()


def optimise(
    darkroom: Darkroom, frames: list[Tensor], wanted: Tensor, steps: int = 60, report: bool = False
) -> list[float]:
    """Fit exposures and print together; returns the loss of every step."""
    optimiser = torch.optim.Adam(darkroom.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        radiance, picture = darkroom(frames)
        loss = consistency_loss(radiance, frames, darkroom.times) + look_loss(picture, wanted)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if report and len(losses) % 20 == 0:
            print(f"step {len(losses)} of {steps}: loss {losses[-1]:.3f}", flush=True)
    return losses


def sample(reduction: int = 8) -> tuple[list[Tensor], Tensor]:
    """The frames of the sample scene at rest (true exposures -2, 0, +2 EV), and the look that is wanted of it."""
    frames, ev, truth = demo_bracket(motion=False, reduction=reduction)
    tensors = [torch.from_numpy(frame / 65535.0).float().permute(2, 0, 1)[None] for frame in frames]
    wanted = ToneMap("filmic", ev=1.0 + ev[1] - ev[0])(torch.from_numpy(truth).permute(2, 0, 1)[None])
    return tensors, wanted


def main() -> None:
    torch.manual_seed(0)
    frames, wanted = sample(reduction=12)
    darkroom = Darkroom(af.load_model("compact"), stated_ev=(-1.4, 0.0, 2.6))
    losses = optimise(darkroom, frames, wanted, report=True)
    below, above = darkroom.outer_ev.tolist()
    print(f"loss {losses[0]:.3f} → {losses[-1]:.3f}")
    print(f"exposures: stated -1.40, +2.60 EV, found {-below:+.2f}, {above:+.2f} EV, true -2.00, +2.00 EV")
    print(f"print:     started at +0.00 EV, found {darkroom.print_ev.item():+.2f} EV, wanted +1.00 EV")


if __name__ == "__main__":
    main()
