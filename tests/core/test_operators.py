"""The contract of the differentiable operators: every one of them in every way that pipelines use it.

``python tests/core/test_operators.py`` writes the support table of the documentation from the same lists.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import afunet_core as af
from afunet_core import losses, metrics, radiometry, tonemap
from afunet_core.baselines import fuse_frames, merge_frames, merge_weights
from afunet_core.data.synthesis.sensor import add_sensor_noise
from afunet_core.errors import AFUNetError
from afunet_core.losses.perceptual import VGGFeatures
from afunet_core.ops.warp import WarpHomography
from contract import TOLERANCE, Contract

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "support.md"
IMAGE = (2, 3, 4, 6)
LARGE = (2, 3, 12, 14)  # for what looks at windows of 11 pixels
LOW = (2, 3, 3, 6)  # for what a compiler unrolls scale by scale
TIMES = (1.0, 4.0, 16.0)
SHAPES = ((64, 3, 3, 3), (64,))  # of the first layer of VGG-19


@dataclass(frozen=True)
class Case:
    """An operator as a function of tensors."""

    function: Callable[..., Tensor]  # called with the tensors, and with numbers by name
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    names: tuple[str, ...] = ("radiance",)  # of the tensors as errors write them
    # parameters that take a number or a tensor, with two values each
    numbers: dict[str, tuple[float, float]] = field(default_factory=dict)
    module: Callable[..., nn.Module] | None = None  # makes the twin from such parameters
    takes_numbers: bool = False  # in place of a tensor
    slow: frozenset[str] = frozenset()  # checks that run only with --slow

    def with_numbers(self) -> Callable[..., Tensor]:
        """The function with the first value of every number."""
        return partial(self.function, **{name: values[0] for name, values in self.numbers.items()})


def of_frames(function: Callable[..., Tensor], *more: Any) -> Callable[..., Tensor]:
    """A function of a sequence of frames as one of tensors."""
    return lambda *frames, **options: function(list(frames), *more, **options)


def _noisy(exposed: Tensor, noise: Tensor, gain: Any = 1e-2, read: Any = 0.05) -> Tensor:
    return add_sensor_noise(exposed, gain, read, noise)


class _Warp(WarpHomography):
    """By a homography near the identity."""

    def forward(self, image: Tensor, skew: Tensor) -> Tensor:
        return super().forward(image, torch.eye(3, dtype=skew.dtype, device=skew.device) + 0.02 * (skew - 0.4))


class _Perceptual(losses.VGGPerceptualLoss):
    """The first layer of a VGG-19 that is drawn, against grey: no gradient flows into the target."""

    def __init__(self) -> None:
        weight, bias = (0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in SHAPES)
        super().__init__(VGGFeatures({"features.0.weight": weight, "features.0.bias": bias}, ("relu1_1",)))

    def forward(self, prediction: Tensor) -> Tensor:
        target = torch.full_like(prediction, 0.3) if isinstance(prediction, Tensor) else torch.zeros(IMAGE)
        return super().forward(prediction, target)


TINY = af.AFUNetConfig(
    embed_dim=6, depths=(1,), window_size=2, fusion_heads=1, alignment_heads=1, channel_heads=1, dormant_norm=False
)
ANCHORED = replace(TINY, head="anchored", downscale=2, mu_input=True, agreement_input=True)


def _model(config: af.AFUNetConfig) -> af.AFUNet:
    torch.manual_seed(0)
    return af.AFUNet(config).double().eval()


def of_module(module: nn.Module) -> Callable[..., Tensor]:
    """A module in double precision as a function in the dtype and on the device of its input."""

    def run(images: Tensor) -> Tensor:
        given = getattr(images, "dtype", None), str(getattr(images, "device", ""))
        if given == (torch.float64, "cpu") or given[0] not in TOLERANCE:
            return module(images)
        if images.device.type == "cpu":
            return copy.deepcopy(module).to(images.dtype)(images)
        empty = partial(torch.empty, dtype=images.dtype, device=images.device)  # there are no values there
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        return torch.func.functional_call(module, {name: empty(value.shape) for name, value in state.items()}, images)

    return run


class _ToRadiance(radiometry.ToRadiance):
    """Of a frame of four times the light."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image, 4.0)


class _Expose(radiometry.Expose):
    """For four times the light."""

    def forward(self, radiance: Tensor) -> Tensor:
        return super().forward(radiance, 4.0)


