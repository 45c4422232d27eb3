"""The contract of the differentiable operators: every one of them in every way that pipelines use it.

``python tests/core/test_operators.py`` writes the support table of the documentation from the same lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import afunet_core as af
from afunet_core import losses, metrics, radiometry, tonemap
from afunet_core.baselines import merge_frames, merge_weights
from afunet_core.ops.warp import WarpHomography, warp_homography

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "support.md"
IMAGE = (2, 3, 4, 6)
LARGE = (2, 3, 12, 14)
"""For what looks at windows of 11 pixels."""
TIMES = (1.0, 4.0, 16.0)


@dataclass(frozen=True)
class Case:
    """An operator as a function of tensors.

    Args:
        function: called with the tensors, and with numbers by name.
        shapes: of the tensors.
        names: of the tensors as errors write them.
        numbers: parameters that take a number or a tensor, with two values each.
        module: makes the twin from such parameters.
        same_dtype: the result has the dtype of the input; otherwise single precision at least.
    """

    function: Callable[..., Tensor]
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    names: tuple[str, ...] = ("radiance",)
    numbers: dict[str, tuple[float, float]] = field(default_factory=dict)
    module: Callable[..., nn.Module] | None = None
    same_dtype: bool = True


def _three_frames(under: Tensor, reference: Tensor, over: Tensor, **options: Any) -> Tensor:
    return radiometry.network_input([under, reference, over], TIMES, **options)


def _merged(under: Tensor, over: Tensor, **options: Any) -> Tensor:
    return merge_frames([under, over], TIMES[:2], **options)


def _weights(under: Tensor, over: Tensor) -> Tensor:
    return merge_weights([under, over], TIMES[:2])[1]


def _warped(image: Tensor, mode: str) -> Tensor:
    matrix = torch.tensor([[1.0, 0.01, 0.3], [-0.02, 1.01, 0.2], [1e-4, 0.0, 1.0]], dtype=image.dtype)
    return warp_homography(image, matrix.to(image.device), mode)[0]


PAIR = {"shapes": (IMAGE, IMAGE), "names": ("prediction", "target")}
SCORES = {"shapes": (LARGE, LARGE), "names": ("image", "target")}
GAMMA, TIME, EV = {"gamma": (2.2, 1.8)}, {"time": (4.0, 2.5)}, {"ev": (-1.0, 0.5)}
CASES: dict[str, Case] = {
    "linearize": Case(radiometry.linearize, names=("image",), numbers=GAMMA, module=radiometry.Linearize),
    "linearize, srgb": Case(partial(radiometry.linearize, encoding="srgb"), names=("image",)),
    "encode": Case(radiometry.encode, names=("linear",), numbers=GAMMA, module=radiometry.Encode),
    "encode, srgb": Case(partial(radiometry.encode, encoding="srgb"), names=("linear",)),
    "to_radiance": Case(radiometry.to_radiance, names=("image",), numbers=TIME | GAMMA),
    "expose": Case(partial(radiometry.expose, clip=False), numbers=TIME | GAMMA),
    "mu_law": Case(radiometry.mu_law, names=("x",), numbers={"mu": (5000.0, 100.0)}, module=radiometry.MuLaw),
    "inverse_mu_law": Case(
        radiometry.inverse_mu_law, names=("y",), numbers={"mu": (5000.0, 100.0)}, module=radiometry.InverseMuLaw
    ),
    "network_input": Case(
        _three_frames, (IMAGE,) * 3, tuple(f"frames.{index}." for index in range(3)), numbers=GAMMA
    ),
    "tone_map, mu_law": Case(
        tonemap.mu_law, numbers=EV | {"mu": (5000.0, 100.0)}, module=partial(tonemap.ToneMap, "mu_law")
    ),
    "tone_map, reinhard": Case(
        tonemap.reinhard,
        numbers=EV | {"gain": (16.0, 4.0), "white": (1.0, 2.0)},
        module=partial(tonemap.ToneMap, "reinhard"),
    ),
    "tone_map, filmic": Case(
        tonemap.filmic, numbers=EV | {"gain": (8.0, 4.0)}, module=partial(tonemap.ToneMap, "filmic")
    ),
    "tone_map, exposure": Case(
        partial(tonemap.exposure, encoding="gamma"),
        numbers=EV | GAMMA,
        module=partial(tonemap.ToneMap, "exposure", encoding="gamma"),
    ),
    "mu_l1_loss": Case(losses.mu_l1_loss, **PAIR, module=losses.MuL1Loss, same_dtype=False),
    "radiance_loss": Case(losses.radiance_loss, **PAIR, module=losses.RadianceLoss, same_dtype=False),
    "fourier_l1_loss": Case(losses.fourier_l1_loss, **PAIR, module=losses.FourierL1Loss, same_dtype=False),
    "decibel_loss": Case(losses.decibel_loss, **PAIR, module=losses.DecibelLoss, same_dtype=False),
    "HDRLoss": Case(losses.HDRLoss(), **PAIR, module=losses.HDRLoss, same_dtype=False),
    "psnr": Case(metrics.psnr, **SCORES),
    "psnr_mu": Case(metrics.psnr_mu, **SCORES),
    "ssim": Case(metrics.ssim, **SCORES),
    "merge_frames": Case(_merged, (IMAGE,) * 2, ("frames.0.", "frames.1."), numbers=GAMMA),
    "merge_weights": Case(_weights, (IMAGE,) * 2, ("frames.0.", "frames.1.")),
    "warp_homography": Case(partial(_warped, mode="bilinear"), names=("image",)),
}
CHECKS = {
    "smoke": "float16 to float64",
    "refusals": "typed refusals",
    "gradcheck": "gradient",
    "gradgradcheck": "second order",
    "jvp": "forward mode",
    "vmap": "vmap",
    "layouts": "any strides",
    "meta": "meta device",
    "empty": "empty batch",
    "compiled": "compile",
    "compiled_numbers": "changing numbers",
    "exported": "export",
    "per_sample": "per sample",
    "held_tensors": "learned parameters",
    "copies": "copies, state",
    "fake_cuda": "GPU, dry",
}
"""Methods of the contract, and how the table of the documentation calls them."""
WITH_NUMBERS = {"compiled_numbers", "per_sample"}
OF_MODULES = {"held_tensors", "copies"}
EXCEPTIONS: dict[tuple[str, str], str] = {}
"""What an operator cannot do, and why."""


def applies(name: str, check: str) -> bool:
    case = CASES[name]
    if (check in WITH_NUMBERS or check == "held_tensors") and not case.numbers:
        return False
    return case.module is not None if check in OF_MODULES else True


def drawn(case: Case, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """The same values every time, away from black and from saturation, where slopes have kinks."""
    values = []
    for seed, shape in enumerate(case.shapes):
        generator = torch.Generator().manual_seed(seed)
        values.append(torch.rand(shape, generator=generator, dtype=torch.float64).mul(0.7).add(0.1).to(device, dtype))
    return values


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", CASES)
def test_contract(contract: Any, device: torch.device, dtype: torch.dtype, name: str, check: str) -> None:
    if not applies(name, check):
        pytest.skip("does not apply")
    case, inputs = CASES[name], drawn(CASES[name], device, dtype)
    arguments: list[Any] = [case.module() if check == "copies" else case.function, inputs]
    if check == "copies":
        arguments[0] = case.module(**{key: torch.tensor(values[0]) for key, values in case.numbers.items()})
    elif check == "held_tensors":
        arguments[0] = case.module
    elif {"time"} & set(case.numbers) and check not in WITH_NUMBERS:
        arguments[0] = partial(case.function, time=case.numbers["time"][0])
    if check in WITH_NUMBERS or check == "held_tensors":
        arguments.append(case.numbers)
    if check == "smoke":
        arguments.append(case.same_dtype)
    if check == "refusals":
        arguments.append(case.names)
    run = partial(getattr(contract, check), *arguments)
    if (name, check) in EXCEPTIONS:
        with pytest.raises(Exception):  # noqa: B017, PT011: the table says that it fails, whatever way
            run()
    else:
        run()
