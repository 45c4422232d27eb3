"""Steps before and after the network are left when their caller wants it, between strips of rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from afunet_core.baselines.mertens import exposure_fusion
from afunet_core.bracket.bracket import Bracket
from afunet_core.camera.noise import ORDINARY_CAMERA
from afunet_core.errors import MergeCancelled
from afunet_core.merging.alignment import AlignedBracket, CameraNoise
from afunet_core.merging.classic import merge_classic
from afunet_core.merging.frame_selection import select_frames
from afunet_core.merging.moving_scene import _reduced
from afunet_core.merging.multi_frame import combine_frames
from afunet_core.merging.options import MergeOptions
from afunet_core.merging.recorded import Recorded, recorded_mean
from afunet_core.merging.static_scene import denoise_classic, is_at_rest
from afunet_core.model.streaming.at_scale import stream_at_scale
from afunet_core.motion.compensation import follow_motion
from afunet_core.motion.ghosts import ghost_map
from afunet_core.registration.align import align_frame
from afunet_core.utils.progress import ProgressReporter
from scenes import ANCHORED, tiny_network

SHIFT = torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, -2.0], [0.0, 0.0, 1.0]])
WEIGHTS = torch.ones(1, 1, 700, 900)


def classic(noise: str, bracket: Bracket, check: Callable[[], None]) -> None:
    options, reporter = MergeOptions(method="weighted", noise=noise), ProgressReporter()
    reporter.check = check  # type: ignore[method-assign]
    aligned = AlignedBracket(bracket, bracket.shape)
    merge_classic(aligned, CameraNoise(bracket, ORDINARY_CAMERA), options, reporter)


def at_half_size(_: Bracket, check: Callable[[], None]) -> None:
    def should_cancel() -> bool:
        check()
        return False

    stream_at_scale(tiny_network(**ANCHORED), torch.zeros(1, 18, 700, 900), 2, should_cancel=should_cancel)


STEPS: dict[str, Callable[[Bracket, Callable[[], None]], object]] = {
    "ghost map": lambda stack, check: ghost_map(stack, check=check),
    "test of rest": is_at_rest,
    "motion compensation": follow_motion,
    "warp": lambda stack, check: align_frame(stack.frames[0], SHIFT, stack.frames[1], 1.0, 4.0, "linear", check=check),
    "exposure fusion": exposure_fusion,
    **{f"weighted mean, {noise}": partial(classic, noise) for noise in ("estimate", "photons")},
    "denoised mean": lambda stack, check: denoise_classic(stack, ORDINARY_CAMERA, check),
    "join of all frames": lambda stack, check: combine_frames(
        stack.radiance(1), stack, select_frames(stack), ORDINARY_CAMERA, check=check
    ),
    "recorded mean": lambda stack, check: recorded_mean(stack, Recorded((0, 1), [WEIGHTS] * 2, WEIGHTS), None, check),
    "frames of a guess": lambda stack, check: _reduced(stack, stack.frames[0], 4, check),
    "frames of a scale": at_half_size,
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_left_in_its_second_strip(step: str) -> None:
    light = torch.rand(1, 3, 700, 900, generator=torch.Generator().manual_seed(0))
    frames = tuple((light * time).clamp(0, 1) for time in (0.1, 0.4))
    stack = Bracket(frames, times=(1.0, 4.0), encoding="linear", reference=1, override=True)
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise MergeCancelled("enough")

    with pytest.raises(MergeCancelled):
        STEPS[step](stack, check)
    assert len(calls) == 2
