"""Synthetic brackets: repeatable, exact truth, motion where the mask says so, and no surprises from wild input."""

from __future__ import annotations

import io
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from afunet_core.data.synthesis import alignment_artifacts, sensor
from afunet_core.data.synthesis.brackets import KINDS, Synthesizer, SyntheticBatch, contact_sheet, validation_brackets
from afunet_core.data.synthesis.config import Kind, SynthesisConfig
from afunet_core.data.synthesis.lighting import draw_background
from afunet_core.data.synthesis.motion import (
    OUTER,
    Motion,
    camera_displacement,
    centred_homographies,
    draw_motion,
    draw_shake,
)
from afunet_core.data.synthesis.objects import MovingObject, draw_objects
from afunet_core.data.synthesis.painting import find_sightings, paint, render_objects
from afunet_core.data.synthesis.rendering import blur_along, moved_mask, render_radiance
from afunet_core.data.synthesis.sampling import draw_coarse_field, pixel_grid, smooth_field, warp
from afunet_core.data.synthesis.scenes import SceneBank, scene_group, split_scenes
from afunet_core.errors import ArgumentError, ImageFileError, ShapeError
from afunet_core.io import write_image
from afunet_core.radiometry import expose


@pytest.fixture(scope="module")
def bank() -> SceneBank:
    return SceneBank.procedural(seed=3, size=(160, 200))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensors(batch: SyntheticBatch) -> dict[str, Tensor]:
    values = {entry.name: getattr(batch, entry.name) for entry in fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


class TestSynthesizer:
    @pytest.mark.parametrize("kind", [*KINDS, None])
    def test_shapes_ranges_and_units(self, bank: SceneBank, kind: Kind | None) -> None:
        batch = Synthesizer(bank).sample(3, (40, 56), seeded(), kind)
        assert batch.times.shape == (3, 3)
        assert len(batch) == len(batch.kind) == len(batch.registered) == len(batch.bit_depth) == 3
        for name, shape in (("frames", (3, 3, 3, 40, 56)), ("truth", (3, 3, 40, 56)), ("moved", (3, 1, 40, 56))):
            values = getattr(batch, name)
            assert (values.shape, values.dtype) == (shape, torch.float32)
            assert 0 <= values.min() <= values.max() <= 1
        assert torch.equal(batch.times[:, 0], torch.ones(3))
        assert (batch.times.diff(dim=1) > 0).all()
        if kind:
            assert set(batch.kind) == {kind}

    def test_same_generator_state_same_brackets(self, bank: SceneBank) -> None:
        """The global random state is neither used nor changed."""
        maker, generator = Synthesizer(bank), seeded(7)
        first, other = (maker.sample(4, 48, generator) for _ in range(2))
        torch.manual_seed(2)
        before = torch.get_rng_state()
        again = maker.sample(4, 48, seeded(7))
        assert torch.equal(torch.get_rng_state(), before)
        for name, values in tensors(first).items():
            assert torch.equal(values, getattr(again, name)), name
        assert first.kind == again.kind
        assert not torch.equal(first.frames, other.frames)

    @pytest.mark.parametrize("bits", [8, 12, 16])
    def test_static_noiseless_frames_are_the_exposed_truth(self, bank: SceneBank, bits: int) -> None:
        batch = Synthesizer(bank, SynthesisConfig.noiseless(bit_depths=(bits,))).sample(3, 48, seeded(), "static")
        levels = 2**bits - 1
        for index, time in enumerate((1.0, 4.0, 16.0)):
            expected = (expose(batch.truth, time) * levels).round() / levels
            torch.testing.assert_close(batch.frames[:, index], expected, rtol=0, atol=1.01 / levels)
            # At most rounding ties may differ between the two orders of computing.
            assert (batch.frames[:, index] != expected).float().mean() < 1e-3
        assert batch.moved.max() == 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_reference_frame_shows_the_truth_whatever_moves(self, bank: SceneBank, kind: Kind) -> None:
        config = SynthesisConfig.noiseless(registered_share=0.5, bit_depths=(None,))
        batch = Synthesizer(bank, config).sample(6, 48, seeded(2), kind)
        expected = expose(batch.truth, 4.0)
        torch.testing.assert_close(batch.frames[:, 1], expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("kind", ["camera", "objects", "both"])
    def test_something_moves_and_the_mask_covers_it(self, bank: SceneBank, kind: Kind) -> None:
        batch = Synthesizer(bank, SynthesisConfig.noiseless()).sample(6, 64, seeded(4), kind)
        change = (batch.radiance - batch.radiance[:, 1:2]).abs().amax(dim=(1, 2))
        assert (change.amax(dim=(1, 2)) > 0.01).all()
        still = batch.moved[:, 0] < 0.01
        allowed = 0.01 * (0.05 * batch.radiance[:, 1].amax(dim=1) + 0.002)
        assert (change[still] <= allowed[still]).all()

    def test_objects_alone_leave_the_rest_untouched(self, bank: SceneBank) -> None:
        config = SynthesisConfig.noiseless(flow_share=0.0, object_count=(1, 2), object_radius=(4.0, 6.0))
        batch = Synthesizer(bank, config).sample(4, 96, seeded(), "objects")
        outside = (batch.moved == 0).expand_as(batch.truth)
        assert 0.5 < outside.float().mean() < 1
        for index in (0, 2):
            assert torch.equal(batch.radiance[:, index][outside], batch.radiance[:, 1][outside])

    def test_registered_frames_lie_on_the_reference(self, bank: SceneBank) -> None:
        registered = SynthesisConfig.noiseless(
            registered_share=1.0, residual=(0.0, 0.0), parallax_share=0.0, blur_share=0.0
        )
        moving = SynthesisConfig.noiseless(camera_translation=(15.0, 20.0), blur_share=0.0)
        errors, moved = [], []
        for config in (registered, moving):
            batch = Synthesizer(bank, config).sample(8, 64, seeded(5), "camera")
            assert batch.registered == [config is registered] * 8
            error = (batch.frames[:, 0] - expose(batch.truth, 1.0)).abs()[..., 8:-8, 8:-8]
            errors.append(float(error.mean()))
            moved.append(float(batch.moved.mean()))
        assert 0 < errors[0] < 0.2 * errors[1]
        assert moved[0] < 0.7 * moved[1]  # what registration repairs has not moved

    def test_ev_steps_and_kind_weights_decide_what_is_made(self, bank: SceneBank) -> None:
        config = SynthesisConfig.noiseless(ev_steps=((1.0, 3.0),), kind_weights=(0, 0, 1, 0))
        batch = Synthesizer(bank, config).sample(6, 16, seeded())
        assert batch.times.tolist() == [[1.0, 2.0, 16.0]] * 6
        assert set(batch.kind) == {"objects"}

    def test_exposure_is_a_photographers(self, bank: SceneBank) -> None:
        batch = Synthesizer(bank, SynthesisConfig.noiseless()).sample(24, 48, seeded(), "static")
        saturated = (batch.frames >= 1).float().mean(dim=(2, 3, 4))
        assert saturated[:, 0].median() < 0.05
        assert (saturated.diff(dim=1) >= 0).all()
        assert saturated[:, 1].max() > 0.1
        assert (batch.frames[:, 2].mean(dim=(1, 2, 3)) > 0.15).all()

    @pytest.mark.parametrize("value", [0.0, 1e-12, 1.0, 1e6, 1e30])
    def test_flat_scenes_of_any_level(self, value: float) -> None:
        flat = Synthesizer(SceneBank.from_tensors([torch.full((3, 48, 64), value)]))
        for values in (values for kind in KINDS for values in tensors(flat.sample(2, 32, seeded(), kind)).values()):
            assert torch.isfinite(values).all()

    def test_suns_and_black_holes_stay_finite_and_do_not_ring(self) -> None:
        scene = torch.full((3, 96, 96), 0.1)
        scene[:, 40:44, 40:44] = 1e6
        scene[:, 60:, :20] = 0.0
        config = SynthesisConfig.noiseless(saturation=(1.0, 1.0))
        batch = Synthesizer(SceneBank.from_tensors([scene]), config).sample(8, 48, seeded(), "camera")
        assert all(torch.isfinite(values).all() for values in tensors(batch).values())
        assert batch.radiance.min() >= 0
        assert batch.radiance.max() <= config.clip[1]

    def test_wrong_arguments(self, bank: SceneBank) -> None:
        for count, size, kind, named in (
            (0, 32, None, "batch"),
            (1, (64, 8), None, "size"),
            (1, 32, "moving", "static"),
        ):
            with pytest.raises(ArgumentError, match=named):
                Synthesizer(bank).sample(count, size, seeded(), kind)  # type: ignore[arg-type]

    @settings(max_examples=15)
    @given(data=st.data())
    def test_any_valid_configuration_works(self, bank: SceneBank, data: st.DataObject) -> None:
        spans = {"source_scale": (0.1, 4), "scene_gamma": (0.3, 3), "saturation": (0, 3), "clip": (1, 20)}
        spans |= {"short_saturated": (0, 1), "reference_saturated": (0, 1), "camera_translation": (0, 90)}
        spans |= {"camera_angle": (-1, 1), "camera_tilt": (-0.3, 0.3), "object_radius": (0.3, 100)}
        spans |= {"object_displacement": (0.01, 200), "gain": (0, 0.1), "read_noise": (0, 0.1)}
        drawn = {name: tuple(sorted(data.draw(st.floats(*span)) for _ in range(2))) for name, span in spans.items()}
        for name in ("registered", "parallax", "passing", "black_level", "jpeg", "srgb"):
            drawn[f"{name}_share"] = data.draw(st.floats(0, 1))
        steps = st.lists(st.tuples(st.floats(0.1, 6), st.floats(0.1, 6)), min_size=1, max_size=3).map(tuple)
        bits = data.draw(st.sampled_from([None, 1, 8, 10, 16]))
        config = SynthesisConfig(ev_steps=data.draw(steps), bit_depths=(bits,), **drawn)  # type: ignore[arg-type]
        batch = Synthesizer(bank, config).sample(2, data.draw(st.sampled_from([(16, 16), (17, 40)])), seeded())
        assert all(torch.isfinite(values).all() for values in tensors(batch).values())
        assert 0 <= batch.frames.min() <= batch.frames.max() <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"registered_share": 1.5}, {"clip": (4.0, 1.5)}, {"camera_translation": (-1.0, 3.0)},
        {"object_radius": (0.0, 3.0)}, {"gain": (-1e-3, 1e-3)}, {"ev_steps": ((2.0, 0.0),)}, {"ev_steps": ()},
        {"kind_weights": (0.0, 0.0, 0.0, 0.0)}, {"bit_depths": (24, 8)},  # two depths are not a range
    ],
)  # fmt: skip
def test_impossible_values_are_named(change: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match="1 to 16 bits" if "bit_depths" in change else next(iter(change))):
        SynthesisConfig(**change)  # type: ignore[arg-type]


