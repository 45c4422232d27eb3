"""The optimisation that AFUNet unfolds, carried out classically on a toy bracket whose degradations are known.

Alternates, for every iteration t, exactly as the paper's Sec. 3.2 does before anything is learned:

* alignment, Eq. (4): one gradient step on the displacement of each outer frame;
* fusion by half-quadratic splitting, Eq. (6): two proximal steps for u and v, then the data step for x.

The degradations D1, D2, D3 are linear and built from kornia: an optical blur, an exposure, and a mask of what is not
saturated. Every adjoint comes from automatic differentiation, every linear system is solved by conjugate gradients, so
the same code works for any linear pipeline. Run it to watch the hole in the reference frame being filled::

    python docs/examples/variational.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import kornia
import torch
from torch import Tensor


@dataclass
class Degradation:
    """D: a blur with periodic borders, the exposure, and a mask that is 0 where the frame is saturated."""

    exposure: float
    mask: Tensor
    sigma: float = 0.7

    def __call__(self, x: Tensor) -> Tensor:
        blurred = kornia.filters.gaussian_blur2d(x, (5, 5), (self.sigma, self.sigma), border_type="circular")
        return self.mask * self.exposure * blurred

    @cached_property
    def _pull_back(self) -> Callable[[Tensor], tuple[Tensor]]:
        return torch.func.vjp(self, torch.zeros_like(self.mask))[
            1
        ]  # D is linear: its derivative is the same everywhere

    def adjoint(self, y: Tensor) -> Tensor:
        """Dᵀy, by automatic differentiation of D."""
        return self._pull_back(y)[0]

    def normal(self, x: Tensor) -> Tensor:
        """DᵀD x."""
        return self.adjoint(self(x))


def conjugate_gradients(apply: Callable[[Tensor], Tensor], right: Tensor, start: Tensor, steps: int = 200) -> Tensor:
    """Solves apply(x) = right for a symmetric positive definite operator."""
    x = start.clone()
    residual = right - apply(x)
    direction, power = residual.clone(), residual.square().sum()
    goal = torch.finfo(right.dtype).eps * right.square().sum()  # the residual falls to the square root of eps
    for _ in range(steps):
        if power <= goal:
            break
        image = apply(direction)
        step = power / (direction * image).sum()
        x, residual = x + step * direction, residual - step * image
        power, previous = residual.square().sum(), power
        direction = residual + power / previous * direction
    return x


@dataclass
class Problem:
    """A toy bracket and the weights of Eq. (2) and (5). Frames are B×C×H×W, linear, under / reference / over."""

    frames: tuple[Tensor, Tensor, Tensor]
    degradations: tuple[Degradation, Degradation, Degradation]
    prior_weight: float = 1.0  # λ1 = λ3
    coupling: float = 0.5  # β1 = β3

    def align(self, side: int, shift: Tensor) -> Tensor:
        """α: the outer frame, moved by `shift` (x, y in pixels), seen through the mask of its degradation."""
        moved = kornia.geometry.translate(self.frames[side], shift[None], padding_mode="border", align_corners=True)
        return self.degradations[side].mask * moved

    def correspondence(self, side: int, x: Tensor, aligned: Tensor) -> Tensor:
        """p(D x, α): half the squared distance."""
        return 0.5 * (self.degradations[side](x) - aligned).square().sum()

    def energy(self, x: Tensor, u: Tensor, v: Tensor, under: Tensor, over: Tensor) -> Tensor:
        """Eq. (5)."""
        fidelity = 0.5 * (self.frames[1] - self.degradations[1](x)).square().sum()
        priors = self.correspondence(0, u, under) + self.correspondence(2, v, over)
        coupling = 0.5 * self.coupling * ((u - x).square().sum() + (v - x).square().sum())
        return fidelity + self.prior_weight * priors + coupling

    def alignment_step(self, side: int, shift: Tensor, x: Tensor) -> Tensor:
        """Eq. (4): one gradient step on the displacement. The step size is the inverse curvature of the prior."""

        def prior(s: Tensor) -> Tensor:
            return self.correspondence(side, x, self.align(side, s))

        gradient = torch.func.grad(prior)(shift)
        slopes = kornia.filters.spatial_gradient(
            self.frames[side], mode="diff"
        )  # B×C×2×H×W, what a displacement changes
        curvature = (self.degradations[side].mask[:, :, None] * slopes).square().sum(dim=(0, 1, 3, 4))
        return shift - 0.5 * gradient / curvature

    def proximal_step(self, side: int, x: Tensor, aligned: Tensor) -> Tensor:
        """Eq. (6a), (6b): prox(x, α), the minimiser of β/2 ‖u − x‖² + λ p(D u, α). AFUNet learns this as SFM + CFM."""
        d = self.degradations[side]
        right = self.coupling * x + self.prior_weight * d.adjoint(aligned)
        return conjugate_gradients(lambda u: self.coupling * u + self.prior_weight * d.normal(u), right, x)

    def data_step(self, u: Tensor, v: Tensor) -> Tensor:
        """Eq. (6c): x = (D2ᵀD2 + (β1 + β3) I)⁻¹ (D2ᵀ y2 + β1 u + β3 v). AFUNet's DCM learns D2ᵀ and the inverse."""
        d = self.degradations[1]
        right = d.adjoint(self.frames[1]) + self.coupling * (u + v)
        return conjugate_gradients(lambda x: d.normal(x) + 2 * self.coupling * x, right, u)


