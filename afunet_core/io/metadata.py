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
BLOCK = "afunet:metadata"  # attribute (PNG, XMP) that holds the whole dictionary
_PACKED = "afunet:packed"  # the same as deflated JSON in base64, where the plain text would be too long
_NAMESPACE = "urn:napari-afunet:metadata"
_LONGEST_XMP = 60_000  # bytes; a segment of a JPEG holds 65,533 with the name of its kind
_HDR_KEYS = {BLOCK: "AFUNET=", _PACKED: "AFUNETZ="}  # Radiance headers are lines of ``NAME=value``
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
    if hasattr(value, "tolist") and not isinstance(value, PurePath):  # numpy and torch, scalars and arrays
        return plain(value.tolist())
    return str(value)


def to_json(value: Any) -> str:
    """Write one line of ASCII, which every format's text field can carry."""
    return json.dumps(plain(value))


def to_xmp(metadata: Mapping[str, Any], attributes: str = "", content: str = "") -> bytes:
    """Write an XMP packet that holds the dictionary, if there is one, and further XML of the description."""
    name, text = _shortened(metadata, _LONGEST_XMP // 2)  # quotes become six characters each
    own = f'xmlns:afunet="{_NAMESPACE}" {name}={quoteattr(text, _QUOTES)}' if metadata else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'{own} {attributes}>{content}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def from_xmp(packet: bytes) -> dict[str, Any]:
    """Read the dictionary that :func:`to_xmp` wrote; ``{}`` for other programs' packets."""
    found = re.search(rb'(afunet:(?:metadata|packed))="([^"]*)"', packet)
    if found is None:
        return {}
    text = unescape(found[2].decode("utf-8", errors="replace"), {"&quot;": '"'})
    return from_attributes({found[1].decode(): text})


def to_hdr_lines(metadata: Mapping[str, Any]) -> bytes:
    """Write the dictionary as short header lines of a Radiance file; too long a one is left out, with a warning."""
    name, text = _shortened(metadata, _HDR_LINE * _HDR_LINES)
    if len(text) > _HDR_LINE * _HDR_LINES:
        message = "How this picture was made is too long for a Radiance header and is left out."
        warnings.warn(f"{message} An EXR or TIFF holds it.", UserWarning, stacklevel=5)
        return b""
    lines = (text[start : start + _HDR_LINE] for start in range(0, len(text), _HDR_LINE))
    return b"".join(f"{_HDR_KEYS[name]}{line}\n".encode("ascii") for line in lines)


def from_hdr_header(header: bytes) -> dict[str, Any]:
    """Read the dictionary in the header of a Radiance file, which ends at the first empty line."""
    lines = header.decode("ascii", errors="replace").partition("\n\n")[0].split("\n")
    found = {name: "".join(x.removeprefix(key) for x in lines if x.startswith(key)) for name, key in _HDR_KEYS.items()}
    return from_attributes(found)


def from_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Read the dictionary given to :func:`afunet_core.io.write_image` from a file's attributes; ``{}`` for others'."""
    own = {name.removeprefix(PREFIX): _decode(x) for name, x in attributes.items() if name.startswith(PREFIX)}
    for block in (own.pop("metadata", None), _decode(_inflate(own.pop("packed", "")))):
        if isinstance(block, dict):
            own |= block
    return own


def _shortened(metadata: Mapping[str, Any], longest: int) -> tuple[str, str]:
    """The name of the attribute and its text, deflated where it would be longer than that."""
    text = to_json(metadata)
    if len(text) <= longest:
        return BLOCK, text
    return _PACKED, base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _inflate(text: Any) -> str:
    """Inflate, but no more than so much: a few kilobytes could claim gigabytes."""
    try:
        return zlib.decompressobj().decompress(base64.b64decode(text), _LARGEST_BLOCK).decode()
    except (TypeError, ValueError, zlib.error):
        return ""


def _decode(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text
