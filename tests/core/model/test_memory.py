"""Memory planning against a simulated allocator, and the engine on a device whose values nobody can wait for."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import afunet_core as af
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import COMPACT
from afunet_core.model.streaming.at_scale import stream_at_scale
from afunet_core.model.streaming.stream import stream

TINY = replace(COMPACT, embed_dim=12, depths=(1, 1), fusion_heads=2, window_size=4)
TIMES = torch.tensor([[1.0, 4.0, 16.0]])


def strided(leaf: object) -> bool:
    """A tensor with a storage; weights that oneDNN has laid out have none."""
    return isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided


class Allocator(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make while they live; beyond a limit, memory runs out."""

    def __init__(self, limit: float = float("inf")) -> None:
        super().__init__()
        self.limit, self.live, self.peak, self.refused = limit, 0, 0, 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if strided(leaf)}
        for leaf in tree_leaves(result):
            if strided(leaf) and leaf.untyped_storage()._cdata not in given | self.known:
                self._take(leaf.untyped_storage())
        return result

    def _take(self, storage: torch.UntypedStorage) -> None:
        size, key = storage.nbytes(), storage._cdata
        if self.live + size > self.limit:
            self.refused += 1
            raise torch.OutOfMemoryError("out of memory")
        self.known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


@pytest.fixture(autouse=True)
def one_thread():
    """A dispatch mode sees its own thread alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network() -> AFUNet:
    torch.manual_seed(0)
    return AFUNet(TINY).eval()


def peak(network: AFUNet, height: int, budget: int | None) -> int:
    """Most bytes at once beside the input and the result."""
    frames = torch.rand(1, 18, height, 64)
    with Allocator() as memory:
        stream(network, frames, times=TIMES, memory_budget=budget, tile_windows=4)
    return memory.peak - 3 * height * 64 * 4


def test_features_keep_to_the_budget(network):
    """Memory beside the features grows with the width alone; the features take the budget, and no more."""
    buffers = peak(network, 128, 0)
    assert peak(network, 512, 0) < 1.1 * buffers
    everything = peak(network, 512, None)
    assert everything > 3 * buffers
    budget = (everything - buffers) // 2
    assert budget / 2 < peak(network, 512, budget) - buffers < 1.1 * budget


def test_memory_that_runs_out_leads_to_smaller_pieces_and_the_same_result(network):
    rng = np.random.default_rng(0)
    light = 0.02 + 0.1 * rng.random((1, 3, 192, 128), np.float32)
    frames = [torch.from_numpy((light * time).clip(0, 1) ** (1 / 2.2)) for time in (1.0, 4.0, 8.0)]
    bracket = af.Bracket(frames, times=(1.0, 4.0, 8.0), encoding="gamma", override=True)
    options = {"model": network, "method": "afunet", "align": "off", "device": "cpu"}
    with Allocator() as enough:
        expected = af.merge(bracket, **options)
    with Allocator(0.8 * enough.peak) as scarce, pytest.warns(UserWarning, match="in smaller pieces") as told:
        found = af.merge(bracket, **options)
    assert scarce.refused
    assert found.info["warnings"] == [str(told[0].message)]
    np.testing.assert_allclose(found.radiance, expected.radiance, rtol=0, atol=2e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_the_engine_waits_for_no_value_and_leaves_nothing_on_another_device(network, precision):
    """Tensors that only know shapes refuse ``.item()``, ``.cpu()`` and companions from elsewhere."""
    there, frames = AFUNet(TINY).eval().to("meta"), torch.rand(2, 18, 40, 48, device="meta")
    times = TIMES.expand(2, 3).to("meta")
    image, states = stream(there, frames, times=times, stages=True, precision=precision)
    maps = stream(there, frames, times=times, maps=True, precision=precision)
    reduced, _ = stream_at_scale(there, frames, 2, precision=precision)
    found = [image, maps, reduced, *(part for state in states for part in state)]
    assert {value.device.type for value in found} == {"meta"}
    assert image.shape == reduced.shape == (2, 3, 40, 48)
