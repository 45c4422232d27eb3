"""Opening picture files with OpenImageIO: pages, channels, pixels, and every failure as one kind of error."""

from __future__ import annotations

import math
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import AFUNetError, ImageFileError

ADVICE = "Open it in an image viewer; if it is damaged, export or copy it again."
_WHITE_IS_ZERO = 0  # TIFF PhotometricInterpretation of inverted grey
_MAX_COMPRESSION = 5000  # no format packs photographs anywhere near this tightly: a header that claims more is damaged


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file with OpenImageIO; whatever the codecs raise becomes an ``ImageFileError``."""
    import OpenImageIO as oiio

    check_file(path)
    try:
        hints = oiio.ImageSpec()
        hints.attribute("oiio:UnassociatedAlpha", 1)
        with utf8_name(path) as name:
            source = oiio.ImageInput.open(name, hints)
            if source is None:
                reason = _reason(oiio.geterror()).replace(name, path.name)
                raise ImageFileError(f"{path}: is not an image that can be read: {reason}. {ADVICE}")
            try:
                yield source
            finally:
                source.close()
    except (AFUNetError, MemoryError):
        raise
    except Exception as error:  # codecs raise anything: UnicodeDecodeError, ZeroDivisionError…
        raise ImageFileError(f"{path}: is damaged: {type(error).__name__}: {error}. {ADVICE}") from error


@contextmanager
def utf8_name(path: Path) -> Iterator[str]:
    """Give a name for a file that libraries in C++ take: its own, or a link's where its own is not UTF-8."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="afunet-") as folder:
            link = Path(folder) / f"file{path.suffix.encode('ascii', 'replace').decode().replace('?', '_')}"
            link.symlink_to(path.absolute())
            yield str(link)
    else:
        yield str(path)


def part_pixels(source: Any, part: int, path: Path, kind: str) -> np.ndarray:
    """All channels of a part, ``H×W×C``; ``kind`` is OpenImageIO's name of a type.

    A header that claims so many pixels that only damage explains it is refused before the memory is asked for.
    """
    source.seek_subimage(part, 0)
    spec = source.spec()
    size = spec.image_bytes(True)
    if size > 2**30 and size > _MAX_COMPRESSION * path.stat().st_size:
        claim = f"its header claims {spec.width}×{spec.height} pixels, more than it can hold"
        raise ImageFileError(f"{path}: is damaged: {claim}. {ADVICE}")
    pixels = source.read_image(part, 0, 0, spec.nchannels, kind)
    problem = source.geterror()
    is_packed_otherwise = source.format_name() == "tiff" and "ompression" in problem
    if is_packed_otherwise:
        pixels = _unpacked_by_tifffile(path, part, problem)
    elif pixels is None or problem:
        raise ImageFileError(f"{path}: is truncated or damaged: {_reason(problem)}. {ADVICE}")
    pixels = np.asarray(pixels).reshape(spec.height, spec.width, -1)
    # OpenImageIO turns 8 bits alone; what negative floats mean is nowhere said.
    white_is_zero = spec.get_int_attribute("tiff:PhotometricInterpretation", -1) == _WHITE_IS_ZERO
    if white_is_zero and pixels.dtype.kind == "u" and (is_packed_otherwise or pixels.dtype != np.uint8):
        pixels[..., :1] = np.iinfo(pixels.dtype).max - pixels[..., :1]
    return pixels


def _unpacked_by_tifffile(path: Path, part: int, problem: str) -> np.ndarray:
    """Pixels of a TIFF whose compression OpenImageIO does not know (Zstandard, JPEG XL, JPEG 2000…), channels last."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[part]
            pixels = page.asarray()
    except Exception as error:
        advice = "Install the extra hdr, or save it uncompressed or with Deflate."
        raise ImageFileError(f"{path}: {_reason(problem)}. {advice}") from error
    return np.asarray(np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels)


def check_file(path: Path) -> None:
    """Refuse what is no readable file (missing, empty, a pipe, a device, a folder), before anything waits for it."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ImageFileError(f"{path}: is a pipe or a device. Save the picture in a file first.")
        with path.open("rb") as file:
            empty = not file.read(1)
    except ImageFileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"{path}: cannot be opened: {reason}. Check the path and the permissions.") from error
    if empty:
        raise ImageFileError(f"{path}: is empty. {ADVICE}")


def main_pages(source: Any, path: Path) -> tuple[list[int], list[int]]:
    """Find the pages as large as a file's picture, itself first, and its channels (RGB, RGBA, Y, YA or as stored).

    Thumbnails and reduced copies are passed over, wherever they stand. Of an EXR it is the first part with colours.
    """
    is_exr = source.format_name() == "openexr"
    specs: list[Any] = []
    while source.seek_subimage(len(specs), 0):
        specs.append(source.spec())
        if not is_exr and source.format_name() != "tiff":
            break
    source.geterror()  # the last seek failed, as it must; the next reader must not take it for damage
    if not specs:
        raise ImageFileError(f"{path}: holds no picture. {ADVICE}")
    if is_exr:
        pages = [part for part, spec in enumerate(specs) if colour_channels(spec.channelnames)][:1]
    else:
        reduced = [spec.get_int_attribute("tiff:subfiletype", 0) & 1 for spec in specs]
        sizes = [(0, 0) if small else (spec.height, spec.width) for spec, small in zip(specs, reduced, strict=True)]
        largest = max(sizes, key=math.prod)
        pages = [page for page, size in enumerate(sizes) if size == largest]
    if not pages:
        found = ", ".join(specs[-1].channelnames)
        raise ImageFileError(f"{path}: has no channels R, G, B or Y (but {found}). Export it with channels so named.")
    names = list(specs[pages[0]].channelnames)
    channels = colour_channels(names)
    if is_exr and {"RY", "BY"} <= set(names):
        message = f"{path.name} holds luminance and chroma (Y, RY, BY): the luminance alone is read. Export it as RGB."
        warnings.warn(message, UserWarning, stacklevel=5)
    elif not is_exr and (not channels or len(names) == 2):
        channels = list(range(len(names)))
    elif not is_exr and len(channels) < len(names):
        left = ", ".join(name for index, name in enumerate(names) if index not in channels)
        message = f"{path.name} has more channels than colours and alpha: {left} are not read."
        warnings.warn(message, UserWarning, stacklevel=5)
    return pages, channels


def colour_channels(names: list[str]) -> list[int]:
    """Indices of R, G, B, A or Y, A, wherever they stand; plain names go before those of a layer (``diffuse.R``)."""
    layers = sorted({name.rpartition(".")[0] for name in names}, key=lambda layer: (layer != "", layer))
    for layer in layers:
        index = {n.rpartition(".")[2].upper(): i for i, n in enumerate(names) if n.rpartition(".")[0] == layer}
        for colours in ("RGB", "Y"):
            if all(colour in index for colour in colours):
                return [index[colour] for colour in (*colours, "A") if colour in index]
    return []


def _reason(message: str | None) -> str:
    return " ".join((message or "the decoder gives no reason").split()).rstrip(".")
