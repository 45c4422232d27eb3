"""Writing radiance and display pictures: complete or not at all, and as other programs read them."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import ArgumentError, ImageFileError, ShapeError
from afunet_core.io.atomic import write_atomically
from afunet_core.io.colour import SRGB_CHROMATICITIES
from afunet_core.io.decode import utf8_name
from afunet_core.io.dng import write_linear_dng
from afunet_core.io.formats import DISPLAY, check_suffix
from afunet_core.io.heif import encode_pq_avif
from afunet_core.io.icc import linear_srgb_profile, srgb_profile
from afunet_core.io.metadata import BLOCK, PREFIX, to_hdr_lines, to_json, to_xmp
from afunet_core.io.microscope import PixelSize
from afunet_core.io.photograph import SOFTWARE, Photograph

__all__ = ["write_image"]

_HALF_MAX = 65504.0
_XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
_LARGEST_TIFF = 2**32 - 2**25  # bytes of pixels that the offsets of a plain TIFF reach, with room for the rest
_LONGEST_SEGMENT = 65533


@dataclass(frozen=True)
class _Options:
    """Everything that goes into the file beside the pixels."""

    metadata: dict[str, Any] = field(default_factory=dict)
    half: bool = False
    quality: int = 95
    photograph: Photograph = field(default_factory=lambda: Photograph({}, {}, {}))
    pixel_size: PixelSize | None = None


def write_image(
    path: str | os.PathLike[str],
    pixels: Any,
    metadata: Mapping[str, Any] | None = None,
    half: bool = False,
    quality: int = 95,
    *,
    photograph: Photograph | None = None,
    pixel_size: PixelSize | None = None,
) -> None:
    """Write an image; the suffix chooses the format.

    ======================  ==========================================================================
    ``.exr``                float32 or half, ZIP (lossless), one attribute ``afunet:KEY`` an item of ``metadata``
    ``.hdr``                RGBE, error 0.8 % of the largest channel; greyscale becomes three equal channels
    ``.tif``, ``.tiff``     float32 (or the integers given), deflate
    ``.dng``                linear DNG of 16 bits (or half floats) for raw converters, from radiance
    ``.png``                8 bits from display-encoded [0, 1] (or uint8 given)
    ``.jpg``, ``.jpeg``     8 bits from display-encoded [0, 1] (or uint8 given), full chroma
    ``.avif``               HDR for a screen: PQ, Rec. 2020, 10 bits, from radiance (the extra ``hdr``)
    ======================  ==========================================================================

    Radiance is in linear sRGB, and the files say so. The file is written beside its destination, flushed to the disk,
    then renamed: a failure leaves what was there before.

    Args:
        path: destination; its folder must exist.
        pixels: H×W or H×W×1/3/4 array, or C×H×W or 1×C×H×W tensor. NaN and infinities are replaced, with a warning.
        metadata: anything JSON can hold (arrays and tensors become lists); :func:`read_image` gives it back.
        half: 16-bit floats in EXR and DNG; values are limited to ±65504.
        quality: of JPEG and AVIF, 1 to 100.
        photograph: camera, lens, date, place and caption, as :func:`read_photograph` reads them from a frame.
        pixel_size: of a microscope's image, kept as the resolution of a TIFF and as attributes of an EXR.

    Raises:
        ImageFileError: the folder is missing or read-only, the disk is full, or the format is not known.
        ArgumentError, ShapeError: pixels that the format cannot hold.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    check_suffix(path)
    if half and suffix not in (".exr", ".dng"):
        raise ArgumentError("half", "False for any format but .exr and .dng", half, "Write an .exr or leave half out.")
    image = _as_image(pixels)
    shown = suffix in DISPLAY and suffix != ".avif"
    image = _to_display(image, suffix) if shown else _to_radiance(image, suffix, half)
    options = _Options(dict(metadata or {}), half, quality, photograph or Photograph({}, {}, {}), pixel_size)
    replace_file(path, lambda temporary: _WRITERS[suffix](temporary, image, options))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file all or nothing; what codecs raise says what failed in the system's words, and what to do."""
    try:
        write_atomically(path, write)
    except (ArgumentError, ImportError, MemoryError):
        raise
    except Exception as error:  # codecs raise anything
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        advice = "Check that the folder exists, may be written to and has room left, or choose another."
        raise ImageFileError(f"{path}: cannot be written: {reason}. {advice}") from error


