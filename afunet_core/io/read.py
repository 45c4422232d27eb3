"""Reading pictures as stored, with all that their files say: light, colour, orientation, place, exposure.

Files that are missing, damaged or no pictures raise :class:`~afunet_core.errors.ImageFileError`, which says what to do.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import ArgumentError, ImageFileError, ShapeError
from afunet_core.io.colour import ColourEncoding, colour_of_camera, decode_pixels
from afunet_core.io.decode import opened, part_pixels
from afunet_core.io.exposure import Exposure, exposure_from_attributes, exposure_from_xmp
from afunet_core.io.formats import HEIF_SUFFIXES, RAW_SUFFIXES
from afunet_core.io.header import LARGEST_HEADER, Header, read_header, xmp_packet
from afunet_core.io.heif import read_heif
from afunet_core.io.icc import convert_by_profile, read_by_profile, srgb_profile
from afunet_core.io.metadata import from_attributes, from_hdr_header, from_xmp
from afunet_core.io.microscope import read_plane_exposures
from afunet_core.io.radiance import radiance_scale, read_old_runs
from afunet_core.io.raw import read_raw, read_raw_exposure

__all__ = ["ImageFile", "read_exposure", "read_image", "read_own_metadata", "read_planes"]

_SENSOR_MOSAIC = 32803  # TIFF PhotometricInterpretation of a colour filter array (TIFF/EP)
_TAIL = 2**18  # bytes at the end of a file in which an AVIF of ours tells how it was made


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image file as read."""

    # H×W or H×W×C, dtype as stored (half floats as float32), channels in the order R, G, B, A, upright
    pixels: np.ndarray
    # ``"gamma"``, ``"srgb"`` or ``"linear"`` where the file says so by profile, chunk or EXIF; where it says nothing,
    # ``"gamma"`` for 8- and 16-bit integers and ``"linear"`` for floats and raw files; ``None`` when no name fits: see
    # `to_light`
    encoding: str | None
    bit_depth: int | None  # bits of an integer pixel, ``None`` for floats
    exposure: Exposure | None = None  # from the file's metadata, ``None`` if it has none
    # the dictionary given to `write_image`, ``{}`` for files from elsewhere
    metadata: dict[str, Any] = field(default_factory=dict)
    # all other fields of the header, by their OpenImageIO names
    attributes: dict[str, Any] = field(default_factory=dict)
    colour: ColourEncoding | None = None  # what the file states of its encoding and its colours, ``None`` if nothing
    orientation: int = 1  # the EXIF flag that was applied, 1 to 8
    # row and column of the first pixel in a larger canvas (EXR data window, TIFF position)
    offset: tuple[int, int] = (0, 0)
    planes: int = 1  # pages of this size in the file; the first is read

    def to_light(self) -> ImageFile:
        """Decode a file whose curve has no name (``encoding`` is ``None``, ``colour`` is not) to linear floats."""
        if self.encoding is not None or self.colour is None or self.colour.decode is None:
            return self
        return replace(self, pixels=decode_pixels(self.pixels, self.colour), encoding="linear", bit_depth=None)


