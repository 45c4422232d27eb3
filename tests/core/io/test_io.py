"""Files in and out: fidelity of every format, exposure metadata, and what damaged files and full disks do."""

from __future__ import annotations

import contextlib
import os
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
import tifffile
import torch
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import IFDRational

from afunet_core.errors import ArgumentError, ImageFileError, ShapeError
from afunet_core.io import Exposure, read_exposure, read_image, relative_exposures, write_image
from afunet_core.io.exposure import exposure_from_attributes
from scenes import exif_of, save_photo, write_oiio

METADATA = {"model": "compact", "times": [1.0, 4.0, 16.0], "nested": {"a": None, "b": True}}
METADATA |= {"text": "µ-law “quoted” = 5", "looks_like_a_number": "007"}


@pytest.fixture
def radiance() -> np.ndarray:
    """Distinct red, green and blue over seven decades, odd sizes."""
    generator = np.random.default_rng(0)
    image = 10.0 ** generator.uniform(-4, 3, (13, 7, 3))
    image[..., 0] *= 2.0
    image[..., 2] *= 0.5
    return image.astype(np.float32)


class TestRoundTrip:
    @pytest.mark.parametrize("name", ["a.exr", "a.tif", "a.TIFF"])
    def test_float_is_exact(self, tmp_path: Path, radiance: np.ndarray, name: str) -> None:
        write_image(tmp_path / name, radiance, metadata=METADATA)
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.pixels, radiance)
        assert (image.encoding, image.bit_depth, image.pixels.dtype) == ("linear", None, np.float32)
        assert image.metadata == METADATA

    def test_half(self, tmp_path: Path, radiance: np.ndarray) -> None:
        write_image(tmp_path / "a.exr", radiance, metadata=METADATA, half=True)
        image = read_image(tmp_path / "a.exr")
        np.testing.assert_allclose(image.pixels, radiance, rtol=2.0**-11, atol=2.0**-24)
        assert image.metadata == METADATA
        assert image.pixels.dtype == np.float32

    def test_radiance_hdr(self, tmp_path: Path, radiance: np.ndarray) -> None:
        write_image(tmp_path / "a.hdr", radiance, metadata=METADATA)
        image = read_image(tmp_path / "a.hdr")
        assert np.all(np.abs(image.pixels - radiance) <= 0.008 * radiance.max(axis=2, keepdims=True))
        assert image.metadata == METADATA

    @pytest.mark.parametrize("name", ["a.png", "a.jpg"])
    def test_display_formats(self, tmp_path: Path, name: str) -> None:
        ramp = np.linspace(0, 1, 64, dtype=np.float32)
        picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], 0.5), axis=2)
        write_image(tmp_path / name, picture, metadata=METADATA)
        image = read_image(tmp_path / name)
        tolerance = 0.5 if name.endswith("png") else 8.0
        assert np.abs(image.pixels - 255.0 * picture).max() <= tolerance + 1e-3
        assert (image.encoding, image.bit_depth) == ("srgb", 8)  # they carry the profile of sRGB
        assert image.metadata == METADATA

    @pytest.mark.parametrize("name", ["a.exr", "a.tif", "a.png", "a.jpg"])
    def test_greyscale_stays_greyscale(self, tmp_path: Path, name: str) -> None:
        write_image(tmp_path / name, np.full((16, 8, 1), 0.5, np.float32))
        assert read_image(tmp_path / name).pixels.shape == (16, 8)

    def test_greyscale_hdr_gets_three_equal_channels(self, tmp_path: Path, radiance: np.ndarray) -> None:
        write_image(tmp_path / "a.hdr", radiance[..., 1])
        pixels = read_image(tmp_path / "a.hdr").pixels
        assert pixels.shape == (13, 7, 3)
        np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])

    @pytest.mark.parametrize("name", ["a.exr", "a.tif"])
    def test_alpha_is_kept_and_not_multiplied_in(self, tmp_path: Path, radiance: np.ndarray, name: str) -> None:
        rgba = np.dstack([radiance, np.full(radiance.shape[:2], 0.25, np.float32)])
        write_image(tmp_path / name, rgba)
        np.testing.assert_array_equal(read_image(tmp_path / name).pixels, rgba)

    @pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.tif", "a.png", "a.jpg"])
    def test_colours_are_where_others_look_for_them(self, tmp_path: Path, name: str) -> None:
        """Written by us, read by other libraries: red is red."""
        image = np.zeros((16, 16, 3), np.float32)
        image[...] = (0.75, 0.5, 0.25)
        write_image(tmp_path / name, image)
        source = oiio.ImageInput.open(str(tmp_path / name))
        channels = dict(zip(source.spec().channelnames, source.read_image("float").reshape(-1, 3)[0], strict=True))
        assert channels == pytest.approx({"R": 0.75, "G": 0.5, "B": 0.25}, abs=0.02)
        if name in ("a.png", "a.jpg"):
            assert Image.open(tmp_path / name).convert("RGB").getpixel((0, 0)) == pytest.approx((191, 128, 64), abs=3)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_integer_tiff_is_exact(self, tmp_path: Path, dtype: type) -> None:
        pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (5, 4, 3), dtype)
        write_image(tmp_path / "a.tif", pixels)
        image = read_image(tmp_path / "a.tif")
        np.testing.assert_array_equal(image.pixels, pixels)
        assert (image.encoding, image.bit_depth) == ("gamma", np.iinfo(dtype).bits)

    def test_tensors(self, tmp_path: Path, radiance: np.ndarray) -> None:
        tensor = torch.from_numpy(radiance).permute(2, 0, 1)
        write_image(tmp_path / "a.exr", tensor[None].double().requires_grad_())
        write_image(tmp_path / "b.exr", tensor)
        for name in ("a.exr", "b.exr"):
            np.testing.assert_array_equal(read_image(tmp_path / name).pixels, radiance)

    def test_metadata_of_any_kind_becomes_json(self, tmp_path: Path, radiance: np.ndarray) -> None:
        given = {"array": np.arange(3), "scalar": np.float32(0.5), "tensor": torch.ones(2), "path": Path("a")}
        given["inf"] = np.inf
        expected = {"array": [0, 1, 2], "scalar": 0.5, "tensor": [1.0, 1.0], "path": "a", "inf": "inf"}
        for name in ("a.exr", "a.hdr", "a.tif", "a.png"):
            write_image(tmp_path / name, radiance, metadata=given)
            assert read_image(tmp_path / name).metadata == expected, name

    def test_exr_metadata_is_open_to_other_programs(self, tmp_path: Path, radiance: np.ndarray) -> None:
        write_image(tmp_path / "a.exr", radiance, metadata={"model": "compact"})
        assert oiio.ImageInput.open(str(tmp_path / "a.exr")).spec()["afunet:model"] == '"compact"'

    @pytest.mark.parametrize("shape", [(1, 1), (1, 300), (257, 1)])
    @pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.tif", "a.png", "a.jpg"])
    def test_extreme_sizes(self, tmp_path: Path, name: str, shape: tuple[int, int]) -> None:
        write_image(tmp_path / name, np.full((*shape, 3), 0.5, np.float32))
        assert read_image(tmp_path / name).pixels.shape == (*shape, 3)


