"""The examples of the documentation run, and do what the pages say they do."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

import afunet_core as af

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class TestVariational:
    """The classical alternating minimisation: against a dense, independent solution of the joint problem."""

    @pytest.fixture
    def example(self) -> ModuleType:
        return load("variational")

    @pytest.fixture
    def small(self, example: ModuleType):
        return example.toy_problem(example.toy_scene(size=8), under_shift=(0.0, 0.0), over_shift=(0.0, 0.0))

    @staticmethod
    def matrix(operator, like: Tensor) -> Tensor:
        """The operator as a dense matrix, column by column from unit images."""
        columns = [operator(e.reshape(like.shape)).flatten() for e in torch.eye(like.numel(), dtype=like.dtype)]
        return torch.stack(columns, dim=1)

    def test_the_alternation_converges_to_the_joint_minimiser_of_5(self, example, small):
        # Less blur and a looser coupling, so that every frequency converges within the iterations of a test.
        degradations = tuple(replace(d, sigma=0.35) for d in small.degradations)
        small = replace(small, degradations=degradations, coupling=0.05)
        solution = example.solve(small, iterations=60, align=False)
        assert all(b <= a + 1e-9 for a, b in zip(solution.energies, solution.energies[1:], strict=False))

        zero = torch.zeros(2, dtype=torch.float64)
        n, beta, weight = solution.x.numel(), small.coupling, small.prior_weight
        d1, d2, d3 = (self.matrix(d, solution.x) for d in small.degradations)
        eye, nought = torch.eye(n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64)
        rows = [  # the gradient of (5) in (x, u, v), set to zero
            torch.cat([d2.T @ d2 + 2 * beta * eye, -beta * eye, -beta * eye], dim=1),
            torch.cat([-beta * eye, beta * eye + weight * d1.T @ d1, nought], dim=1),
            torch.cat([-beta * eye, nought, beta * eye + weight * d3.T @ d3], dim=1),
        ]
        system, sides = torch.cat(rows), (d1.T @ small.align(0, zero).flatten(), d3.T @ small.align(2, zero).flatten())
        right = torch.cat([d2.T @ small.frames[1].flatten(), *(weight * side for side in sides)])
        expected = torch.linalg.solve(system, right)
        found = torch.cat([solution.x.flatten(), solution.u.flatten(), solution.v.flatten()])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)

    def test_alignment_finds_the_displacements_and_fills_the_hole(self, example):
        scene = example.toy_scene(size=24)
        problem = example.toy_problem(scene)
        hole = problem.degradations[1].mask == 0
        assert hole.any()
        with_alignment = example.solve(problem, iterations=20)
        without = example.solve(problem, iterations=20, align=False)

        def error(solution) -> float:
            return float((solution.x - scene).square().mean())

        assert error(with_alignment) < error(without) / 4  # 6 dB
        shifts = torch.tensor([[1.5, -1.0], [-1.0, 0.75]], dtype=torch.float64)
        torch.testing.assert_close(torch.stack(with_alignment.shifts), shifts, atol=0.1, rtol=0)


def test_three_lines_write_what_they_say(tmp_path):
    result = load("merge").merge_sample(tmp_path, reduction=6)
    stored = af.read_image(tmp_path / "merged.exr")
    assert stored.pixels.shape == result.radiance.shape == (80, 120, 3)
    assert (stored.pixels == result.radiance).all()
    assert af.read_image(tmp_path / "merged.png").pixels.shape == (80, 120, 3)


def test_exposures_and_print_are_found_by_gradient_through_the_network():
    example = load("pipeline")
    frames, wanted = example.sample(reduction=12)
    darkroom = example.Darkroom(af.load_model("compact"), stated_ev=(-1.4, 0.0, 2.6))
    losses = example.optimise(darkroom, frames, wanted, steps=25)
    assert losses[-1] < losses[0] / 3
    assert (darkroom.outer_ev - 2.0).abs().max() < 0.25, "the exposures are 2 EV apart, stated were 1.4 and 2.6"
    assert abs(darkroom.print_ev.item() - 1.0) < 0.3


def test_a_loss_trains_a_network_of_ones_own():
    example = load("loss_in_training")
    torch.manual_seed(0)
    losses = example.train(example.SmallMerger(width=8), example.batches(30, size=24, batch=2))
    assert sum(losses[-10:]) < sum(losses[:10]) / 2


def test_the_network_works_inside_a_container_of_kornia():
    example = load("augmentation")
    torch.manual_seed(0)
    radiance, times = example.scene(16, 24), torch.tensor([1.0, 4.0, 16.0])
    model = af.load_model("compact")
    with torch.no_grad():
        frames = example.network_input(radiance, times)
        picture = example.pipeline(model)(frames)
        assert picture.shape == (2, 3, 16, 24)
        assert 0 <= picture.min() < picture.max() <= 1
        assert af.psnr_mu(model(frames), radiance).min() > 40


def test_intensities_stay_proportional_to_light():
    errors = load("fluorescence").measure()
    assert max(errors) / min(errors) > 0.999e4
    for level, error in errors.items():
        assert abs(error) < 0.02, f"radiance {level:.1e} is off by {100 * error:.1f} %"