TIMES = np.array([1.0, 2.0, 4.0])


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_everything_is_rendered_on_the_device(bank: SceneBank, device: str) -> None:
    """A tensor left behind on the CPU would be refused beside those of the meta device."""
    config = SynthesisConfig(parallax_share=1.0, flow_share=1.0)
    rng, size = np.random.default_rng(1), (32, 40)
    drawn = draw_motion(rng, config, size, "both", registered=True)
    assert drawn.camera is not None
    motion = Motion(drawn.total.to(device), drawn.camera.to(device), drawn.ranges, drawn.margin)
    canvas = draw_background(rng, config, bank, (32 + 2 * motion.margin, 40 + 2 * motion.margin), TIMES, device)
    objects = draw_objects(rng, config, bank, size, TIMES)
    radiance, passed = render_radiance(canvas, motion, objects, draw_shake(rng, config))
    frames = sensor.record(radiance, sensor.draw_sensor(rng, config, TIMES), torch.randn_like(radiance))
    assert motion.camera is not None
    registered, seen = alignment_artifacts.simulate_alignment(
        frames, radiance, alignment_artifacts.draw_misalignment(rng, config, size), motion.camera, TIMES
    )
    assert {t.device.type for t in (radiance, frames, registered, seen, moved_mask(radiance, passed))} == {device}
    assert registered.shape == seen.shape == (3, 3, 32, 40)