class TestReading:
    def test_png_16_bit_rgb(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(2).integers(0, 65536, (6, 5, 3), np.uint16)
        write_oiio(tmp_path / "a.png", ("", "", pixels))
        image = read_image(tmp_path / "a.png")
        np.testing.assert_array_equal(image.pixels, pixels)
        assert (image.encoding, image.bit_depth) == ("srgb", 16)  # OpenImageIO writes the sRGB chunk

    def test_png_alpha_leaves_colours_alone(self, tmp_path: Path) -> None:
        pixels = np.array([[[200, 100, 50, 0], [200, 100, 50, 128]]], np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, pixels)

    def test_bmp_and_tiff_of_other_writers(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(3).integers(0, 256, (6, 5), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.bmp")
        Image.fromarray(pixels).save(tmp_path / "lzw.tif", compression="tiff_lzw")
        tifffile.imwrite(tmp_path / "big.tif", pixels.astype(">u2") * 257, byteorder=">", photometric="minisblack")
        np.testing.assert_array_equal(read_image(tmp_path / "a.bmp").pixels, pixels)
        np.testing.assert_array_equal(read_image(tmp_path / "lzw.tif").pixels, pixels)
        np.testing.assert_array_equal(read_image(tmp_path / "big.tif").pixels, pixels.astype(np.uint16) * 257)

    @pytest.mark.parametrize("names", ["BGR", "GBRA", "ARGB", "Y", ("diffuse.B", "Z", "diffuse.R", "diffuse.G"), "Z"])
    def test_exr_channels_by_name(self, tmp_path: Path, radiance: np.ndarray, names: tuple[str, ...] | str) -> None:
        """In any order, of a layer among other channels, one of luminance; others are no picture."""
        planes = dict(zip("RGBAYZ", np.moveaxis(np.dstack([radiance, radiance / 2]), 2, 0), strict=True))
        write_oiio(tmp_path / "a.exr", ("", names, np.stack([planes[name[-1]] for name in names], axis=2)))
        if names == "Z":
            with pytest.raises(ImageFileError, match=r"a\.exr: has no channels R, G, B or Y .*Z"):
                read_image(tmp_path / "a.exr")
            return
        wanted = [planes[c] for c in ("Y" if names == "Y" else "RGBA") if c in {name[-1] for name in names}]
        np.testing.assert_array_equal(read_image(tmp_path / "a.exr").pixels, np.squeeze(np.stack(wanted, axis=2)))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, tmp_path: Path, orientation: int) -> None:
        """Pictures come upright; Pillow decides what upright is."""
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4)
        picture.save(tmp_path / "a.tif", exif=exif)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.tif")))
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, expected)


