"""Brackets from arrays, tensors and files: what is accepted, how it is ordered, what is refused and in which words."""

from __future__ import annotations

import warnings
from dataclasses import FrozenInstanceError
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import afunet_core as af
from afunet_core.bracket.stack import ExposureStack
from afunet_core.errors import AFUNetError, ArgumentError, BracketError, ExposureError, ImageFileError, ShapeError
from afunet_core.io import write_image
from scenes import save_photo

EV = (0.0, 2.0, 4.0)


def exposures_of(scene: np.ndarray, ev: tuple[float, ...] = EV, encoding: str = "gamma") -> list[np.ndarray]:
    """Frames in [0, 1] of a scene by the definition of exposure, independent of the product."""
    curve = {
        "gamma": lambda x: x ** (1 / 2.2),
        "linear": lambda x: x,
        "srgb": lambda x: np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055),
    }[encoding]
    return [curve(np.clip(scene * 2.0**stops, 0, 1)).astype(np.float32) for stops in ev]


@pytest.fixture
def scene() -> np.ndarray:
    """Radiance 12×16×3 over three decades."""
    return 10.0 ** np.random.default_rng(0).uniform(-3, 0, (12, 16, 3))


def numpy_of(frame: torch.Tensor) -> np.ndarray:
    return frame[0].permute(1, 2, 0).numpy()