def _as_image(pixels: Any) -> np.ndarray:
    """H×W×C array of what was given."""
    if hasattr(pixels, "detach"):
        tensor = pixels.detach().cpu()
        image = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        image = image[0] if image.ndim == 4 and image.shape[0] == 1 else image
        image = image.transpose(1, 2, 0) if image.ndim == 3 else image
    else:
        image = np.asarray(pixels)
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        advice = "Arrays are H×W or H×W×C, tensors C×H×W or 1×C×H×W."
        raise ShapeError("pixels", "one image with 1, 3 or 4 channels", tuple(np.shape(pixels)), advice)
    if image.dtype.kind not in "fu":
        raise ArgumentError("pixels", "floats or unsigned integers", image.dtype, "Convert with .astype(np.float32).")
    return image


def to_finite(image: np.ndarray, largest: float) -> np.ndarray:
    """``image`` as float32 without NaN (0) and infinities (the largest value of the format); a warning counts them."""
    with np.errstate(over="ignore"):
        image = image.astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(image)))
    if bad:
        message = f"{bad} of {image.size} values to be written are NaN or infinite"
        warnings.warn(f"{message}; NaN becomes 0, infinity {largest:g}.", UserWarning, stacklevel=4)
        image = np.nan_to_num(image, nan=0.0, posinf=largest, neginf=-largest)
    return image


def _to_display(image: np.ndarray, suffix: str) -> np.ndarray:
    if image.shape[2] == 4 and suffix != ".png":
        advice = "Drop the alpha channel or write a .png."
        raise ShapeError("pixels", "1 or 3 channels for JPEG", tuple(image.shape), advice)
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind == "u":
        raise ArgumentError("pixels", f"floats in [0, 1] or uint8 for {suffix}", image.dtype, "Scale to [0, 1] first.")
    return np.rint(np.clip(to_finite(image, 1.0), 0.0, 1.0) * 255.0).astype(np.uint8)


def _to_radiance(image: np.ndarray, suffix: str, half: bool) -> np.ndarray:
    if image.dtype.kind == "u":
        if suffix in (".tif", ".tiff") and image.dtype.itemsize <= 4:
            return image
        raise ArgumentError("pixels", f"floats for {suffix}", image.dtype, "Radiance is floating point; convert it.")
    image = to_finite(image, _HALF_MAX if half else float(np.finfo(np.float32).max))
    if half:
        image = _limited(image, -_HALF_MAX, _HALF_MAX, "a half float")
    if suffix == ".hdr":
        image = _limited(image, 0.0, 1e37, "the Radiance format")
        if image.shape[2] == 4:
            advice = "Drop the alpha channel or write an .exr."
            raise ShapeError("pixels", "1 or 3 channels for .hdr", tuple(image.shape), advice)
        image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return image


def _limited(image: np.ndarray, low: float, high: float, holder: str) -> np.ndarray:
    outside = int(np.count_nonzero((image < low) | (image > high)))
    if outside:
        message = f"{outside} of {image.size} values do not fit into {holder} and are limited to {low:g} … {high:g}."
        warnings.warn(message, UserWarning, stacklevel=4)
    return np.clip(image, low, high) if outside else image


# --- formats ---------------------------------------------------------------------------------------------------------


def _write_exr(path: Path, image: np.ndarray, options: _Options) -> None:
    attributes = options.photograph.to_attributes()
    attributes |= {PREFIX + str(key): to_json(value) for key, value in options.metadata.items()}
    if image.shape[2] >= 3:
        attributes["chromaticities"] = SRGB_CHROMATICITIES
    if options.pixel_size is not None:
        size = options.pixel_size
        attributes[PREFIX + "pixel_size"] = to_json([size.height, size.width, size.unit])
        if size.per_centimetre is not None:
            attributes |= {"XResolution": size.per_centimetre[0], "YResolution": size.per_centimetre[1]}
            attributes |= {"ResolutionUnit": "cm", "PixelAspectRatio": size.width / size.height}
    _write_oiio(path, image, "half" if options.half else "float", {"compression": "zip", **attributes})


def _write_hdr(path: Path, image: np.ndarray, options: _Options) -> None:
    _write_oiio(path, image, "float", {})
    if options.metadata:  # OpenImageIO does not write header variables of its own
        first, rest = path.read_bytes().split(b"\n", 1)
        path.write_bytes(b"".join([first, b"\n", to_hdr_lines(options.metadata), rest]))


