"""Best, median and worst: chosen by the score, drawn from the scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from afunet_core.errors import ArgumentError
from afunet_core.evaluation.evaluator import Sample, evaluate
from afunet_core.evaluation.pictures import choose_scenes, write_pictures
from afunet_core.evaluation.scores import Evaluation, Row


def scenes(count: int) -> list[Sample]:
    """Flat scenes, each of another brightness."""
    made = []
    for index in range(count):
        truth = torch.full((1, 3, 48, 64), 0.02 * (index + 1))
        frames = tuple((truth * time).clamp(0, 1) ** (1 / 2.2) for time in (1, 4, 16))
        made.append(Sample(f"scene {index}", "static", frames, torch.tensor([1.0, 4.0, 16.0]), truth))
    return made


def constant(sample: Sample) -> torch.Tensor:
    return torch.full_like(sample.truth, 0.02)


@pytest.mark.parametrize(("count", "median"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_ranks_scenes(count, median):
    """The further a scene is from 0.02, the worse the constant fits; of two in the middle the worse is the median."""
    chosen = choose_scenes(evaluate({"constant": constant}, scenes(count)), "constant")
    assert chosen == {"best": "scene 0", "median": f"scene {median}", "worst": f"scene {count - 1}"}


def test_scenes_without_a_score_do_not_count():
    rows = [Row("m", "a", "k", {"x": float("nan")}, 0.0), Row("m", "b", "k", {"x": 1.0}, 0.0)]
    assert set(choose_scenes(Evaluation(("x",), rows), "m", "x").values()) == {"b"}


@pytest.mark.parametrize(("method", "metric"), [("other", "PSNR-μ"), ("constant", "other")])
def test_unknown_names_are_refused(method, metric):
    with pytest.raises(ArgumentError, match="method, metric"):
        choose_scenes(evaluate({"constant": constant}, scenes(1)), method, metric)


def test_writes_three_pictures_of_different_scenes(tmp_path):
    samples = scenes(3)
    methods = {"reference": lambda sample: sample.truth * 0.5, "constant": constant}
    table = evaluate(methods, samples)
    files = write_pictures(tmp_path / "new", table, methods, samples, judged="constant", width=640)
    assert [file.name for file in files] == ["best.jpg", "median.jpg", "worst.jpg"]
    pictures = [np.asarray(Image.open(file)) for file in files]
    assert all(picture.shape[1] == 640 for picture in pictures)
    assert pictures[0].mean() < pictures[1].mean() < pictures[2].mean()  # the worst scene is the brightest
