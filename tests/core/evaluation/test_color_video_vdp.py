"""ColorVideoVDP and its display: input, results and labels."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.evaluation.color_video_vdp import color_video_vdp
from afunet_core.evaluation.evaluator import Sample, evaluate
from afunet_core.metrics import Metric


def noisy_pair(level: float, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    truth, noise = torch.randn(2, batch, 3, 40, 48, generator=torch.Generator().manual_seed(1))
    truth = truth.abs().clamp(max=1) ** 3
    return truth + level * noise, truth


@pytest.mark.parametrize("wrong", [{"peak": 0.0}, {"pixels_per_degree": float("nan")}], ids=str)
def test_displays_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        color_video_vdp(**wrong)


@pytest.mark.parametrize("package", ["import missing_package", "raise RuntimeError('missing_package: nms')"])
def test_without_its_packages_the_extra_is_named(monkeypatch: Any, tmp_path: Path, package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pycvvdp"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "pycvvdp.py").write_text(package)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        DependencyError, match=r"torchvision that fits torch .*missing_package.*napari-afunet\[metrics\]"
    ):
        color_video_vdp()


@pytest.fixture(scope="module")
def metric() -> Metric:
    try:
        return color_video_vdp(400.0, 50.0)
    except DependencyError as error:
        pytest.skip(str(error))


def test_ten_is_no_difference_and_more_noise_is_worse(metric: Metric) -> None:
    scores = [metric.function(*noisy_pair(level, 2)) for level in (0.0, 0.02, 0.2)]
    assert scores[0].tolist() == pytest.approx([10.0, 10.0], abs=1e-4)
    assert bool((scores[0] > scores[1]).all() and (scores[1] > scores[2]).all())
    alone = metric.function(*(x[1:] for x in noisy_pair(0.2, 2)))
    assert alone.item() == pytest.approx(scores[2][1].item(), abs=1e-4)


def test_it_depends_on_the_display_and_says_so(metric: Metric) -> None:
    dim = color_video_vdp(0.5, 50.0)
    assert dim.function(*noisy_pair(0.05)).item() > metric.function(*noisy_pair(0.05)).item() + 0.05
    assert re.search(r"ColorVideoVDP \d+\.\d+.*400 cd/m², black at 0.0004.*50 pixels per degree", metric.definition)


def test_gradients_and_a_column_of_evaluate(metric: Metric) -> None:
    image, truth = noisy_pair(0.05)
    image.requires_grad_()
    score = metric.function(image, truth)
    (gradient,) = torch.autograd.grad(score.sum(), image)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0
    sample = Sample("s", "all", (truth,) * 3, torch.tensor([1.0, 4.0, 16.0]), truth)
    table = evaluate({"x": lambda _: image.detach()}, [sample], more_metrics={"JOD": metric})
    assert table.mean("x")["JOD"] == pytest.approx(score.item(), abs=1e-4)
    assert f"- JOD: {metric.definition}; JOD, peak 10" in table.to_markdown()
