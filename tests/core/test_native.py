"""Compiled training kernels: what they compute is what the modules compute, forwards and backwards."""

from __future__ import annotations

import ctypes
import shutil
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from afunet_core.model.afunet import AFUNet
from afunet_core.model.alignment import SpatialAlignment
from afunet_core.model.attention import shift_mask
from afunet_core.model.config import COMPACT, AFUNetConfig
from afunet_core.model.fusion import SwinBlock
from afunet_core.native import build
from afunet_core.native.accelerate import accelerate
from afunet_core.training import TrainingConfig, train

compiled = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler on this machine"
)
# Sizes that fill the products' blocks and that leave odd rests; heads of 16, 18 and 12.
SIZES = [(48, 3), (72, 4), (24, 2)]
# The kernels may be as far from float32 as the modules are under bfloat16 autocast, by chance up to twice as far: both
# round the same products. A term left out, or an exponential off by a few percent, is over ten times farther.
NO_FARTHER = 2.0


@pytest.fixture(params=["as the CPU allows", "without the matrix unit", "with narrow vectors"])
def kernels(request, monkeypatch, tmp_path_factory) -> ctypes.CDLL:
    """The library as training compiles it, and as it is on lesser CPUs."""
    build.library.cache_clear()
    if request.param == "without the matrix unit":
        monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-DAFUNET_PLAIN_PRODUCTS"))
    elif request.param == "with narrow vectors":
        monkeypatch.setattr(build, "FLAGS", tuple(flag for flag in build.FLAGS if flag != "-march=native"))
    library = build.library()
    assert library is not None
    yield library
    build.library.cache_clear()


