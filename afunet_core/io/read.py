"""Reading pictures as stored, with all that their files say: light, colour, orientation, place, exposure.

Files that are missing, damaged or no pictures raise :class:`~afunet_core.errors.ImageFileError`, which says what to do.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from afunet_core.errors import ArgumentError, ImageFileError, ShapeError
from afunet_core.io.colour import ColourEncoding, colour_from_attributes, colour_of_camera, decode_pixels
from afunet_core.io.decode import check_file, main_pages, opened, part_pixels
from afunet_core.io.exposure import Exposure, exposure_from_attributes, exposure_from_xmp
from afunet_core.io.formats import HEIF_SUFFIXES, RAW_SUFFIXES
from afunet_core.io.header import (
    LARGEST_HEADER,
    ends_of,
    header_attributes,
    own_metadata,
    radiance_scale,
    unusual_colours,
    warn_of_colours,
    xmp_packet,
)
from afunet_core.io.heif import read_heif
from afunet_core.io.icc import convert_by_profile, parse_profile, read_by_profile, srgb_profile
from afunet_core.io.microscope import read_plane_exposure, read_plane_exposures
from afunet_core.io.raw import read_raw, read_raw_exposure

__all__ = [
    "ImageFile",
    "count_planes",
    "read_attributes",
    "read_exposure",
    "read_image",
    "read_own_metadata",
    "read_planes",
]

_SENSOR_MOSAIC = 32803  # TIFF PhotometricInterpretation of a colour filter array (TIFF/EP)
# OpenImageIO's names of the types of integers; all others are read as floats.
_NUMPY_TYPES = {
    "uint8": "uint8",
    "uint16": "uint16",
    "uint": "uint32",
    "int8": "int8",
    "int16": "int16",
    "int": "int32",
}


@dataclass(frozen=True)
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
    channels are found by name. :func:`read_raw` has more options for raw files.

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
    suffix = path.suffix.lower()
    if suffix in RAW_SUFFIXES:
        check_file(path)
        developed, exposure, camera = read_raw(
            path, white_balance=white_balance, white_level=white_level, primaries="camera"
        )
        own = own_metadata(path, {}) if suffix == ".dng" else {}
        colour = colour_of_camera(camera["colours"])
        turn = camera["orientation"]
        return ImageFile(developed, "linear", 16, exposure, own, {"raw": camera}, colour, orientation=turn)
    if suffix in HEIF_SUFFIXES:
        check_file(path)
        pixels, attributes, profile = read_heif(path)
        offset, planes = (0, 0), 1
    else:
        pixels, attributes, profile, offset, planes = _read(path, plane)
    orientation = _orientation(attributes)
    pixels = turned(_plain_numbers(pixels), orientation)
    attributes["Orientation"] = 1
    pixels, profile, _ = _without_table(pixels, profile, path.name)
    colour = colour_from_attributes(attributes, profile)
    encoding = _default_encoding(pixels) if colour is None else colour.encoding
    return ImageFile(
        pixels=pixels,
        encoding=encoding,
        bit_depth=None if pixels.dtype.kind == "f" else pixels.dtype.itemsize * 8,
        exposure=exposure_from_attributes(attributes) or _elsewhere(path),
        metadata=own_metadata(path, attributes),
        attributes=attributes,
        colour=colour,
        orientation=orientation,
        offset=offset,
        planes=planes,
    )


class FileFacts(NamedTuple):
    """Facts of a file's pixels, from its header alone: for pixels that another program has read.

    ``encoding``, ``colour`` and ``orientation`` are those of :class:`ImageFile`, ``shape`` is H×W as stored.
    ``table`` is an ICC profile of tables, by which :func:`read_image` converts the pixels to sRGB.
    """

    encoding: str | None
    colour: ColourEncoding | None
    orientation: int
    shape: tuple[int, int]
    table: bytes | None = None


def read_facts(path: str | Path) -> FileFacts:
    """Read what a picture's header says about light, colours and orientation."""
    path = Path(path)
    with opened(path) as source:
        source.seek_subimage(main_pages(source, path)[0][0], 0)
        spec = source.spec()
        attributes, profile = header_attributes(spec, path)
    pixel = np.zeros((1, 1, spec.nchannels), _NUMPY_TYPES.get(str(spec.format), "float32"))
    _, profile, table = _without_table(pixel, profile, path.name)
    colour = colour_from_attributes(attributes, profile)
    encoding = _default_encoding(pixel) if colour is None else colour.encoding
    return FileFacts(encoding, colour, _orientation(attributes), (spec.height, spec.width), table)


def _without_table(
    pixels: np.ndarray, profile: bytes | None, name: str
) -> tuple[np.ndarray, bytes | None, bytes | None]:
    """Pixels in sRGB where their profile is one of tables; the profile that they have then; the table if it counted."""
    if not profile or parse_profile(profile) is not None:
        return pixels, profile, None
    converted = convert_by_profile(pixels, profile, name)
    return (pixels, None, None) if converted is None else (converted, srgb_profile(), profile)


def _orientation(attributes: dict[str, Any]) -> int:
    orientation = attributes.get("Orientation", 1)
    return orientation if orientation in range(2, 9) else 1


