"""Formats of phones, raw converters and HDR screens, each against an independent reader or writer."""

from __future__ import annotations

import math
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest
import skimage.io
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from afunet_core.bracket.folders import is_own_result
from afunet_core.errors import ImageFileError
from afunet_core.io import PixelSize, read_exposure, read_image, read_photograph, write_image, write_stack
from afunet_core.io.gain_map import read_hdr_rendition, write_gain_map_jpeg
from afunet_core.io.heif import encode_pq
from afunet_core.io.microscope import read_pixel_size
from scenes import exif_of

INFO = {"method": "weighted", "frames": ["a.jpg", "b.jpg"], "times": [1.0, 4.0, 16.0], "reference": 1}


@pytest.fixture
def radiance() -> np.ndarray:
    """Three decades and a half of light in soft colours."""
    y, x = np.mgrid[:48, :64]
    planes = [10 ** (-2.5 + 3.5 * x / 64 + 0.2 * np.sin(y / 9 + channel)) for channel in range(3)]
    return np.stack(planes, axis=-1).astype(np.float32)


@pytest.fixture
def picture() -> np.ndarray:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=2)


def photograph() -> Image.Exif:
    fields = {0x829D: IFDRational(80, 10), 0x8827: 200, 0x9003: "2026:06:01 12:00:00", 0xA434: "Lens 24-70"}
    exif = exif_of(Fraction(1, 100), {**fields, 0x927C: b"secret numbers of the maker"}, model="Camera X")
    exif[0x010E], exif[0x8298], exif[0x013B] = "Garden at noon", "(c) Somebody", "Somebody"
    exif[0x8825] = {1: "N", 2: (50.0, 4.0, 0.0), 3: "E", 4: (14.0, 25.0, 0.0)}
    return exif


