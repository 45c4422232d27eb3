"""Light and colours by the file's own word: profiles, chunks, code points, EXIF and EXR."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO
import pytest
import tifffile
from PIL import Image, ImageCms

import afunet_core as af
from afunet_core.errors import BracketError
from afunet_core.io import read_image, write_image
from afunet_core.io.colour import SRGB_CHROMATICITIES, primaries_to_srgb
from afunet_core.io.header import read_header
from afunet_core.io.icc import SRGB_D50
from afunet_core.io.read import read_planes
from scenes import exif_of, icc_profile, table_profile, write_oiio

ADOBE = np.array([[0.60976, 0.20524, 0.14922], [0.31112, 0.62566, 0.06322], [0.01948, 0.06089, 0.74484]])
CORNERS = np.array([[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)]) @ ADOBE.T
REC2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)


def exponent(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def parametric(kind: int, *numbers: float) -> bytes:
    values = struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + values


def write_rgb(path: Path, pixels: np.ndarray, profile: bytes) -> Path:
    tifffile.imwrite(path, pixels, photometric="rgb", iccprofile=profile)
    return path


SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (8, 9, 3), np.uint16)


@pytest.mark.parametrize(
    ("curve", "encoding"),
    [
        (exponent(1.0), "linear"), (b"curv\0\0\0\0" + struct.pack(">I", 0), "linear"),
        (exponent(2.2), "gamma"), (exponent(563 / 256), "gamma"), (SRGB_CURVE, "srgb"),
        (exponent(1.8), lambda v: v ** (round(1.8 * 256) / 256)),
        (parametric(0, 3.0), lambda v: v**3),
        (parametric(1, 2.0, 0.9, 0.1), lambda v: (0.9 * v + 0.1) ** 2),
        (b"curv\0\0\0\0" + struct.pack(">I5H", 5, 0, 1000, 9000, 30000, 65535),
         lambda v: np.interp(v, np.linspace(0, 1, 5), np.array([0, 1000, 9000, 30000, 65535]) / 65535)),
    ],
)  # fmt: skip
def test_a_curve_has_a_name_or_is_decoded(tmp_path: Path, pixels: np.ndarray, curve: bytes, encoding) -> None:
    image = read_image(write_rgb(tmp_path / "a.tif", pixels, icc_profile(SRGB_D50, curve)))
    np.testing.assert_array_equal(image.pixels, pixels)
    if isinstance(encoding, str):
        assert image.encoding == encoding
        tifffile.imwrite(tmp_path / "b.tif", pixels[..., 0], iccprofile=icc_profile(SRGB_D50, curve, b"GRAY"))
        assert read_image(tmp_path / "b.tif").encoding == encoding
        floats = write_rgb(tmp_path / "c.tif", np.float32(pixels), icc_profile(SRGB_D50, curve))
        assert read_image(floats).encoding == encoding
        return
    assert image.encoding is None
    light = image.to_light()
    assert (light.encoding, light.bit_depth, light.pixels.dtype) == ("linear", None, np.float32)
    np.testing.assert_allclose(light.pixels, encoding(pixels / 65535), atol=2e-5)


class TestTables:
    """Profiles of tables are applied by LittleCMS; what cannot be applied is told."""

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    def test_rgb(self, tmp_path: Path, kind: type) -> None:
        inside = np.random.default_rng(0).uniform(0.2, 0.8, (8, 9, 3))
        top = np.iinfo(kind).max
        data = table_profile(b"RGB ", CORNERS, 2.2)
        codes = np.rint(inside ** (1 / 2.2) * top).astype(kind)
        write_rgb(tmp_path / "a.tif", codes, data)
        image = read_image(tmp_path / "a.tif")
        light = inside @ (np.linalg.inv(SRGB_D50) @ ADOBE).T
        assert (image.encoding, image.bit_depth) == ("srgb", 8 * np.dtype(kind).itemsize)
        expected = np.where(light > 0.0031308, 1.055 * light.clip(0, 1) ** (1 / 2.4) - 0.055, 12.92 * light)
        np.testing.assert_allclose(image.pixels / top, expected, atol=0.02)
        facts = read_header(tmp_path / "a.tif")
        assert (facts.table, facts.encoding) == (data, "srgb")

    def test_cmyk_and_lab(self, tmp_path: Path) -> None:
        light = [(1 - c) * (1 - k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
        corners = np.array(light)[:, None] * SRGB_D50.sum(1)
        inks = np.zeros((16, 16, 4), np.uint8)
        inks[..., 3] = 255 - 128
        for path in (tmp_path / "a.jpg", tmp_path / "a.tif"):
            Image.fromarray(inks, "CMYK").save(path, icc_profile=table_profile(b"CMYK", corners, 1.0))
            image = read_image(path)
            assert image.encoding == "srgb"
            np.testing.assert_allclose(image.pixels / 255, 1.055 * (128 / 255) ** (1 / 2.4) - 0.055, atol=0.02)
        colours = np.tile(np.array([200, 120, 60], np.uint8), (8, 8, 1))
        spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        ImageCms.profileToProfile(Image.fromarray(colours), *spaces, outputMode="LAB").save(tmp_path / "a.tif")
        np.testing.assert_allclose(read_image(tmp_path / "a.tif").pixels, colours, atol=2)

    def test_every_page_is_converted(self, tmp_path: Path, pixels: np.ndarray) -> None:
        data = table_profile(b"RGB ", CORNERS, 2.2)
        for name, pages in {"all": np.stack([pixels[:, ::-1], pixels]), "last": pixels}.items():
            write_rgb(tmp_path / f"{name}.tif", pages, data)
        paper = table_profile(b"CMYK", np.repeat(np.linspace(1, 0, 16)[:, None], 3, axis=1), 1.0)
        inks = [Image.new("CMYK", (9, 8), (0, 0, 0, black)) for black in (50, 200)]
        inks[0].save(tmp_path / "all inks.tif", save_all=True, append_images=inks[1:], icc_profile=paper)
        inks[1].save(tmp_path / "last inks.tif", icc_profile=paper)
        for kind in ("", " inks"):
            first, last = read_planes(tmp_path / f"all{kind}.tif")
            np.testing.assert_array_equal(last.pixels, read_image(tmp_path / f"last{kind}.tif").pixels)
            assert not np.array_equal(first.pixels, last.pixels)

    @pytest.mark.parametrize("data", [b"x" * 300, icc_profile(ADOBE, SRGB_CURVE)[:200]], ids=["noise", "cut"])
    def test_what_cannot_be_applied_is_told(self, tmp_path: Path, pixels: np.ndarray, data: bytes) -> None:
        write_rgb(tmp_path / "a.tif", pixels, data)
        with pytest.warns(UserWarning, match="ICC profile cannot be used"):
            np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


def test_luminance_and_chroma_are_told(tmp_path: Path) -> None:
    write_oiio(tmp_path / "a.exr", ("", ("Y", "RY", "BY"), np.zeros((4, 4, 3), np.float32)))
    with pytest.warns(UserWarning, match="the luminance alone is read"):
        read_image(tmp_path / "a.exr")


@pytest.mark.parametrize(
    ("line", "factors"),
    [
        (b"EXPOSURE=0.5", 2), (b"EXPOSURE=0.5\nEXPOSURE=4", 0.5), (b"COLORCORR=0.5 1 2", (2, 1, 0.5)),
        (b"EXPOSURE=nothing", 1), (b"EXPOSURE=0", 1),
    ],
)  # fmt: skip
def test_what_was_done_to_a_radiance_file_is_undone(tmp_path: Path, line: bytes, factors: Any) -> None:
    write_image(tmp_path / "a.hdr", np.full((4, 4, 3), 0.5, np.float32))
    first, rest = (tmp_path / "a.hdr").read_bytes().split(b"\n", 1)
    (tmp_path / "a.hdr").write_bytes(first + b"\n" + line + b"\n" + rest)
    np.testing.assert_allclose(read_image(tmp_path / "a.hdr").pixels[0, 0], 0.5 * np.array(factors))


def with_chunk(path: Path, kind: bytes, data: bytes) -> None:
    raw = path.read_bytes()
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(raw[:33] + chunk + raw[33:])


@pytest.mark.parametrize(
    ("kind", "data", "encoding"),
    [
        (b"gAMA", struct.pack(">I", 100000), "linear"), (b"gAMA", struct.pack(">I", 45455), "gamma"),
        (b"gAMA", struct.pack(">I", 55556), None), (b"sRGB", b"\0", "srgb"), (b"cICP", b"\1\10\0\1", "linear"),
        (b"cICP", b"\1\15\0\1", "srgb"), (b"tEXt", b"Comment\0gAMA", "gamma"), (b"cICP", b"\11\20\0\1", None),
    ],
)  # fmt: skip
def test_png_chunks(tmp_path: Path, kind: bytes, data: bytes, encoding: str | None) -> None:
    """Of PQ, code 0.5081 is 100 cd/m² (SMPTE ST 2084), diffuse white 203 (BT.2408)."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), round(0.508078 * 65535), np.uint16))  # states nothing
    with_chunk(tmp_path / "a.png", kind, data)
    image = read_image(tmp_path / "a.png")
    assert image.encoding == encoding
    if data == b"\11\20\0\1":
        np.testing.assert_allclose(image.to_light().pixels, 100 / 203, rtol=1e-3)