class TestMotion:
    def flow(self, size: tuple[int, int], **parts: object) -> Tensor:
        values = {"translation": [0.0, 0.0], "angle": 0.0, "zoom": 0.0, "tilt": [0.0, 0.0], **parts}
        matrices = centred_homographies(size, *(np.array([value]) for value in values.values()))
        return camera_displacement(matrices, size)[0]

    def test_homography_rotates_zooms_and_tilts_about_the_centre(self) -> None:
        flow, grid = self.flow((5, 5), angle=np.pi / 2), pixel_grid(5, 5)
        torch.testing.assert_close(flow[2, 2], torch.zeros(2), rtol=0, atol=1e-6)
        torch.testing.assert_close(flow[0, 0], torch.tensor([4.0, 0.0]), rtol=0, atol=1e-5)
        torch.testing.assert_close((grid + self.flow((5, 5), zoom=0.5))[4, 4], torch.tensor([5.0, 5.0]))
        tilted = grid + self.flow((5, 5), tilt=[0.25, 0.0])
        torch.testing.assert_close(tilted[2, 4], torch.tensor([2 + 2 / 1.25, 2.0]), rtol=0, atol=1e-5)

    def test_steep_tilts_turn_nothing_inside_out(self) -> None:
        assert self.flow((5, 5), tilt=[-3.0, 2.0]).abs().max() < 5 * 4

    @pytest.mark.parametrize("reach", [0.5, 10.0, 40.0])
    def test_translation_stays_in_its_range(self, reach: float) -> None:
        none = dict.fromkeys(("camera_angle", "camera_zoom", "camera_tilt"), (0, 0))
        config = SynthesisConfig(camera_translation=(reach, reach), parallax_share=0, **none)  # type: ignore[arg-type]
        for seed in range(5):
            motion = draw_motion(np.random.default_rng(seed), config, (32, 32), "camera")
            lengths = motion.total.norm(dim=-1).amax(dim=(1, 2))
            assert lengths[1] < 0.71
            assert ((lengths[OUTER] >= 0.39 * reach) & (lengths[OUTER] <= 1.01 * reach)).all()

    def test_registration_finds_the_camera_but_not_parallax(self) -> None:
        for share in (0.0, 1.0):
            config = SynthesisConfig(parallax_share=share, parallax=(4.0, 8.0))
            motion = draw_motion(np.random.default_rng(1), config, (32, 32), "camera", registered=True)
            total, camera = motion.total, motion.camera
            assert camera is not None
            assert np.abs(motion.ranges).max() <= motion.margin - 3
            assert camera.abs().max() < 2
            assert (total[1] - camera[1]).abs().max() == 0
            assert ((total - camera).abs().max() > 0.5) == bool(share)

    def test_foliage_stands_still_at_the_reference_instant(self) -> None:
        config = SynthesisConfig(flow_share=1.0)
        motion = draw_motion(np.random.default_rng(0), config, (32, 32), "objects")
        flow = motion.total
        assert flow[1].abs().max() == 0
        assert flow[0].abs().max() > 0.1

    def test_blur_along_keeps_light_and_place(self) -> None:
        point = torch.zeros(1, 3, 21, 21)
        point[:, :, 10, 10] = 1.0
        blurred = blur_along(point.expand(2, -1, -1, -1), np.array([[6.0, 0.0], [0.0, 2.0]]))
        torch.testing.assert_close(blurred.sum(dim=(2, 3)), torch.ones(2, 3))
        torch.testing.assert_close(blurred, blurred.flip(-1))
        assert (blurred[0, 0, 10] > 1e-3).sum() == 7
        assert blurred[0, 0, 9].max() < 1e-6
        torch.testing.assert_close(blurred[1, 0, 9:12, 10], torch.full((3,), 1 / 3))


