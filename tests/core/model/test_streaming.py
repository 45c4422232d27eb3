"""Streaming against the plain forward: the same result, whatever the tiles."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from afunet_core.data.synthesis.brackets import Synthesizer
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.errors import ArgumentError, MergeCancelled, ShapeError
from afunet_core.metrics import psnr_mu
from afunet_core.model.afunet import AFUNet
from afunet_core.model.checkpoint import load_model
from afunet_core.model.config import COMPACT, AFUNetConfig
from afunet_core.model.streaming.folded_layers import _fused_linear
from afunet_core.model.streaming.stream import stream
from afunet_core.model.streaming.threads import Workers
from scenes import drawn_network as network

TINY = AFUNetConfig(embed_dim=12, depths=(2,), fusion_heads=2, alignment_heads=2, channel_heads=2)
VARIANTS = {
    "published": TINY,
    "no blocks": replace(TINY, depths=(0,)),
    "deep": replace(TINY, depths=(1, 5)),
    "fuse first": replace(TINY, order="FA", depths=(1, 1)),
    "no alignment": replace(TINY, alignment=False),
    "no channel fusion": replace(TINY, channel_fusion=False),
    "no data consistency": replace(TINY, data_consistency=False),
    "nothing but fusion": replace(TINY, alignment=False, channel_fusion=False, data_consistency=False),
    "smallest window": replace(TINY, window_size=2),
    "folded": replace(TINY, downscale=2),
    "anchored": replace(TINY, head="anchored", mu_input=True),
    "compact": replace(COMPACT, embed_dim=12, depths=(2, 1), fusion_heads=1),
}


def bracket(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def plain(model: AFUNet, frames: Tensor):
    with torch.inference_mode():
        return model.forward_stages(frames)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_plain_forward(name, dtype, tolerance):
    model, frames = network(VARIANTS[name]).to(dtype), bracket(2, 18, 21, 27).to(dtype)
    expected, expected_states = plain(model, frames)
    radiance, states = stream(model, frames, stages=True, tile_windows=2)
    assert radiance.dtype == dtype
    torch.testing.assert_close(radiance, expected, rtol=0, atol=tolerance)
    assert len(states) == len(expected_states)
    for state, reference in zip(states, expected_states, strict=True):
        torch.testing.assert_close(state, reference, rtol=1e-4, atol=2e-5)


@settings(max_examples=12)
@given(
    height=st.integers(1, 45),
    width=st.integers(1, 45),
    piece=st.integers(1, 9),
    window=st.sampled_from([2, 4, 8]),
    depth=st.integers(0, 4),
    fold=st.integers(1, 3),
    budget=st.sampled_from([None, 0, 9_000]),
)
def test_equals_the_plain_forward_for_any_sizes(height, width, piece, window, depth, fold, budget):
    config = replace(
        TINY, window_size=window, depths=(depth,), downscale=fold, head="anchored" if fold > 1 else "direct"
    )
    model, frames = network(config, seed=piece), bracket(1, 18, height, width)
    expected, _ = plain(model, frames)
    radiance = stream(model, frames, tile_windows=piece, memory_budget=budget)
    torch.testing.assert_close(radiance, expected, rtol=0, atol=2e-5)


def test_is_deterministic_whatever_the_workers():
    model, frames = network(TINY), bracket(1, 18, 40, 72)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        three = [stream(model, frames, tile_windows=2) for _ in range(2)]
        torch.set_num_threads(1)
        one = stream(model, frames, tile_windows=2)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*three)
    torch.testing.assert_close(three[0], one, rtol=0, atol=2e-6)


def test_a_training_network_streams_as_in_evaluation_and_stays_in_training():
    model, frames = network(replace(TINY, drop_path=0.9)).train(), bracket(1, 18, 9, 9)
    radiance, states = stream(model, frames, stages=True)
    assert model.training
    torch.testing.assert_close(radiance, plain(model.eval(), frames)[0], rtol=0, atol=2e-5)
    for tensor in (radiance, *states[0]):  # ordinary ones, that gradients may start from
        tensor.requires_grad_().square().sum().backward()


def test_progress_is_monotone_complete_and_reported_in_the_calling_thread():
    seen: list[tuple[int, int, str]] = []
    threads = set()

    def report(*told):
        seen.append(told)
        threads.add(threading.get_ident())

    stream(network(VARIANTS["deep"]), bracket(2, 18, 40, 9), tile_windows=1, on_progress=report)
    total = seen[0][1]
    assert [done for done, _, _ in seen] == list(range(1, total + 1))
    assert {count for _, count, _ in seen} == {total}
    assert any("stage 2 of 2" in message for _, _, message in seen)
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("after", [0, 1, 7, 30])
def test_cancel_between_tiles(after, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    calls = []

    def cancel() -> bool:
        calls.append(None)
        return len(calls) > after

    before = torch.get_num_threads()
    with pytest.raises(MergeCancelled):
        stream(network(TINY), bracket(1, 18, 40, 40), tile_windows=1, should_cancel=cancel, memory_budget=0)
    assert len(calls) == after + 1
    assert list(tmp_path.iterdir()) == []  # of the scratch file
    assert torch.get_num_threads() == before


def test_wrong_inputs_are_refused():
    model = network(TINY)
    with pytest.raises(ShapeError, match="frames"):
        stream(model, bracket(1, 17, 8, 8))
    with pytest.raises(ArgumentError, match="precision"):
        stream(model, bracket(1, 18, 8, 8), precision=torch.int8)
    with pytest.raises(ArgumentError, match="anchored head"):
        stream(model, bracket(1, 18, 8, 8), maps=True)


def test_workers_pass_the_first_error_on_and_start_nothing_after_it():
    started = []

    def task(index: int) -> None:
        started.append(index)
        if index == 3:
            raise ValueError("piece 3")

    before = torch.get_num_threads()
    with Workers(3, lambda: None) as workers, pytest.raises(ValueError, match="piece 3"):
        workers.run([lambda index=index: task(index) for index in range(1000)])
    assert len(started) < 1000
    assert torch.get_num_threads() == before


def test_every_thread_gets_its_number_of_threads_back():
    """Also one that leaves while a run of another thread goes on."""
    entered, left, numbers = threading.Event(), threading.Event(), []

    def other() -> None:
        with Workers(2, lambda: None):
            entered.set()
            left.wait(600)
        numbers.append(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    thread = threading.Thread(target=other)
    try:
        with Workers(2, lambda: None):
            thread.start()
            assert entered.wait(600)
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        left.set()
        thread.join()
        assert numbers == [3]
    finally:
        torch.set_num_threads(before)


def test_without_the_fused_product_the_result_is_the_same(monkeypatch):
    model, frames = network(TINY), bracket(1, 18, 17, 23)
    fused = stream(model, frames)
    narrow = stream(model, frames, precision=torch.bfloat16)
    assert _fused_linear("cpu", torch.float64) is None
    monkeypatch.setattr("afunet_core.model.streaming.folded_layers._fused_linear", lambda device, dtype: None)
    torch.testing.assert_close(stream(model, frames), fused, rtol=0, atol=2e-5)
    torch.testing.assert_close(stream(model, frames, precision=torch.bfloat16), narrow, rtol=0, atol=2e-2)


@pytest.mark.parametrize("kind", ["static", "both"])
def test_bfloat16_stays_at_least_55_decibel_from_float32_with_weights_that_people_use(kind):
    model, maker = load_model("compact"), Synthesizer(SceneBank.procedural(seed=5))
    frames = maker.sample(1, (128, 128), torch.Generator().manual_seed(7), kind).network_input()
    exact, fast = (stream(model, frames, precision=precision) for precision in (torch.float32, torch.bfloat16))
    assert 55 <= psnr_mu(fast, exact).item() < 120  # infinite, if bfloat16 were silently not used