FRAMES = {"shapes": (IMAGE, IMAGE), "names": ("frames.0.", "frames.1.")}
PAIR = {"shapes": (IMAGE, IMAGE), "names": ("prediction", "target")}
SCORES = {"shapes": (LARGE, LARGE), "names": ("image", "target")}
TERMS, EACH = {"fourier": 0.005, "decibel": 0.01}, {"reduction": "none"}
STRENGTH, MAX_VAL = {"mu": (5000.0, 100.0)}, {"max_val": (1.0, 2.0)}
GAMMA, TIME, EV = {"gamma": (2.2, 1.8)}, {"time": (4.0, 2.5)}, {"ev": (-1.0, 0.5)}
CASES: dict[str, Case] = {
    "linearize": Case(radiometry.linearize, names=("image",), numbers=GAMMA, module=radiometry.Linearize),
    "linearize, srgb": Case(partial(radiometry.linearize, encoding="srgb"), names=("image",)),
    "encode": Case(radiometry.encode, names=("linear",), numbers=GAMMA, module=radiometry.Encode),
    "encode, srgb": Case(partial(radiometry.encode, encoding="srgb"), names=("linear",)),
    "to_radiance": Case(partial(radiometry.to_radiance, time=4.0), names=("image",), numbers=TIME | GAMMA),
    "expose": Case(partial(radiometry.expose, time=4.0, clip=False), numbers=TIME | GAMMA),
    "ToRadiance": Case(partial(radiometry.to_radiance, time=4.0), names=("image",), numbers=GAMMA, module=_ToRadiance),
    "Expose": Case(
        partial(radiometry.expose, time=4.0, clip=False), numbers=GAMMA, module=partial(_Expose, clip=False)
    ),
    "mu_law": Case(radiometry.mu_law, names=("x",), numbers=STRENGTH, module=radiometry.MuLaw, takes_numbers=True),
    "inverse_mu_law": Case(
        radiometry.inverse_mu_law, names=("y",), numbers=STRENGTH, module=radiometry.InverseMuLaw, takes_numbers=True
    ),
    "network_input": Case(
        of_frames(radiometry.network_input, TIMES), (IMAGE,) * 3, ("frames.0.", "frames.1.", "frames.2."), numbers=GAMMA
    ),
    **{
        f"tone_map, {name}": Case(
            partial(tonemap.OPERATORS[name], **mode), numbers=EV | numbers, module=partial(af.ToneMap, name, **mode)
        )
        for name, numbers, mode in (
            ("mu_law", STRENGTH, {}),
            ("reinhard", {"gain": (16.0, 4.0), "white": (1.0, 2.0)}, {}),
            ("filmic", {"gain": (8.0, 4.0)}, {}),
            ("exposure", GAMMA, {"encoding": "gamma"}),
        )
    },
    "mu_l1_loss": Case(
        partial(losses.mu_l1_loss, **EACH), **PAIR, numbers=STRENGTH, module=partial(losses.MuL1Loss, **EACH)
    ),
    "radiance_loss": Case(losses.radiance_loss, **PAIR, module=losses.RadianceLoss),
    "fourier_l1_loss": Case(
        partial(losses.fourier_l1_loss, **EACH), **PAIR, numbers=STRENGTH, module=partial(losses.FourierL1Loss, **EACH)
    ),
    "decibel_loss": Case(
        partial(losses.decibel_loss, **EACH), **PAIR, numbers=STRENGTH, module=partial(losses.DecibelLoss, **EACH)
    ),
    "HDRLoss": Case(losses.HDRLoss(**TERMS), **PAIR, module=partial(losses.HDRLoss, **TERMS)),
    "psnr": Case(metrics.psnr, **SCORES, numbers=MAX_VAL),
    "psnr_mu": Case(metrics.psnr_mu, **SCORES, numbers=STRENGTH),
    "ssim": Case(metrics.ssim, **SCORES, numbers=MAX_VAL),
    "merge_frames": Case(of_frames(merge_frames, TIMES[:2]), **FRAMES, numbers=GAMMA),
    "merge_weights": Case(of_frames(lambda *of: merge_weights(*of)[1], TIMES[:2]), **FRAMES),
    **{
        f"AFUNet, {config.head}": Case(
            of_module(_model(config)),
            ((2, 18, 4, 6),),
            ("frames",),
            module=partial(af.AFUNet, config),
            slow=frozenset({"compiled", "exported"}),
        )
        for config in (TINY, ANCHORED)
    },
    "fuse_frames": Case(of_frames(fuse_frames), (LOW,) * 2, ("frames.0.", "frames.1."), slow=frozenset({"exported"})),
    "add_sensor_noise": Case(
        _noisy, (IMAGE,) * 2, ("exposed", "noise"), numbers={"gain": (1e-2, 1e-3), "read": (0.05, 0.02)}
    ),
    "WarpHomography": Case(_Warp("bilinear"), (IMAGE, (2, 3, 3)), ("image",), module=partial(_Warp, "bilinear")),
    "VGGPerceptualLoss": Case(of_module(_Perceptual().double()), names=("prediction",), module=_Perceptual),
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
OLDER = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)
"""Older PyTorch than the support table is made with, and older kornia beside it, have other exceptions."""
WITH_NUMBERS = {"compiled_numbers", "per_sample", "held_tensors"}
OF_MODULES = {"held_tensors", "copies"}
OF_CASES = {"refusals", *WITH_NUMBERS, *OF_MODULES}
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("fuse_frames", "exported"): "the size determines the number of scales; a program serves one size",
    ("WarpHomography", "jvp"): "torch's grid_sample has no forward-mode derivative",
}
"""What an operator cannot do, and why."""


