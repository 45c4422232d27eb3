"""Fuzz targets: damaged and hostile files end as a picture or in an error of ours, never in anything else.

A short run is part of the tests; ``AFUNET_FUZZ=2000 pytest tests/fuzz`` makes a long one.
"""

from __future__ import annotations

import contextlib
import os
import struct
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from afunet_core.errors import AFUNetError
from afunet_core.io import read_exposure, read_exposure_list, read_image, read_photograph, write_image
from afunet_core.io.exposure import exposure_from_xmp, parse_exposure
from afunet_core.io.exr_parts import read_parts
from afunet_core.io.gain_map import read_hdr_rendition, write_gain_map_jpeg
from afunet_core.io.header import read_header
from afunet_core.io.icc import parse_profile, srgb_profile
from afunet_core.io.metadata import from_hdr_header, from_xmp, to_hdr_lines, to_xmp
from afunet_core.io.microscope import read_pixel_size, read_plane_exposures
from afunet_core.io.radiance import radiance_scale
from afunet_core.io.read import read_own_metadata
from afunet_core.model.checkpoint import WEIGHTS, infer_config, load_model
from scenes import exif_of, write_dng

EXAMPLES = int(os.environ.get("AFUNET_FUZZ", "12"))
SHORT = settings(max_examples=EXAMPLES, derandomize=EXAMPLES < 100)
INFO = {"method": "weighted", "times": [1.0, 4.0], "reference": 0}
FLIPS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)


def samples(folder: Path) -> dict[str, bytes]:
    """A small sound file of each type."""
    light = np.random.default_rng(0).random((9, 11, 3)).astype(np.float32)
    for suffix in (".exr", ".hdr", ".tif", ".png", ".jpg", ".dng"):
        write_image(folder / f"a{suffix}", light, metadata=INFO)
    write_gain_map_jpeg(folder / "gain.jpg", light, light * 4, INFO)
    picture = Image.fromarray((light * 255).astype(np.uint8))
    exif = exif_of(Fraction(1, 100), {0x8827: 100})
    picture.save(folder / "a.webp", exif=exif)
    picture.save(folder / "a.avif", exif=exif)
    tifffile.imwrite(folder / "ome.tif", np.zeros((3, 9, 11), np.uint16), ome=True, iccprofile=srgb_profile())
    notes = [(51123, 2, 0, '{"Exposure-ms": 10.0}', True)]
    tifffile.imwrite(folder / "manager.tif", np.zeros((9, 11), np.uint16), extratags=notes)
    Image.new("CMYK", (9, 11)).save(folder / "cmyk.tif", icc_profile=srgb_profile())
    write_dng(folder / "mosaic.dng", np.random.default_rng(0).random((48, 64, 3)))
    with contextlib.suppress(ImportError):
        import imagecodecs

        (folder / "a.jxl").write_bytes(imagecodecs.jpegxl_encode((light * 255).astype(np.uint8)))
        write_image(folder / "pq.avif", light, metadata=INFO)
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.from_pillow(picture).save(folder / "a.heic", exif=exif.tobytes())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return samples(tmp_path_factory.mktemp("sound"))


NAMES = ("a.exr", "a.hdr", "a.tif", "a.png", "a.jpg", "a.dng", "gain.jpg", "a.webp", "a.avif", "ome.tif", "a.heic")
NAMES += ("manager.tif", "cmyk.tif", "mosaic.dng", "a.jxl", "pq.avif")


def damaged(data: bytes, flips: list[tuple[float, int]], cut: float) -> bytes:
    """Most of the changes by the square fall into headers."""
    changed = bytearray(data)
    for place, value in flips:
        changed[int(place**2 * len(changed))] ^= value
    return bytes(changed[: max(1, int(cut * len(changed)))])