class TestExposure:
    @pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
    def test_from_exif(self, tmp_path: Path, name: str) -> None:
        fields = {0x829D: IFDRational(56, 10), 0x8827: 400}
        save_photo(tmp_path / name, np.zeros((8, 8, 3), np.uint8), Fraction(1, 640), fields)
        exposure = read_exposure(tmp_path / name)
        assert exposure == Exposure(1 / 640, 5.6, 400.0)
        assert read_image(tmp_path / name).exposure == exposure

    @pytest.mark.parametrize("exif", [Image.Exif(), exif_of(Fraction(0, 1), {0x8827: 400})], ids=["empty", "no time"])
    def test_none(self, tmp_path: Path, exif: Image.Exif) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
        assert read_exposure(tmp_path / "a.jpg") is None

    def test_value_is_light_on_the_sensor(self) -> None:
        """A stop is a stop, whichever dial it was turned with."""
        base = Exposure(1 / 60, 4.0, 100).value
        assert Exposure(1 / 30, 4.0, 100).value == pytest.approx(2 * base)
        assert Exposure(1 / 60, 4.0, 200).value == pytest.approx(2 * base)
        assert Exposure(1 / 60, 8.0, 100).value == pytest.approx(base / 4)

    def test_empty_fields_are_none(self) -> None:
        """1 s at f/1 is what APEX values of 0 would mean: beside plain fields of 0 they were left empty."""
        empty = {"ExposureTime": 0.0, "FNumber": 0.0, "Exif:ShutterSpeedValue": 0.0, "Exif:ApertureValue": 0.0}
        assert exposure_from_attributes(empty) is None
        assert exposure_from_attributes({"Exif:ShutterSpeedValue": 0.0}) == Exposure(1.0)
        assert exposure_from_attributes(empty | {"Exif:ShutterSpeedValue": 3.0}) == Exposure(0.125)

    def test_relative_exposures_ignore_what_only_some_state(self) -> None:
        with pytest.warns(UserWarning, match="Only some frames state their aperture"):
            values = relative_exposures([Exposure(0.01, 8.0, 100), Exposure(0.02, None, 100)])
        assert values[1] / values[0] == pytest.approx(2.0)


SAMPLES = ["float.exr", "half.exr", "a.hdr", "float.tif", "u16.tif", "u16.png", "a.png", "a.jpg", "a.bmp"]


