"""The photograph's own metadata: camera, lens, date, place, caption and copyright, from a frame to the result."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from afunet_core.io.formats import RAW_SUFFIXES
from afunet_core.io.metadata import to_xmp

__all__ = ["Photograph", "named_exif", "read_photograph"]

SOFTWARE = "napari-afunet"
TiffTag = tuple[int, int, int, Any, bool]  # as tifffile takes it: number, type, count, value, once
_EXIF_IFD = 0x8769
_GPS_IFD = 0x8825
# Fields of the first directory that tell of the photograph: caption, maker, model, date, artist, copyright, resolution.
# All others tell how the pixels are stored, which is another matter in the result.
_KEPT = {0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298, 0x011A, 0x011B, 0x0128}

_RESOLUTION = {0x011A, 0x011B, 0x0128}
# Fields of the EXIF directory that would be wrong in the result: the maker's own notes with their absolute offsets,
# comments of unknown length, sizes, colour space and compression of the frame.
_DROPPED = {0x927C, 0x9286, 0xA005, 0xA002, 0xA003, 0xA001, 0xA500, 0xEA1C, 0x9102}
# How programs (tifffile, OME, ImageJ) begin the descriptions of arrays that they put where captions belong.
_MACHINE_MADE = ("{", "<?xml", "<OME", "ImageJ=")
# Fields of the EXIF directory that cameras' TIFF files (TIFF/EP) keep in the first one.
_EXIF_FIELDS = {0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9004, 0x9201, 0x9202, 0x9204, 0x9207, 0x9209, 0x920A}
_CAPTION = 0x010E
_XMP_TAG = 700
_BYTE, _ASCII, _LONG = 1, 2, 4  # types of TIFF
# Fractions that may be below 0: shutter speed and brightness in APEX, exposure compensation.
_SIGNED = {0x9201, 0x9203, 0x9204}
_SCREEN = {0x011A: 72.0, 0x011B: 72.0, 0x0128: 2}  # resolution of a picture that has none: EXIF requires one
_REQUIRED = {0x9000: b"0232", 0xA000: b"0100"}  # versions that EXIF requires


class Photograph:
    """Metadata of a photograph, from the file of a frame.

    Args:
        fields: of the first EXIF directory, by number, as Pillow names them.
        exif: of the EXIF directory.
        gps: of the GPS directory.
    """

    def __init__(self, fields: Mapping[int, Any], exif: Mapping[int, Any], gps: Mapping[int, Any]) -> None:
        fields, exif = _without_empty(fields), _without_empty(exif)
        moved = {tag: value for tag, value in fields.items() if tag in _EXIF_FIELDS}
        self._fields = {tag: value for tag, value in fields.items() if tag in _KEPT}
        self._exif = {tag: value for tag, value in {**moved, **exif}.items() if tag not in _DROPPED}
        self._gps = dict(gps)
        caption = str(self._fields.pop(_CAPTION, "")).strip().strip("\0")
        if caption and not caption.startswith(_MACHINE_MADE):
            self._fields[_CAPTION] = caption

    @property
    def is_empty(self) -> bool:
        """True where nothing is known."""
        return not (self._fields or self._exif)

    @property
    def model(self) -> str:
        """The camera, else the name of this program."""
        return str(self._fields.get(0x0110, SOFTWARE))

    @property
    def caption(self) -> bytes | None:
        """The photographer's caption in UTF-8, as tifffile takes what ASCII does not hold."""
        found = self._fields.get(_CAPTION)
        return None if found is None else found.encode("utf-8", "replace")

    def to_exif(self, size: tuple[int, int]) -> bytes:
        """Write an EXIF block for a JPEG or PNG of this height and width, which stands upright and shows sRGB."""
        from PIL import Image

        block = Image.Exif()
        # UTF-8 where ASCII does not hold a text: Pillow would write question marks.
        fields = {t: v.encode() if isinstance(v, str) and not v.isascii() else v for t, v in self._fields.items()}
        block.update({0x0112: 1, 0x0213: 1, **_SCREEN, **fields, 0x0131: SOFTWARE})
        block[_EXIF_IFD] = {**_REQUIRED, **self._exif, 0xA001: 1, 0xA002: size[1], 0xA003: size[0]}
        if self._gps:
            block[_GPS_IFD] = self._gps
        return block.tobytes()

    def to_attributes(self) -> dict[str, Any]:
        """Name the fields as OpenImageIO does, for EXR."""
        named = named_exif(self._fields, self._exif, self._gps)
        taken = self._exif.get(0x9003)
        return {**named, "DateTime": taken} if taken else named  # the moment of the photograph, not of the last edit

    def write_tiff(
        self, path: Path, pixels: np.ndarray, metadata: Mapping[str, Any], tags: Iterable[TiffTag] = (), **options: Any
    ) -> None:
        """Write a TIFF of one page by tifffile, with provenance as XMP and further tags."""
        import tifffile

        texts = {tag: value for tag, value in self._fields.items() if isinstance(value, str) and tag != _CAPTION}
        data = {tag: value.encode("utf-8", "replace") + b"\0" for tag, value in texts.items()}
        own: list[TiffTag] = [(tag, _ASCII, len(text), text, True) for tag, text in data.items()]
        if metadata:
            packet = to_xmp(metadata)
            own.append((_XMP_TAG, _BYTE, len(packet), packet, True))
        parts = {tag: fields for tag, fields in ((_EXIF_IFD, self._exif), (_GPS_IFD, self._gps)) if fields}
        parts = {} if options.get("bigtiff") else parts  # its places do not fit into their pointers
        pointers = [(tag - 1, _LONG, 1, 0, True) for tag in parts]  # tifffile takes no pointers: these hold their place
        found = sorted({tag[0]: tag for tag in (*own, *tags, *pointers)}.values())
        stated: dict[str, Any] = {"metadata": None, "software": SOFTWARE, "description": self.caption}
        tifffile.imwrite(path, pixels, extratags=found, **stated, **options)
        with tifffile.TiffFile(path) as file:
            order, places = file.byteorder, {tag: file.pages.first.tags[tag - 1].offset for tag in parts}
        with path.open("r+b") as stream:
            for tag, fields in parts.items():
                start = stream.seek(0, 2)
                start += stream.write(bytes(start % 2))
                stream.write(_directory(tag, fields, order).tobytes(start))
                stream.seek(places[tag])
                stream.write(struct.pack(f"{order}HHII", tag, _LONG, 1, start))