def drawn(module: nn.Module) -> nn.Module:
    """Random parameters of a size at which every one of them matters, norms and biases included."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return module


def picture(channels: int, seed: int, grad: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 16, 24, channels, generator=generator).requires_grad_(grad)


def results(compute: Callable[[], Any], leaves: dict[str, Tensor], gradients: Any) -> dict[str, Tensor]:
    """What a function gives, and the gradients of all leaves, by name."""
    outputs = compute()
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    of_leaves = torch.autograd.grad(
        outputs, leaves.values(), [g.to(o) for o, g in zip(outputs, gradients, strict=True)]
    )
    named = {f"output {index}": output for index, output in enumerate(outputs)}
    return {**named, **{f"gradient of {name}": value for name, value in zip(leaves, of_leaves, strict=True)}}


def assert_as_near(ours: dict[str, Tensor], rounded: dict[str, Tensor], exact: dict[str, Tensor]) -> None:
    """Each of ours as near to the exact values as those of autocast."""
    for name, expected in exact.items():
        away, usual = ((x[name].float() - expected).norm() / expected.norm() for x in (ours, rounded))
        assert 0 < away < NO_FARTHER * usual + 1e-6, f"{name}: {away:.4f} from the exact values, autocast {usual:.4f}"


@compiled
@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize(("channels", "heads"), SIZES)
def test_swin_blocks(kernels, channels, heads, shift):
    block = drawn(SwinBlock(AFUNetConfig(embed_dim=channels, fusion_heads=heads), shift))
    x, gradient = picture(channels, 2), picture(channels, 3, grad=False)
    mask = shift_mask(16, 24, 8, shift, x.device, x.dtype) if shift else None
    leaves = {"x": x, **dict(block.named_parameters())}
    exact = results(lambda: block(x, mask), leaves, [gradient])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = results(lambda: block(x, mask), leaves, [gradient])
    assert accelerate(block)
    assert_as_near(results(lambda: block(x, mask), leaves, [gradient]), rounded, exact)


@compiled
@pytest.mark.parametrize("channels", [48, 72])
def test_spatial_alignment(kernels, channels):
    alignment = drawn(SpatialAlignment(AFUNetConfig(embed_dim=channels, fusion_heads=1)))
    dim = channels // 3
    side, estimate, of_d, of_r = (picture(dim, seed, grad=seed < 4) for seed in range(2, 6))
    # `refine` looks over the borders of windows and is not part of the kernel.
    leaves = {"side": side, "estimate": estimate}
    leaves |= {name: p for name, p in alignment.named_parameters() if not name.startswith("refine")}
    exact = results(lambda: alignment.attend(side, estimate), leaves, [of_d, of_r])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = results(lambda: alignment.attend(side, estimate), leaves, [of_d, of_r])
    assert accelerate(alignment)
    assert_as_near(results(lambda: alignment.attend(side, estimate), leaves, [of_d, of_r]), rounded, exact)


@compiled
def test_extreme_values_stay_finite(kernels):
    """Logits beyond the range of the exponential, and activations far outside the polynomial of the GELU."""
    block = drawn(SwinBlock(AFUNetConfig(embed_dim=48, fusion_heads=3), 4))
    with torch.no_grad():
        block.attention.qkv.weight.mul_(100)
        block.mlp.fc1.weight.mul_(100)
    assert accelerate(block)
    x = (100 * picture(48, 2, grad=False)).requires_grad_()
    result = block(x, None)
    result.sum().backward()
    assert torch.isfinite(result).all()
    assert torch.isfinite(x.grad).all()


@compiled
def test_features_in_any_layout_and_precision(kernels):
    block = drawn(SwinBlock(AFUNetConfig(embed_dim=48, fusion_heads=3), 0))
    accelerate(block)
    x = picture(48, 2, grad=False)
    across = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not across.is_contiguous()
    torch.testing.assert_close(block(across, None), block(x, None), rtol=0, atol=0)
    assert block(x.bfloat16(), None).dtype == torch.float32


@compiled
def test_number_of_threads_changes_nothing_but_the_order_of_sums(kernels):
    block = drawn(SwinBlock(AFUNetConfig(embed_dim=48, fusion_heads=3), 4))
    accelerate(block)
    results, threads = [], torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            x = picture(48, 2)
            y = block(x, None)
            weight = torch.autograd.grad(y.square().sum(), (block.mlp.fc1.weight, x))
            results.append((y, *weight))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)
    assert torch.equal(results[0][0], results[1][0])


@compiled
def test_without_openmp_one_thread_does_all(monkeypatch, tmp_path):
    """As with Apple's compiler, which knows no -fopenmp."""
    monkeypatch.setattr(build, "PARALLEL", ("-fno-such-option",))
    monkeypatch.setattr(build, "FLAGS", tuple(flag.replace("-O3", "-O1") for flag in build.FLAGS))  # sooner done
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path))
    build.library.cache_clear()
    try:
        block = drawn(SwinBlock(AFUNetConfig(embed_dim=48, fusion_heads=3), 0))
        x = picture(48, 2, grad=False)
        expected = block(x, None)
        assert accelerate(block)
        torch.testing.assert_close(block(x, None), expected, rtol=0.05, atol=0.05)
    finally:
        build.library.cache_clear()


@compiled
def test_other_types_of_numbers_are_left_alone():
    assert not accelerate(SwinBlock(AFUNetConfig(embed_dim=48, fusion_heads=3), 0).double())


@compiled
def test_which_modules_are_replaced():
    config = AFUNetConfig(embed_dim=48, depths=(1, 2), fusion_heads=3, drop_path=0.0)
    model = AFUNet(config)
    assert accelerate(model)
    replaced = [module for module in model.modules() if getattr(module, "kernel", None) is not None]
    assert len(replaced) == 3 + 4  # blocks, and both sides of each stage
    for changes in ({"window_size": 4}, {"embed_dim": 36, "fusion_heads": 1}, {"fusion_heads": 1, "alignment": False}):
        # Windows of another size, branches of 12 channels and heads of 36, heads of 48.
        other = AFUNet(AFUNetConfig(**{**config.to_dict(), **changes}))
        assert not accelerate(other), changes


