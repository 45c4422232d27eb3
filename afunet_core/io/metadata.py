"""Provenance: the caller's dictionary as JSON in the files we write, and how it is found again.

One attribute a key in EXR, where others show them, else an XMP packet, a text chunk (PNG) or header lines (Radiance);
never in captions or descriptions, which belong to the photographer.
"""

from __future__ import annotations

import base64
import json
import math
import re
import warnings
import zlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any
from xml.sax.saxutils import quoteattr, unescape

PREFIX = "afunet:"
# Attribute (PNG, XMP) that holds the whole dictionary; files of version 0.1 had it in the description.
BLOCK = "afunet:metadata"
# The same as deflated JSON in base64, where the plain text would be too long for a segment of a JPEG.
_PACKED = "afunet:packed"

_NAMESPACE = "urn:napari-afunet:metadata"
_LONGEST_XMP = 60_000  # bytes; a segment of a JPEG holds 65,533 with the name of its kind
_HDR_KEY = "AFUNET="  # Radiance headers are lines of ``NAME=value``

_HDR_PACKED_KEY = "AFUNETZ="
_HDR_LINE = 115  # characters of JSON a header line; readers (OpenCV, stb_image) have buffers of 128 bytes for one
_HDR_LINES = 90  # lines; OpenImageIO looks for the format in the first hundred

_LARGEST_BLOCK = 2**26
_QUOTES = {'"': "&quot;"}


def plain(value: Any) -> Any:
    """Turn ``value`` into what JSON can hold: arrays and tensors to lists, NaN, infinities and the rest to text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # numpy and torch, scalars and arrays
        return plain(value.tolist())
    return str(value)


def to_json(value: Any) -> str:
    """Write one line of ASCII, which every format's text field can carry."""
    return json.dumps(plain(value))


def to_xmp(metadata: Mapping[str, Any], attributes: str = "", content: str = "") -> bytes:
    """Write an XMP packet that holds the dictionary, if there is one, and further XML of the description."""
    text, name = to_json(metadata), BLOCK
    if len(text) > _LONGEST_XMP // 2:  # quotes become six characters each
        text, name = _deflate(text), _PACKED
    own = f'xmlns:afunet="{_NAMESPACE}" {name}={quoteattr(text, _QUOTES)}' if metadata else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'{own} {attributes}>{content}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def from_xmp(packet: bytes) -> dict[str, Any]:
    """Read the dictionary that :func:`to_xmp` wrote; ``{}`` for other programs' packets."""
    found = re.search(rb'afunet:(metadata|packed)="([^"]*)"', packet)
    if found is None:
        return {}
    text = unescape(found[2].decode("utf-8", errors="replace"), {"&quot;": '"'})
    block = _decode(_inflate(text) if found[1] == b"packed" else text)
    return block if isinstance(block, dict) else {}


def to_hdr_lines(metadata: Mapping[str, Any]) -> bytes:
    """Write the dictionary as short header lines of a Radiance file; too long a one is left out, with a warning."""
    text, key = json.dumps(plain(metadata), separators=(",", ":")), _HDR_KEY
    if len(text) > _HDR_LINE * _HDR_LINES:
        text, key = _deflate(text), _HDR_PACKED_KEY
    if len(text) > _HDR_LINE * _HDR_LINES:
        message = (
            "How this picture was made is too long for a Radiance header and is left out. An EXR or TIFF holds it."
        )
        warnings.warn(message, UserWarning, stacklevel=5)
        return b""
    lines = (text[start : start + _HDR_LINE] for start in range(0, len(text), _HDR_LINE))
    return b"".join(f"{key}{line}\n".encode("ascii") for line in lines)


def from_hdr_header(header: bytes) -> dict[str, Any]:
    """Read the dictionary in the header of a Radiance file."""
    text, packed = "", ""
    for line in header.decode("ascii", errors="replace").split("\n"):
        if not line:
            break  # the header ends at the first empty line; pixels follow
        if line.startswith(_HDR_PACKED_KEY):
            packed += line.removeprefix(_HDR_PACKED_KEY)
        elif line.startswith(_HDR_KEY):
            text += line.removeprefix(_HDR_KEY)
    block = _decode(_inflate(packed) if packed else text)
    return block if isinstance(block, dict) else {}


def _deflate(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _inflate(text: str) -> str:
    """Inflate, but no more than so much: a few kilobytes could claim gigabytes."""
    try:
        return zlib.decompressobj().decompress(base64.b64decode(text), _LARGEST_BLOCK).decode()
    except (ValueError, zlib.error):
        return ""


def from_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Read the dictionary given to :func:`afunet_core.io.write_image` from a file's attributes; ``{}`` for others'."""
    own = {
        name.removeprefix(PREFIX): _decode(text)
        for name, text in attributes.items()
        if name.startswith(PREFIX) and name not in (BLOCK, _PACKED)
    }
    description = _decode(attributes.get("ImageDescription"))  # other programs' descriptions are not ours
    for block in (_decode(attributes.get(BLOCK)), description.get(BLOCK) if isinstance(description, dict) else None):
        if isinstance(block, dict):
            own.update(block)
    return own


def _decode(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text