class TestObjects:
    def thing(self, **changes: object) -> MovingObject:
        values: dict[str, object] = {"texture": torch.full((3, 8, 8), 0.7), "shape": "ellipse", "harmonics": ()}
        values |= {"centres": np.array([[10.0, 16.0], [16.0, 16.0], [22.0, 16.0]]), "radii": np.array([5.0, 5.0, 5.0])}
        values |= {"aspect": 1.0, "angles": np.zeros(3), "wobble": np.zeros(3), "edge": 1.0}
        return MovingObject(**{**values, **changes})  # type: ignore[arg-type]

    def painted(self, *things: MovingObject) -> tuple[Tensor, Tensor]:
        """One bracket of 32×32 at rest with objects before black."""
        radiance, still = torch.zeros(3, 3, 32, 32), torch.zeros(3, 32, 32, 2)
        places = (find_sightings(thing, np.zeros((3, 2, 2)), 0, (32, 32)) for thing in things)
        return radiance, paint(radiance, still, [seen for found in places for seen in found])

    def test_covers_its_area_at_its_place(self) -> None:
        radiance, passed = self.painted(self.thing())
        area = radiance[:, 0].sum(dim=(1, 2)) / 0.7
        torch.testing.assert_close(area, torch.full((3,), np.pi * 25), rtol=0.02, atol=0)
        x = torch.arange(32.0)
        centres = (radiance[:, 0].sum(dim=1) * x).sum(dim=1) / radiance[:, 0].sum(dim=(1, 2))
        torch.testing.assert_close(centres, torch.tensor([10.0, 16.0, 22.0]), rtol=0, atol=0.02)
        torch.testing.assert_close(passed[0], radiance[:, 0].amax(dim=0) / 0.7)

    SHAPES = (
        ("bar", ()),
        ("polygon", ((5.0, 0.2, 0.3),)),
        ("polygon", ((3.0, 0.0, 0.3),)),
        ("blob", ((2.0, 0.2, 0.0), (3.0, 0.1, 1.0))),
        ("ellipse", ()),
    )

    @pytest.mark.parametrize(("shape", "harmonics"), SHAPES)
    @pytest.mark.parametrize("edge", [1.0, 5.0])
    def test_every_shape_lies_within_its_extent(self, shape: str, harmonics: tuple, edge: float) -> None:
        angled = {"wobble": np.full(3, 0.2), "angles": np.array([0.0, 0.7, 2.0]), "aspect": 0.6}
        place = {"radii": np.full(3, 12.0), "centres": np.array([[48.0, 48.0]] * 3)}
        thing = self.thing(shape=shape, harmonics=harmonics, edge=edge, **angled, **place)
        positions = pixel_grid(96, 96).flatten(0, 1).expand(3, -1, -1)
        _, coverage = render_objects(positions, [thing] * 3, [0, 1, 2])
        assert coverage.max() == 1
        for instant in range(3):
            offset = (positions[instant] - 48.0).abs()[coverage[instant, 0] > 0].amax(dim=0)
            half = torch.tensor(thing.half_extent(instant))
            assert (offset <= half).all()
            assert (offset >= 0.4 * half).all()  # a bound that is of some use

    def test_later_objects_lie_before_earlier_ones_and_those_out_of_sight_change_nothing(self) -> None:
        bright, dark = self.thing(), self.thing(texture=torch.full((3, 8, 8), 0.2), radii=np.full(3, 2.0))
        before, behind = self.painted(bright, dark)[0], self.painted(dark, bright)[0]
        assert before[1, 0, 16, 16] == pytest.approx(0.2, abs=1e-4)
        torch.testing.assert_close(behind, self.painted(bright)[0])
        assert max(values.max() for values in self.painted(self.thing(centres=np.full((3, 2), 500.0)))) == 0