@pytest.mark.parametrize("name", NAMES)
@SHORT
@given(flips=FLIPS, cut=st.sampled_from((1.0, 1.0, 0.9, 0.3)))
def test_readers(
    tmp_path: Path, sound: dict[str, bytes], name: str, flips: list[tuple[float, int]], cut: float
) -> None:
    if name not in sound:
        pytest.skip("no encoder for this type here")
    path = tmp_path / name
    path.write_bytes(damaged(sound[name], flips, cut))
    readers: list[Callable[[Path], object]] = [read_image, read_exposure, read_photograph, read_own_metadata]
    if path.suffix == ".tif":
        readers += [read_pixel_size, read_plane_exposures]
    if path.suffix == ".jpg":
        readers.append(read_hdr_rendition)
    if path.suffix == ".exr":
        readers.append(read_parts)
    if path.suffix != ".dng":
        readers.append(lambda path: read_header(path).encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for read in readers:
            with contextlib.suppress(AFUNetError):
                read(path)


LIKELY = st.text(st.sampled_from("0123456789.,;:/+-−ev sISOfmp#\"'()=[]µ\t") | st.characters(), max_size=30)


@SHORT
@given(lines=st.lists(st.binary(max_size=100) | LIKELY.map(lambda line: line.encode("utf-8", "surrogatepass"))))
def test_exposure_lists(tmp_path: Path, lines: list[bytes]) -> None:
    (tmp_path / "exposure.txt").write_bytes(b"\n".join(lines))
    with warnings.catch_warnings(), contextlib.suppress(AFUNetError):
        warnings.simplefilter("ignore")
        assert all(np.isfinite(read_exposure_list(tmp_path / "exposure.txt").ev))
    for line in lines:
        parse_exposure(line.decode("utf-8", "surrogateescape"))


@SHORT
@given(noise=st.binary(max_size=200), value=st.text(st.sampled_from("0123456789./eE+-"), max_size=30))
def test_exposures_of_xmp(noise: bytes, value: str) -> None:
    for field in ("ExposureTime", "FNumber", "ISOSpeedRatings", "ShutterSpeedValue"):
        found = exposure_from_xmp(noise + f'exif:{field}="{value}" exif:ExposureTime="1/8"'.encode())
        assert found is None or (np.isfinite(found.seconds) and found.seconds > 0)


@SHORT
@given(header=st.lists(st.text(st.sampled_from("EXPOSURCL=0123456789.e-+ \n"), max_size=40), max_size=4))
def test_lines_of_radiance_headers(tmp_path: Path, header: list[str]) -> None:
    (tmp_path / "a.hdr").write_text("#?RADIANCE\n" + "\n".join([*header, "EXPOSURE=2", "COLORCORR=1e-300 1 1"]))
    scale = radiance_scale(tmp_path / "a.hdr")
    assert np.isfinite(scale).all()


@SHORT
@given(flips=FLIPS, cut=st.floats(0, 1))
def test_profiles(flips: list[tuple[float, int]], cut: float) -> None:
    found = parse_profile(damaged(srgb_profile(), flips, cut))
    if found is not None:
        with np.errstate(all="ignore"):
            found.curves[0](np.linspace(0, 1, 5))


@SHORT
@given(
    info=st.dictionaries(st.text(max_size=9), st.one_of(st.text(), st.floats(allow_nan=False), st.none()), max_size=5),
    noise=st.binary(max_size=200),
)
def test_provenance(info: dict[str, object], noise: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = to_hdr_lines(info)
    finite = {
        key: value if not isinstance(value, float) or np.isfinite(value) else str(value) for key, value in info.items()
    }
    assert from_hdr_header(b"#?RADIANCE\n" + lines + b"FORMAT=32-bit_rle_rgbe\n\n") == finite
    assert from_xmp(to_xmp(info)) == finite
    from_xmp(noise)
    from_hdr_header(noise)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(str(WEIGHTS / "compact.safetensors"))


class TestCheckpoints:
    """The claims of a file of weights are compared before anything is built from it; nothing in it is run."""

    def refused(self, content: object, path: Path) -> None:
        torch.save(content, path)
        with pytest.raises(AFUNetError, match="model: "):
            load_model(path)

    @SHORT
    @given(flips=FLIPS, cut=st.sampled_from((1.0, 0.5, 0.01)))
    def test_flipped_bytes(self, tmp_path: Path, flips: list[tuple[float, int]], cut: float) -> None:
        data = bytearray((WEIGHTS / "compact.safetensors").read_bytes())
        (length,) = struct.unpack("<Q", data[:8])
        for place, value in flips:  # in the header: flipped weights are only other weights
            data[int(place * (length + 8))] ^= value
        (tmp_path / "a.safetensors").write_bytes(bytes(data[: int(cut * len(data))]))
        with contextlib.suppress(AFUNetError):
            load_model(tmp_path / "a.safetensors")

    ODD: ClassVar[dict[str, Callable[[torch.Tensor], object]]] = {
        "sparse": lambda own: torch.zeros_like(own).to_sparse(),
        "quantised": lambda own: torch.quantize_per_tensor(own, 0.1, 0, torch.qint8),
        "meta": lambda own: own.to("meta"),
        "integers": lambda own: own.to(torch.int32),
        "complex": lambda own: own.to(torch.complex64),
        "expanded": lambda own: torch.zeros(1).expand(own.shape),
        "huge": lambda own: torch.full_like(own, 3e38),
        "text": lambda own: "not a tensor",
    }

    @pytest.mark.parametrize("kind", ODD)
    def test_odd_tensors(self, tmp_path: Path, weights: dict[str, torch.Tensor], kind: str) -> None:
        self.refused({**weights, "conv1.0.bias": self.ODD[kind](weights["conv1.0.bias"])}, tmp_path / "a.pth")

    def test_dictionaries_without_end(self, tmp_path: Path) -> None:
        endless: dict[str, object] = {}
        endless["state_dict"] = endless
        self.refused(endless, tmp_path / "a.pth")

    @pytest.mark.parametrize(
        "key", ["mlps_end.99999999.fc1.weight", "SFM.0.residual_group.blocks.99999999.norm1.weight"]
    )
    def test_claims_of_size(self, tmp_path: Path, weights: dict[str, torch.Tensor], key: str) -> None:
        self.refused({**weights, key: torch.zeros(1)}, tmp_path / "a.pth")

    @SHORT
    @given(
        name=st.sampled_from(("conv1.0.weight", "out.0.weight", "mlps_end.0.fc1.weight")),
        shape=st.lists(st.integers(0, 2**40), min_size=1, max_size=4),
    )
    def test_shapes(self, weights: dict[str, torch.Tensor], name: str, shape: list[int]) -> None:
        try:
            claimed = torch.empty(shape, device="meta")
        except RuntimeError:
            return
        with contextlib.suppress(AFUNetError):
            infer_config({**weights, name: claimed})