class TestFrames:
    def test_counts_that_are_not_as_stated_are_noticed(self, scene: np.ndarray) -> None:
        counts = [frame * 4095 for frame in exposures_of(scene, encoding="linear")]
        with pytest.warns(UserWarning, match="most values are beyond saturation"):
            af.Bracket(counts, ev=EV, encoding="linear", override=True)
        in_words = [np.rint(frame * 4095).astype(np.uint16) for frame in exposures_of(scene * 2)]
        with pytest.warns(UserWarning, match="12-bit data, state bit_depth"):
            af.Bracket(in_words, ev=EV)

    @pytest.mark.parametrize(
        ("scale", "dtype", "bit_depth"),
        [
            (255, np.uint8, None), (65535, np.uint16, None), (4095, np.uint16, 12), (16383, np.uint16, 14),
            (2**32 - 1, np.uint32, None), (4095, np.int16, 12), (4095, np.float32, 12), (1, np.float64, None),
            (1, np.float16, None),
        ],
    )  # fmt: skip
    def test_number_types_agree(self, scene: np.ndarray, scale: int, dtype: type, bit_depth: int | None) -> None:
        """From arrays and from tensors; what is beyond saturation is clipped."""
        frames = exposures_of(scene)
        counts = [frame.astype(np.float64) * scale for frame in frames]
        stored = [(c if np.dtype(dtype).kind == "f" else np.rint(c)).astype(dtype) for c in counts]
        bracket = af.Bracket(stored, ev=EV, bit_depth=bit_depth)
        tensors = [torch.from_numpy(frame).permute(2, 0, 1) for frame in stored]
        for a, b in zip(bracket.frames, af.Bracket(tensors, ev=EV, bit_depth=bit_depth).frames, strict=True):
            torch.testing.assert_close(a, b.to(a.dtype))
        step = 2.0**-10 if dtype is np.float16 else 0.5 / min(scale, 2**20) if scale > 1 else 1e-6
        for frame, expected in zip(bracket.frames, frames, strict=True):
            assert frame.dtype == torch.float32
            np.testing.assert_allclose(numpy_of(frame), expected, atol=1.01 * step + 1e-7)
            assert float(frame.max()) <= 1.0

    def test_black_level(self) -> None:
        """Stored 64 is no light and 1023 is saturation; the noise below black is kept, as noise."""
        frames = [np.full((4, 4), value, np.uint16) for value in (60, 64 + 959 // 4, 1023)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            bracket = af.Bracket(frames, ev=EV, bit_depth=10, black_level=64, encoding="linear")
        assert [float(frame[0, 0, 0, 0]) for frame in bracket.frames] == pytest.approx([-4 / 959, 239 / 959, 1.0])
        assert bracket.scale == 959
        assert float(bracket.to_tensor().min()) == 0

    def test_layouts(self, scene: np.ndarray) -> None:
        """Every layout of the same grey picture gives the same bracket, and it knows it is grey."""
        grey = [frame[..., 0] for frame in exposures_of(scene)]
        tensors = [torch.from_numpy(frame) for frame in grey]
        expected = af.Bracket(grey, ev=EV)
        assert expected.is_grey
        assert not af.Bracket([*grey[:2], exposures_of(scene)[2]], ev=EV, override=True).is_grey
        for frames in (
            [frame[..., None] for frame in grey],
            [np.dstack([frame, np.ones((12, 16), np.float32)]) for frame in grey],  # alpha
            tensors,
            [tensor[None] for tensor in tensors],
            [tensor[None, None] for tensor in tensors],
            [frame.tolist() for frame in grey],
            [frame[::-1][::-1] for frame in grey],
        ):
            bracket = af.Bracket(frames, ev=EV)
            assert bracket.is_grey
            for a, b in zip(bracket.frames, expected.frames, strict=True):
                torch.testing.assert_close(a, b)

    def test_does_not_follow_its_source(self, scene: np.ndarray) -> None:
        frames = exposures_of(scene)
        bracket = af.Bracket(frames, ev=EV)
        before = bracket.frames[0].clone()
        for frame in frames:
            frame[:] = 0
        torch.testing.assert_close(bracket.frames[0], before)

    def test_impossible_values_are_replaced_and_counted(self, scene: np.ndarray) -> None:
        frames = exposures_of(scene)
        frames[1][0, :5, 0] = [np.nan, np.nan, np.inf, -np.inf, -0.5]
        with pytest.warns(UserWarning, match="middle: 2 NaN, 2 infinite, 1 negative of 576 values"):
            bracket = af.Bracket(frames, ev=EV, names=["short", "middle", "long"])
        assert bracket.frames[1][0, 0, 0, :5].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]


class TestOrder:
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    def test_any_order_gives_the_same_bracket(self, scene: np.ndarray, order: tuple[int, ...]) -> None:
        frames, seconds = exposures_of(scene), (0.01, 0.04, 0.16)
        names = [f"{i}.tif" for i in order]
        bracket = af.Bracket([frames[i] for i in order], times=[seconds[i] for i in order], names=names)
        assert "3 RGB frames 12×16" in repr(bracket)
        assert bracket.names == ("0.tif", "1.tif", "2.tif")
        assert bracket.seconds == seconds
        assert bracket.times.tolist() == pytest.approx([1, 4, 16])
        np.testing.assert_array_equal(numpy_of(bracket.frames[0]), frames[0])

    def test_reference_is_named_as_given(self, scene: np.ndarray) -> None:
        ev = (3.0, 0.0, 1.0, 2.0, 4.0)
        frames = exposures_of(scene / 2, ev)
        assert af.Bracket(frames, ev=ev).reference == 2
        assert af.Bracket(frames, ev=ev, reference=0).reference == 3
        assert af.Bracket(frames, ev=ev, reference=-1).reference == 4

    @pytest.mark.parametrize("step", [0.33, 1.0, 2.0, 3.0])
    def test_swapped_frames_are_refused_by_name(self, scene: np.ndarray, step: float) -> None:
        ev = (0.0, step, 2 * step)
        short, middle, long = exposures_of(scene / 2, ev)
        with pytest.raises(ExposureError, match=r"'b' to be about .* as bright as 'a', got .*override=True"):
            af.Bracket([middle, short, long], ev=ev, names="abc")
        bracket = af.Bracket([middle, short, long], ev=ev, names="abc", override=True)
        assert bracket.names == ("a", "b", "c")

    def test_frames_with_no_pixel_in_common(self) -> None:
        """A saturated frame cannot be the shorter of a saturated and a black one, but black and saturated is fine."""
        black, white = np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)
        af.Bracket([black, white], ev=(0, 3))
        with pytest.raises(ExposureError, match="got a darker one"):
            af.Bracket([white, black], ev=(0, 3))

    @pytest.mark.parametrize("black", [0.0, 0.01], ids=["black", "lens cap"])
    def test_a_black_frame_that_should_show_something_is_refused(self, black: float) -> None:
        """But not one of a scene that is as dark, but for a lamp."""
        scene = np.full((16, 16, 3), 0.05)
        scene[:2, :2] = 0.9
        shown = [np.clip(scene * 4.0**k, 0, 1) ** (1 / 2.2) for k in range(3)]
        with pytest.raises(ExposureError, match=r"got one that shows what the shorter one should.*Leave it out"):
            af.Bracket([np.full_like(scene, black), *shown[1:]], ev=(0, 2, 4))
        dark = [np.where(scene > 0.5, frame, frame / 100) for frame in shown]
        af.Bracket(dark, ev=(0, 2, 4))

    def test_wrong_encoding_is_suggested(self, scene: np.ndarray) -> None:
        frames = exposures_of(scene, encoding="linear")
        with pytest.raises(ExposureError, match="encoding='linear' they would agree"):
            af.Bracket(frames, ev=EV, encoding="gamma")

    def test_noise_and_a_moving_object_are_no_contradiction(self) -> None:
        generator = np.random.default_rng(3)
        scene = 10.0 ** generator.uniform(-2, -0.5, (64, 64, 3))
        frames = []
        for stops in (0.0, 0.5, 1.0):
            moved = scene.copy()
            moved[20:44, int(16 * stops) : int(16 * stops) + 24] = 0.004
            electrons = generator.poisson(np.clip(moved * 2**stops, 0, 1) * 200)
            frames.append((np.clip(electrons / 200, 0, 1) ** (1 / 2.2)).astype(np.float32))
        assert len(af.Bracket(frames, ev=(0, 0.5, 1))) == 3