def _write_tiff(path: Path, image: np.ndarray, options: _Options) -> None:
    colour = image.shape[2] >= 3
    profile = None
    if colour and options.metadata.get("output") == "display":
        profile = srgb_profile()
    elif colour and image.dtype.kind == "f":
        profile = linear_srgb_profile()
    options.photograph.write_tiff(
        path,
        image if colour else image[..., 0],
        options.metadata,
        photometric="rgb" if colour else "minisblack",
        extrasamples=("unassalpha",) if image.shape[2] == 4 else None,
        compression="zlib",
        iccprofile=profile,
        bigtiff=image.nbytes > _LARGEST_TIFF,
        **resolution_tags(options.pixel_size),
    )


def resolution_tags(pixel_size: PixelSize | None) -> dict[str, Any]:
    """tifffile's arguments for the size of a pixel."""
    resolution = None if pixel_size is None else pixel_size.per_centimetre
    return {} if resolution is None else {"resolution": resolution, "resolutionunit": "CENTIMETER"}


def _write_png(path: Path, image: np.ndarray, options: _Options) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    if options.metadata:
        text.add_text(BLOCK, to_json(options.metadata))
    more = {} if options.photograph.is_empty else {"exif": options.photograph.to_exif(image.shape[:2])}
    path.write_bytes(encode_pillow(image, "PNG", pnginfo=text, **more))


def _write_jpeg(path: Path, image: np.ndarray, options: _Options) -> None:
    exif = options.photograph.to_exif(image.shape[:2])
    extra = xmp_segment(to_xmp(options.metadata)) if options.metadata else b""
    more = {"quality": options.quality, "subsampling": "4:4:4"}
    path.write_bytes(encode_pillow(image, "JPEG", exif=exif, extra=extra, **more))


def xmp_segment(packet: bytes) -> bytes:
    """An APP1 segment of a JPEG with an XMP packet; empty, with a warning, where it is too long for one."""
    content = _XMP_SEGMENT + packet
    if len(content) > _LONGEST_SEGMENT:
        message = "How this picture was made is too long for a JPEG and is left out. An EXR or TIFF holds it."
        warnings.warn(message, UserWarning, stacklevel=4)
        return b""
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content


def encode_pillow(image: np.ndarray, file_format: str, **options: Any) -> bytes:
    """Encode in memory: on a full disk OpenImageIO ends the process (JPEG) or says nothing (PNG). Colours are sRGB."""
    from PIL import Image

    encoded = io.BytesIO()
    grey = image.shape[2] == 1
    profile = {} if grey else {"icc_profile": srgb_profile()}
    Image.fromarray(image[..., 0] if grey else image).save(encoded, file_format, **profile, **options)
    return encoded.getvalue()


def _write_oiio(path: Path, image: np.ndarray, pixel_type: str, attributes: Mapping[str, Any]) -> None:
    import OpenImageIO as oiio

    spec = oiio.ImageSpec(image.shape[1], image.shape[0], image.shape[2], pixel_type)
    if image.shape[2] == 1:
        spec.channelnames = ("Y",)
    spec.attribute("Software", SOFTWARE)
    for name, value in attributes.items():
        if isinstance(value, tuple):
            spec.attribute(name, oiio.TypeDesc(f"float[{len(value)}]"), value)
        else:
            spec.attribute(name, value)
    with utf8_name(path) as name:
        output = oiio.ImageOutput.create(name)
        if output is None:
            raise OSError(oiio.geterror())
        if not output.open(name, spec):
            raise OSError(output.geterror())
        written = output.write_image(np.ascontiguousarray(image))
        if not (output.close() and written):
            raise OSError(output.geterror() or "the file could not be completed")


_WRITERS: dict[str, Callable[[Path, np.ndarray, _Options], object]] = {
    ".avif": lambda path, image, given: path.write_bytes(encode_pq_avif(image, given.quality, given.metadata)),
    ".dng": lambda path, image, given: write_linear_dng(path, image, given.metadata, given.photograph, half=given.half),
    ".exr": _write_exr,
    ".hdr": _write_hdr,
    **dict.fromkeys((".jpeg", ".jpg"), _write_jpeg),
    ".png": _write_png,
    **dict.fromkeys((".tif", ".tiff"), _write_tiff),
}