@dataclass
class Solution:
    x: Tensor
    u: Tensor
    v: Tensor
    shifts: tuple[Tensor, Tensor]
    energies: list[float] = field(default_factory=list)


def solve(problem: Problem, iterations: int = 60, align: bool = True) -> Solution:
    """The alternating minimisation. Each iteration is what one stage of AFUNet replaces by a learned module."""
    reference = problem.frames[1]
    x = u = v = reference / problem.degradations[1].exposure
    under_shift, over_shift = reference.new_zeros(2), reference.new_zeros(2)
    energies = []
    for _ in range(iterations):
        if align:
            under_shift = problem.alignment_step(0, under_shift, x)
            over_shift = problem.alignment_step(2, over_shift, x)
        under, over = problem.align(0, under_shift), problem.align(2, over_shift)
        u = problem.proximal_step(0, x, under)
        v = problem.proximal_step(2, x, over)
        x = problem.data_step(u, v)
        energies.append(float(problem.energy(x, u, v, under, over)))
    return Solution(x, u, v, (under_shift, over_shift), energies)


def toy_scene(size: int = 32, dtype: torch.dtype = torch.float64) -> Tensor:
    """Radiance with smooth shapes and one highlight that the reference exposure cannot hold, 1×1×size×size."""
    axis = torch.linspace(-1, 1, size, dtype=dtype)
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def blob(cx: float, cy: float, width: float) -> Tensor:
        return torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))

    return (0.05 + 0.8 * blob(0.2, -0.1, 0.16) + 0.3 * blob(-0.35, 0.3, 0.25) + 0.1 * blob(0.4, 0.45, 0.1))[None, None]


def toy_problem(
    scene: Tensor,
    under_shift: tuple[float, float] = (1.5, -1.0),
    over_shift: tuple[float, float] = (-1.0, 0.75),
    noise: float = 0.002,
    seed: int = 0,
) -> Problem:
    """Three frames of the scene, exposures 1, 2, 4, saturation at 1; the outer two displaced by the given shifts."""
    generator = torch.Generator().manual_seed(seed)
    frames, degradations = [], []
    for exposure, shift in zip((1.0, 2.0, 4.0), (under_shift, (0.0, 0.0), over_shift), strict=True):
        exposed = Degradation(exposure, torch.ones_like(scene))(scene)
        mask = (exposed < 1.0).to(scene.dtype)  # known here; a camera's frame shows its own saturated pixels
        displacement = -scene.new_tensor(shift)[None]
        frame = kornia.geometry.translate(exposed, displacement, padding_mode="border", align_corners=True)
        frame = frame + noise * torch.randn(frame.shape, generator=generator, dtype=frame.dtype)
        if exposure == 2.0:
            frame = mask * frame
        frames.append(frame)
        degradations.append(Degradation(exposure, mask))
    return Problem(tuple(frames), tuple(degradations))


def main() -> None:
    scene = toy_scene()
    problem = toy_problem(scene)
    hole = problem.degradations[1].mask == 0
    print(f"{int(hole.sum())} of {hole.numel()} pixels of the reference frame are saturated")
    for name, align in (("fusion alone", False), ("alignment and fusion", True)):
        solution = solve(problem, align=align)
        psnr = -10 * math.log10(float((solution.x - scene).square().mean()))
        inside = float((solution.x - scene)[hole].abs().max())
        shifts = ", ".join(f"({float(s[0]):+.2f}, {float(s[1]):+.2f})" for s in solution.shifts)
        print(f"{name:21} PSNR {psnr:5.1f} dB, largest error in the hole {inside:.3f}, shifts found {shifts}")
    print("true shifts: (+1.50, -1.00), (-1.00, +0.75)")


if __name__ == "__main__":
    main()