@compiled
@pytest.mark.parametrize("kind", [SwinBlock, SpatialAlignment])
def test_stochastic_depth(kernels, kind):
    """The same draw drops the same residuals, and their parameters get no gradient from these pictures."""
    config = AFUNetConfig(embed_dim=48, fusion_heads=3)
    module = drawn(kind(config, 4, drop_path=0.5) if kind is SwinBlock else kind(config, drop_path=0.5))
    inputs = [picture(48, 2)] if kind is SwinBlock else [picture(16, 2), picture(16, 3)]
    mask = shift_mask(16, 24, 8, 4, inputs[0].device, inputs[0].dtype)
    gradients = [torch.randn_like(inputs[0]) for _ in inputs]
    leaves = {"x": inputs[0], **{n: p for n, p in module.named_parameters() if not n.startswith("refine")}}

    def compute() -> Any:
        torch.manual_seed(1)  # attention is kept in the second picture only, the MLP in the first
        return module(*inputs, mask) if kind is SwinBlock else module.attend(*inputs)

    assert module.training
    exact = results(compute, leaves, gradients)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = results(compute, leaves, gradients)
    assert accelerate(module)
    assert_as_near(results(compute, leaves, gradients), rounded, exact)
    before = compute()
    module.eval()
    assert not torch.equal(compute()[-1], before[-1])  # whole residuals, none dropped


CONFIG = TrainingConfig(
    model="compact",
    model_overrides={"depths": [1]},
    data={"kind": "synthetic", "holdout": 0},
    loss={"decibel": 0.01},
    steps=4,
    batch=2,
    patch=32,
    warmup=1,
    validate_every=0,
    log_every=1,
)


@compiled
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    from safetensors.torch import load_file

    whole = load_file(train(CONFIG, tmp_path / "whole", accelerator="cpu", progress=False))
    for _ in range(CONFIG.steps):
        parts = load_file(train(CONFIG, tmp_path / "parts", accelerator="cpu", progress=False, minutes=0.0))
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


@compiled
def test_training_uses_them_where_it_can(tmp_path, monkeypatch):
    import afunet_core.training as training

    asked = []
    monkeypatch.setattr(training, "accelerate", lambda model: asked.append(model) or accelerate(model))
    for changes in ({"native": False}, {"precision": "32-true"}, {}):
        config = TrainingConfig(**{**CONFIG.__dict__, "steps": 1, **changes})
        train(config, tmp_path / str(len(changes)) / str(config.precision), accelerator="cpu", progress=False)
        assert len(asked) == (not changes)


def test_without_a_compiler_nothing_changes(monkeypatch):
    build.library.cache_clear()
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    model = AFUNet(COMPACT)
    try:
        assert not accelerate(model)
    finally:
        build.library.cache_clear()
    assert all(getattr(module, "kernel", None) is None for module in model.modules())


@pytest.mark.skipif(shutil.which("false") is None, reason="needs a program that fails")
def test_a_compiler_that_fails_is_told_and_training_goes_on(monkeypatch, tmp_path):
    build.library.cache_clear()
    monkeypatch.setenv("CXX", "false")
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path))
    try:
        with pytest.warns(UserWarning, match="could not be compiled"):
            assert not accelerate(AFUNet(COMPACT))
    finally:
        build.library.cache_clear()
    assert not list(tmp_path.rglob("*.so"))


@compiled
def test_compiled_once(monkeypatch, tmp_path):
    """The second time, the library in the cache is loaded, and no compiler is called."""
    monkeypatch.setattr(build, "FLAGS", tuple(flag.replace("-O3", "-O1") for flag in build.FLAGS))  # sooner done
    monkeypatch.setenv("AFUNET_CACHE", str(tmp_path))
    build.library.cache_clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert build.library() is not None
            (first,) = tmp_path.rglob("*.so")
            build.library.cache_clear()
            monkeypatch.setattr(build.subprocess, "run", lambda *args, **kwargs: pytest.fail("compiled again"))
            assert build.library() is not None
        assert list(tmp_path.rglob("*.so")) == [first]
    finally:
        build.library.cache_clear()
