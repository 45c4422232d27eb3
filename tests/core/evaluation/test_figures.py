"""Comparison figures, and the scenes that they show."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from PIL import Image

from afunet_core.errors import ArgumentError, DependencyError, ShapeError
from afunet_core.evaluation.evaluator import Sample, evaluate
from afunet_core.evaluation.figures import (
    COLOURS,
    choose_boxes,
    choose_scenes,
    comparison_figure,
    write_pictures,
)
from afunet_core.evaluation.scores import Row


def picture(height: int = 60, width: int = 90, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.05, 0.5, (height, width, 3)).astype(np.float32)


def grey(value: float, height: int = 60, width: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value, np.float32)


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


def colour_count(figure: np.ndarray, colour) -> int:
    """Pixels of a colour, give or take rounding."""
    return int((np.abs(figure.astype(int) - np.round(np.multiply(colour, 255))).max(-1) <= 1).sum())


def test_everything_is_there() -> None:
    """Frames, result, truth and an error map, told apart by colours that occur nowhere else."""
    frames = [grey(0.0) + colour for colour in ([1, 0, 0], [0, 1, 0], [0, 0, 1])]
    truth = grey(0.25)
    result = truth.copy()
    result[10:20, 30:40] = 1.0
    figure = comparison_figure(frames, {"ours": result}, truth, [(5, 25, 20, 20)], width=800, operator="exposure")
    assert (figure.dtype, figure.shape[1]) == (np.uint8, 800)
    for colour in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert colour_count(figure, colour) > 1000
    assert colour_count(figure, to_rgb(COLOURS[0])) > 100
    least, most = (colormaps["inferno"](value)[:3] for value in (0.0, 1.0))
    assert colour_count(figure, least) > 1000
    assert colour_count(figure, most) > 1000, "an error of 0.1 and more has the brightest colour"


def test_patches_show_their_part_of_the_picture() -> None:
    """Of a picture that is white but for one pixel, that pixel is enlarged to a hundredth of the patch."""
    result = grey(1.0)
    result[30, 50] = (1.0, 0.0, 0.0)
    apart, outside = (
        comparison_figure([], {"a": result}, None, [box], width=300, operator="exposure")
        for box in ((25, 45, 10, 10), (0, 0, 10, 10))
    )
    enlarged = colour_count(apart, (1, 0, 0)) - colour_count(outside, (1, 0, 0))
    assert enlarged == pytest.approx(0.01 * 294**2, rel=0.1)


@settings(max_examples=4)
@given(height=st.integers(1, 40), width=st.integers(1, 40), frames=st.integers(0, 4), wide=st.integers(300, 400))
def test_any_size_and_number_of_grey_and_coloured_pictures(height: int, width: int, frames: int, wide: int) -> None:
    grey, result = picture(height, width)[..., 0], picture(height, width, seed=3)
    result[0, 0], result[-1, -1] = np.nan, np.inf
    results = {f"method {index}": image for index, image in enumerate([result, grey] * 3)}
    assert comparison_figure([grey] * frames, results, grey, width=wide).shape[1:] == (wide, 3)


def test_boxes_are_where_the_results_differ() -> None:
    truth, result = grey(0.2, 120, 160), grey(0.2, 120, 160)
    result[80:90, 120:130] = 0.6
    result[20:24, 30:34] = 0.4
    for box, (top, left, side) in zip(choose_boxes([result], truth), ((80, 120, 10), (20, 30, 4)), strict=True):
        assert box.top <= top < top + side <= box.top + box.height
        assert box.left <= left < left + side <= box.left + box.width


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DependencyError, match=r"napari-afunet\[evaluation\]"):
        comparison_figure([], {"a": picture()}, width=300)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "named"),
    [
        (([picture()], {}), {}, ArgumentError, "results"),
        (([picture()], {"a": picture(61)}), {}, ShapeError, "a"),
        (([picture()], {"a": picture()}, picture(61)), {}, ShapeError, "truth"),
        (([picture()], {"a": picture()[..., :2]}), {}, ShapeError, "a"),
        (([picture()[0, 0]], {"a": picture()}), {}, ShapeError, r"inputs\[0\]"),
        (([], {"a": picture()}, None, [(50, 0, 20, 20)]), {}, ArgumentError, "box"),
        (([], {"a": picture()}, None, [(0, 0, 0, 5)]), {}, ArgumentError, "box"),
        (([], {"a": picture()}, None), {"width": 10}, ArgumentError, "width"),
        (([], {"a": picture()}), {"operator": "magic"}, ArgumentError, "operator"),
    ],
)
def test_refusals(arguments: tuple, options: dict, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=f"^{named}: expected"):
        comparison_figure(*arguments, **options)


@pytest.mark.parametrize(("count", "median"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_ranks_scenes(count: int, median: int) -> None:
    """The further a scene is from 0.02, the worse the constant fits; of two in the middle the worse is the median."""
    table = evaluate({"constant": constant}, scenes(count))
    table.rows.append(Row("constant", "without", "k", {"PSNR-μ": float("nan")}, 0.0))
    chosen = choose_scenes(table, "constant")
    assert chosen == {"best": "scene 0", "median": f"scene {median}", "worst": f"scene {count - 1}"}
    with pytest.raises(ArgumentError, match="method: expected"):
        choose_scenes(table, "other")


def test_writes_three_pictures_of_different_scenes(tmp_path):
    samples = scenes(3)
    methods = {"reference": lambda sample: sample.truth * 0.5, "constant": constant}
    table = evaluate(methods, samples)
    files = write_pictures(tmp_path / "new", table, methods, samples, judged="constant")
    assert [file.name for file in files] == ["best.jpg", "median.jpg", "worst.jpg"]
    pictures = [np.asarray(Image.open(file)) for file in files]
    assert all(picture.shape[1] == 1200 for picture in pictures)
    assert pictures[0].mean() < pictures[1].mean() < pictures[2].mean()  # the worst scene is the brightest
