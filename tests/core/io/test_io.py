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
EVERY = pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.tif", "a.png", "a.jpg"])
LARGEST = float(np.finfo(np.float32).max)


@pytest.fixture
def radiance() -> np.ndarray:
    """Distinct red, green and blue over seven decades, odd sizes."""
    image = 10.0 ** np.random.default_rng(0).uniform(-4, 3, (13, 7, 3)) * [2.0, 1.0, 0.5]
    return image.astype(np.float32)


class TestRoundTrip:
    @pytest.mark.parametrize("name", ["a.exr", "a.tif", "a.TIFF", "half.exr", "a.hdr"])
    def test_radiance(self, tmp_path: Path, radiance: np.ndarray, name: str) -> None:
        write_image(tmp_path / name, radiance, metadata=METADATA, half=name == "half.exr")
        image = read_image(tmp_path / name)
        error = {"half.exr": radiance * 2.0**-11 + 2.0**-24, "a.hdr": 0.008 * radiance.max(axis=2, keepdims=True)}
        assert np.all(np.abs(image.pixels - radiance) <= error.get(name, 0.0))
        assert (image.encoding, image.bit_depth, image.pixels.dtype) == ("linear", None, np.float32)
        assert image.metadata == METADATA

    @pytest.mark.parametrize(("name", "tolerance"), [("a.png", 0.501), ("a.jpg", 8.0)])
    def test_display_formats(self, tmp_path: Path, name: str, tolerance: float) -> None:
        ramp = np.linspace(0, 1, 64, dtype=np.float32)
        picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], 0.5), axis=2)
        write_image(tmp_path / name, picture, metadata=METADATA)
        image = read_image(tmp_path / name)
        for pixels in (image.pixels, np.asarray(Image.open(tmp_path / name))):
            assert np.abs(pixels - 255.0 * picture).max() <= tolerance
        assert (image.encoding, image.bit_depth) == ("srgb", 8)  # they carry the profile of sRGB
        assert image.metadata == METADATA

    @EVERY
    def test_shapes(self, tmp_path: Path, name: str) -> None:
        """Grey stays grey, but for Radiance; the smallest and the longest."""
        for shape in ((16, 8, 1), (1, 1, 3), (1, 300, 3), (257, 1, 3)):
            write_image(tmp_path / name, np.full(shape, 0.5, np.float32))
            stored = read_image(tmp_path / name).pixels
            assert stored.shape == (shape[:2] if shape[2] == 1 and name != "a.hdr" else (*shape[:2], 3))
            assert np.ptp(stored) == 0

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_integers_alpha_and_tensors(self, tmp_path: Path, dtype: type) -> None:
        """Alpha is kept and not multiplied in."""
        rgba = (np.random.default_rng(1).random((5, 4, 4)) * (1 if dtype is np.float32 else 255)).astype(dtype)
        tensor = torch.from_numpy(rgba.astype(np.float32)).permute(2, 0, 1)
        write_image(tmp_path / "a.tif", rgba)
        image = read_image(tmp_path / "a.tif")
        kind = ("linear", None) if dtype is np.float32 else ("gamma", np.iinfo(dtype).bits)
        assert (image.encoding, image.bit_depth) == kind
        np.testing.assert_array_equal(image.pixels, rgba)
        for given in (tensor[None].double().requires_grad_(), tensor):
            write_image(tmp_path / "a.exr", given)
            np.testing.assert_array_equal(read_image(tmp_path / "a.exr").pixels, rgba)

    @EVERY
    def test_metadata_of_any_kind_becomes_json(self, tmp_path: Path, radiance: np.ndarray, name: str) -> None:
        given = {"array": np.arange(3), "scalar": np.float32(0.5), "tensor": torch.ones(2), "path": Path("a")}
        given["inf"] = np.inf
        expected = {"array": [0, 1, 2], "scalar": 0.5, "tensor": [1.0, 1.0], "path": "a", "inf": "inf"}
        write_image(tmp_path / name, radiance, metadata=given)
        assert read_image(tmp_path / name).metadata == expected
        if name == "a.exr":  # open to other programs
            spec = oiio.ImageInput.open(str(tmp_path / name)).spec()
            assert (spec["afunet:scalar"], spec.channelnames) == ("0.5", ("R", "G", "B"))