INTRODUCTION = """# Support table

Every differentiable operator of `afunet_core` is tested in every way below; this page is written by
`python tests/core/test_operators.py` from the lists that the tests run through, and a test compares the two.
Inputs are float64 on a CPU unless a column says otherwise; `pytest tests/core --device cuda` repeats it on a GPU.

TorchScript (`torch.jit`), which PyTorch has deprecated, and `torch.fx.symbolic_trace` are not supported: use
`torch.export`. `fuse_frames` and `AFUNet` compile slowly, because the compiler unrolls their scales and stages.
`psnr_linear`, `ssim_linear`, `ssim_mu` and `ssim_authors` are `psnr` and `ssim` of images that were clipped or curved.
"""


def applies(name: str, check: str) -> bool:
    case = CASES[name]
    return bool(case.numbers or check not in WITH_NUMBERS) and bool(case.module or check not in OF_MODULES)


def drawn(case: Case, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """The same values every time, away from black and from saturation, where slopes have kinks."""
    values = []
    for seed, shape in enumerate(case.shapes):
        generator = torch.Generator().manual_seed(seed)
        values.append(torch.rand(shape, generator=generator, dtype=torch.float64).mul(0.7).add(0.1).to(device, dtype))
    return values


def subject(case: Case, check: str, inputs: list[Tensor]) -> Callable[..., Any]:
    """The function, or for what takes long the network itself."""
    return case.module().to(inputs[0]) if check in case.slow and case.module is not None else case.function


def parameters() -> list[Any]:
    return [
        pytest.param(name, check, marks=[pytest.mark.slow] if check in CASES[name].slow else [])
        for name in CASES
        for check in CHECKS
        if applies(name, check)
    ]


@pytest.mark.parametrize(("name", "check"), parameters())
def test_contract(device: torch.device, dtype: torch.dtype, name: str, check: str) -> None:
    case, inputs = CASES[name], drawn(CASES[name], device, dtype)
    facts = (case,) if check in OF_CASES else ()
    run = partial(getattr(Contract(), check), subject(case, check, inputs), inputs, *facts)
    if OLDER and (name, check) == ("WarpHomography", "gradgradcheck"):
        pytest.skip("grid_sample has no second derivative in older PyTorch")
    if (name, check) in EXCEPTIONS and not OLDER:
        with pytest.raises((RuntimeError, AssertionError)):
            run()
    elif (name, check) not in EXCEPTIONS:
        run()


@pytest.mark.parametrize("frames", [None, 0.5, "abc", []])
@pytest.mark.parametrize("function", [radiometry.network_input, merge_frames, merge_weights])
def test_anything_but_a_sequence_of_frames_is_refused(function: Callable[..., Tensor], frames: Any) -> None:
    with pytest.raises(AFUNetError, match="frames: expected"):
        function(frames, TIMES)


def test_a_compiled_network_serves_any_width(device: torch.device, dtype: torch.dtype) -> None:
    """The anchored one, which has all that the other has but the sigmoid at its end; both with --slow."""
    case = CASES["AFUNet, anchored"]
    inputs = drawn(case, device, dtype)
    Contract().compiled(subject(case, "compiled", inputs), inputs, axis=3)


def about(check: str) -> str:
    return " ".join((inspect.getdoc(getattr(Contract, check)) or "").split())


def table() -> str:
    """The page of the documentation."""
    marks = {key: f"[^{number}]" for number, key in enumerate(sorted({*EXCEPTIONS.values()}), 1)}

    def cell(name: str, check: str) -> str:
        if not applies(name, check):
            return ""
        return f"no{marks[EXCEPTIONS[name, check]]}" if (name, check) in EXCEPTIONS else "yes"

    lines = [INTRODUCTION, "| | " + " | ".join(CHECKS.values()) + " |", "|---" * (len(CHECKS) + 1) + "|"]
    lines += [f"| `{name}` | " + " | ".join(cell(name, check) for check in CHECKS) + " |" for name in CASES]
    lines += ["", *(f"{mark}: {text}." for text, mark in marks.items()), "", "## Columns", ""]
    lines += [f"- **{title}**: {about(check)}" for check, title in CHECKS.items()]
    return "\n".join(lines) + "\n"


def test_the_documentation_shows_what_was_tested() -> None:
    assert PAGE.read_text(encoding="utf-8") == table()


if __name__ == "__main__":
    PAGE.write_text(table(), encoding="utf-8")