class TestPhones:
    @pytest.mark.parametrize("name", ["a.avif", "a.heic", "a.webp", "a.jfif"])
    def test_reads(self, tmp_path: Path, picture: np.ndarray, name: str) -> None:
        path = tmp_path / name
        if name.endswith("heic"):
            heif = pytest.importorskip("pillow_heif")
            heif.from_pillow(Image.fromarray(picture)).save(path, quality=98, exif=photograph().tobytes())
        else:
            kind = {"a.avif": "AVIF", "a.webp": "WEBP", "a.jfif": "JPEG"}[name]
            Image.fromarray(picture).save(path, kind, quality=98, exif=photograph())
        image = read_image(path)
        assert image.pixels.shape == picture.shape
        assert np.abs(image.pixels.astype(int) - picture).mean() < 4
        assert (image.exposure.seconds, image.exposure.f_number, image.exposure.iso) == (0.01, 8.0, 200)
        assert image.attributes["Make"] == "Maker"

    def test_jpeg_xl(self, tmp_path: Path, picture: np.ndarray) -> None:
        codecs = pytest.importorskip("imagecodecs")
        (tmp_path / "a.jxl").write_bytes(codecs.jpegxl_encode(picture, lossless=True))
        image = read_image(tmp_path / "a.jxl")
        np.testing.assert_array_equal(image.pixels, picture)
        assert image.encoding == "srgb"

    def test_ten_bits_of_avif(self, tmp_path: Path) -> None:
        codecs = pytest.importorskip("imagecodecs")
        codes = np.tile(np.linspace(0, 1023, 64).round().astype(np.uint16)[None, :, None], (32, 1, 3))
        data = codecs.avif_encode(codes, bitspersample=10, level=100, primaries=1, transfer=13, matrix=1)
        (tmp_path / "a.avif").write_bytes(data)
        image = read_image(tmp_path / "a.avif")
        assert (image.pixels.dtype, image.encoding) == (np.uint16, "srgb")
        assert np.abs(image.pixels - codes * (65535 / 1023)).max() < 65535 / 1023 * 6

    def test_heic_is_turned_once_and_its_metadata_read_without_pixels(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heif = pytest.importorskip("pillow_heif")
        lying = np.zeros((32, 64, 3), np.uint8)
        lying[:, :32] = 200
        exif = photograph()
        exif[0x0112] = 6
        heif.from_pillow(Image.fromarray(lying)).save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
        upright = read_image(tmp_path / "a.heic").pixels
        assert upright.shape == (64, 32, 3)
        assert upright[:28].mean() > 150 > 50 > upright[36:].mean()
        monkeypatch.setattr("pillow_heif.heif.BaseImage.load", lambda _: pytest.fail("the pixels were decoded"))
        assert read_exposure(tmp_path / "a.heic").seconds == 0.01
        assert read_photograph(tmp_path / "a.heic").to_attributes()["Make"] == "Maker"


class TestGainMap:
    def picture_of(self, radiance: np.ndarray) -> np.ndarray:
        return np.log1p(5000 * radiance / radiance.max()) / np.log1p(5000)

    def test_libultrahdr_reads_ours(self, tmp_path: Path, radiance: np.ndarray) -> None:
        codecs = pytest.importorskip("imagecodecs")
        write_gain_map_jpeg(tmp_path / "a.jpg", self.picture_of(radiance), radiance, INFO)
        theirs = codecs.ultrahdr_decode((tmp_path / "a.jpg").read_bytes())[..., :3].astype(np.float64)
        ratio = theirs / radiance
        assert np.percentile(ratio / np.median(ratio), [5, 95]) == pytest.approx([1, 1], abs=0.06)
        assert theirs.max() > 4  # highlights well above white
        own = read_hdr_rendition(tmp_path / "a.jpg")
        np.testing.assert_allclose(own, theirs, rtol=0.03, atol=2e-3)

    def test_others_see_a_picture(self, tmp_path: Path, radiance: np.ndarray) -> None:
        shown = self.picture_of(radiance)
        write_gain_map_jpeg(tmp_path / "a.jpg", shown, radiance, INFO)
        assert np.abs(np.asarray(Image.open(tmp_path / "a.jpg")) / 255 - shown).mean() < 0.01
        assert np.abs(cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1] / 255 - shown).mean() < 0.01
        image = read_image(tmp_path / "a.jpg")  # OpenImageIO applies the map; what the camera took is the 8-bit picture
        assert (image.pixels.dtype, image.encoding, image.metadata) == (np.uint8, "srgb", INFO)

    def test_a_picture_that_pillow_refuses(
        self, tmp_path: Path, radiance: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_gain_map_jpeg(tmp_path / "a.jpg", self.picture_of(radiance), radiance)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
        with pytest.raises(ImageFileError, match=r"a\.jpg: is damaged"):
            read_image(tmp_path / "a.jpg")

    def test_reads_those_of_libultrahdr(self, tmp_path: Path, radiance: np.ndarray) -> None:
        codecs = pytest.importorskip("imagecodecs")
        light = np.dstack([radiance, np.ones(radiance.shape[:2])]).astype(np.float16)
        data = bytes(codecs.ultrahdr_encode(light))
        (tmp_path / "a.jpg").write_bytes(data)
        theirs = codecs.ultrahdr_decode(data)[..., :3].astype(np.float64)
        own = read_hdr_rendition(tmp_path / "a.jpg")
        assert np.abs(own - theirs).mean() < 0.02 * theirs.mean()

    def test_grey_and_none(self, tmp_path: Path, radiance: np.ndarray) -> None:
        write_gain_map_jpeg(tmp_path / "a.jpg", self.picture_of(radiance)[..., 0], radiance[..., 0])
        assert read_hdr_rendition(tmp_path / "a.jpg") is not None
        Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg")
        assert read_hdr_rendition(tmp_path / "a.jpg") is None


class TestDng:
    @pytest.mark.parametrize("half", [False, True])
    def test_libraw_develops_it(self, tmp_path: Path, radiance: np.ndarray, half: bool) -> None:
        rawpy = pytest.importorskip("rawpy")
        write_image(tmp_path / "a.dng", radiance, INFO, half=half)
        with rawpy.imread(str(tmp_path / "a.dng")) as raw:
            options = {"gamma": (1, 1), "no_auto_bright": True, "output_bps": 16, "use_camera_wb": True}
            developed = raw.postprocess(**options, adjust_maximum_thr=0.0) / 65535 * radiance.max()
        bright = radiance > 0.02 * radiance.max()
        np.testing.assert_allclose(developed[bright], radiance[bright], rtol=0.02)

    @pytest.mark.parametrize("half", [False, True])
    @pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
    def test_exiftool_has_no_complaint(self, tmp_path: Path, radiance: np.ndarray, half: bool) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "f.jpg", exif=photograph())
        write_image(tmp_path / "a.dng", radiance, INFO, half=half, photograph=read_photograph(tmp_path / "f.jpg"))
        words = ["exiftool", "-validate", "-warning", "-error", "-a", str(tmp_path / "a.dng")]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert [line.split(":")[1].strip() for line in said.splitlines()] == ["OK"]

    def test_levels_colours_and_brightness(self, tmp_path: Path, radiance: np.ndarray) -> None:
        pytest.importorskip("rawpy")
        write_image(tmp_path / "a.dng", radiance, INFO)
        tags = tifffile.TiffFile(tmp_path / "a.dng").pages.first.tags
        assert tags["WhiteLevel"].value == (65535,) * 3
        assert tags["AsShotNeutral"].value == (1, 1) * 3
        stops = tags["BaselineExposure"].value
        assert stops[0] / stops[1] == pytest.approx(np.log2(4 * radiance.max()), abs=1e-4)  # as bright as the reference
        image = read_image(tmp_path / "a.dng")
        assert (image.encoding, image.metadata) == ("linear", INFO)