@pytest.fixture(scope="module")
def sample_bytes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small intact file of each kind."""
    folder = tmp_path_factory.mktemp("samples")
    generator = np.random.default_rng(5)
    image = generator.random((17, 19, 3), dtype=np.float32)
    for name in SAMPLES:
        if name == "u16.png":
            write_oiio(folder / name, ("", "", (image * 65535).astype(np.uint16)))
        elif name == "a.bmp":
            Image.fromarray((image * 255).astype(np.uint8)).save(folder / name)
        else:
            pixels = (image * 65535).astype(np.uint16) if name == "u16.tif" else image
            write_image(folder / name, pixels, metadata={"a": 1}, half=name == "half.exr")
    return {name: (folder / name).read_bytes() for name in SAMPLES}


class TestDamage:
    @pytest.mark.parametrize("name", SAMPLES)
    def test_truncated(self, tmp_path: Path, sample_bytes: dict[str, bytes], name: str) -> None:
        """No truncated file passes as a picture, unless all its pixels are there (PNG ends with an empty chunk)."""
        intact, path = sample_bytes[name], tmp_path / name
        path.write_bytes(intact)
        pixels = read_image(path).pixels
        for length in {*range(0, len(intact), max(1, len(intact) // 25)), len(intact) - 1}:
            path.write_bytes(intact[:length])
            if name.endswith("png") and length > len(intact) - 16:
                with contextlib.suppress(ImageFileError):
                    np.testing.assert_array_equal(read_image(path).pixels, pixels)
                continue
            with pytest.raises(ImageFileError, match=re.escape(str(path))):
                read_image(path)

    @pytest.mark.parametrize("suffix", [".exr", ".hdr", ".tif", ".png", ".jpg"])
    def test_foreign_content(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        for content in (b"\x00" * 500, b"#!/bin/sh\necho not an image\n", os.urandom(300)):
            path.write_bytes(content)
            with pytest.raises(ImageFileError, match="Open it in an image viewer"):
                read_image(path)

    def test_empty_missing_and_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty.png").touch()
        (tmp_path / "folder.png").mkdir()
        for name, message in [("empty", "is empty"), ("missing", "No such file"), ("folder", "Is a directory")]:
            with pytest.raises(ImageFileError, match=rf"{name}\.png: .*{message}") as caught:
                read_image(tmp_path / f"{name}.png")
            assert isinstance(caught.value, OSError)
        with pytest.raises(ImageFileError, match="cannot be opened"):
            read_image("a\0b.png")

    def test_header_that_claims_too_much(self, tmp_path: Path) -> None:
        """A few bytes that ask for hundreds of gigabytes are refused before the memory is."""
        path = tmp_path / "a.hdr"
        path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n" + bytes(400))
        with pytest.raises(ImageFileError):
            read_image(path)


class TestWriting:
    def test_non_finite_values_are_replaced(self, tmp_path: Path) -> None:
        image = np.array([[np.nan, np.inf, -np.inf, 0.5]], np.float32)
        with pytest.warns(UserWarning, match="3 of 4 values"):
            write_image(tmp_path / "a.exr", image)
        largest = np.finfo(np.float32).max
        np.testing.assert_array_equal(read_image(tmp_path / "a.exr").pixels, [[0, largest, -largest, 0.5]])

    def test_half_is_limited_and_for_exr(self, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="1 of 2 values do not fit into a half float"):
            write_image(tmp_path / "a.exr", np.array([[1e6, 0.5]], np.float32), half=True)
        np.testing.assert_array_equal(read_image(tmp_path / "a.exr").pixels, [[65504.0, 0.5]])
        with pytest.raises(ArgumentError, match="half"):
            write_image(tmp_path / "a.tif", np.zeros((2, 2), np.float32), half=True)

    def test_hdr_has_no_negative_values(self, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="do not fit into the Radiance format"):
            write_image(tmp_path / "a.hdr", np.array([[[-1.0, 0.5, 0.25]]], np.float32))
        np.testing.assert_allclose(read_image(tmp_path / "a.hdr").pixels, [[[0.0, 0.5, 0.25]]], atol=0.004)

    def test_display_clips(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.png", np.array([[-1.0, 0.0, 0.5, 1.0, 7.0]]))
        np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, [[0, 0, 128, 255, 255]])

    @pytest.mark.parametrize(
        ("name", "pixels", "error", "message"),
        [
            ("a.exr", np.zeros((2, 2, 2), np.float32), ShapeError, "1, 3 or 4 channels"),
            ("a.exr", np.zeros(3, np.float32), ShapeError, "1, 3 or 4 channels"),
            ("a.exr", np.zeros((0, 3, 3), np.float32), ShapeError, "one image"),
            ("a.exr", np.zeros((2, 2), np.uint8), ArgumentError, r"floats for \.exr"),
            ("a.exr", np.zeros((2, 2), complex), ArgumentError, "complex128"),
            ("a.png", np.zeros((2, 2), np.uint16), ArgumentError, r"\[0, 1\] or uint8"),
            ("a.jpg", np.zeros((2, 2, 4), np.float32), ShapeError, "alpha"),
            ("a.hdr", np.zeros((2, 2, 4), np.float32), ShapeError, "alpha"),
            ("a.gif", np.zeros((2, 2), np.float32), ImageFileError, r"type \.gif are not written.*\.exr"),
            ("a", np.zeros((2, 2), np.float32), ImageFileError, r"\(none\)"),
        ],
    )
    def test_refusals(self, tmp_path: Path, name: str, pixels: np.ndarray, error: type, message: str) -> None:
        with pytest.raises(error, match=message):
            write_image(tmp_path / name, pixels)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.tif", "a.png", "a.jpg"])
    def test_missing_folder(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ImageFileError, match=r"cannot be written: No such file.*Check that the folder exists"):
            write_image(tmp_path / "nowhere" / name, np.zeros((2, 2, 3), np.float32))

    @pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.tif", "a.png", "a.jpg"])
    def test_full_disk(self, tmp_path: Path, name: str) -> None:
        """A write that really fails (file size limit): the old file stays, no temporary does, the process lives."""
        resource = pytest.importorskip("resource")  # POSIX only
        import signal

        image = np.random.default_rng(0).random((100, 100, 3), dtype=np.float32)
        write_image(tmp_path / name, image[:50])
        before = (tmp_path / name).read_bytes()
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
        try:
            with pytest.raises(ImageFileError, match="has room left"):
                write_image(tmp_path / name, image, metadata={"a": 1})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert (tmp_path / name).read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_interruption_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_image(tmp_path / "a.png", np.zeros((2, 2), np.float32))
        assert not list(tmp_path.iterdir())

    def test_permissions_are_those_of_any_new_file(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.exr", np.zeros((2, 2), np.float32))
        (tmp_path / "other").touch()
        assert (tmp_path / "a.exr").stat().st_mode == (tmp_path / "other").stat().st_mode
