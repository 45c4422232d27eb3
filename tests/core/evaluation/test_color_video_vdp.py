"""ColorVideoVDP and its display: input, results and labels."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from afunet_core.errors import ArgumentError, DependencyError
from afunet_core.evaluation.color_video_vdp import DisplayModel, color_video_vdp
from afunet_core.evaluation.evaluator import Sample, evaluate
from afunet_core.metrics import Metric

DISPLAY = DisplayModel(peak=400.0, contrast=1000.0, ambient=0.0, pixels_per_degree=50.0)


def pair(height: int = 6, width: int = 9, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, truth = torch.rand(2, batch, 3, height, width, generator=generator) * 1.2
    return image, truth


class TestDisplay:
    def test_luminance_is_proportional_between_black_and_peak(self, checks: Any) -> None:
        light = torch.tensor([-1.0, 0.0, 0.0005, 0.25, 1.0, 3.0]).view(1, 1, 1, -1)
        shown = DISPLAY.luminance(light)
        checks.close(shown[0, :, 0], torch.tensor([0.4, 0.4, 0.4, 100.0, 400.0, 400.0]).expand(3, -1), tolerance=1e-6)

    def test_the_definition_names_everything(self) -> None:
        for part in ("BT.709", "400 cd/m²", "0.4 cd/m²", "0 lux", "50 pixels per degree"):
            assert part in DISPLAY.definition

    @pytest.mark.parametrize(
        "wrong", [{"peak": 0.0}, {"contrast": 1.0}, {"ambient": -1.0}, {"pixels_per_degree": math.nan}], ids=str
    )
    def test_displays_that_cannot_be(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            DisplayModel(**wrong)


class TestRefusals:
    @pytest.mark.parametrize("missing", ["pycvvdp", "torchvision"])
    def test_without_cvvdp_or_torchvision_the_extra_is_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
    ) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("pycvvdp", "torchvision")]:
            monkeypatch.delitem(sys.modules, name)
        (tmp_path / "pycvvdp.py").write_text("import torchvision")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(DependencyError, match=rf"{missing}.*napari-afunet\[metrics\]"):
            color_video_vdp()

    def test_a_torchvision_for_another_torch_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delitem(sys.modules, "pycvvdp", raising=False)
        (tmp_path / "pycvvdp.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(DependencyError, match=r"torchvision that fits torch .*nms does not exist"):
            color_video_vdp()


@pytest.fixture(scope="module")
def metric() -> Metric:
    try:
        return color_video_vdp(DISPLAY)
    except DependencyError as error:
        pytest.skip(str(error))


class TestColorVideoVDP:
    def test_ten_is_no_difference_and_more_noise_is_worse(self, metric: Metric) -> None:
        truth = torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(1)) ** 3
        noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
        scores = [metric.function(truth + level * noise, truth) for level in (0.0, 0.02, 0.2)]
        assert scores[0].tolist() == pytest.approx([10.0, 10.0], abs=1e-4)
        assert bool((scores[0] > scores[1]).all() and (scores[1] > scores[2]).all())
        alone = metric.function((truth + 0.2 * noise)[1:], truth[1:])
        assert alone.item() == pytest.approx(scores[2][1].item(), abs=1e-4)

    def test_it_depends_on_the_display_and_says_so(self, metric: Metric) -> None:
        truth = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(1)) ** 3
        noisy = truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
        dim = color_video_vdp(DisplayModel(peak=0.5, contrast=1000.0, ambient=0.0, pixels_per_degree=50.0))
        assert dim.function(noisy, truth).item() > metric.function(noisy, truth).item() + 0.05
        assert re.search(r"ColorVideoVDP \d+\.\d+.*400 cd/m².*50 pixels per degree", metric.definition)
        assert "0.5 cd/m²" in dim.definition

    def test_gradients_lead_to_the_truth(self, metric: Metric) -> None:
        image, truth = pair(32, 32)
        image.requires_grad_()
        (gradient,) = torch.autograd.grad(metric.function(image, truth).sum(), image)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0

    def test_as_a_column_of_evaluate(self, metric: Metric) -> None:
        image, truth = pair(32, 32)
        frames = tuple((truth * time).clamp(0, 1) ** (1 / 2.2) for time in (1.0, 4.0, 16.0))
        sample = Sample("s", "all", frames, torch.tensor([1.0, 4.0, 16.0]), truth)
        table = evaluate({"x": lambda _: image}, [sample], more_metrics={"JOD": metric})
        assert table.mean("x")["JOD"] == pytest.approx(metric.function(image, truth).item(), abs=1e-4)
        assert f"- JOD: {metric.definition}; JOD, peak 10" in table.to_markdown()
