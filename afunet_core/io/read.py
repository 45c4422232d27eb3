"""Reading image files as stored, with all they know about their exposure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import ImageFileError
from afunet_core.io.exposure import Exposure, exposure_from_attributes
from afunet_core.io.metadata import from_attributes, from_hdr_header
from afunet_core.io.raw import RAW_SUFFIXES, read_raw, read_raw_exposure

READABLE = frozenset({".bmp", ".exr", ".hdr", ".jpeg", ".jpg", ".pic", ".png", ".tif", ".tiff"}) | RAW_SUFFIXES
"""File types that are read, in lower case."""

_ADVICE = "Open it in an image viewer; if it is damaged, export or copy it again."
_MAX_COMPRESSION = 5000
"""No format packs photographs anywhere near this tightly: a header that claims more is damaged."""


@dataclass(frozen=True)
class ImageFile:
    """An image file as read.

    Args:
        pixels: H×W or H×W×C, dtype as stored (half floats as float32), channels in the order R, G, B, A, upright.
        encoding: ``"gamma"`` for 8- and 16-bit integers, ``"linear"`` for floats and raw files, ``None`` when it cannot
            be told.
        bit_depth: bits of an integer pixel, ``None`` for floats.
        exposure: from the file's metadata, ``None`` if it has none.
        metadata: the dictionary given to :func:`write_image`, ``{}`` for files from elsewhere.
        attributes: all other fields of the header, by their OpenImageIO names.
    """

    pixels: np.ndarray
    encoding: str | None
    bit_depth: int | None
    exposure: Exposure | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def read_image(path: str | Path) -> ImageFile:
    """Read an EXR, Radiance, TIFF, PNG, JPEG or BMP file, or a camera's raw file (see :func:`read_raw` for options).

    Pixels are as stored; only the orientation flag of cameras is applied, and alpha is not multiplied into the colours.
    Of an EXR with several parts or layers the first with colour is read; channels are found by name.

    Raises:
        ImageFileError: the file is missing, truncated, damaged, or no image; the message says which and what to do.

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
        developed, exposure, camera = read_raw(path)
        return ImageFile(developed, "linear", 16, exposure, {}, {"raw": camera})
    pixels, attributes = _read(path, with_pixels=True)
    assert pixels is not None
    if pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    pixels = _upright(pixels, attributes)
    is_float = pixels.dtype.kind == "f"
    encoding = "linear" if is_float else "gamma" if pixels.dtype in (np.uint8, np.uint16) else None
    metadata = _own_metadata(path, attributes)
    exposure = exposure_from_attributes(attributes)
    return ImageFile(pixels, encoding, None if is_float else pixels.dtype.itemsize * 8, exposure, metadata, attributes)


def read_attributes(path: str | Path) -> dict[str, Any]:
    """The header fields of an image file, without reading its pixels. Raises ``ImageFileError`` like
    :func:`read_image`."""
    return _read(Path(path), with_pixels=False)[1]


def read_exposure(path: str | Path) -> Exposure | None:
    """Read exposure time, aperture and sensitivity from a file's metadata; ``None`` where it has no exposure time.

    Raises:
        ImageFileError: the file is missing, damaged, or no image.
    """
    if Path(path).suffix.lower() in RAW_SUFFIXES:
        return read_raw_exposure(path)
    return exposure_from_attributes(read_attributes(path))


def _read(path: Path, with_pixels: bool) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Pixels and attributes."""
    with opened(path) as source:
        part, channels = _colour_part(source, path)
        attributes = {a.name: a.value for a in source.spec().extra_attribs if not isinstance(a.value, np.ndarray)}
        if not with_pixels:
            return None, attributes
        pixels = part_pixels(source, part, path, "unknown")[..., channels]
        return (pixels[..., 0] if len(channels) == 1 else np.ascontiguousarray(pixels)), attributes


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file as OpenImageIO reads it; whatever the codecs raise becomes an ``ImageFileError``."""
    import OpenImageIO as oiio

    _check_file(path)
    try:
        hints = oiio.ImageSpec()
        hints.attribute("oiio:UnassociatedAlpha", 1)
        source = oiio.ImageInput.open(str(path), hints)
        if source is None:
            raise ImageFileError(f"{path}: is not an image that can be read: {_reason(oiio.geterror())}. {_ADVICE}")
        try:
            yield source
        finally:
            source.close()
    except ImageFileError:
        raise
    except Exception as error:  # codecs raise anything: UnicodeDecodeError, ZeroDivisionError…
        raise ImageFileError(f"{path}: is damaged: {type(error).__name__}: {error}. {_ADVICE}") from error


def part_pixels(source: Any, part: int, path: Path, kind: str) -> np.ndarray:
    """All channels of the part that was sought, ``H×W×C``; ``kind`` is OpenImageIO's name of a type."""
    spec = source.spec()
    _check_size(spec, path)
    pixels = source.read_image(part, 0, 0, spec.nchannels, kind)
    problem = source.geterror()
    if pixels is None or problem:
        raise ImageFileError(f"{path}: is truncated or damaged: {_reason(problem)}. {_ADVICE}")
    return np.asarray(pixels).reshape(spec.height, spec.width, -1)


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"{path}: cannot be opened: {reason}. Check the path and the permissions.") from error
    if empty:
        raise ImageFileError(f"{path}: is empty. {_ADVICE}")


def _check_size(spec: Any, path: Path) -> None:
    """Refuse headers that claim so many pixels that only damage explains it, before the memory is asked for."""
    size = spec.image_bytes(True)
    if size > 2**30 and size > _MAX_COMPRESSION * path.stat().st_size:
        raise ImageFileError(
            f"{path}: is damaged: its header claims {spec.width}×{spec.height} pixels, more than it can hold. {_ADVICE}"
        )


def _colour_part(source: Any, path: Path) -> tuple[int, list[int]]:
    """Part of the file to read and the indices of its channels in the order RGB(A), Y(A) or as stored."""
    names: list[str] = []
    part = 0
    while source.seek_subimage(part, 0):
        names = list(source.spec().channelnames)
        channels = colour_channels(names)
        if channels:
            return part, channels
        if source.format_name() != "openexr":
            return part, list(range(len(names)))
        part += 1
    raise ImageFileError(f"{path}: has no channels R, G, B or Y (the last part has {', '.join(names)}). {_ADVICE}")


def colour_channels(names: list[str]) -> list[int]:
    """Indices of R, G, B, A or Y, A, wherever they stand; plain names go before those of a layer (``diffuse.R``)."""
    layers = sorted({name.rpartition(".")[0] for name in names}, key=lambda layer: (layer != "", layer))
    for layer in layers:
        index = {n.rpartition(".")[2].upper(): i for i, n in enumerate(names) if n.rpartition(".")[0] == layer}
        for colours in ("RGB", "Y"):
            if all(colour in index for colour in colours):
                return [index[colour] for colour in (*colours, "A") if colour in index]
    return []


def _upright(pixels: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """Apply the EXIF orientation (1 to 8), and note it as done."""
    orientation = attributes.get("Orientation", 1)
    if orientation not in range(2, 9):
        return pixels
    attributes["Orientation"] = 1
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _own_metadata(path: Path, attributes: dict[str, Any]) -> dict[str, Any]:
    if path.suffix.lower() in (".hdr", ".pic"):
        with path.open("rb") as file:
            return from_hdr_header(file.read(2**20))
    return from_attributes(attributes)


def _reason(message: str | None) -> str:
    return " ".join((message or "the decoder gives no reason").split()).rstrip(".")
