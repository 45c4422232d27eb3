"""ColorVideoVDP, and HDR-VDP through Octave: their input, results and labels.

HDR-VDP itself is not ours to ship: a stub toolbox stands in for it, in a real Octave where there is one, and always
behind a program that says it is Octave.
"""

from __future__ import annotations

import math
import re
import shutil
import stat
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from afunet_core.cli import main
from afunet_core.errors import AFUNetError, ArgumentError, DependencyError, ShapeError
from afunet_core.evaluation.color_video_vdp import color_video_vdp
from afunet_core.evaluation.display import DisplayModel
from afunet_core.evaluation.evaluator import Sample, evaluate
from afunet_core.evaluation.hdr_vdp import hdr_vdp
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


def make_program(path: Path, body: str) -> str:
    """A program that is started as Octave is, and reads the script it is given."""
    path.write_text(f"#!{sys.executable}\nimport re, sys\nscript = open(sys.argv[-1]).read()\n{textwrap.dedent(body)}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


# Reads both pictures as the script says, and answers with the mean of test minus truth of the blue corner pixel.
ANSWERING = """
import struct
def read(name):
    path, height, width = re.search(name + r" = read_picture\\('(.*)', (\\d+), (\\d+)\\)", script).groups()
    height, width = int(height), int(width)
    values = struct.unpack(f"<{3 * height * width}f", open(path.replace("''", "'"), "rb").read())
    return values[2 * height * width + (width - 1) * height]  # blue, first row, last column, stored by columns
path = re.search(r"fopen\\('([^']*(?:''[^']*)*)', 'w'\\)", script)[1].replace("''", "'")
open(path, "w").write(str(read("image") - read("truth")))
"""


@pytest.fixture
def toolbox(tmp_path: Path) -> Path:
    folder = tmp_path / "it's hdrvdp-3.0.7"
    folder.mkdir()
    (folder / "hdrvdp3.m").write_text("")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for Octave is a script with a #! line")
class TestBridge:
    def test_pictures_arrive_in_place_and_in_luminance(self, toolbox: Path, tmp_path: Path, checks: Any) -> None:
        metric = hdr_vdp(toolbox, DISPLAY, octave=make_program(tmp_path / "octave", ANSWERING))
        image, truth = pair(batch=2)
        shown, wanted = DISPLAY.luminance(image), DISPLAY.luminance(truth)
        checks.close(metric.function(image, truth), (shown - wanted)[:, 2, 0, -1], tolerance=1e-4)

    def test_a_label_names_version_encoding_display_and_scale(self, toolbox: Path, tmp_path: Path) -> None:
        program = make_program(tmp_path / "octave", ANSWERING)
        metric = hdr_vdp(toolbox, DISPLAY, octave=program)
        for part in ("HDR-VDP 3.0.7", "rgb-bt.709", "400 cd/m²", "50 pixels per degree", "quality", "no ambient"):
            assert part in metric.definition
        assert (metric.unit, metric.peak) == ("JOD", 10.0)
        older = tmp_path / "older"
        older.mkdir()
        (older / "hdrvdp.m").write_text("")
        assert "HDR-VDP 2 (release unknown)" in hdr_vdp(older, octave=program).definition
        (older / "ChangeLog.txt").write_text("v 2.2.2 (2020)\n * Fixed\nv 2.2.1\n")
        metric = hdr_vdp(older, octave=program)
        assert "HDR-VDP 2.2.2" in metric.definition
        assert metric.peak == 100.0

    def test_what_octave_complains_of_is_passed_on(self, toolbox: Path, tmp_path: Path) -> None:
        failing = make_program(tmp_path / "failing", "sys.stderr.write('error: no pyramid here'); sys.exit(3)")
        with pytest.raises(AFUNetError, match=r"exit 3.*no pyramid here"):
            hdr_vdp(toolbox, octave=failing).function(*pair())
        slow = make_program(tmp_path / "slow", "import time; time.sleep(60)")
        with pytest.raises(AFUNetError, match=r"longer than 0\.2 s"):
            hdr_vdp(toolbox, octave=slow, timeout=0.2).function(*pair())

    def test_evaluate_prints_it_beside_the_others(
        self, toolbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_program(tmp_path / "octave", ANSWERING)
        monkeypatch.setenv("PATH", str(tmp_path))
        words = ["evaluate", "--synthetic", "1", "--size", "32", "--no-model", "--baselines", "weighted", "-q"]
        assert main([*words, "--hdr-vdp", str(toolbox), "--ppd", "30"]) == 0
        printed = capsys.readouterr().out
        assert "HDR-VDP 3.0.7 in Octave at 30 ppd" in printed
        assert "30 pixels per degree; JOD, peak 10" in printed


class TestRefusals:
    def test_missing_parts_are_named_with_what_to_do(self, toolbox: Path, tmp_path: Path) -> None:
        with pytest.raises(DependencyError, match="apt install octave"):
            hdr_vdp(toolbox, octave="no-such-octave")
        with pytest.raises(DependencyError, match=r"neither hdrvdp3\.m nor hdrvdp\.m.*authors"):
            hdr_vdp(tmp_path, octave=sys.executable)
        with pytest.raises(ArgumentError, match="timeout"):
            hdr_vdp(toolbox, octave=sys.executable, timeout=0)

    def test_shapes(self, toolbox: Path) -> None:
        image, truth = pair()
        with pytest.raises(ShapeError, match="image"):
            hdr_vdp(toolbox, octave=sys.executable).function(image[..., 1:], truth)

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


@pytest.mark.skipif(shutil.which("octave") is None, reason="GNU Octave is not installed: apt install octave")
class TestOctave:
    """A stub toolbox in a real Octave: sums that come out right only if every pixel is where it should be."""

    BODY = """\
function result = {name}
  assert(strcmp(encoding, 'rgb-bt.709') && ppd == 50);
  [y, x, c] = ndgrid(1:size(test, 1), 1:size(test, 2), 1:3);
  result.{field} = helper(sum((test(:) - reference(:)) .* (y(:) + 10 * x(:) + 100 * c(:))));
end
"""

    @pytest.mark.parametrize(
        ("file", "signature", "field"),
        [
            ("hdrvdp3.m", "hdrvdp3(task, test, reference, encoding, ppd, options)", "Q_JOD"),
            ("hdrvdp.m", "hdrvdp(test, reference, encoding, ppd, options)", "Q"),
        ],
    )
    def test_stub_toolbox(self, tmp_path: Path, file: str, signature: str, field: str) -> None:
        folder = tmp_path / "a toolbox, it's 3.0"
        (folder / "utils").mkdir(parents=True)
        (folder / file).write_text(self.BODY.format(name=signature, field=field))
        (folder / "utils" / "helper.m").write_text("function y = helper(x)\n  y = x / 1000;\nend\n")
        image, truth = pair()
        metric = hdr_vdp(folder, DISPLAY)
        y, x, c = np.meshgrid(np.arange(1, 7), np.arange(1, 10), np.arange(1, 4), indexing="ij")
        difference = (DISPLAY.luminance(image) - DISPLAY.luminance(truth))[0].permute(1, 2, 0).double().numpy()
        expected = (difference * (y + 10 * x + 100 * c)).sum() / 1000
        assert metric.function(image, truth).item() == pytest.approx(expected, rel=1e-5)

    def test_errors_of_the_toolbox_are_passed_on(self, toolbox: Path) -> None:
        (toolbox / "hdrvdp3.m").write_text("function r = hdrvdp3(varargin)\n  error('the retina is missing');\nend\n")
        with pytest.raises(AFUNetError, match="the retina is missing"):
            hdr_vdp(toolbox).function(*pair())


class TestColorVideoVDP:
    @pytest.fixture(scope="class")
    def metric(self) -> Metric:
        try:
            return color_video_vdp(DISPLAY)
        except DependencyError as error:
            pytest.skip(str(error))

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