class TestTensor:
    @pytest.mark.parametrize("encoding", ["gamma", "srgb", "linear"])
    def test_layout(self, scene: np.ndarray, encoding: str) -> None:
        """Per frame the radiance, then the gamma-encoded colours."""
        x = af.Bracket(exposures_of(scene, encoding=encoding), ev=EV, encoding=encoding).to_tensor()
        assert (x.shape, x.dtype) == ((1, 18, 12, 16), torch.float32)
        for index, stops in enumerate(EV):
            linear = np.clip(scene * 2.0**stops, 0, 1)
            np.testing.assert_allclose(numpy_of(x[:, 6 * index : 6 * index + 3]), linear / 2.0**stops, atol=2e-6)
            encoded = numpy_of(x[:, 6 * index + 3 : 6 * index + 6])
            np.testing.assert_allclose(encoded, linear ** (1 / 2.2), atol=2e-5)

    def test_five_frames(self, scene: np.ndarray) -> None:
        """The network sees the reference and its neighbours, relative to the shortest of them."""
        ev = (-2.0, -1.0, 0.0, 1.0, 2.0)
        frames = exposures_of(scene, ev)
        bracket = af.Bracket(frames, times=[2.0**e for e in ev], reference=3)
        three = bracket.triplet()
        assert (three.reference, three.times.tolist(), three.seconds) == (1, [1.0, 2.0, 4.0], (1.0, 2.0, 4.0))
        assert three.names == ("frame 3", "frame 4", "frame 5")
        torch.testing.assert_close(bracket.to_tensor(), af.Bracket(frames[2:], ev=ev[2:]).to_tensor())
        with pytest.raises(BracketError, match=r"reference: .*'frame 5'.*neither the shortest nor the longest"):
            bracket.with_reference(4).to_tensor()
        with pytest.raises(BracketError, match=r"3 exposures for the network, got 2.*'weighted'"):
            bracket.select((0, 1), reference=1).to_tensor()

    def test_gradients(self) -> None:
        """Frames, exposure times and gamma all receive exact gradients, whatever the order they come in."""
        generator = torch.Generator().manual_seed(0)
        low = torch.rand(1, 3, 2, 2, generator=generator, dtype=torch.float64) * 0.2 + 0.2
        inputs = [low * 4 ** (i / 2.2) for i in (1, 0, 2)] + [torch.tensor([0.04, 0.01, 0.16]).double()]
        inputs = [value.requires_grad_() for value in [*inputs, torch.tensor(2.2).double()]]

        def network_input(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, t: torch.Tensor, g: Any) -> torch.Tensor:
            bracket = af.Bracket([a.clamp(0, 1), b, c.clamp(0, 1)], times=t, gamma=g, override=True)
            return bracket.to_tensor(dtype=torch.float64)

        assert torch.autograd.gradcheck(network_input, inputs, eps=1e-7)

    def test_to_and_dtype(self, scene: np.ndarray) -> None:
        bracket = af.Bracket(exposures_of(scene), ev=EV)
        half = bracket.to("cpu", torch.bfloat16)
        assert {frame.dtype for frame in half.frames} == {torch.bfloat16}
        assert {frame.dtype for frame in bracket.frames} == {torch.float32}
        assert half.to_tensor().dtype == torch.float32
        assert bracket.to_tensor(dtype=torch.float64).dtype == torch.float64

    def test_crop(self, scene: np.ndarray) -> None:
        bracket = af.Bracket(exposures_of(scene), ev=EV)
        window = bracket.crop(2, 3, 5, 7)
        assert window.shape == (5, 7)
        torch.testing.assert_close(window.to_tensor(), bracket.to_tensor()[..., 2:7, 3:10])
        for rectangle in [(0, 0, 13, 4), (-1, 0, 4, 4), (0, 0, 0, 4), (0, 15, 4, 2)]:
            with pytest.raises(ShapeError, match="within 12×16"):
                bracket.crop(*rectangle)

    def test_is_not_changed_but_replaced(self, scene: np.ndarray) -> None:
        bracket = af.Bracket(exposures_of(scene), ev=EV)
        with pytest.raises(FrozenInstanceError):
            bracket.frames = bracket.frames[::-1]  # type: ignore[misc]
        other = bracket.with_reference(2)
        assert isinstance(other, ExposureStack)
        assert (bracket.reference, other.reference, other.names) == (1, 2, bracket.names)
        assert other.frames[0] is bracket.frames[0]

    def test_with_frames(self, scene: np.ndarray) -> None:
        bracket = af.Bracket(exposures_of(scene), ev=EV, metadata={"a": 1})
        other = bracket.with_frames([frame.flip(-1) for frame in bracket.frames])
        torch.testing.assert_close(other.to_tensor(), bracket.to_tensor().flip(-1))
        other.metadata["a"] = 2
        assert bracket.metadata == {"a": 1}
        for frames in (bracket.frames[:2], [frame[0] for frame in bracket.frames]):
            with pytest.raises(ShapeError, match="3 tensors of one B×3×H×W shape"):
                bracket.with_frames(frames)


