"""The photograph's own metadata: camera, lens, date, place, caption and copyright, from a frame to the result."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from afunet_core.io.formats import RAW_SUFFIXES

__all__ = ["Photograph", "named_exif", "read_photograph"]

_EXIF_IFD = 0x8769
_GPS_IFD = 0x8825
_KEPT = {0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298, 0x011A, 0x011B, 0x0128}
"""Fields of the first directory that tell of the photograph: caption, maker, model, date, artist, copyright,
resolution. All others tell how the pixels are stored, which is another matter in the result."""

_RESOLUTION = {0x011A, 0x011B, 0x0128}
_DROPPED = {0x927C, 0x9286, 0xA005, 0xA002, 0xA003, 0xA001, 0xA500, 0xEA1C, 0x9102}
"""Fields of the EXIF directory that would be wrong in the result: the maker's own notes with their absolute offsets,
comments of unknown length, sizes, colour space and compression of the frame."""

_MACHINE_MADE = ("{", "<?xml", "<OME", "ImageJ=")
"""How programs (tifffile, OME, ImageJ) begin the descriptions of arrays that they put where captions belong."""

_EXIF_FIELDS = {0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9004, 0x9201, 0x9202, 0x9204, 0x9207, 0x9209, 0x920A}
"""Fields of the EXIF directory that cameras' TIFF files (TIFF/EP) keep in the first one."""


class Photograph:
    """What a frame's file says of the photograph.

    Args:
        fields: of the first EXIF directory, by number, as Pillow names them.
        exif: of the EXIF directory.
        gps: of the GPS directory.
    """

    def __init__(self, fields: Mapping[int, Any], exif: Mapping[int, Any], gps: Mapping[int, Any]) -> None:
        moved = {tag: value for tag, value in fields.items() if tag in _EXIF_FIELDS}
        self._fields = {tag: value for tag, value in fields.items() if tag in _KEPT}
        self._exif = {tag: value for tag, value in {**moved, **exif}.items() if tag not in _DROPPED}
        self._gps = dict(gps)
        caption = str(self._fields.pop(0x010E, "")).strip().strip("\0")
        if caption and not caption.startswith(_MACHINE_MADE):
            self._fields[0x010E] = caption

    def to_exif(self, size: tuple[int, int] | None = None) -> bytes:
        """Write an EXIF block for a JPEG or PNG of this height and width, which stands upright and shows sRGB."""
        from PIL import Image

        block = Image.Exif()
        block.update({0x0112: 1, **self._fields, 0x0131: "napari-afunet"})
        exif = {**self._exif, 0xA001: 1}
        if size is not None:
            exif |= {0xA002: size[1], 0xA003: size[0]}
        block[_EXIF_IFD] = exif
        if self._gps:
            block[_GPS_IFD] = self._gps
        return block.tobytes()

    def to_attributes(self) -> dict[str, Any]:
        """Name the fields as OpenImageIO does, for EXR."""
        named = named_exif(self._fields, self._exif, self._gps)
        taken = self._exif.get(0x9003)
        return {**named, "DateTime": taken} if taken else named  # the moment of the photograph, not of the last edit

    def to_tiff_tags(self) -> list[tuple[int, int, int, Any, bool]]:
        """Write the fields of a TIFF's first directory as tifffile takes them; it writes no EXIF directory."""
        tags = []
        for tag, value in {**self._fields, **self._exif}.items():
            if tag in _RESOLUTION | {0x010E} or (tag not in _KEPT and tag not in _EXIF_FIELDS):
                continue
            if isinstance(value, str):
                data = value.encode("utf-8", "replace") + b"\0"
                tags.append((tag, 2, len(data), data, True))
            elif isinstance(value, int):
                tags.append((tag, 3 if 0 <= value < 2**16 else 4, 1, value & 0xFFFFFFFF, True))
            elif hasattr(value, "numerator") and value.denominator:
                signed = 10 if value < 0 or tag in (0x9201, 0x9204) else 5
                tags.append((tag, signed, 1, (int(value.numerator), int(value.denominator)), True))
        return sorted(tags)

    @property
    def caption(self) -> str | None:
        """The photographer's caption."""
        return self._fields.get(0x010E)


def read_photograph(path: str | Path) -> Photograph | None:
    """Read what a picture's or a raw file's EXIF says; ``None`` where there is nothing that can be read."""
    path = Path(path)
    with contextlib.suppress(Exception):  # it is for the record alone: a damaged block must not stop a merge
        exif = _raw_exif(path) if path.suffix.lower() in RAW_SUFFIXES else None
        if exif is None:
            with _opened(path) as picture:
                exif = picture.getexif()
        found = Photograph(exif, exif.get_ifd(_EXIF_IFD), exif.get_ifd(_GPS_IFD))
        return found if found._fields or found._exif else None
    return None


def _opened(path: Path) -> Any:
    from PIL import Image

    if path.suffix.lower() in (".heic", ".heif", ".hif"):
        import pillow_heif

        return pillow_heif.open_heif(path).to_pillow()
    return Image.open(path)


def _raw_exif(path: Path) -> Any:
    """EXIF of a raw file: of the file itself, which mostly is a TIFF, or of the JPEG that it holds as a preview."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.getexif()
    except (UnidentifiedImageError, OSError, ValueError):
        import rawpy

        with rawpy.imread(str(path)) as raw:
            preview = raw.extract_thumb()
        with Image.open(BytesIO(bytes(preview.data))) as picture:
            return picture.getexif()


def named_exif(fields: Mapping[int, Any], exif: Mapping[int, Any], gps: Mapping[int, Any]) -> dict[str, Any]:
    """Name the fields of EXIF directories as OpenImageIO does."""
    from PIL import ExifTags

    named = {ExifTags.TAGS.get(tag, ""): value for tag, value in fields.items() if tag in _KEPT - _RESOLUTION}
    named |= {_exif_name(tag, ExifTags.TAGS.get(tag, "")): value for tag, value in exif.items()}
    named |= {"GPS:" + ExifTags.GPSTAGS.get(tag, "").removeprefix("GPS"): value for tag, value in gps.items()}
    plain = {name: _plain(value) for name, value in named.items() if name and not name.endswith(":")}
    return {name: value for name, value in plain.items() if value is not None}


def _exif_name(tag: int, name: str) -> str:
    """OpenImageIO gives exposure time and aperture without the word Exif, and the sensitivity by its newer name."""
    special = {0x829A: "ExposureTime", 0x829D: "FNumber", 0x8827: "Exif:PhotographicSensitivity"}
    return special.get(tag, f"Exif:{name}")


def _plain(value: Any) -> Any:
    """A value that an EXR attribute can hold, or ``None``."""
    if isinstance(value, str | int):
        return value
    if isinstance(value, tuple | list):
        parts = [_plain(part) for part in value]
        numbers = all(isinstance(part, int | float) for part in parts)
        return tuple(float(part) for part in parts) if parts and numbers else None
    if isinstance(value, bytes):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
