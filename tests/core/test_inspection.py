from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from afunet_core import inspection
from afunet_core.errors import ArgumentError, ShapeError
from afunet_core.model.afunet import AFUNet
from afunet_core.model.config import AFUNetConfig
from afunet_core.radiometry import encode


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
    @pytest.mark.parametrize("side", inspection.SIDES)
    def test_shape_and_range(self, side):
        rgb = inspection.stage_rgb(states(), side, sample=1)
        assert rgb.shape == (3, 21, 34, 3)
        assert rgb.dtype == np.float32
        assert 0 <= rgb.min() < 0.2
        assert 0.8 < rgb.max() <= 1

    def test_a_feature_keeps_its_colour_from_stage_to_stage(self):
        stages = states()
        stages[2].under = stages[0].under
        basis = inspection.feature_basis(stages)
        under = inspection.stage_rgb(stages, "under", basis=basis)
        np.testing.assert_array_equal(under[2], under[0])
        np.testing.assert_array_equal(inspection.stage_rgb(stages, "under"), under)

    def test_what_differs_between_sides_alone_takes_no_colour(self):
        stages, shifted = states(), states()
        for stage in shifted:
            stage.under = stage.under + 20 * torch.arange(8.0).reshape(8, 1, 1)
            stage.over = stage.over - 30
        for side in inspection.SIDES:
            expected = inspection.stage_rgb(stages, side)
            assert expected.std((0, 1, 2)).min() > 0.1
            np.testing.assert_allclose(inspection.stage_rgb(shifted, side), expected, atol=1e-3)

    def test_the_same_structure_looks_the_same_on_all_sides_however_strong(self):
        stages = states()
        for stage in stages:
            stage.over = 0.1 * stage.under + 5
        basis = inspection.feature_basis(stages)
        under, over = (inspection.stage_rgb(stages, side, basis=basis) for side in ("under", "over"))
        np.testing.assert_allclose(under, over, atol=1e-3)

    @pytest.mark.parametrize("channels", [1, 2, 3])
    def test_fewer_channels_than_colours(self, channels):
        rgb = inspection.stage_rgb(states(shape=(1, channels, 7, 9)), "under")
        assert np.isfinite(rgb).all()
        assert np.ptp(rgb[..., 0]) > 0.5
        np.testing.assert_array_equal(rgb[..., channels:], 0.5)

    def test_constant_features_are_grey(self):
        flat = SimpleNamespace(**{side: torch.full((1, 4, 5, 6), 2.0) for side in inspection.SIDES})
        np.testing.assert_array_equal(inspection.stage_rgb([flat], "over"), 0.5)


