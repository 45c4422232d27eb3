"""Registration finds known motions, leaves still brackets alone, and refuses what it cannot know."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from torch import Tensor

from afunet_core.bracket.bracket import Bracket
from afunet_core.errors import ArgumentError, MergeCancelled, ShapeError
from afunet_core.ops.warp import displacement, transfer_points, valid_area, warp_homography
from afunet_core.radiometry import expose, to_radiance
from afunet_core.registration.align import align_frame, common_area, largest_rectangle
from afunet_core.registration.frames import register

HEIGHT, WIDTH = 280, 400


def similarity(dx: float, dy: float, degrees: float = 0.0, scale: float = 1.0, tilt: float = 0.0) -> Tensor:
    """Motion about the middle of the frame, from moving to reference pixels."""
    a = math.radians(degrees)
    centre = torch.tensor([[1, 0, -(WIDTH - 1) / 2], [0, 1, -(HEIGHT - 1) / 2], [0, 0, 1]], dtype=torch.float64)
    move = torch.tensor(
        [[scale * math.cos(a), -scale * math.sin(a), dx], [scale * math.sin(a), scale * math.cos(a), dy], [tilt, 0, 1]],
        dtype=torch.float64,
    )
    return torch.linalg.inv(centre) @ move @ centre


@pytest.fixture(scope="module")
def scene() -> Tensor:
    """Linear light of a photograph larger than the frames, highlights expanded: 1×3×H×W."""
    light = torch.from_numpy(skimage.data.coffee().astype(np.float32) / 255).permute(2, 0, 1)[None] ** 2.2
    return light / (1.1 - light)


def view(scene: Tensor, homography: Tensor | None = None) -> Tensor:
    """The scene as a camera moved by ``homography`` sees it, sampled without this package's own warp."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    points = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    if homography is not None:
        points = homography.numpy() @ points
        points = points / points[2]
    rows, columns = points[1].reshape(x.shape) + 60, points[0].reshape(x.shape) + 100
    channels = [map_coordinates(c.numpy(), [rows, columns], order=3, mode="nearest") for c in scene[0]]
    return torch.from_numpy(np.stack(channels)).clamp(min=0)[None].float()


def photograph(radiance: Tensor, time: float, seed: int = 0) -> Tensor:
    """Shot and read noise, clipping, 8 bits of gamma 2.2."""
    electrons = radiance * time * 10000
    noise = torch.randn(radiance.shape, generator=torch.Generator().manual_seed(seed))
    light = (electrons + noise * (electrons + 16).sqrt()) / 10000
    return (light.clamp(0, 1) ** (1 / 2.2) * 255).round() / 255


def bracket_of(views: list[Tensor], ev: tuple[float, ...], exposure: float = 0.15) -> Bracket:
    frames = [photograph(v, exposure * 2.0**e, seed) for seed, (v, e) in enumerate(zip(views, ev, strict=True))]
    return Bracket(frames, ev=ev, override=True)


def corner_error(found: Tensor, truth: Tensor) -> float:
    corners = torch.tensor([[0, 0], [WIDTH - 1, 0], [WIDTH - 1, HEIGHT - 1], [0, HEIGHT - 1]], dtype=torch.float64)
    return float((transfer_points(found, corners) - transfer_points(truth, corners)).norm(dim=-1).mean())


def with_object(image: Tensor, left: int) -> Tensor:
    """A bright, textured disc, a tenth of the frame."""
    y, x = torch.meshgrid(torch.arange(HEIGHT).float(), torch.arange(WIDTH).float(), indexing="ij")
    disc = ((x - left).square() + (y - 150).square() < 60**2).float()
    paint = 0.4 + 0.3 * torch.sin((x - left) * 0.5) * torch.sin(y * 0.4)
    return image * (1 - disc) + paint * disc


MOTIONS = {
    "small": similarity(3.3, -1.7),
    "rotated": similarity(-8.0, 5.0, degrees=5.0),
    "far": similarity(80.0, -50.0, degrees=-2.0),
    "zoomed": similarity(4.0, 9.0, degrees=1.0, scale=1.03),
    "perspective": similarity(-10.0, 6.0, degrees=2.0, tilt=1e-4),
}