class TestSensor:
    def test_noise_has_the_stated_variance(self) -> None:
        noise = torch.randn(200_000, generator=seeded())
        noisy = sensor.add_sensor_noise(torch.tensor(0.3), gain=1e-3, read=2e-2, noise=noise)
        assert noisy.mean().item() == pytest.approx(0.3, abs=2e-4)
        assert noisy.var().item() == pytest.approx(1e-3 * 0.3 + 4e-4, rel=0.02)

    @pytest.mark.parametrize(("quality", "subsampled"), [(60, True), (90, True), (98, False)])
    def test_jpeg_artefacts_are_those_of_files_and_let_gradients_pass(self, quality: int, subsampled: bool) -> None:
        photo = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[:, 40:139, 180:291]  # no whole blocks
        picture, chroma = (photo[None].float() / 255).requires_grad_(), "4:2:0" if subsampled else "4:4:4"
        compressed = sensor.jpeg_artefacts(picture, quality, subsampled)
        stored = io.BytesIO()
        Image.fromarray(photo.permute(1, 2, 0).numpy()).save(stored, "JPEG", quality=quality, subsampling=chroma)
        decoded = torch.from_numpy(np.array(Image.open(stored))).permute(2, 0, 1) / 255
        torch.testing.assert_close(compressed[0], decoded, rtol=0, atol=1e-6)
        assert (compressed[0] - photo / 255).abs().max() > 2 / 255
        assert torch.equal(torch.autograd.grad(compressed.sum(), picture)[0], torch.ones_like(picture))

    def sensor(self, **changes: object) -> sensor.Sensor:
        values: dict[str, object] = {"gains": np.array([[1.0], [2.0], [4.0]]).repeat(3, axis=1), "photon_noise": 1e-3}
        values |= {"read_noise": 1e-3, "noise_seed": 1, "black_level": 0.0, "gamma": 2.2, "srgb": False}
        return sensor.Sensor(**{**values, "bits": None, "jpeg_quality": None, **changes})  # type: ignore[arg-type]

    @pytest.mark.parametrize("changes", [{}, {"srgb": True, "black_level": 1e-3}, {"gamma": 2.1}])
    def test_recording_is_differentiable_in_light_and_exposure(self, changes: dict[str, object]) -> None:
        """In double precision, where nothing is clipped or rounded."""
        camera = self.sensor(**changes)
        radiance = (0.05 + 0.15 * torch.rand(3, 3, 2, 3, generator=seeded())).double().requires_grad_()
        noise, gains = torch.randn(radiance.shape, generator=seeded(1)).double(), torch.tensor(camera.gains)
        assert torch.autograd.gradcheck(
            lambda *of: sensor.record(of[0], camera, noise, of[1]), (radiance, gains.requires_grad_())
        )
        torch.testing.assert_close(
            sensor.record(radiance, camera, noise), sensor.record(radiance, camera, noise, gains)
        )

    @pytest.mark.parametrize("changes", [{"read_noise": 0.0, "jpeg_quality": 90}, {"srgb": True, "jpeg_quality": 70}])
    def test_gradients_are_finite_in_the_dark_and_through_files(self, changes: dict[str, object]) -> None:
        radiance = torch.rand(3, 3, 16, 24, generator=seeded()) * 0.3
        radiance[..., :8] = 0.0
        radiance.requires_grad_()
        noise = torch.randn(radiance.shape, generator=seeded(1))
        recorded = sensor.record(radiance, self.sensor(bits=8, **changes), noise)
        (gradient,) = torch.autograd.grad(recorded.square().sum(), radiance)
        assert torch.isfinite(gradient).all()
        assert (gradient[..., 8:] != 0).float().mean() > 0.5

    def test_srgb_files_are_decoded_but_unknown_curves_are_not(self, bank: SceneBank) -> None:
        srgb = SynthesisConfig.noiseless(srgb_share=1.0)
        odd = SynthesisConfig.noiseless(curve_error_share=1.0, curve_error=0.1)
        errors = []
        for config in (srgb, odd):
            batch = Synthesizer(bank, config).sample(4, 32, seeded(), "static")
            errors.append((batch.frames[:, 1] - expose(batch.truth, 4.0)).abs().max().item())
        assert errors[0] < 2e-3
        assert errors[1] > 5e-3

    def test_errors_of_exposure_spare_the_reference(self, bank: SceneBank) -> None:
        config = SynthesisConfig.noiseless(exposure_error_share=1.0, exposure_error=0.1, white_balance_drift_share=1.0)
        batch = Synthesizer(bank, config).sample(4, 32, seeded(), "static")
        exact = expose(batch.radiance, batch.times[:, :, None, None, None])
        errors = (batch.frames - exact).abs().amax(dim=(0, 2, 3, 4))
        assert errors[1] < 1e-4
        assert (errors[OUTER] > 1e-3).all()