def _directory(tag: int, fields: Mapping[int, Any], order: str) -> Any:
    """The EXIF or GPS directory of a TIFF, in Pillow's type."""
    from PIL import TiffTags
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2(prefix=b"II" if order == "<" else b"MM")
    for number, value in {**(_REQUIRED if tag == _EXIF_IFD else {}), **fields}.items():
        if number in _SIGNED:
            directory.tagtype[number] = TiffTags.SIGNED_RATIONAL
        directory[number] = value
    return directory


def _without_empty(fields: Mapping[int, Any]) -> dict[int, Any]:
    """Fields as written without blank texts; what Pillow read as Latin-1 is UTF-8."""
    kept = {tag: value for tag, value in fields.items() if not isinstance(value, str) or value.strip("\0 ")}
    for tag, value in kept.items():
        if isinstance(value, str) and not value.isascii():
            with contextlib.suppress(UnicodeError):
                kept[tag] = value.encode("latin-1").decode()
    return kept


def read_photograph(path: str | Path) -> Photograph | None:
    """Read what a picture's or a raw file's EXIF says; ``None`` where there is nothing that can be read."""
    path = Path(path)
    with contextlib.suppress(Exception):  # it is for the record alone: a damaged block must not stop a merge
        with path.open("rb") as file:  # directories are read when they are asked for
            exif = _directories(path, file)
            found = Photograph(exif, exif.get_ifd(_EXIF_IFD), exif.get_ifd(_GPS_IFD))
        return None if found.is_empty else found
    return None


def _directories(path: Path, file: IO[bytes]) -> Any:
    """EXIF of the file, or of a raw file that is no TIFF of the JPEG that it holds as a preview, in Pillow's type."""
    from PIL import Image

    if path.suffix.lower() in (".heic", ".heif", ".hif"):
        import pillow_heif

        exif = Image.Exif()
        exif.load(pillow_heif.open_heif(path).info["exif"])  # to_pillow() would decode the pixels
        return exif
    is_tiff = file.read(4) in (b"II*\0", b"MM\0*")  # most raw files too, and floats, which Pillow does not open
    file.seek(0)
    if is_tiff:
        exif = Image.Exif()
        exif.load_from_fp(file)
        return exif
    if path.suffix.lower() not in RAW_SUFFIXES:
        return Image.open(file).getexif()
    import rawpy

    with rawpy.imread(str(path)) as raw:
        return Image.open(BytesIO(bytes(raw.extract_thumb().data))).getexif()


def named_exif(fields: Mapping[int, Any], exif: Mapping[int, Any], gps: Mapping[int, Any]) -> dict[str, Any]:
    """Name the fields of EXIF directories as OpenImageIO does."""
    from PIL.ExifTags import GPSTAGS, TAGS

    # Exposure time and aperture without the word Exif, and the sensitivity by its newer name.
    special = {0x829A: "ExposureTime", 0x829D: "FNumber", 0x8827: "Exif:PhotographicSensitivity"}
    named = {TAGS.get(tag, ""): value for tag, value in fields.items() if tag in _KEPT - _RESOLUTION}
    named |= {special.get(tag, f"Exif:{TAGS.get(tag, '')}"): value for tag, value in exif.items()}
    named |= {"GPS:" + GPSTAGS.get(tag, "").removeprefix("GPS"): value for tag, value in gps.items()}
    plain = {name: _plain(value) for name, value in named.items() if name and not name.endswith(":")}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    """A value that an EXR attribute can hold, or ``None``."""
    if isinstance(value, str | int | bytes):
        return None if isinstance(value, bytes) else value
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        return tuple(map(float, value)) or None if isinstance(value, tuple | list) else float(value)
    return None