@pytest.mark.parametrize(
    ("space", "index", "expected"),
    [(1, None, ("srgb", "sRGB")), (65535, "R03", ("gamma", "Adobe RGB (1998)")), (None, None, ("gamma", None))],
)
def test_exif(tmp_path: Path, space: int | None, index: str | None, expected: tuple[str, str | None]) -> None:
    directory = {0xA001: space, **({0xA005: {1: index, 2: b"0100"}} if index else {})}
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif_of(None, directory) if space else Image.Exif())
    image = read_image(tmp_path / "a.jpg")
    assert (image.encoding, image.colour and image.colour.space) == expected


class TestColours:
    """A grey card and a red one, photographed in other primaries, come out in linear sRGB."""

    SCENE = np.array([[0.18, 0.18, 0.18], [0.30, 0.02, 0.02], [0.02, 0.25, 0.03]])

    @pytest.mark.parametrize(("kind", "space"), [("tif", "test"), ("exr", "Rec. 2020")])
    def test_of_profiles_and_chromaticities(self, tmp_path: Path, kind: str, space: str) -> None:
        to_srgb = primaries_to_srgb(REC2020) if kind == "exr" else np.linalg.inv(SRGB_D50) @ ADOBE
        inside = np.repeat((self.SCENE @ np.linalg.inv(to_srgb).T)[None], 4, 0).astype(np.float32)
        paths = [tmp_path / f"{i}.{kind}" for i in range(2)]
        for path, light in zip(paths, (inside, inside * 2), strict=True):
            if kind == "exr":
                write_oiio(path, ("", "RGB", light), chromaticities=(OpenImageIO.TypeDesc("float[8]"), REC2020))
            else:
                stored = np.rint(np.clip(light, 0, 1) ** (256 / 563) * 65535).astype(np.uint16)
                write_rgb(path, stored, icc_profile(ADOBE, exponent(563 / 256)))
        assert read_image(paths[0]).encoding == ("linear" if kind == "exr" else "gamma")
        result = af.merge(af.Bracket.from_files(paths, ev=(0, 1)), method="weighted", align="off", noise="photons")
        np.testing.assert_allclose(result.radiance, np.repeat(self.SCENE[None], 4, 0), atol=3e-3)
        assert (result.info["colour_space"], result.info["colours_from"]) == ("linear sRGB", space)

    def test_different_colours_are_refused_and_saturated_channels_stay_so(self, tmp_path: Path) -> None:
        """Frames are merged in their own primaries: converted first, what is clipped mixes with what is not."""
        for i, matrix in enumerate((SRGB_D50, ADOBE)):
            write_rgb(tmp_path / f"{i}.tif", np.zeros((4, 4, 3), np.uint16), icc_profile(matrix, exponent(2.2)))
        with pytest.raises(BracketError, match=r"1\.tif: expected colours in sRGB"):
            af.Bracket.from_files([tmp_path / "0.tif", tmp_path / "1.tif"], ev=(0, 2))
        for i in range(2):
            stored = np.tile(np.array([65535, 20000, 20000], np.uint16), (4, 4, 1))
            write_rgb(tmp_path / f"{i}.tif", stored // (2 - i), icc_profile(ADOBE, exponent(1.0)))
        bracket = af.Bracket.from_files([tmp_path / "0.tif", tmp_path / "1.tif"], ev=(0, 1))
        assert float(bracket.frames[1].max()) == 1.0

    def test_written_files_say_their_space(self, tmp_path: Path) -> None:
        image = np.random.default_rng(0).random((4, 4, 3), np.float32)
        for name in ("a.exr", "a.tif", "a.png", "a.jpg"):
            write_image(tmp_path / name, image)
        exr = OpenImageIO.ImageInput.open(str(tmp_path / "a.exr")).spec()
        assert tuple(exr.getattribute("chromaticities")) == pytest.approx(SRGB_CHROMATICITIES)
        stated = {"Linear sRGB": (tifffile.TiffFile(tmp_path / "a.tif").pages.first.iccprofile, 188)}
        stated["sRGB built-in"] = (Image.open(tmp_path / "a.png").info["icc_profile"], 128)
        assert Image.open(tmp_path / "a.jpg").info["icc_profile"] == stated["sRGB built-in"][0]
        for name, (data, middle) in stated.items():  # as LittleCMS takes them: 128 of each is so much of sRGB
            profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
            assert ImageCms.getProfileDescription(profile).strip() == name
            grey = Image.new("RGB", (1, 1), (128, 128, 128))
            shown = ImageCms.profileToProfile(grey, profile, ImageCms.createProfile("sRGB"))
            assert shown.getpixel((0, 0)) == pytest.approx((middle,) * 3, abs=1)