class TestRegister:
    @pytest.mark.parametrize(("name", "step"), [("rotated", 1.0), *((name, 3.0) for name in MOTIONS)])
    def test_finds_known_motion(self, scene: Tensor, name: str, step: float) -> None:
        motion = MOTIONS[name]
        other = torch.linalg.inv(motion)
        bracket = bracket_of([view(scene, motion), view(scene), view(scene, other)], ev=(-step, 0, step))
        aligned, (short, reference, long) = register(bracket)
        assert (short.decision, reference.decision, long.decision) == ("warped", "identity", "warped")
        assert corner_error(short.homography, motion) < 0.25
        assert corner_error(long.homography, other) < 0.25
        assert aligned.frames[1] is bracket.frames[1]
        assert max(short.parallax, 10 * short.parallax_share) < 0.5  # the scene is flat
        assert "remain off" not in short.reason
        report = short.as_dict()
        assert json.loads(json.dumps(report)) == report
        assert report["residual_after"] < report["residual_before"]
        truth = expose(view(scene) * 0.15, 2.0**-step)
        inside = valid_area(motion, HEIGHT, WIDTH).expand_as(truth)
        before = (bracket.frames[0] - truth)[inside].square().mean()
        after = (aligned.frames[0] - truth)[inside].square().mean()
        assert after < before / 4

    @pytest.mark.parametrize(
        ("said", "true", "encoding"),
        [(4, (0.03, 0.48), "gamma"), (2, (0.21, 0.6), "gamma"), (2, (0.15, 0.6), "linear")],
        ids=["four stops", "wrong by half a stop", "linear"],
    )
    def test_whatever_the_exposures(self, scene: Tensor, said: int, true: tuple[float, float], encoding: str) -> None:
        motion = MOTIONS["rotated"]
        frames = [photograph(view(scene, moved), time) for moved, time in zip((motion, None), true, strict=True)]
        frames = [frame**2.2 for frame in frames] if encoding == "linear" else frames
        _, found = register(Bracket(frames, ev=(0, said), encoding=encoding, override=True))
        assert corner_error(found[0].homography, motion) < 0.5

    @pytest.mark.parametrize("mode", ["auto", "on"])
    def test_frames_that_share_nothing_meet_by_way_of_one_between(self, mode: str) -> None:
        """Stripes of light over eleven stops: of frames 10 stops apart, one records nothing that the other does."""
        random = np.random.default_rng(0)
        tall, wide = HEIGHT + 160, WIDTH + 240
        stops = np.kron(random.uniform(-11, 0, (tall // 8, wide // 8)), np.ones((8, 8)))
        scene = torch.from_numpy(2.0**stops).float().expand(1, 3, -1, -1)
        motions = [similarity(9.0, -6.0, degrees=1.0), similarity(-5.0, 4.0), similarity(0.0, 0.0)]
        views = [view(scene, motion) for motion in motions]
        bracket = bracket_of(views, ev=(0, 5, 10), exposure=0.9)
        whole = Bracket(bracket.frames, ev=(0, 5, 10), reference=2, override=True)
        far = Bracket(bracket.frames[::2], ev=(0, 10), reference=1, override=True)
        assert register(far, "auto")[1][0].decision == "refused"
        short, middle, _ = register(whole, mode)[1]
        assert (short.decision, middle.decision) == ("warped", "warped")
        assert short.reason.endswith("found by way of frame 2")
        assert corner_error(short.homography, motions[0]) < 0.5

    @pytest.mark.parametrize("degrees", [0.0, 2.0])
    def test_moving_object_does_not_pull(self, scene: Tensor, degrees: float) -> None:
        motion = similarity(6.0, -4.0, degrees=degrees)
        views = [with_object(view(scene, motion), 150), with_object(view(scene), 190)]
        _, found = register(bracket_of(views, ev=(0, 2)))
        assert found[0].decision == "warped"
        assert corner_error(found[0].homography, motion) < 0.25

    @pytest.mark.parametrize("moving_object", [False, True])
    @pytest.mark.parametrize("step", [1.0, 3.0])
    def test_still_bracket_stays_bit_identical(self, scene: Tensor, step: float, moving_object: bool) -> None:
        still = view(scene)
        views = [with_object(still, 150 + 9 * i) if moving_object else still for i in range(3)]
        bracket = bracket_of(views, ev=(-step, 0, step))
        aligned, found = register(bracket)
        assert [entry.decision for entry in found] == ["identity"] * 3
        assert aligned is bracket

    @pytest.mark.parametrize(("shift", "decision"), [(0.12, "identity"), (0.45, "warped")])
    def test_what_resampling_would_cost_more_than_stays(self, scene: Tensor, shift: float, decision: str) -> None:
        """A tenth of a pixel is left in, half a pixel is not."""
        bracket = bracket_of([view(scene, similarity(shift, 0.0)), view(scene)], ev=(0, 1))
        aligned, (found, _) = register(bracket)
        assert found.decision == decision
        assert (aligned is bracket) == (decision == "identity")

    def test_batch_is_registered_one_by_one(self, scene: Tensor) -> None:
        moved, still = view(scene, MOTIONS["small"]), view(scene)
        bracket = bracket_of([torch.cat((moved, still)), torch.cat((still, still))], ev=(0, 2))
        aligned, found = register(bracket)
        assert [entry.decision for entry in found] == ["warped", "identity", "identity", "identity"]
        assert torch.equal(aligned.frames[0][1], bracket.frames[0][1])
        assert not torch.equal(aligned.frames[0][0], bracket.frames[0][0])

    def test_off_and_unknown_mode(self, scene: Tensor) -> None:
        bracket = bracket_of([view(scene, MOTIONS["small"]), view(scene)], ev=(0, 2))
        assert register(bracket, "off")[0] is bracket
        with pytest.raises(ArgumentError, match="auto, on or off"):
            register(bracket, "maybe")

    def test_gradients_reach_the_frames(self, scene: Tensor) -> None:
        bracket = bracket_of([view(scene, MOTIONS["small"]), view(scene)], ev=(0, 2))
        frames = [frame.clone().requires_grad_() for frame in bracket.frames]
        aligned, _ = register(bracket.with_frames(frames))
        aligned.frames[0].sum().backward()
        assert frames[0].grad is not None
        assert torch.isfinite(frames[0].grad).all()
        assert frames[0].grad.abs().sum() > 0


class TestCallers:
    """Progress, cancel, and the area that all frames share."""

    def test_progress_counts_frames(self, scene: Tensor) -> None:
        bracket = bracket_of([view(scene), view(scene, MOTIONS["small"]), view(scene)], ev=(-1, 0, 1))
        told: list[tuple[int, int, str]] = []
        register(bracket, on_progress=lambda *report: told.append(report))
        assert [report[:2] for report in told] == [(0, 2), (1, 2)]
        assert told[1][2] == "Registering frame 2 of 2"

    def test_cancel_is_asked_all_along(self, scene: Tensor) -> None:
        bracket = bracket_of([view(scene, MOTIONS["far"]), view(scene)], ev=(0, 2))
        asked: list[None] = []

        def stop_after(patience: int) -> Callable[[], bool]:
            asked.clear()
            return lambda: asked.append(None) or len(asked) > patience

        register(bracket, should_cancel=stop_after(10**6))
        assert len(asked) > 8
        for patience in (0, len(asked) // 2, len(asked) - 1):
            with pytest.raises(MergeCancelled):
                register(bracket, should_cancel=stop_after(patience))

    def test_common_area_is_what_every_frame_shows(self, scene: Tensor) -> None:
        bracket = bracket_of([view(scene, MOTIONS["rotated"]), view(scene), view(scene, MOTIONS["zoomed"])], (-1, 0, 1))
        aligned, found = register(bracket)
        top, left, height, width = common_area(found, HEIGHT, WIDTH)
        for entry in found:
            inside = valid_area(entry.homography, HEIGHT, WIDTH)[0, 0, top : top + height, left : left + width]
            assert bool(inside.all())
        assert height * width > 0.8 * HEIGHT * WIDTH
        assert aligned.crop(top, left, height, width).shape == (height, width)

    @settings(max_examples=30)
    @given(data=st.data())
    def test_no_larger_rectangle_fits(self, data: st.DataObject) -> None:
        """Against trying every rectangle, on masks cut off by random lines."""
        rows, columns = 9, 11
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        mask = torch.ones(rows, columns, dtype=torch.bool)
        for _ in range(data.draw(st.integers(0, 4))):
            a, b, c = (data.draw(st.integers(-5, 5)) for _ in range(3))
            mask &= a * (x - columns // 2) + b * (y - rows // 2) + 2 * c > -8
        best = max(
            (bottom - top) * (right - left) * bool(mask[top:bottom, left:right].all())
            for top in range(rows)
            for bottom in range(top, rows + 1)
            for left in range(columns)
            for right in range(left, columns + 1)
        )
        top, left, height, width = largest_rectangle(mask)
        assert height * width == best
        assert bool(mask[top : top + height, left : left + width].all())


class TestParallax:
    """Motion that one transform cannot undo is told."""

    @pytest.mark.parametrize("nearer", [4.0, 8.0])
    def test_what_is_near_moves_further(self, scene: Tensor, nearer: float) -> None:
        motions = [similarity(10.0 + nearer, 3.0), similarity(10.0, 3.0)]
        is_near = torch.arange(WIDTH) < 0.35 * WIDTH
        moving = torch.where(is_near, view(scene, motions[0]), view(scene, motions[1]))
        _, found = register(bracket_of([moving, view(scene)], ev=(0, 1)))
        assert found[0].decision == "warped"
        y, x = torch.meshgrid(torch.arange(HEIGHT).double(), torch.arange(WIDTH).double(), indexing="ij")
        points = torch.stack((x, y), dim=-1).reshape(-1, 2)
        truth = [transfer_points(motion, points) for motion in motions]
        where = torch.where(is_near.repeat(HEIGHT)[:, None], truth[0], truth[1])
        left = (transfer_points(found[0].homography, points) - where).norm(dim=-1)
        assert found[0].parallax == pytest.approx(float(left.quantile(0.9)), abs=0.7)
        assert found[0].parallax_share == pytest.approx(float((left > 1.5).double().mean()), abs=0.2)
        assert "parallax" in found[0].reason


def noise(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


HOPELESS = {
    "black": (torch.zeros(1, 3, 64, 96), torch.zeros(1, 3, 64, 96)),
    "constant": (torch.full((1, 3, 64, 96), 0.2), torch.full((1, 3, 64, 96), 0.4)),
    "saturated": (noise(1, 1, 3, 64, 96), torch.ones(1, 3, 64, 96)),
    "unrelated": (noise(2, 1, 3, 128, 160), noise(3, 1, 3, 128, 160)),
    "one pixel": (noise(4, 1, 3, 1, 1), noise(5, 1, 3, 1, 1)),
    "thin": (noise(6, 1, 3, 7, 200), noise(7, 1, 3, 7, 200)),
    "dark noise": (0.05 * noise(8, 1, 3, 128, 160), 0.05 * noise(9, 1, 3, 128, 160)),
}


class TestRefusal:
    @pytest.mark.parametrize("case", list(HOPELESS))
    def test_leaves_hopeless_frames_alone(self, case: str) -> None:
        bracket = Bracket(list(HOPELESS[case]), ev=(0, 2), override=True)
        aligned, found = register(bracket)
        assert aligned is bracket
        assert found[0].decision == "refused"
        assert torch.equal(found[0].homography, torch.eye(3, dtype=torch.float64))
        assert found[0].reason
        assert found[0].as_dict()["parallax"] is None or case == "unrelated"  # JSON has no NaN

    @pytest.mark.parametrize("shape", [(1, 1), (7, 200), (17, 16), (33, 401), (16, 300)])
    def test_any_shape_of_one_picture_is_still(self, shape: tuple[int, int]) -> None:
        picture = F.interpolate(noise(10, 1, 3, 20, 60), size=shape, mode="bilinear") * 0.3
        bracket = Bracket([picture / 2, picture], ev=(0, 1), encoding="linear", override=True)
        aligned, found = register(bracket)
        assert aligned is bracket
        assert found[0].decision in {"identity", "refused"}

    def test_unrelated_photographs(self, scene: Tensor) -> None:
        other = torch.from_numpy(skimage.data.astronaut().astype(np.float32) / 255).permute(2, 0, 1)[None] ** 2.2
        bracket = bracket_of([view(other), view(scene)], ev=(0, 1))
        (refused, _), (forced, _) = (register(bracket, mode)[1] for mode in ("auto", "on"))
        assert refused.decision == "refused"
        assert refused.confidence < 0.5
        assert forced.decision == "warped"
        assert "although" in forced.reason


class TestProperties:
    def test_uncertainty_follows_the_noise(self, scene: Tensor) -> None:
        views = [view(scene, MOTIONS["small"]), view(scene)]
        bright, dark = (register(bracket_of(views, ev=(0, 2), exposure=level))[1][0] for level in (0.15, 0.005))
        assert bright.uncertainty < dark.uncertainty


class TestBorders:
    """Borders of an aligned frame, where it has nothing of its own."""

    @pytest.mark.parametrize(
        ("reference", "own", "expected"),
        [(0.6, 0.9, None), (1.0, 0.9, 0.9), (1.0, 0.1, None)],
        ids=["told by the reference", "brighter than a clipped reference says", "darker than that"],
    )
    def test_a_reference_fills_them_and_a_clipped_one_only_bounds_them_from_below(
        self, reference: float, own: float, expected: float | None
    ) -> None:
        frame, other = torch.full((1, 3, 8, 16), own), torch.full((1, 3, 8, 16), reference)
        aligned, valid = align_frame(frame, similarity(4.0, 0.0), other, 1.0, 4.0)
        assert not valid[..., :4].any()
        assert valid[..., 4:].all()
        told = expose(to_radiance(other, 4.0), 1.0)
        assert float(aligned[0, 0, 4, 1]) == pytest.approx(expected or float(told[0, 0, 4, 1]), abs=1e-6)


class TestWarp:
    def test_agrees_with_scikit_image(self, scene: Tensor) -> None:
        from skimage.transform import ProjectiveTransform, warp

        image = F.avg_pool2d(scene, 2).double()
        motion = similarity(5.5, -3.25, 3.0)
        # Theirs maps places of the result to places in the image.
        theirs = warp(image[0].permute(1, 2, 0).numpy(), ProjectiveTransform(motion.inverse().numpy()), mode="edge")
        ours, _ = warp_homography(image, motion, "bilinear")
        assert torch.allclose(ours[0].permute(1, 2, 0), torch.from_numpy(theirs), atol=1e-4)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
    def test_half_precision_knows_where_pixels_are(self, scene: Tensor, dtype: torch.dtype, mode: str) -> None:
        """Positions are single precision whatever the image is: halves hold no column beyond 2048, or 256."""
        image = F.interpolate(scene[..., :40, :80] / 10, scale_factor=(1.0, 8.0)).to(dtype)
        motion = torch.tensor([[1.0, 0.001, 3.25], [-0.001, 1.0, 0.5], [0, 0, 1]], dtype=torch.float64)
        expected, _ = warp_homography(image.double(), motion, mode)
        warped, _ = warp_homography(image, motion, mode)
        assert warped.dtype == dtype
        assert torch.allclose(warped.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-4)

    def test_errors(self) -> None:
        with pytest.raises(ArgumentError, match="mode"):
            warp_homography(torch.rand(1, 1, 4, 4), torch.eye(3), "lanczos")
        with pytest.raises(ArgumentError, match="invertible"):
            warp_homography(torch.rand(1, 1, 4, 4), torch.zeros(3, 3))
        with pytest.raises(ShapeError, match="homography"):
            warp_homography(torch.rand(2, 1, 4, 4), torch.eye(3).expand(3, 3, 3))
        with pytest.raises(ShapeError, match="image"):
            warp_homography(torch.rand(4, 4), torch.eye(3))

    def test_displacement(self) -> None:
        assert displacement(similarity(3.0, 4.0), HEIGHT, WIDTH) == pytest.approx(5.0)
        assert displacement(torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 1]]), 10, 10) == math.inf