class TestAlignment:
    def exact(self, *unseen: alignment_artifacts.UnseenStrip | None) -> alignment_artifacts.Misalignment:
        return alignment_artifacts.Misalignment(
            torch.zeros(4, 2, 2), 0.0, (unseen[0], unseen[1]) if unseen else (None, None)
        )

    def test_a_perfect_shift_is_undone(self) -> None:
        picture = smooth_field(draw_coarse_field(np.random.default_rng(0), 3, 6, (48, 48)), (48, 48))[None].sigmoid()
        camera = torch.zeros(3, 48, 48, 2)
        camera[0, ..., 0], camera[2, ..., 1] = 0.5, -0.7
        radiance = warp(picture, (pixel_grid(48, 48) + camera)[None])[0]
        frames = radiance ** (1 / 2.2)
        registered, seen = alignment_artifacts.simulate_alignment(frames, radiance, self.exact(), camera, np.ones(3))
        inside = (..., slice(8, -8), slice(8, -8))
        for moved, repaired in ((frames, registered), (radiance, seen)):
            before = (moved[OUTER] - moved[1])[inside].abs().max()
            assert (repaired[OUTER] - moved[1])[inside].abs().max() < 0.1 * before

    def test_unseen_strips_are_told_by_the_reference_or_repeated(self) -> None:
        ramp = torch.linspace(0.05, 0.2, 32).expand(3, 3, 32, 32).clone()
        ramp[1] = 0.1
        exposed = ramp * torch.from_numpy(TIMES).float()[:, None, None, None]
        right = np.array([1.0, 0.0])
        misalignment = self.exact(
            alignment_artifacts.UnseenStrip(right, 4.0, False), alignment_artifacts.UnseenStrip(right, 4.0, True)
        )
        light, _ = alignment_artifacts.simulate_alignment(
            exposed ** (1 / 2.2), ramp, misalignment, torch.zeros(3, 32, 32, 2), TIMES
        )
        first, _, last = light**2.2
        torch.testing.assert_close(first[..., -4:], torch.full((3, 32, 4), 0.1))
        torch.testing.assert_close(last[..., -4:], 4 * ramp[2, :, :, 27:28].expand(-1, -1, 4))
        torch.testing.assert_close((light**2.2)[OUTER][..., :-4], exposed[OUTER][..., :-4])


