from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from afunet_core import inspection
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import AFUNetConfig


def states(count=3, shape=(2, 8, 21, 34), dtype=torch.float32, seed=0):
    """Stages with smooth, correlated features, as a network has."""
    generator = torch.Generator().manual_seed(seed)
    batch, channels, height, width = shape
    mixing = torch.randn(channels, channels, generator=generator)
    stages = []
    for _ in range(count):
        sides = []
        for _ in inspection.SIDES:
            coarse = torch.randn(batch, channels, 5, 6, generator=generator)
            smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
            sides.append(torch.einsum("dc,bchw->bdhw", mixing, smooth).to(dtype))
        stages.append(SimpleNamespace(**dict(zip(inspection.SIDES, sides, strict=True))))
    return stages


def as_arrays(stages):
    sides = inspection.SIDES
    return [SimpleNamespace(**{side: getattr(s, side).detach().float().numpy() for side in sides}) for s in stages]


class TestBasis:
    def test_components_are_those_of_numpy(self):
        stages = states(shape=(1, 8, 9, 11))
        basis = inspection.feature_basis(stages)
        tables = [
            np.concatenate([getattr(s, side)[0].double().numpy().reshape(8, -1).T for s in stages])
            for side in inspection.SIDES
        ]
        centred = [table - table.mean(0) for table in tables]
        alike = np.concatenate([table / np.linalg.norm(table) for table in centred])
        _, _, expected = np.linalg.svd(alike, full_matrices=False)
        np.testing.assert_allclose(np.abs((basis.components * expected[:3]).sum(1)), 1, rtol=1e-6)
        np.testing.assert_allclose(basis.components @ basis.components.T, np.eye(3), atol=1e-10)


class TestRGB:
    def test_a_feature_keeps_its_colour_from_stage_to_stage(self):
        stages = states()
        stages[2].under = stages[0].under
        under = inspection.stage_rgb(stages, "under", basis=inspection.feature_basis(stages))
        assert (under.shape, under.dtype) == ((3, 21, 34, 3), np.float32)
        assert 0 <= under.min() < 0.2 < 0.8 < under.max() <= 1
        np.testing.assert_array_equal(under[2], under[0])
        np.testing.assert_array_equal(inspection.stage_rgb(stages, "under"), under)

    def test_sides_differ_in_colour_by_their_structure_alone(self):
        """Neither by their level nor by their strength."""
        stages, shifted = states(), states()
        for stage in shifted:
            stage.under = stage.under + 20 * torch.arange(8.0).reshape(8, 1, 1)
            stage.over = 0.1 * stage.under + 5
        for side in ("under", "reference"):
            expected = inspection.stage_rgb(shifted, side)
            assert expected.std((0, 1, 2)).min() > 0.1
            for stage, other in zip(stages, shifted, strict=True):
                stage.over = other.over
            np.testing.assert_allclose(inspection.stage_rgb(stages, side), expected, atol=1e-3)
        np.testing.assert_allclose(*(inspection.stage_rgb(shifted, side) for side in ("under", "over")), atol=1e-3)

    @pytest.mark.parametrize("channels", [1, 2, 3])
    def test_fewer_channels_than_colours_and_constant_ones(self, channels):
        rgb = inspection.stage_rgb(states(shape=(1, channels, 7, 9)), "under")
        assert np.isfinite(rgb).all()
        assert np.ptp(rgb[..., 0]) > 0.5
        np.testing.assert_array_equal(rgb[..., channels:], 0.5)
        flat = SimpleNamespace(**{side: torch.full((1, channels, 5, 6), 2.0) for side in inspection.SIDES})
        np.testing.assert_array_equal(inspection.stage_rgb([flat], "over"), 0.5)


def test_measures():
    stages = states()
    over, under = (np.stack([getattr(s, side)[1].numpy() for s in stages]) for side in ("over", "under"))
    np.testing.assert_allclose(inspection.stage_energy(stages, "over", 1), (over**2).mean(1) ** 0.5, rtol=1e-5)
    for channel in (0, 7, -1):
        np.testing.assert_array_equal(inspection.stage_channel(stages, "under", channel, 1), under[:, channel])
    moved = (np.diff(over, axis=0) ** 2).mean(1) ** 0.5
    np.testing.assert_allclose(inspection.stage_movement(stages, "over", 1)[1:], moved, rtol=1e-5)
    assert inspection.stage_movement(stages, "over", 1)[0].max() == 0
    alike = torch.nn.functional.cosine_similarity(stages[0].over[:1], stages[0].reference[:1])
    np.testing.assert_allclose(inspection.stage_similarity(stages, "over")[0], alike[0], atol=1e-5)
    stages[2].under = torch.zeros_like(stages[2].under)
    assert inspection.stage_similarity(stages, "under")[2].max() == 0