FUNCTIONS = {
    "rgb": inspection.stage_rgb,
    "energy": inspection.stage_energy,
    "channel": lambda stages, side, sample=0: inspection.stage_channel(stages, side, 1, sample),
    "similarity": inspection.stage_similarity,
    "movement": inspection.stage_movement,
}
FORMULAS = {
    "energy": lambda stages: [stage.over.square().mean(1).sqrt() for stage in stages],
    "channel": lambda stages: [stage.over[:, 1] for stage in stages],
    "similarity": lambda stages: [torch.nn.functional.cosine_similarity(s.over, s.reference) for s in stages],
    "movement": lambda stages: [
        (stage.over - before.over).square().mean(1).sqrt()
        for before, stage in zip([stages[0], *stages], stages, strict=False)
    ],
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("sample", [0, 1])
def test_maps_are_what_their_formulas_say(name, sample):
    stages = states()
    expected = np.stack([values[sample].numpy() for values in FORMULAS[name](stages)])
    np.testing.assert_allclose(FUNCTIONS[name](stages, "over", sample=sample), expected, rtol=1e-5, atol=1e-5)


def test_features_of_nothing_resemble_nothing():
    stages = states(1)
    stages[0].under = torch.zeros_like(stages[0].under)
    assert np.abs(inspection.stage_similarity(stages, "under")).max() < 1e-5
    last = inspection.stage_channel(stages, "over", -1)
    np.testing.assert_array_equal(last, inspection.stage_channel(stages, "over", 7))


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


class TestDecodedStages:
    HEADS = ({"head": "direct"}, {"head": "anchored", "downscale": 2, "mu_input": True})

    @staticmethod
    def network(**options):
        torch.manual_seed(0)
        return AFUNet(AFUNetConfig(embed_dim=12, depths=(1, 1, 1), fusion_heads=1, **options)).eval()

    @staticmethod
    def run(model, batch=1, height=None, width=None):
        """Network input, its output as B×H×W×3, and its states."""
        height, width = height or model.config.multiple, width or 2 * model.config.multiple
        frames = torch.rand(batch, 18, height, width, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            radiance, stages = model.forward_stages(frames)
        return frames, radiance.permute(0, 2, 3, 1).numpy(), stages

    @pytest.mark.parametrize("options", HEADS)
    @pytest.mark.parametrize(("batch", "size"), [(1, (None, None)), (2, (None, None)), (1, (21, 19))])
    def test_the_last_stage_is_the_output_but_for_the_border_of_a_padded_image(self, options, batch, size):
        model = self.network(**options)
        frames, radiance, stages = self.run(model, batch, *size)
        decoded = inspection.decode_stages(model, frames, stages)
        assert len(decoded) == 3
        inner = -4 * model.config.downscale if size[0] else None  # three convolutions, and what fills the last fold
        last = decoded[-1].reshape(radiance.shape)
        np.testing.assert_allclose(last[:, :inner, :inner], radiance[:, :inner, :inner], atol=1e-5)
        assert np.abs(decoded[0] - decoded[-1]).max() > 1e-4

    @pytest.mark.parametrize("options", HEADS)
    def test_the_first_stage_is_the_output_of_a_network_that_ends_there(self, options):
        model = self.network(**options)
        frames, _, stages = self.run(model)
        first = inspection.decode_stages(model, frames, stages)[0]
        model.stages = model.stages[:1]
        with torch.no_grad():
            np.testing.assert_allclose(first, model(frames)[0].permute(1, 2, 0).numpy(), atol=1e-5)

    def test_stages_of_other_frames_are_refused(self):
        model = self.network()
        frames, _, stages = self.run(model)
        with pytest.raises(ShapeError, match="of these frames"):
            inspection.decode_stages(model, frames[..., :-1], stages)
        with pytest.raises(ShapeError, match="at least one stage"):
            inspection.decode_stages(model, frames, [])


class TestGhostMap:
    """Still scenes under noise stay dark; a thing that moved lights up, whatever the frames saturate."""

    @staticmethod
    def bracket(radiances, noise=0.003, encoding="gamma", times=(1.0, 4.0, 16.0), reference=1, seed=0):
        generator = torch.Generator().manual_seed(seed)
        frames = []
        for radiance, time in zip(radiances, times, strict=True):
            light = radiance * time
            light = light + noise * (0.1 + light.clamp(max=1)).sqrt() * torch.randn(light.shape, generator=generator)
            frames.append((encode(light.clamp(0, 1), encoding) * 255).round() / 255)
        return SimpleNamespace(
            frames=tuple(frames), times=torch.tensor(times), encoding=encoding, gamma=2.2, reference=reference
        )

    @staticmethod
    def scene(seed=0):
        coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed)) * 2.5 - 2.5
        return 10 ** torch.nn.functional.interpolate(coarse, (60, 80), mode="bicubic")

    @pytest.mark.parametrize("noise", [0.001, 0.005, 0.02])
    @pytest.mark.parametrize("encoding", ["gamma", "srgb", "linear"])
    def test_a_still_scene_has_no_ghosts(self, noise, encoding):
        still = inspection.ghost_map(self.bracket([self.scene()] * 3, noise, encoding))
        assert still.shape == (60, 80)
        assert still.mean() < 0.01

    @pytest.mark.parametrize("reference", [0, 1, 2])
    @pytest.mark.parametrize("factor", [0.3, 3.0])
    def test_what_moved_lights_up_and_nothing_else(self, reference, factor):
        scene = torch.full((1, 3, 60, 80), 0.04)
        moved = scene.clone()
        moved[..., 20:40, 30:50] *= factor
        radiances = [moved if index == reference else scene for index in range(3)]
        ghosts = inspection.ghost_map(self.bracket(radiances, reference=reference))
        assert ghosts[22:38, 32:48].min() > 0.9
        ghosts[16:44, 26:54] = 0
        assert ghosts.max() < 0.1

    def test_saturation_disagrees_with_what_is_darker_alone(self):
        bright, dark = torch.full((1, 3, 20, 20), 0.7), torch.full((1, 3, 20, 20), 0.05)
        assert inspection.ghost_map(self.bracket([bright] * 3)).max() < 0.05  # the frames clip at different radiances
        assert inspection.ghost_map(self.bracket([dark, bright, bright])).min() > 0.9

    def test_errors_and_dirt(self):
        bracket = self.bracket([self.scene()] * 3)
        with pytest.raises(ArgumentError, match="sample"):
            inspection.ghost_map(bracket, sample=1)
        bracket.frames[0][..., :5, :] = float("nan")
        assert np.isfinite(inspection.ghost_map(bracket)).all()
