from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

from afunet_core.baselines.opencv import opencv_debevec
from afunet_core.baselines.weighted import reference_only, weighted_merge
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.evaluation import evaluator as evaluation
from afunet_core.evaluation.evaluator import Sample, evaluate
from afunet_core.evaluation.scores import INSIDE, OUTSIDE, Evaluation, Row
from afunet_core.metrics import psnr_mu, ssim_linear
from afunet_core.radiometry import expose

TIMES = (1.0, 4.0, 16.0)


def make_sample(name="scene", kind="static", seed=0, moved=False, size=(40, 48)):
    """A smooth scene; with ``moved``, a patch that is ten times as bright in the outer frames."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 6, generator=generator) * 2 - 2.2
    truth = (10 ** torch.nn.functional.interpolate(coarse, size, mode="bicubic")).clamp(max=1)
    other, mask = truth.clone(), torch.zeros(1, 1, *size)
    if moved:
        other[..., 10:20, 10:20] *= 10
        mask[..., 10:20, 10:20] = 1
    frames = tuple(expose(light, time) for light, time in zip((other, truth, other), TIMES, strict=True))
    frames = tuple(frame + 0.01 * torch.randn(frame.shape, generator=generator) for frame in frames)
    return Sample(name, kind, tuple(frame.clamp(0, 1) for frame in frames), torch.tensor(TIMES), truth, mask)


@pytest.fixture
def table():
    samples = [make_sample("a", "static", 0), make_sample("b", "objects", 1, moved=True), make_sample("c", "static", 2)]
    return evaluate({"weighted": weighted_merge, "reference": reference_only}, samples), samples


class TestScores:
    def test_every_score_is_that_of_the_metric(self, checks, table):
        rows, samples = table
        for row in rows.rows:
            sample = next(s for s in samples if s.name == row.scene)
            result = {"weighted": weighted_merge, "reference": reference_only}[row.method](sample)
            checks.close(row.scores["PSNR-μ"], psnr_mu(result, sample.truth).item(), tolerance=1e-6)
            checks.close(row.scores["SSIM-l"], ssim_linear(result, sample.truth).item(), tolerance=1e-6)

    def test_standard_errors_are_those_of_an_independent_source(self):
        rng = np.random.default_rng(3)
        rows = Evaluation(("PSNR-l",))
        base, gain = rng.normal(30, 8, 40), rng.normal(1.5, 0.2, 40)
        for index in range(40):  # names may repeat; the scenes are others
            name, kind = f"scene {index % 20}", "static"
            rows.rows.append(Row("old", name, kind, {"PSNR-l": base[index]}, 0.0))
            rows.rows.append(Row("new", name, kind, {"PSNR-l": base[index] + gain[index]}, 0.0))
        mean, error = rows.difference("new", "old")["PSNR-l"]
        assert rows.mean("old")["PSNR-l"] == pytest.approx(base.mean())
        assert rows.standard_error("old")["PSNR-l"] == pytest.approx(scipy.stats.sem(base))
        assert (mean, error) == pytest.approx((gain.mean(), scipy.stats.sem(gain)))
        assert 20 * error < rows.standard_error("new")["PSNR-l"]  # what makes the comparison worth its while

    def test_how_sure_one_scene_makes_is_not_known(self, table):
        rows, _ = table
        assert math.isnan(rows.standard_error("weighted", "objects")["PSNR-l"])
        assert math.isnan(rows.difference("weighted", "reference", "objects")["PSNR-l"][1])
        with pytest.raises(ArgumentError, match="'weighted', 'reference'"):
            rows.difference("weighted", "unknown")
        for samples in ([make_sample()], []):
            assert "standard error" not in evaluate({"weighted": weighted_merge}, samples).to_markdown()

    def test_ghosts_are_seen_where_they_are(self, table):
        rows, samples = table
        moving = rows.mean("weighted", "objects")
        assert moving[INSIDE] < moving[OUTSIDE] - 15
        assert rows.mean("reference", "objects")[INSIDE] > moving[INSIDE] + 10
        expected = psnr_mu(weighted_merge(samples[1]), samples[1].truth, mask=samples[1].moved > 0.5).item()
        assert moving[INSIDE] == pytest.approx(expected)
        assert math.isnan(rows.mean("weighted", "static")[INSIDE])  # these do not count
        assert rows.mean("weighted")[INSIDE] == moving[INSIDE]


class TestFiles:
    def test_csv_reads_back(self, table, tmp_path):
        rows, _ = table
        rows.write(tmp_path / "table.csv")
        lines = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text(encoding="utf-8"))))
        assert [(line["method"], line["scene"]) for line in lines] == [(row.method, row.scene) for row in rows.rows]
        for line, row in zip(lines, rows.rows, strict=True):
            assert float(line["PSNR-μ"]) == pytest.approx(row.scores["PSNR-μ"], rel=1e-5)
            assert (line[INSIDE] == "") == (row.kind == "static")

    def test_markdown_says_what_each_number_is(self, table, tmp_path):
        rows, _ = table
        rows.write(tmp_path / "table.md")
        text = (tmp_path / "table.md").read_text(encoding="utf-8")
        body = [line for line in text.splitlines() if line.startswith("| ")]
        assert body[0].startswith("| scenes | method | PSNR-μ | PSNR-l")
        labels = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in body[1:]]
        methods = ("weighted", "reference")
        assert labels[:4] == [(scenes, method) for scenes in ("all (3)", "static (2)") for method in methods]
        assert f"{rows.mean('weighted')['PSNR-μ']:.2f}" in body[1]
        for column in rows.columns:
            assert f"- {column}: " in text
        with pytest.raises(ArgumentError, match=r"ends in \.csv or \.md"):
            rows.write(tmp_path / "table.xlsx")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["table.md"]
        error = rows.standard_error("weighted")["PSNR-μ"]
        assert f"| weighted | ± {error:.2f} |" in text
        gain, error = rows.difference("reference", "weighted")["PSNR-μ"]
        assert f"| reference less weighted | {gain:+.2f} ± {error:.2f} |" in text

    def test_columns_without_a_score_are_left_out(self):
        unknown = [replace(make_sample(str(seed), seed=seed), moved=None) for seed in range(2)]
        for samples in (unknown[:1], unknown):
            text = evaluate({"a": weighted_merge, "b": reference_only}, samples).to_markdown()
            assert not [part for part in (INSIDE, OUTSIDE, "–", "nan") if part in text]
        assert INSIDE not in Evaluation(("PSNR-μ", INSIDE)).to_markdown()

    def test_infinite_decibels(self):
        """Of perfect pictures, and of a region that is white in both."""
        white = [replace(s, truth=torch.where(s.moved > 0.5, 1.0, s.truth)) for s in (make_sample(moved=True),) * 2]
        methods = {"perfect": lambda s: s.truth, "other": lambda s: torch.where(s.moved > 0.5, 2.0, 0.5 * s.truth)}
        rows = evaluate(methods, white)
        assert math.isinf(rows.mean("perfect")["PSNR-μ"])
        assert math.isnan(rows.standard_error("perfect")["PSNR-μ"])
        assert math.isnan(rows.mean("other")[INSIDE])
        assert "| all (2) | perfect | inf |" in rows.to_markdown().replace("objects", "all")

    def test_error_maps_show_the_error(self, tmp_path):
        sample = make_sample("../evil/001", moved=True)
        evaluate({"a b": weighted_merge, "perfect": lambda s: s.truth}, [sample], error_maps=tmp_path / "maps")
        found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
        assert found == ["maps/evil-001/a-b.png", "maps/evil-001/perfect.png"]
        ghost, perfect = (np.asarray(Image.open(tmp_path / name)).astype(float) for name in found)
        assert ghost.shape == (40, 48, 4)
        assert np.ptp(perfect) == np.ptp(perfect[0, 0])  # one colour
        assert ghost[12:18, 12:18].mean() > ghost[25:, 25:].mean() + 50


def test_progress_is_told():
    seen = []
    samples = [make_sample("a"), make_sample("b")]
    evaluate({"w": weighted_merge}, samples, on_progress=lambda *state: seen.append(state))
    assert seen == [(0, 2, "a: w"), (1, 2, "b: w"), (2, 2, "done")]


@pytest.mark.parametrize(
    ("method", "metrics", "error", "message"),
    [
        (None, [], ArgumentError, "methods: expected at least one method"),
        (weighted_merge, ["LPIPS"], ArgumentError, "metrics: expected names from PSNR-μ"),
        (lambda s: s.truth[..., 1:], [], ShapeError, r"methods\['m'\]"),
    ],
)
def test_what_cannot_be_is_named(method, metrics, error, message):
    with pytest.raises(error, match=message):
        evaluate({"m": method} if method else {}, [make_sample()], metrics=metrics)


class TestMethods:
    def test_the_classics_rank_as_everyone_knows(self):
        samples = [make_sample(str(index), seed=index) for index in range(2)]
        rows = evaluate(evaluation.baseline_methods(), samples)
        assert rows.methods == ["reference only", "weighted merge", "Mertens fusion", "OpenCV Debevec"]
        assert max(rows.methods, key=lambda method: rows.mean(method)["PSNR-μ"]) == "weighted merge"

    @pytest.mark.parametrize("batch", [1, 2])
    def test_merge_as_a_method(self, checks, batch):
        one = make_sample()
        frames = tuple(frame.repeat(batch, 1, 1, 1) for frame in one.frames)
        sample = Sample("batch", "static", frames, one.times, one.truth.repeat(batch, 1, 1, 1))
        merged = evaluation.merge_method(method="weighted", align="off")(sample)
        checks.close(merged, weighted_merge(sample), tolerance=1e-5)

    def test_fusion_is_given_the_unit_of_the_reference(self):
        light = torch.full((1, 3, 32, 32), 0.03)
        frames = tuple(expose(light, time) for time in TIMES)
        fused = evaluation.fusion_radiance(Sample("flat", "static", frames, torch.tensor(TIMES), light))
        torch.testing.assert_close(fused, light, rtol=1e-4, atol=1e-5)
        white = tuple(torch.ones(1, 3, 8, 8) for _ in TIMES)
        assert torch.isfinite(evaluation.fusion_radiance(Sample("w", "", white, torch.tensor(TIMES), light))).all()

    def test_opencv_merges_grey_light_in_our_unit_and_aligns(self):
        """Textured, grey, and dim enough that the long frame keeps a median: alignment needs one."""
        coarse = torch.rand(1, 1, 20, 24, generator=torch.Generator().manual_seed(0)) * 1.5 - 3
        light = (10 ** torch.nn.functional.interpolate(coarse, (160, 192), mode="bicubic")).expand(1, 3, 160, 192)
        inner, scores = (..., slice(16, -16), slice(16, -16)), []
        for align in (False, True):
            for first in (light, light.roll((4, -3), (2, 3))):
                frames = tuple(expose(x, time) for x, time in zip((first, light, light), TIMES, strict=True))
                found = opencv_debevec(Sample("grey", "", frames, torch.tensor(TIMES), light), align=align)
                if first is light:
                    assert ((found / light).log2().abs() < 0.1).float().mean() > 0.97
                scores.append(psnr_mu(found[inner], light[inner]).item())
        assert scores[3] > scores[1] + 3


def test_a_scene_of_a_data_set_becomes_a_sample_and_a_bracket(checks):
    made = make_sample()
    scene = {"frames": torch.cat(made.frames), "times": made.times, "truth": made.truth[0], "name": "Test/001"}
    (sample,) = evaluation.dataset_samples([scene])
    assert (sample.name, sample.moved) == ("Test/001", None)
    bracket = sample.to_bracket()
    checks.close(bracket.to_tensor(), made.to_tensor(), tolerance=1e-5)
    checks.close(weighted_merge(bracket), weighted_merge(made), tolerance=1e-5)
