"""merge() with the network, or the frames too, on a device that is not the CPU: a pretended one, with true values.

A tensor there says that it lies elsewhere, and its values lie on the CPU. What a GPU refuses is refused: operations on
tensors of two devices, and NumPy arrays of what lies elsewhere. What a GPU waits for is counted.
"""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

import afunet_core as af
from afunet_core.merging import inference
from afunet_core.registration.frames import register
from scenes import ANCHORED, blobs, photographed, tiny_network

THERE = torch.device("meta")
"""The name of the device: PyTorch asks for no driver for it."""
TRANSFERS = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
"""Operations that may join two devices."""


class Elsewhere(Tensor):
    """A tensor that says it lies elsewhere; ``held`` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=THERE
        )
        made.held = held
        return made

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{function} outside of PretendedDevice")


class PretendedDevice(TorchDispatchMode):
    """Runs operations on `Elsewhere` on what they hold; lists where a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        there = {id(value.held): value for value in tensors if isinstance(value, Elsewhere)}
        stated = kwargs.get("device")
        elsewhere = bool(there) if stated is None else torch.device(stated) == THERE
        if function._can_decompose():  # in inference mode PyTorch leaves to a mode what else it takes apart itself
            with self:
                return function.decompose(*args, **kwargs)
        if not there and not elsewhere:
            return function(*args, **kwargs)
        here = [value for value in tensors if not isinstance(value, Elsewhere)]
        assert function in TRANSFERS or not (there and any(value.ndim for value in here)), f"{function} of two devices"
        into = function is torch.ops.aten.copy_.default and not isinstance(args[0], Elsewhere)
        if there and (into or not elsewhere or function is torch.ops.aten._local_scalar_dense.default):
            self.waits.append(_caller())
        if stated is not None:
            kwargs["device"] = torch.device("cpu")
        self.operations += 1
        result = function(*tree_map_only(Elsewhere, _held, args), **tree_map_only(Elsewhere, _held, kwargs))
        if function._schema.is_mutable:
            return tree_map_only(Tensor, lambda value: there.get(id(value), value), result)
        return tree_map_only(Tensor, Elsewhere, result) if elsewhere else result


def _held(value: Elsewhere) -> Tensor:
    return value.held


def _caller() -> str:
    """The line of the product that waits."""
    frames = [frame for frame in traceback.extract_stack() if "afunet_core" in frame.filename]
    return f"{frames[-1].filename.rsplit('afunet_core/')[-1]}: {frames[-1].name}: {frames[-1].line}"


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> PretendedDevice:
    monkeypatch.setattr(inference, "choose_device", lambda name: torch.device("cpu") if name == "cpu" else THERE)
    return PretendedDevice()


def moving_bracket(count: int) -> af.Bracket:
    """A hand-held bracket in which a disc moves."""
    texture, times = 0.1 + 0.4 * blobs(104, 128, 2), [4.0**index for index in range(count)]
    y, x = torch.meshgrid(torch.arange(72), torch.arange(96), indexing="ij")
    lights = []
    for index in range(count):
        view = texture[..., 16 + index : 88 + index, 16 - index : 112 - index]
        disc = (x - 30 - 9 * index).square() + (y - 40).square() < 100
        lights.append(torch.where(disc, 0.03, view) / 4 ** (count // 2))
    return af.Bracket(photographed(lights, times, gain=0, read=0), times=times, override=True)


@pytest.mark.parametrize(
    ("count", "options"),
    [(3, {}), (3, {"stages": True}), (4, {"working_scale": "quarter"}), (2, {"method": "afunet"})],
)
def test_a_merge_with_the_network_elsewhere(device: PretendedDevice, count: int, options: dict[str, Any]) -> None:
    """The same result, and nothing is waited for but what comes back: strips of the result."""
    bracket, network = moving_bracket(count), tiny_network(**ANCHORED)
    expected = af.merge(bracket, model=network, device="cpu", align="off", **options)
    with device:
        found = af.merge(bracket, model=network, align="off", **options)
    np.testing.assert_allclose(found.radiance, expected.radiance, rtol=0, atol=2e-5)
    assert device.operations > 100
    assert {wait.split(":")[0] for wait in device.waits} <= {"model/streaming/stream.py"}


def test_frames_elsewhere(device: PretendedDevice) -> None:
    """A merge brings them here; registration warps them where they lie."""
    bracket, network = moving_bracket(3), tiny_network(**ANCHORED)
    expected = af.merge(bracket, model=network, device="cpu")
    with device:
        there = bracket.to(THERE)
        aligned, found = register(there)
        merged = af.merge(there, model=network)
    assert {entry.decision for entry in found} == {"identity", "warped"}
    assert all(isinstance(frame, Elsewhere) for frame in aligned.frames)
    np.testing.assert_allclose(merged.radiance, expected.radiance, rtol=0, atol=2e-5)