def _grey(*values: float) -> list[np.ndarray]:
    return [np.full((4, 4), value, np.float32) for value in values]


THREE = _grey(0.2, 0.4, 0.8)


class TestRefusals:
    @pytest.mark.parametrize(
        ("frames", "options", "error", "message"),
        [
            (THREE, {}, ExposureError, r"ev: expected the exposure of every frame, got none. Give ev=.* or times="),
            (THREE, {"ev": EV, "times": EV}, ExposureError, "expected one of them, got both"),
            (THREE, {"ev": (0, 1)}, ExposureError, "expected 3 values"),
            (THREE, {"ev": 2.0}, ExposureError, "expected 3 values"),
            (THREE, {"ev": ("a", "b", "c")}, ExposureError, "one number a frame"),
            (THREE, {"times": (0.1, 0.0, 0.2)}, ExposureError, "above 0 for 'frame 2', got 0.0"),
            (THREE, {"times": (0.1, -1, 0.2)}, ExposureError, "above 0 for 'frame 2', got -1.0"),
            (THREE, {"times": (0.1, 0.2, np.nan)}, ExposureError, "above 0 for 'frame 3', got nan"),
            (THREE, {"ev": (0, np.inf, 1)}, ExposureError, "a finite number for 'frame 2', got inf"),
            (THREE, {"ev": (0, 0, 0)}, ExposureError, "the same for all frames"),
            (THREE, {"ev": EV, "encoding": "log"}, ArgumentError, "encoding: expected one of gamma, srgb, linear"),
            (THREE, {"ev": EV, "gamma": 0.0}, ArgumentError, "gamma"),
            (THREE, {"ev": EV, "bit_depth": 0}, ArgumentError, "bit_depth"),
            (THREE, {"ev": EV, "black_level": -1}, ArgumentError, "black_level"),
            (THREE, {"ev": EV, "black_level": 1}, ArgumentError, "black_level: expected less than saturation"),
            (THREE, {"ev": EV, "names": ["a"]}, BracketError, "names: expected 3"),
            (THREE, {"ev": EV, "reference": 3}, BracketError, "reference: expected an index from 0 to 2"),
            (THREE[:1], {"ev": (0,)}, BracketError, "at least 2 frames"),
            ([], {"ev": ()}, BracketError, "at least 2 frames"),
            ([*THREE[:2], THREE[0][:3]], {"ev": EV}, ShapeError, "frame 3: expected 4×4 .*got 3×4"),
            ([THREE[0], np.zeros((4, 4, 5)), THREE[0]], {"ev": EV}, ShapeError, "frame 2: .*H×W×4"),
            ([THREE[0], np.zeros((3, 4, 5)), THREE[0]], {"ev": EV}, ShapeError, "frame 2"),
            ([np.zeros((1, 4, 4, 3))] * 3, {"ev": EV}, ShapeError, "frame 1"),
            ([np.zeros((0, 4))] * 3, {"ev": EV}, ShapeError, "at least one pixel"),
            ([torch.zeros(1, 4, 4, 4)] * 3, {"ev": EV}, ShapeError, "tensors H×W, C×H×W"),
            ([torch.zeros(n, 3, 4, 4) for n in (1, 2, 1)], {"ev": EV}, ShapeError, "frame 2: expected a batch of 1"),
            ([np.zeros((4, 4), bool)] * 3, {"ev": EV}, BracketError, "real numbers, got bool"),
            ([torch.zeros(3, 4, 4, dtype=torch.bool)] * 3, {"ev": EV}, BracketError, "real numbers"),
            ([np.zeros((4, 4), complex)] * 3, {"ev": EV}, BracketError, "complex128"),
            (["a.tif", "b.tif", "c.tif"], {"ev": EV}, BracketError, "frame 1: expected real numbers"),
            ([None] * 3, {"ev": EV}, BracketError, "frame 1"),
            ([np.zeros((4, 4), np.int32)] * 3, {"ev": EV}, BracketError, "signed integers.*state bit_depth"),
            ([np.full((4, 4), 5000, np.uint16)] * 3, {"ev": EV, "bit_depth": 12}, BracketError, "up to 4095.*got 5000"),
            ([np.zeros((4, 4), np.uint8)] * 3, {"ev": EV, "bit_depth": 12}, BracketError, "at most 8 bits"),
            ([255 * frame for frame in THREE], {"ev": EV}, BracketError, r"gamma-encoded values in \[0, 1\].*255"),
        ],
    )
    def test_message(self, frames: list[Any], options: dict[str, Any], error: type, message: str) -> None:
        with pytest.raises(error, match=message) as caught:
            af.Bracket(frames, **options)
        assert isinstance(caught.value, AFUNetError)

    def test_two_equal_exposures_of_three_are_allowed_with_a_warning(self) -> None:
        with pytest.warns(UserWarning, match="'frame 1' and 'frame 2' have the same exposure"):
            af.Bracket(_grey(0.2, 0.2, 0.8), ev=(0, 0, 4))