def read_image(
    path: str | Path,
    *,
    white_level: float | None = None,
    white_balance: str | tuple[float, float, float] = "camera",
    plane: int = 0,
) -> ImageFile:
    """Read a picture (EXR, Radiance, TIFF, PNG, JPEG, HEIC, AVIF, JPEG XL, WebP…) or a camera's raw file.

    Pixels are as stored; only the orientation flag of cameras is applied, and alpha is not multiplied into the colours.
    Of an EXR with several parts or layers the first with colour is read, of a TIFF the first page of full size;
    channels are found by name. :func:`read_raw` reads raw files in sRGB, or as the sensor counted.

    Args:
        path: the file.
        white_level, white_balance: of a raw file, instead of those that it states. It comes in the primaries of its
            sensor, with their matrix in ``colour``.
        plane: of a file with several pages of one size, such as the z-series of a microscope.

    Example:
        >>> import tempfile, numpy as np
        >>> from afunet_core.io import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/a.exr", np.full((2, 3, 3), 7.5, np.float32), metadata={"model": "compact"})
        ...     image = read_image(f"{folder}/a.exr")
        >>> image.pixels.shape, float(image.pixels.max()), image.encoding, image.metadata
        ((2, 3, 3), 7.5, 'linear', {'model': 'compact'})
    """
    path = Path(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        developed, exposure, camera = read_raw(path, white_balance, white_level=white_level, primaries="camera")
        colour = colour_of_camera(camera["colours"])
        own, turn = read_own_metadata(path), camera["orientation"]
        return ImageFile(developed, "linear", 16, exposure, own, {"raw": camera}, colour, orientation=turn)
    pixels, header = _upright_pixels(read_header(path), plane)
    return ImageFile(
        pixels=pixels,
        encoding=header.encoding,
        bit_depth=None if pixels.dtype.kind == "f" else pixels.dtype.itemsize * 8,
        exposure=_exposure(header),
        metadata=_own_metadata(header),
        attributes={**header.attributes, "Orientation": 1},
        colour=header.colour,
        orientation=header.orientation,
        offset=header.offset,
        planes=len(header.pages),
    )


def read_planes(path: str | Path) -> list[ImageFile]:
    """Read all pages of a file that are as large as the first, each with its exposure where the file states it."""
    first, header = read_image(path), read_header(path)
    pixels = [first.pixels, *(_upright_pixels(header, plane)[0] for plane in range(1, first.planes))]
    exposures: list[Exposure | None] = [*read_plane_exposures(path)]
    if len(exposures) != len(pixels):
        exposures = [None] * len(pixels)
    return [replace(first, pixels=x, exposure=e, planes=1) for x, e in zip(pixels, exposures, strict=True)]


def read_own_metadata(path: str | Path) -> dict[str, Any]:
    """Read the dictionary given to :func:`write_image` from a file, quickly; ``{}`` for files from elsewhere."""
    path = Path(path)
    if not path.is_file():
        return {}
    if not any(mark in place for place in _ends_of(path) for mark in (b"afunet:", b"AFUNET=", b"AFUNETZ=")):
        return {}
    try:
        return _own_metadata(read_header(path))
    except ImageFileError:
        return {}


def read_exposure(path: str | Path) -> Exposure | None:
    """Read exposure time, aperture and sensitivity from a file's metadata; ``None`` where it has no exposure time."""
    is_raw = Path(path).suffix.lower() in RAW_SUFFIXES
    return read_raw_exposure(path) if is_raw else _exposure(read_header(path))


def _exposure(header: Header) -> Exposure | None:
    """The exposure that a file states: in EXIF, as a microscope, in its XMP, or in the XMP file beside it."""
    path, found = header.path, exposure_from_attributes(header.attributes)
    if found is None and path.suffix.lower() in (".tif", ".tiff"):
        found = next(iter(read_plane_exposures(path)), None)
    if found is None:
        found = exposure_from_xmp(_ends_of(path)[0] + xmp_packet(path))
    beside = (path.with_suffix(".xmp"), path.with_name(f"{path.name}.xmp"))
    for sidecar in (*beside, *(file.with_suffix(".XMP") for file in beside)):
        if found is None and sidecar.is_file():
            with contextlib.suppress(OSError):
                found = exposure_from_xmp(_ends_of(sidecar)[0])
    return found


def _own_metadata(header: Header) -> dict[str, Any]:
    suffix = header.path.suffix.lower()
    if suffix in (".hdr", ".pic"):
        return from_hdr_header(_ends_of(header.path)[0])
    return from_xmp(_ends_of(header.path)[1]) if suffix == ".avif" else from_attributes(header.attributes)


def _ends_of(path: Path) -> tuple[bytes, bytes]:
    """The beginning and the end of a file, where provenance stands."""
    with path.open("rb") as file:
        header = file.read(LARGEST_HEADER)
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL))
        return header, file.read()


def _upright_pixels(header: Header, plane: int) -> tuple[np.ndarray, Header]:
    """Pixels of a page, half floats as float32, tables of colours applied; and the header that is true of them."""
    pixels, header = _stored_pixels(header, plane)
    pixels = turned(pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels, header.orientation)
    converted = None if header.table is None else convert_by_profile(pixels, header.table, header.path.name)
    return pixels if converted is None else converted, header


def _stored_pixels(header: Header, plane: int) -> tuple[np.ndarray, Header]:
    path = header.path
    if not 0 <= plane < len(header.pages):
        raise ArgumentError("plane", f"from 0 to {len(header.pages) - 1} in {path.name}", plane)
    if path.suffix.lower() in HEIF_SUFFIXES:
        return read_heif(path)[0], header
    if header.attributes.get("tiff:PhotometricInterpretation") == _SENSOR_MOSAIC:
        advice = "If it is a raw file, give it its own suffix (.dng)."
        raise ImageFileError(f"{path}: holds the mosaic of a sensor, not colours. {advice}")
    space, page = header.unusual_colours, header.pages[plane]
    if space is not None:
        converted = read_by_profile(path, header.profile, page)
        if converted is not None:
            return converted, replace(header, profile=srgb_profile())
        message = f"{path.name} holds {space} colours, which were converted to RGB without a profile: light and colours"
        warnings.warn(f"{message} are approximate. Export it as RGB.", UserWarning, stacklevel=5)
    with opened(path) as source:
        if header.has_gain_map:  # a frame of a bracket is what the camera took, the picture beneath
            from PIL import Image

            with Image.open(path) as picture:
                return np.asarray(picture), header
        is_radiance = source.format_name() == "hdr"
        unpacked = read_old_runs(path, math.prod(header.shape)) if is_radiance else None
        if unpacked is not None:
            pixels = unpacked.reshape(*header.shape, 3)
        else:
            pixels = part_pixels(source, page, path, "unknown")[..., header.channels]
    if is_radiance:
        pixels = (pixels * radiance_scale(path)).astype(np.float32)
    return pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels), header


def three_channels(pixels: np.ndarray, path: str | Path) -> np.ndarray:
    """H×W×3 of a file's pixels: grey is repeated, alpha left out."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] > 4:
        raise ShapeError(str(path), "H×W, H×W×3 or H×W×4 pixels", pixels.shape)
    return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels upright by their EXIF orientation, 1 to 8."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
