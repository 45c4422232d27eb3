"""Cost of bfloat16 products in the picture, with the weights that people use."""

from __future__ import annotations

import pytest
import torch

from afunet_core.data.synthesis.brackets import Synthesizer
from afunet_core.data.synthesis.scenes import SceneBank
from afunet_core.metrics import psnr_mu
from afunet_core.model.checkpoint import load_model
from afunet_core.model.streaming.stream import stream


@pytest.fixture(scope="module")
def model():
    return load_model("compact")


@pytest.fixture(scope="module")
def maker():
    return Synthesizer(SceneBank.procedural(seed=5))


@pytest.mark.parametrize("kind", ["static", "both"])
def test_bfloat16_stays_at_least_55_decibel_from_float32(model, maker, kind):
    frames = maker.sample(1, (128, 128), torch.Generator().manual_seed(7), kind).network_input()
    exact, fast = (stream(model, frames, precision=precision) for precision in ("float32", "bfloat16"))
    decibel = psnr_mu(fast, exact).item()
    assert 55 <= decibel < 120  # infinite, if bfloat16 were silently not used