class TestScenes:
    NAMES = (
        *("venice.hdr", "venice_sunset.hdr", "sunset.hdr", "lab.hdr", "studio.exr", "studio.hdr"),
        *("studio_small_05.hdr",),
        *("brown_photostudio_01.hdr", "photo_studio_01.hdr", "wide_street_01.exr", "wide_street_02.exr", "night.hdr"),
        *("moonless_golf.hdr", "dawn.hdr", "park.hdr", "sunrise.hdr", "hilly_terrain_01.hdr", "quarry_02.hdr"),
    )

    @given(seed=st.integers(0, 1000), holdout=st.integers(0, 17))
    def test_split_keeps_relatives_together(self, seed: int, holdout: int) -> None:
        train, held = split_scenes(self.NAMES, holdout, seed)
        assert sorted([*train, *held]) == sorted(self.NAMES)
        assert not {scene_group(name) for name in train} & {scene_group(name) for name in held}
        assert len(held) <= holdout

    def test_split_reaches_the_number_asked_for_but_holds_out_no_more_than_there_is(self) -> None:
        names = [*self.NAMES, *(f"place_{i}.hdr" for i in range(40))]
        assert all(len(split_scenes(names, 12, seed)[1]) == 12 for seed in range(10))
        with pytest.raises(ArgumentError, match="holdout"):
            split_scenes(["a.hdr", "b.hdr"], 2)

    def test_from_folders_reads_and_cuts_panoramas(self, tmp_path: Path) -> None:
        panorama = np.random.default_rng(0).random((48, 96, 3), dtype=np.float32) + 0.5
        panorama[:8], panorama[-8:] = 99.0, 99.0  # the poles
        write_image(tmp_path / "place.hdr", panorama)
        write_image(tmp_path / "photo.png", np.full((30, 60, 3), 100, np.uint8))
        bank = SceneBank.from_folders([tmp_path], [tmp_path], max_side=40)
        assert bank.hdr[0].shape == (3, 32, 96)
        assert bank.hdr[0].max() < 5
        assert bank.hdr[0].float().median().item() == pytest.approx(0.25, rel=0.01)
        assert bank.photos[0].shape == (3, 20, 40)
        assert (bank.photos[0] == 100).all()
        assert bank.hdr_names == ("place.hdr",)

    def test_missing_and_empty(self, tmp_path: Path) -> None:
        with pytest.raises(ImageFileError, match="nowhere"):
            SceneBank.from_folders([tmp_path / "nowhere"])
        with pytest.raises(ArgumentError, match="at least one"):
            SceneBank.from_folders([tmp_path])
        with pytest.raises(ShapeError, match="3×H×W"):
            SceneBank.from_tensors([torch.rand(1, 32, 32)])
        write_image(tmp_path / "photo.png", np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(ImageFileError, match="linear light"):
            SceneBank.from_folders(hdr=[tmp_path / "photo.png"])

    def test_packing_survives_anything(self) -> None:
        wild = torch.tensor([float("nan"), float("inf"), -1.0, 1e6, 1e-30, 1.0]).repeat(3, 8, 2)
        packed = SceneBank.from_tensors([wild]).hdr[0]
        assert torch.isfinite(packed).all()
        assert packed.min() >= 0

    def test_subset_split_and_what_is_no_background(self) -> None:
        bank = SceneBank.procedural(seed=0, count=5, size=(32, 48))
        assert bank.subset(["hdr_1"]).hdr[0] is bank.hdr[1]
        with pytest.raises(ArgumentError, match="nowhere"):
            bank.subset(["nowhere"])
        train, held = bank.split(holdout=2)
        assert (len(train.hdr), len(held.hdr)) == (3, 2)
        assert not set(train.photo_names) & set(held.photo_names)
        noisy = SceneBank(bank.hdr[:2], hdr_names=("satara_night.hdr", "lab.hdr"))
        assert noisy.without_noise().hdr_names == ("lab.hdr",)


def test_validation_brackets_are_fixed_in_equal_shares(bank: SceneBank) -> None:
    first, again = (validation_brackets(bank, 8, (32, 48), seed=1) for _ in range(2))
    assert [b.kind[0] for b in first] == [*KINDS, *KINDS]
    assert [b.bit_depth[0] for b in first] == [8] * 4 + [16] * 4
    assert all(b.times.tolist() == [[1.0, 4.0, 16.0]] for b in first)
    assert not any(b.registered[0] for b in first)
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(first, again, strict=True))
    assert first[0].frames.shape == (1, 3, 3, 32, 48)


def test_batches_are_sliced_joined_and_laid_out_on_a_sheet(bank: SceneBank) -> None:
    batch = Synthesizer(bank).sample(3, 32, seeded())
    again = SyntheticBatch.concatenate([batch[0], batch[1], batch[-1]])
    for name, values in tensors(batch).items():
        assert torch.equal(values, getattr(again, name))
    assert again.kind == batch.kind
    sheet = contact_sheet(batch)
    assert sheet.shape == (3 * 36 + 4, 6 * 36 + 4, 3)
    expected = (batch.frames[1, 2] * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
    np.testing.assert_array_equal(sheet[40:72, 76:108], expected)
