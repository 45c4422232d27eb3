"""Exposure and white-balance drift: found, divided out, and left alone where there is none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import afunet_core as af
from afunet_core.baselines.weighted import weighted_merge
from afunet_core.camera.drift import compensate_drift, estimate_drift
from afunet_core.radiometry import encode

GAINS = torch.tensor([[1.05, 0.95, 1.1], [1.0, 1.0, 1.0], [0.9, 0.92, 0.88]])


def light() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 10 ** (-2.2 + 2.2 * torch.rand(1, 3, 80, 80, generator=generator))


def bracket(gains: Tensor = GAINS, encoding: str = "gamma", moved: bool = False) -> af.Bracket:
    frames = []
    for gain, time in zip(gains, (1.0, 4.0, 16.0), strict=True):
        scene = light()
        if moved and time > 4:
            scene[..., :20] = scene[..., :20].flip(-2)
        frames.append(encode((scene * time * gain.view(1, 3, 1, 1)).clamp(0, 1), encoding))
    return af.Bracket(frames, ev=(0, 2, 4), encoding=encoding, response=None)


@pytest.mark.parametrize("encoding", ["gamma", "srgb", "linear"])
@pytest.mark.parametrize("moved", [False, True])
def test_every_gain_is_found(encoding: str, moved: bool) -> None:
    drifts = estimate_drift(bracket(encoding=encoding, moved=moved))
    found = torch.tensor([drift.stops for drift in drifts]).exp2()
    torch.testing.assert_close(found, GAINS, rtol=0.01 if moved else 1e-4, atol=0)
    assert [drift.compensated for drift in drifts] == [True, False, True]


def test_compensation_restores_the_scene_and_is_labelled() -> None:
    taken = bracket()
    compensated = compensate_drift(taken, estimate_drift(taken))
    before, after = (float((weighted_merge(b) / light() - 1).abs().quantile(0.95)) for b in (taken, compensated))
    assert after < 0.01 < 0.05 < before
    assert [entry["name"] for entry in compensated.metadata["drift"]] == list(taken.names)
    assert "drift" not in taken.metadata
    for frame, corrected in zip(taken.frames, compensated.frames, strict=True):
        assert torch.equal(frame == 1, corrected == 1)  # what is saturated stays so
    still = bracket(torch.ones(3, 3))
    assert compensate_drift(still, estimate_drift(still)) is still


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_exposure_is_reported_and_left(factor: float) -> None:
    gains = torch.ones(3, 3)
    gains[0] = factor
    drift = estimate_drift(bracket(gains))[0]
    assert not drift.compensated
    assert "wrong exposure" in drift.reason
    assert drift.exposure == pytest.approx(-1.0 if factor < 1 else 1.0, abs=0.01)


def test_what_is_no_drift() -> None:
    """A tone curve, a black level, and frames with too little in common."""
    curved = [encode((light() * time).clamp(0, 1), gamma=1.7) for time in (1.0, 4.0, 16.0)]
    raised = [(0.03 + 0.97 * light() * time).clamp(0, 1) for time in (1.0, 2.0, 4.0)]
    apart = [torch.full((1, 3, 40, 40), value) for value in (0.01, 0.99)]
    for frames, ev, encoding in ((curved, (0, 2, 4), "gamma"), (raised, (0, 1, 2), "linear"), (apart, (0, 9), "gamma")):
        drifts = estimate_drift(af.Bracket(frames, ev=ev, encoding=encoding, response=None))
        assert not any(drift.compensated for drift in drifts)
        assert frames is not raised or "depends on brightness" in drifts[0].reason


def test_merge_notes_the_drift() -> None:
    taken = bracket()
    plain = af.merge(taken, method="weighted", align="off")
    result = af.merge(taken, method="weighted", align="off", drift="auto")
    truth = light()[0].permute(1, 2, 0).numpy()
    assert abs(result.radiance / truth - 1).mean() < 0.5 * abs(plain.radiance / truth - 1).mean()
    assert [entry["compensated"] for entry in result.info["drift"]] == [True, False, True]
    assert "drift" not in plain.info
    with pytest.raises(af.ArgumentError, match="drift"):
        af.merge(taken, method="weighted", drift="some")