DTYPES = st.sampled_from([np.uint8, np.uint16, np.uint32, np.float16, np.float32, np.float64])


@st.composite
def wild_frames(draw: st.DrawFn) -> list[np.ndarray]:
    """Two to five frames of one small size, each of any type and with any values, NaN and infinities among them."""
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    frames = []
    for _ in range(draw(st.integers(2, 5))):
        channels = draw(st.sampled_from([(), (1,), (3,), (4,)]))
        frames.append(draw(hnp.arrays(draw(DTYPES), size + channels)))
    return frames


class TestAnything:
    @settings(max_examples=150)
    @given(
        frames=wild_frames(),
        encoding=st.sampled_from(["gamma", "srgb", "linear"]),
        override=st.booleans(),
        bit_depth=st.sampled_from([None, 8, 12]),
        seed=st.integers(0, 9),
    )
    def test_wild_arrays(
        self, frames: list[np.ndarray], encoding: str, override: bool, bit_depth: int | None, seed: int
    ) -> None:
        """Whatever comes in, it is a valid bracket or a typed error."""
        ev = np.random.default_rng(seed).permutation(len(frames))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                bracket = af.Bracket(frames, ev=ev, encoding=encoding, override=override, bit_depth=bit_depth)
            except AFUNetError:
                return
        for frame in bracket.frames:
            assert frame.isfinite().all()
            assert 0.0 <= float(frame.min()) <= float(frame.max()) <= 1.0
        assert bracket.times[0] == 1.0
        assert bool((bracket.times.diff() > 0).all())
        if len(frames) >= 3:
            assert bracket.to_tensor().isfinite().all()


