"""What the product writes into its files about itself, and how it is found again.

The caller's dictionary is stored as JSON: one attribute a key in EXR, where other programs show them, one text
elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

PREFIX = "afunet:"
BLOCK = "afunet:metadata"
"""Attribute (PNG) or key (the description of TIFF and JPEG) that holds the whole dictionary."""

HDR_KEY = "AFUNET="
"""Radiance headers are lines of ``NAME=value``."""


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: arrays and tensors as lists, numbers beyond JSON (NaN, infinity) and the rest as
    text."""
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
    """One line of ASCII: every format's text field can carry it."""
    return json.dumps(plain(value))


def from_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The dictionary given to :func:`afunet_core.io.write_image`, from the attributes of the file read; ``{}`` for
    foreign files."""
    own = {
        name.removeprefix(PREFIX): _decode(text)
        for name, text in attributes.items()
        if name.startswith(PREFIX) and name != BLOCK
    }
    description = _decode(attributes.get("ImageDescription"))  # other programs' descriptions are not ours
    for block in (_decode(attributes.get(BLOCK)), description.get(BLOCK) if isinstance(description, dict) else None):
        if isinstance(block, dict):
            own.update(block)
    return own


def from_hdr_header(header: bytes) -> dict[str, Any]:
    """The dictionary in the header of a Radiance file."""
    for line in header.decode("ascii", errors="replace").splitlines():
        if not line:
            break  # the header ends at the first empty line; pixels follow
        if line.startswith(HDR_KEY):
            block = _decode(line.removeprefix(HDR_KEY))
            return block if isinstance(block, dict) else {}
    return {}


def _decode(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text