class TestReading:
    def test_files_of_other_writers(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(3).integers(0, 256, (6, 5), np.uint8)
        deep = pixels.astype(np.uint16) * 257
        Image.fromarray(pixels).save(tmp_path / "a.bmp")
        Image.fromarray(pixels).save(tmp_path / "a.tif", compression="tiff_lzw")
        rgba = np.dstack([pixels] * 3 + [pixels // 2 * 2])
        Image.fromarray(rgba).save(tmp_path / "rgba.png")  # alpha leaves colours alone
        tifffile.imwrite(tmp_path / "big.tif", deep.astype(">u2"), byteorder=">", photometric="minisblack")
        write_oiio(tmp_path / "deep.png", ("", "", np.dstack([deep] * 3)))
        expected = {
            "a.bmp": pixels,
            "a.tif": pixels,
            "rgba.png": rgba,
            "big.tif": deep,
            "deep.png": np.dstack([deep] * 3),
        }
        for name, stored in expected.items():
            np.testing.assert_array_equal(read_image(tmp_path / name).pixels, stored, name)
        image = read_image(tmp_path / "deep.png")
        assert (image.encoding, image.bit_depth) == ("srgb", 16)  # OpenImageIO writes the sRGB chunk

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
        picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4
        Image.fromarray(picture).save(tmp_path / "a.png", exif=exif_of(orientation=orientation))
        expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
        np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, expected)


class TestExposure:
    def test_from_exif(self, tmp_path: Path) -> None:
        fields = {0x829D: IFDRational(56, 10), 0x8827: 400}
        for name in ("a.jpg", "a.tif", "a.png"):
            path = save_photo(tmp_path / name, np.zeros((8, 8, 3), np.uint8), Fraction(1, 640), fields)
            assert read_exposure(path) == read_image(path).exposure == Exposure(1 / 640, 5.6, 400.0)

    def test_value_is_light_on_the_sensor(self) -> None:
        """A stop is a stop, whichever dial it was turned with; what only some frames state is ignored."""
        base = Exposure(1 / 60, 4.0, 100).value
        others = [Exposure(1 / 30, 4.0, 100), Exposure(1 / 60, 4.0, 200), Exposure(1 / 60, 8.0, 100)]
        assert [other.value / base for other in others] == pytest.approx([2, 2, 1 / 4])
        with pytest.warns(UserWarning, match="Only some frames state their aperture"):
            values = relative_exposures([Exposure(0.01, 8.0, 100), Exposure(0.02, None, 100)])
        assert values[1] / values[0] == pytest.approx(2.0)

    def test_empty_fields_are_none(self, tmp_path: Path) -> None:
        """1 s at f/1 is what APEX values of 0 would mean: beside plain fields of 0 they were left empty."""
        for exif in (Image.Exif(), exif_of(Fraction(0, 1), {0x8827: 400})):
            Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
            assert read_exposure(tmp_path / "a.jpg") is None
        empty = {"ExposureTime": 0.0, "FNumber": 0.0, "Exif:ShutterSpeedValue": 0.0, "Exif:ApertureValue": 0.0}
        assert exposure_from_attributes(empty) is None
        assert exposure_from_attributes({"Exif:ShutterSpeedValue": 0.0}) == Exposure(1.0)
        assert exposure_from_attributes(empty | {"Exif:ShutterSpeedValue": 3.0}) == Exposure(0.125)


class TestDamage:
    @pytest.mark.parametrize(
        "name", ["float.exr", "half.exr", "a.hdr", "f.tif", "u16.tif", "u16.png", "a.png", "a.jpg"]
    )
    def test_truncated(self, tmp_path: Path, name: str) -> None:
        """No truncated file passes as a picture, unless all its pixels are there (PNG ends with an empty chunk)."""
        path = tmp_path / name
        image = np.random.default_rng(5).random((17, 19, 3), dtype=np.float32)
        if name == "u16.png":
            write_oiio(path, ("", "", (image * 65535).astype(np.uint16)))
        else:
            pixels = (image * 65535).astype(np.uint16) if name == "u16.tif" else image
            write_image(path, pixels, metadata={"a": 1}, half=name == "half.exr")
        intact, pixels = path.read_bytes(), read_image(path).pixels
        for length in {*range(0, len(intact), max(1, len(intact) // 25)), len(intact) - 1}:
            path.write_bytes(intact[:length])
            if name.endswith("png") and length > len(intact) - 16:
                with contextlib.suppress(ImageFileError):
                    np.testing.assert_array_equal(read_image(path).pixels, pixels)
                continue
            with pytest.raises(ImageFileError, match=re.escape(str(path))):
                read_image(path)

    def test_what_is_no_picture_and_what_claims_too_much(self, tmp_path: Path) -> None:
        for suffix in ("exr", "hdr", "tif", "png", "jpg"):
            for content in (b"\x00" * 500, b"#!/bin/sh\necho not an image\n", os.urandom(300)):
                (tmp_path / f"a.{suffix}").write_bytes(content)
                with pytest.raises(ImageFileError, match="Open it in an image viewer"):
                    read_image(tmp_path / f"a.{suffix}")
        (tmp_path / "empty.png").touch()
        (tmp_path / "folder.png").mkdir()
        for name, message in [("empty", "is empty"), ("missing", "No such file"), ("folder", "Is a directory")]:
            with pytest.raises(ImageFileError, match=rf"{name}\.png: .*{message}") as caught:
                read_image(tmp_path / f"{name}.png")
            assert isinstance(caught.value, OSError)
        for path in ("a\0b.png", "/dev/null"):
            with pytest.raises(ImageFileError, match=r"cannot be opened|is a pipe or a device"):
                read_image(path)
        # A few bytes that ask for hundreds of gigabytes are refused before the memory is.
        (tmp_path / "a.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n" + bytes(400))
        with pytest.raises(ImageFileError):
            read_image(tmp_path / "a.hdr")


class TestWriting:
    @pytest.mark.parametrize(
        ("name", "given", "message", "stored"),
        [
            ("a.exr", [np.nan, np.inf, -np.inf, 0.5], "3 of 4 values", [0, LARGEST, -LARGEST, 0.5]),
            ("half.exr", [1e6, 0.5], "1 of 2 values do not fit into a half float", [65504.0, 0.5]),
            ("a.hdr", [-1.0, 0.5], "do not fit into the Radiance format", [0.0, 0.5]),
            ("a.png", [-1.0, 0.0, 0.5, 1.0, 7.0], "", [0, 0, 128, 255, 255]),
        ],
    )
    def test_values_beyond_a_format(self, tmp_path: Path, name: str, given: list, message: str, stored: list) -> None:
        pixels = np.array([given], np.float32)
        with pytest.warns(UserWarning, match=message) if message else contextlib.nullcontext():
            write_image(tmp_path / name, pixels, half=name == "half.exr")
        found = read_image(tmp_path / name).pixels
        found = found if found.ndim == 2 else found[..., 0]
        np.testing.assert_allclose(found, [stored], atol=0.004 if name == "a.hdr" else 0)

    @pytest.mark.parametrize(
        ("name", "pixels", "error", "message"),
        [
            ("a.exr", np.zeros((2, 2, 2), np.float32), ShapeError, "1, 3 or 4 channels"),
            ("a.exr", np.zeros((0, 3, 3), np.float32), ShapeError, "one image"),
            ("a.exr", np.zeros((2, 2), np.uint8), ArgumentError, r"floats for \.exr"),
            ("a.exr", np.zeros((2, 2), complex), ArgumentError, "complex128"),
            ("a.png", np.zeros((2, 2), np.uint16), ArgumentError, r"\[0, 1\] or uint8"),
            ("a.jpg", np.zeros((2, 2, 4), np.float32), ShapeError, "alpha"),
            ("a.hdr", np.zeros((2, 2, 4), np.float32), ShapeError, "alpha"),
            ("half.tif", np.zeros((2, 2), np.float32), ArgumentError, "half"),
            ("a.gif", np.zeros((2, 2), np.float32), ImageFileError, r"type \.gif are not written.*\.exr"),
            ("a", np.zeros((2, 2), np.float32), ImageFileError, "a suffix must choose the format"),
            ("no/a.exr", np.zeros((2, 2)), ImageFileError, "cannot be written: No such file.*Check that the folder"),
        ],
    )
    def test_refusals(self, tmp_path: Path, name: str, pixels: np.ndarray, error: type, message: str) -> None:
        with pytest.raises(error, match=message):
            write_image(tmp_path / name, pixels, half=name == "half.tif")
        assert not list(tmp_path.iterdir())

    @EVERY
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

    def test_an_interrupt_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_image(tmp_path / "b.png", np.zeros((2, 2), np.float32))
        assert not list(tmp_path.iterdir())

    def test_names_that_are_not_utf8_and_permissions(self, tmp_path: Path) -> None:
        name = os.fsdecode(b"b\xff.tif")
        try:
            (tmp_path / name).touch()
        except OSError:
            pytest.skip("this file system wants UTF-8")
        for target in (name, name.replace("tif", "exr")):
            write_image(tmp_path / target, np.ones((4, 4, 3), np.float32), {"a": 1})
            assert read_image(tmp_path / target).pixels.shape == (4, 4, 3)
        (tmp_path / "other").touch()
        assert (tmp_path / target).stat().st_mode == (tmp_path / "other").stat().st_mode