@pytest.fixture
def files(tmp_path: Path, scene: np.ndarray) -> list[Path]:
    """16-bit TIFF files of three exposures two stops apart, named so that text order is not natural order."""
    paths = [tmp_path / name for name in ("9.tif", "10.tif", "11.tif")]
    for path, frame in zip(paths, exposures_of(scene), strict=True):
        write_image(path, np.rint(frame * 65535).astype(np.uint16))
    return paths


def _save_jpeg(
    path: Path, frame: np.ndarray, seconds: Fraction, f_number: int | None = 8, iso: int | None = 100
) -> None:
    fields = {0x829D: f_number and IFDRational(f_number), 0x8827: iso}
    stated = {tag: value for tag, value in fields.items() if value is not None}
    save_photo(path, np.rint(frame * 255).astype(np.uint8), seconds, stated)


class TestFiles:
    def test_given_exposures(self, files: list[Path], scene: np.ndarray) -> None:
        bracket = af.Bracket.from_files([files[2], files[0], files[1]], times=(0.16, 0.01, 0.04))
        assert bracket.names == ("9.tif", "10.tif", "11.tif")
        assert (bracket.encoding, bracket.seconds) == ("gamma", (0.01, 0.04, 0.16))
        assert bracket.metadata["exposure_source"] == "given"
        assert bracket.metadata["files"] == [str(files[2]), str(files[0]), str(files[1])]
        np.testing.assert_allclose(numpy_of(bracket.frames[0]), exposures_of(scene)[0], atol=1e-5)

    @pytest.mark.parametrize("name", ["exposure.txt", "input_exp.txt", "Exposure.TXT"])
    def test_folder_with_list(self, files: list[Path], name: str) -> None:
        (files[0].parent / name).write_text("-2\n0\n2\n")
        bracket = af.Bracket.from_folder(files[0].parent)
        assert bracket.names == ("9.tif", "10.tif", "11.tif")
        assert bracket.times.tolist() == [1.0, 4.0, 16.0]
        assert bracket.metadata["exposure_source"] == name

    def test_list_that_does_not_fit_is_ignored_aloud(self, files: list[Path]) -> None:
        (files[0].parent / "exposure.txt").write_text("-2\n0\n2\n4\n")
        with pytest.warns(UserWarning, match="it lists 4 exposures"), pytest.raises(ExposureError):
            af.Bracket.from_files(files)

    def test_wrong_list_is_refused_and_can_be_overruled(self, files: list[Path]) -> None:
        (files[0].parent / "exposure.txt").write_text("2\n0\n-2\n")
        with pytest.raises(ExposureError, match=r"'10\.tif' to be about 4× as bright as '11\.tif'"):
            af.Bracket.from_folder(files[0].parent)
        assert af.Bracket.from_folder(files[0].parent, ev=(-2, 0, 2)).names[0] == "9.tif"

    def test_exif(self, tmp_path: Path, scene: np.ndarray) -> None:
        paths = [tmp_path / f"IMG_{i}.JPG" for i in range(3)]
        for path, frame, i in zip(paths, exposures_of(scene), (0, 1, 2), strict=True):
            _save_jpeg(path, frame, Fraction(4**i, 400))
        bracket = af.Bracket.from_files(reversed(paths))
        assert bracket.names == ("IMG_0.JPG", "IMG_1.JPG", "IMG_2.JPG")
        assert bracket.times.tolist() == pytest.approx([1, 4, 16])
        assert bracket.seconds == (1 / 400, 1 / 100, 1 / 25)
        assert bracket.metadata["exposure_source"] == "EXIF"

    def test_exif_aperture_and_iso_count(self, tmp_path: Path, scene: np.ndarray) -> None:
        """One time for all: two stops of aperture, then two of sensitivity."""
        settings_of = [(16, 100), (8, 100), (8, 400)]
        for i, (frame, (f_number, iso)) in enumerate(zip(exposures_of(scene), settings_of, strict=True)):
            _save_jpeg(tmp_path / f"{i}.jpg", frame, Fraction(1, 50), f_number, iso)
        bracket = af.Bracket.from_folder(tmp_path)
        assert bracket.times.tolist() == pytest.approx([1, 4, 16])
        assert bracket.seconds == (1 / 50,) * 3
        given = af.Bracket.from_folder(tmp_path, ev=(0, 2.1, 4))
        assert (given.ev.tolist(), given.seconds) == (pytest.approx([0, 2.1, 4]), None)

    def test_float_files_are_linear(self, tmp_path: Path, scene: np.ndarray) -> None:
        for i, frame in enumerate(exposures_of(scene, encoding="linear")):
            write_image(tmp_path / f"{i}.exr", frame)
        bracket = af.Bracket.from_folder(tmp_path, ev=EV)
        assert bracket.encoding == "linear"
        np.testing.assert_allclose(numpy_of(bracket.radiance(0)), scene, rtol=1e-6)

    def test_stated_encoding_wins(self, tmp_path: Path, scene: np.ndarray) -> None:
        for i, frame in enumerate(exposures_of(scene[..., 0], encoding="linear")):
            tifffile.imwrite(tmp_path / f"{i}.tif", np.rint(frame * 4095).astype(np.uint16))
        bracket = af.Bracket.from_folder(tmp_path, times=(1e-3, 4e-3, 16e-3), encoding="linear", bit_depth=12)
        assert (bracket.encoding, bracket.is_grey) == ("linear", True)
        np.testing.assert_allclose(numpy_of(bracket.radiance(0))[..., 0], scene[..., 0], atol=1.3e-4)

    def test_mixed_encodings(self, files: list[Path], scene: np.ndarray) -> None:
        write_image(files[0].parent / "9.exr", exposures_of(scene)[0])
        with pytest.raises(BracketError, match=r"10\.tif: expected linear pixels like 9\.exr, got gamma"):
            af.Bracket.from_files([files[0].with_suffix(".exr"), *files[1:]], ev=EV)

    def test_damaged_and_missing_files_are_named(self, files: list[Path], tmp_path: Path) -> None:
        files[1].write_bytes(files[1].read_bytes()[:100])
        with pytest.raises(ImageFileError, match=r"10\.tif"):
            af.Bracket.from_files(files, ev=EV)
        with pytest.raises(ImageFileError, match=r"nowhere\.tif"):
            af.Bracket.from_files([files[0], tmp_path / "nowhere.tif"], ev=(0, 2))

    def test_not_a_bracket(self, tmp_path: Path) -> None:
        with pytest.raises(BracketError, match=r"at least 2 images, got 0 in"):
            af.Bracket.from_folder(tmp_path)
        with pytest.raises(ImageFileError, match="cannot be listed"):
            af.Bracket.from_folder(tmp_path / "nowhere")
        with pytest.raises(BracketError, match=r"For a folder use Bracket\.from_folder"):
            af.Bracket.from_files(str(tmp_path), ev=EV)
        with pytest.raises(ExposureError, match="got both"):
            af.Bracket.from_files([], ev=EV, times=EV)
        paths = [tmp_path / "9.png", tmp_path / "10.png"]
        for path in paths:
            Image.new("L", (8, 8)).save(path)
        with pytest.raises(ExposureError, match=r"none in the metadata of 9\.png, 10\.png.*exposure\.txt"):
            af.Bracket.from_files(paths)
        with pytest.raises(BracketError, match="at least 2 image files"):
            af.Bracket.from_files([])