FUNCTIONS = {
    "rgb": inspection.stage_rgb,
    "energy": inspection.stage_energy,
    "channel": lambda stages, side, sample=0: inspection.stage_channel(stages, side, 1, sample),
    "similarity": inspection.stage_similarity,
    "movement": inspection.stage_movement,
}


@pytest.mark.parametrize("name", FUNCTIONS)
class TestEveryMap:
    def test_arrays_tensors_and_half_precision_agree(self, name):
        stages = states()
        stages[0].under.requires_grad_()
        expected = FUNCTIONS[name](stages, "under")
        np.testing.assert_array_equal(FUNCTIONS[name](as_arrays(stages), "under"), expected)
        half = FUNCTIONS[name](states(dtype=torch.bfloat16), "under")
        assert half.dtype == np.float32
        assert np.abs(half - expected).max() < 0.05 * max(1, np.abs(expected).max())

    def test_undefined_features_stay_where_they_are(self, name):
        clean, dirty = states(), states()
        dirty[1].under[0, :, 3, 4] = float("nan")
        dirty[1].under[0, :, 5, 6] = float("inf")
        result = FUNCTIONS[name](dirty, "under")
        assert np.isfinite(result).all()
        if name != "rgb":  # there the basis moves a little with every pixel
            np.testing.assert_array_equal(result[:, 10:], FUNCTIONS[name](clean, "under")[:, 10:])

    def test_errors(self, name):
        with pytest.raises(ShapeError, match="stages: expected at least one stage"):
            FUNCTIONS[name]([], "under")
        with pytest.raises(ArgumentError, match="side: expected one of under, reference, over, got 'left'"):
            FUNCTIONS[name](states(), "left")
        with pytest.raises(ArgumentError, match="sample: expected an index from 0 to 1, got 2"):
            FUNCTIONS[name](states(), "under", sample=2)
        odd = states()
        odd[1].over = odd[1].over[..., 1:]
        with pytest.raises(ShapeError, match=r"stages\[1\]\.over"):
            FUNCTIONS[name](odd, "under")
        with pytest.raises(ArgumentError, match="channel: expected an index from 0 to 7, got 8"):
            inspection.stage_channel(states(), "under", 8)


@pytest.mark.parametrize("options", [{"head": "direct"}, {"head": "anchored", "downscale": 2, "mu_input": True}])
class TestDecodedStages:
    @pytest.fixture
    def model(self, options):
        torch.manual_seed(0)
        return AFUNet(AFUNetConfig(embed_dim=12, depths=(1, 1, 1), fusion_heads=1, **options)).eval()

    @staticmethod
    def run(model, *shape):
        """Network input, its output as B×H×W×3, and its states."""
        frames = torch.rand(shape[0], 18, *shape[1:], generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            radiance, stages = model.forward_stages(frames)
        return frames, radiance.permute(0, 2, 3, 1).numpy(), stages

    def test_the_first_stage_is_the_output_of_a_network_that_ends_there(self, model):
        frames, _, stages = self.run(model, 1, model.config.multiple, 2 * model.config.multiple)
        first = inspection.decode_stages(model, frames, stages)[0]
        model.stages = model.stages[:1]
        with torch.no_grad():
            np.testing.assert_allclose(first, model(frames)[0].permute(1, 2, 0).numpy(), atol=1e-5)

    def test_only_the_border_of_a_padded_image_differs(self, model):
        frames, radiance, stages = self.run(model, 2, 21, 19)
        decoded = inspection.decode_stages(model, frames, stages)
        assert [image.shape for image in decoded] == [(2, 21, 19, 3)] * 3
        inner = 4 * model.config.downscale  # three convolutions, and what fills the last fold
        np.testing.assert_allclose(decoded[-1][:, :-inner, :-inner], radiance[:, :-inner, :-inner], atol=1e-5)
        assert np.abs(decoded[0] - decoded[-1]).max() > 1e-4
        for wrong, message in ((frames[..., :-4], "of these frames"), (frames, "at least one stage")):
            with pytest.raises(ShapeError, match=message):
                inspection.decode_stages(model, wrong, [] if wrong is frames else stages)