def count_planes(path: str | Path) -> int:
    """Count the pages of a file that are as large as the one that :func:`read_image` reads."""
    path = Path(path)
    with opened(path) as source:
        return len(main_pages(source, path)[0])


def read_planes(path: str | Path) -> list[ImageFile]:
    """Read all pages of a file that are as large as the first, each with its exposure where the file states it."""
    path = Path(path)
    first = read_image(path)
    planes = [first, *(read_image(path, plane=plane) for plane in range(1, first.planes))]
    exposures: list[Exposure | None] = [*read_plane_exposures(path)]
    if len(exposures) != len(planes):
        exposures = [None] * len(planes)
    return [
        replace(first, pixels=plane.pixels, exposure=exposure, planes=1)
        for plane, exposure in zip(planes, exposures, strict=True)
    ]


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Read the header fields of an image file, without its pixels."""
    path = Path(path)
    if path.suffix.lower() in HEIF_SUFFIXES:
        check_file(path)
        return read_heif(path, with_pixels=False)[1]
    with opened(path) as source:
        source.seek_subimage(main_pages(source, path)[0][0], 0)
        return header_attributes(source.spec(), path)[0]


def read_own_metadata(path: str | Path) -> dict[str, Any]:
    """Read the dictionary given to :func:`write_image` from a file, quickly; ``{}`` for files from elsewhere."""
    path = Path(path)
    if not path.is_file():
        return {}
    if not any(mark in place for place in ends_of(path) for mark in (b"afunet:", b"AFUNET=")):
        return {}
    try:
        return own_metadata(path, {} if path.suffix.lower() in RAW_SUFFIXES else read_attributes(path))
    except ImageFileError:
        return {}


def read_exposure(path: str | Path) -> Exposure | None:
    """Read exposure time, aperture and sensitivity from a file's metadata; ``None`` where it has no exposure time."""
    path = Path(path)
    if path.suffix.lower() in RAW_SUFFIXES:
        check_file(path)
        return read_raw_exposure(path)
    return exposure_from_attributes(read_attributes(path)) or _elsewhere(path)


def _elsewhere(path: Path) -> Exposure | None:
    """The exposure that a file without EXIF states: as a microscope, in its XMP, or in the XMP file beside it."""
    is_tiff = path.suffix.lower() in (".tif", ".tiff")
    found = read_plane_exposure(path) if is_tiff else None
    if found is not None:
        return found
    with path.open("rb") as file:
        found = exposure_from_xmp(file.read(LARGEST_HEADER) + xmp_packet(path))
    beside = (path.with_suffix(".xmp"), path.with_name(f"{path.name}.xmp"))
    for sidecar in (*beside, *(file.with_suffix(".XMP") for file in beside)):
        if found is None and sidecar.is_file():
            with contextlib.suppress(OSError), sidecar.open("rb") as file:
                found = exposure_from_xmp(file.read(LARGEST_HEADER))
    return found


def _default_encoding(pixels: np.ndarray) -> str | None:
    if pixels.dtype.kind == "f":
        return "linear"
    return "gamma" if pixels.dtype in (np.uint8, np.uint16) else None


def _plain_numbers(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels


# --- pictures that OpenImageIO reads ----------------------------------------------------------------------------------


def _read(path: Path, plane: int) -> tuple[np.ndarray, dict[str, Any], bytes | None, tuple[int, int], int]:
    """Pixels, attributes, ICC profile, place on the canvas, and the number of pages."""
    with opened(path) as source:
        pages, channels = main_pages(source, path)
        if not 0 <= plane < len(pages):
            raise ArgumentError("plane", f"from 0 to {len(pages) - 1} in {path.name}", plane)
        source.seek_subimage(pages[plane], 0)
        spec = source.spec()
        attributes, profile = header_attributes(spec, path)
        if attributes.get("tiff:PhotometricInterpretation") == _SENSOR_MOSAIC:
            advice = "If it is a raw file, give it its own suffix (.dng)."
            raise ImageFileError(f"{path}: holds the mosaic of a sensor, not colours. {advice}")
        converted = read_by_profile(path, profile, pages[plane]) if unusual_colours(attributes) else None
        if converted is not None:
            return converted, attributes, srgb_profile(), (spec.y, spec.x), len(pages)
        warn_of_colours(path, attributes)
        if source.format_name() == "jpeg" and str(spec.format) in ("float", "half"):
            # OpenImageIO applies the gain map; a frame of a bracket is what the camera took, the picture beneath.
            pixels = _base_of_gain_map(path)
            channels = list(range(pixels.shape[2]))
        else:
            pixels = part_pixels(source, pages[plane], path, "unknown")[..., channels]
        if path.suffix.lower() in (".hdr", ".pic"):
            pixels = (pixels * radiance_scale(path)).astype(np.float32)
        offset = (spec.y, spec.x)
        pixels = pixels[..., 0] if len(channels) == 1 else np.ascontiguousarray(pixels)
        return pixels, attributes, profile, offset, len(pages)


def _base_of_gain_map(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels[..., :3]


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