def test_pq_avif(tmp_path: Path) -> None:
    """Code points, light, provenance; and Pillow, which reads eight bits, sees diffuse white at 203 cd/m²."""
    pytest.importorskip("imagecodecs")
    grey = np.repeat(np.geomspace(0.01, 20, 64, dtype=np.float32)[None, :, None], 3, 2).repeat(32, 0)
    write_image(tmp_path / "a.avif", grey, INFO)
    data = (tmp_path / "a.avif").read_bytes()
    assert data[data.index(b"colrnclx") + 8 :][:6] == b"\0\x09\0\x10\0\x09"
    image = read_image(tmp_path / "a.avif")
    np.testing.assert_allclose(image.to_light().pixels[16, 2:-2], grey[16, 2:-2], rtol=0.06)
    assert image.metadata == INFO
    assert is_own_result(tmp_path / "a.avif")
    write_image(tmp_path / "a.avif", np.full((32, 32, 3), 1.0, np.float32))
    shown = np.asarray(Image.open(tmp_path / "a.avif"))
    assert shown.mean() == pytest.approx(255 * float(encode_pq(np.array(203.0))), abs=2)


class TestReadByOthers:
    """Results open where people open them."""

    @pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30), (20, 30, 4)])
    def test_tiff(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        pixels = np.random.default_rng(0).random(shape, np.float32)
        write_image(tmp_path / "a.tif", pixels, {**INFO, "shape": [1, 2, 3]})
        for read in (tifffile.imread, imageio.imread, skimage.io.imread):
            np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels)
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert file.pages.first.description == ""
        assert read_image(tmp_path / "a.tif").metadata["shape"] == [1, 2, 3]

    @pytest.mark.parametrize("length", range(60, 240, 7))
    def test_radiance_headers(self, tmp_path: Path, length: int) -> None:
        pixels = np.random.default_rng(0).random((20, 30, 3), np.float32)
        write_image(tmp_path / "a.hdr", pixels, {"note": "ä" * length, "more": " " * length})
        theirs = cv2.imread(str(tmp_path / "a.hdr"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(theirs[..., ::-1], pixels, atol=0.01)
        header = (tmp_path / "a.hdr").read_bytes().split(b"\n\n")[0]
        assert max(len(line) for line in header.split(b"\n")) < 128
        assert header.endswith(b"FORMAT=32-bit_rle_rgbe")  # OpenCV expects the empty line behind it
        assert read_image(tmp_path / "a.hdr").metadata["more"] == " " * length

    @pytest.mark.parametrize("name", ["b.jpg", "b.png", "b.tif", "b.dng"])
    def test_captions_in_any_language(self, tmp_path: Path, name: str) -> None:
        """Phones write UTF-8, though EXIF asks for ASCII; programs leave texts blank."""
        block = Image.Exif()
        block[0x010E], block[0x013B], block[0x8298] = "Señor 日本".encode(), "Dvořák".encode(), "  \0"
        Image.new("RGB", (8, 8)).save(tmp_path / "f.jpg", exif=block)
        picture = np.zeros((8, 8, 3), np.float32)
        write_image(tmp_path / name, picture, INFO)
        assert read_photograph(tmp_path / name) is None or read_photograph(tmp_path / name).caption is None
        write_image(tmp_path / name, picture, INFO, photograph=read_photograph(tmp_path / "f.jpg"))
        stored = (tmp_path / name).read_bytes()
        assert "Señor 日本".encode() in stored
        assert "Dvořák".encode() in stored
        found = read_photograph(tmp_path / name)
        assert found is not None
        assert found.caption == "Señor 日本".encode()

    def test_provenance_of_any_length(self, tmp_path: Path) -> None:
        long = {"method": "weighted", "registration": [{"name": f"{i}.jpg", "shift": [i / 7] * 6} for i in range(900)]}
        for name in ("a.jpg", "a.png", "a.tif", "a.exr", "a.hdr"):
            write_image(tmp_path / name, np.zeros((8, 8, 3), np.float32), long)
            assert read_image(tmp_path / name).metadata == long
        assert cv2.imread(str(tmp_path / "a.hdr"), cv2.IMREAD_UNCHANGED) is not None
        incompressible = {"noise": np.random.default_rng(0).bytes(90_000).hex()}
        for name, kind in (("b.jpg", "a JPEG"), ("b.hdr", "a Radiance header")):
            with pytest.warns(UserWarning, match=f"too long for {kind}"):
                write_image(tmp_path / name, np.zeros((8, 8, 3), np.float32), incompressible)
            assert read_image(tmp_path / name).metadata == {}


class TestPhotograph:
    @pytest.mark.parametrize("name", ["f.jpg", "f.png", "f.tif", "f.webp"])
    def test_is_carried_over(self, tmp_path: Path, name: str) -> None:
        exif = photograph()
        Image.new("RGB", (8, 8)).save(tmp_path / name, exif=exif.tobytes() if name == "f.tif" else exif)
        found = read_photograph(tmp_path / name)
        picture = np.zeros((6, 7, 3), np.float32)
        for target in ("a.jpg", "a.png"):
            write_image(tmp_path / target, picture, INFO, photograph=found)
            kept = Image.open(tmp_path / target).getexif()
            inside = kept.get_ifd(0x8769)
            assert (kept[0x0110], kept[0x8298], kept[0x0112]) == ("Camera X", "(c) Somebody", 1)
            stated = [inside[tag] for tag in (0x9003, 0xA434, 0xA002, 0xA003)]
            assert stated == ["2026:06:01 12:00:00", "Lens 24-70", 7, 6]
            assert kept.get_ifd(0x8825)[1] == "N"
            assert 0x927C not in inside  # a maker's note points to places in another file
        write_image(tmp_path / "a.exr", picture, INFO, photograph=found)
        attributes = read_image(tmp_path / "a.exr").attributes
        assert attributes["DateTime"] == "2026:06:01 12:00:00"
        assert (attributes["Make"], attributes["Model"]) == ("Maker", "Camera X")
        assert attributes["ExposureTime"] == pytest.approx(0.01)
        write_image(tmp_path / "a.tif", picture, INFO, photograph=found)
        tags = tifffile.TiffFile(tmp_path / "a.tif").pages.first.tags
        assert (tags["Model"].value, tags[34665].value["ExposureTime"]) == ("Camera X", (1, 100))
        assert tags[34853].value["GPSLatitudeRef"] == "N"
        assert tags["ImageDescription"].value == "Garden at noon"

    def test_nothing_and_damage(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "f.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")  # {"shape": [4, 5, 3]}
        Image.new("RGB", (8, 8)).save(tmp_path / "f.jpg")
        (tmp_path / "g.jpg").write_bytes(b"\xff\xd8\xff\xe1\0\x08Exif\0\0")
        found = read_photograph(tmp_path / "f.tif")  # descriptions of arrays are no captions
        assert found is None or found.caption is None
        assert [read_photograph(tmp_path / name) for name in ("f.jpg", "g.jpg", "missing.jpg")] == [None] * 3


class TestPixelSize:
    SIZE = PixelSize(0.5, 0.65, "um")

    def test_of_others_and_of_ours(self, tmp_path: Path) -> None:
        size = {"PhysicalSizeX": 0.65, "PhysicalSizeY": 0.5, "PhysicalSizeXUnit": "µm"}
        tifffile.imwrite(tmp_path / "ome.tif", np.zeros((4, 5), np.uint16), ome=True, metadata=size)
        assert read_pixel_size(tmp_path / "ome.tif") == PixelSize(0.5, 0.65, "µm")
        tifffile.imwrite(tmp_path / "scan.tif", np.zeros((4, 5), np.uint8), resolution=(300, 300), resolutionunit=2)
        assert read_pixel_size(tmp_path / "scan.tif") is None  # a scanner's dots
        write_image(tmp_path / "flat.tif", np.zeros((4, 5), np.float32), pixel_size=self.SIZE)
        found = read_pixel_size(tmp_path / "flat.tif")
        assert (found.height, found.width, found.unit) == (pytest.approx(5e-4), pytest.approx(6.5e-4), "mm")

    @pytest.mark.parametrize("side", [0.0, -1.0, math.nan, 1e-300, 1e300])
    def test_sizes_that_cannot_be(self, tmp_path: Path, side: float) -> None:
        write_image(tmp_path / "a.tif", np.zeros((4, 5), np.float32), pixel_size=PixelSize(side, side, "um"))
        assert tifffile.TiffFile(tmp_path / "a.tif").pages.first.tags["XResolution"].value == (1, 1)

    def test_stack(self, tmp_path: Path) -> None:
        pixels = np.zeros((2, 3, 4, 5), np.float32)
        write_stack(tmp_path / "a.tif", pixels, rgb=False, axes=("t", "z"), pixel_size=self.SIZE, steps=(30.0, 2.0))
        xml = tifffile.TiffFile(tmp_path / "a.tif").ome_metadata
        for stated in ('PhysicalSizeX="0.65"', 'PhysicalSizeY="0.5"', 'PhysicalSizeZ="2.0"', 'TimeIncrement="30.0"'):
            assert stated in xml


class TestPages:
    def test_a_thumbnail_first(self, tmp_path: Path) -> None:
        full = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
        for flag in (1, 0):
            with tifffile.TiffWriter(tmp_path / "a.tif") as file:
                file.write(full[::4, ::4].copy(), photometric="rgb", subfiletype=flag, metadata=None)
                file.write(full, photometric="rgb", metadata=None)
            np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, full)

    @pytest.mark.parametrize("kind", ["ome", "imagej", "plain"])
    def test_planes_are_counted_and_read(self, tmp_path: Path, kind: str) -> None:
        stack = np.random.default_rng(0).integers(0, 255, (4, 20, 30), np.uint8)
        more = {"ome": {"ome": True}, "imagej": {"imagej": True}, "plain": {}}[kind]
        tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **more)
        image = read_image(tmp_path / "a.tif", plane=2)
        assert image.planes == 4
        np.testing.assert_array_equal(image.pixels, stack[2])

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
    @pytest.mark.parametrize("compression", [None, "zstd"])
    def test_inverted_grey(self, tmp_path: Path, dtype: str, compression: str | None) -> None:
        grey = np.arange(48, dtype=dtype).reshape(6, 8)
        tifffile.imwrite(tmp_path / "a.tif", grey, photometric="miniswhite", compression=compression)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, np.iinfo(dtype).max - grey)

    @pytest.mark.parametrize("compression", ["zstd", "lzma", "jpegxl", "jpeg2000"])
    @pytest.mark.parametrize("planar", ["contig", "separate"])
    def test_compressions_that_openimageio_lacks(self, tmp_path: Path, compression: str, planar: str) -> None:
        pixels = np.random.default_rng(0).integers(0, 65536, (2, 16, 20, 3), np.uint16)
        stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 1)
        options = {"photometric": "rgb", "planarconfig": planar, "compression": compression}
        tifffile.imwrite(tmp_path / "a.tif", stored, **options)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", plane=1).pixels, pixels[1])

    def test_compressions_that_nobody_here_knows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is not damaged."""
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint8), compression="jpegxl")
        monkeypatch.delattr(tifffile.TiffPage, "asarray")
        with pytest.raises(ImageFileError, match=r"Compression scheme 50002.* Install the extra hdr, or save it unc"):
            read_image(tmp_path / "a.tif")

    @pytest.mark.parametrize("count", [4, 5])
    def test_further_channels_are_told(self, tmp_path: Path, count: int) -> None:
        """A fourth one is not always alpha."""
        pixels = np.random.default_rng(0).integers(0, 255, (6, 8, count), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=(0,) * (count - 3))
        with pytest.warns(UserWarning, match="more channels than colours"):
            image = read_image(tmp_path / "a.tif")
        np.testing.assert_array_equal(image.pixels, pixels[..., :3])

    def test_mosaics_and_cmyk_are_told(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint16), photometric=32803)
        with pytest.raises(ImageFileError, match="mosaic of a sensor"):
            read_image(tmp_path / "a.tif")
        Image.new("CMYK", (8, 8), (10, 20, 30, 0)).save(tmp_path / "a.tif")
        with pytest.warns(UserWarning, match="CMYK"):
            read_image(tmp_path / "a.tif")
