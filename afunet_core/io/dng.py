"""Linear DNG: radiance for raw converters, demosaiced, with colour matrix, white balance and levels.

Reference: Adobe, "Digital Negative Specification", version 1.7.1.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from afunet_core.errors import ShapeError
from afunet_core.io.photograph import Photograph, TiffTag

_LINEAR_RAW = 34892
_D65 = 21  # EXIF LightSource of the illuminant that the colour matrix is for

# The camera of a DNG from pictures, which were developed already.
_WORKING_SPACE: dict[str, Any] = {
    "to_srgb": np.eye(3),
    "gains": (1.0, 1.0, 1.0),
    "xyz_to_camera": (  # XYZ under D65 to linear sRGB (IEC 61966-2-1)
        (3.2404542, -1.5371385, -0.4985314),
        (-0.9692660, 1.8760108, 0.0415560),
        (0.0556434, -0.2040259, 1.0572252),
    ),
    "tags": {},
}

_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SRATIONAL = 1, 2, 3, 4, 5, 10


def write_linear_dng(
    path: Path, image: np.ndarray, metadata: Mapping[str, Any], photograph: Photograph, *, half: bool = False
) -> None:
    """Write H×W×3 radiance, linear sRGB, as a linear DNG that converters open like a raw file.

    Of raw frames it holds what their sensor would have counted, had it the range: the camera's own RGB before white
    balance, with its matrices and the balance as shot. Of pictures it holds linear sRGB. The brightest value becomes
    the white level; BaselineExposure makes converters open it as bright as the reference frame.
    """
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    if image.shape[2] != 3:
        raise ShapeError("pixels", "1 or 3 channels for a .dng", tuple(image.shape), "Drop the alpha channel.")
    camera = metadata.get("camera_colours") or _WORKING_SPACE
    gains = np.array(camera["gains"])
    balanced = image @ np.linalg.inv(np.array(camera["to_srgb"])).T
    peak = max(float(balanced.max()), 1e-9)  # converters clip what is above white once it is balanced
    scaled = np.clip(balanced / (peak * gains), 0.0, 1.0)
    pixels = scaled.astype(np.float16) if half else np.rint(scaled * 65535.0).astype(np.uint16)
    stops = math.log2(peak * _brightness_of_reference(metadata))
    model = photograph.model.encode("utf-8", "replace") + b"\0"
    tags: list[TiffTag] = [
        (274, _SHORT, 1, 1, True),
        (50706, _BYTE, 4, bytes((1, 4, 0, 0)), True),
        (50707, _BYTE, 4, bytes((1, 4, 0, 0) if half else (1, 1, 0, 0)), True),
        (50708, _ASCII, len(model), model, True),
        (50714, _RATIONAL, 3, (0, 1) * 3, True),
        (50717, _LONG, 3, ((1,) if half else (65535,)) * 3, True),
        (50728, _RATIONAL, 3, _rationals(1 / gains), True),
        (50730, _SRATIONAL, 1, _rationals([stops]), True),
        (50731, _RATIONAL, 1, (1, 1), True),
        (50732, _RATIONAL, 1, (1, 1), True),
        (50734, _RATIONAL, 1, (1, 1), True),
        *_colour_tags(camera),
    ]
    options = {"photometric": _LINEAR_RAW, "planarconfig": "contig", "rowsperstrip": min(64, image.shape[0])}
    photograph.write_tiff(path, pixels, metadata, tags, **options)


def _colour_tags(camera: Mapping[str, Any]) -> list[TiffTag]:
    """Matrices of the camera: those of its own DNG, else the one for D65."""
    own = {int(tag): value for tag, value in camera["tags"].items()}
    if 50721 not in own:
        own = {50721: _rationals(np.ravel(camera["xyz_to_camera"])), 50778: _D65}
    tags = []
    for tag, value in own.items():
        numbers = tuple(np.atleast_1d(value).tolist())
        kind = {50727: _RATIONAL, 50778: _SHORT, 50779: _SHORT}.get(tag, _SRATIONAL)
        count = len(numbers) if kind == _SHORT else len(numbers) // 2
        tags.append((tag, kind, count, numbers if count > 1 or kind != _SHORT else numbers[0], True))
    return tags


def _brightness_of_reference(metadata: Mapping[str, Any]) -> float:
    """Return the light that the reference admitted, as a multiple of the shortest frame's."""
    times, reference = metadata.get("times"), metadata.get("reference")
    if isinstance(times, list) and isinstance(reference, int) and 0 <= reference < len(times) and min(times) > 0:
        return float(times[reference]) / float(min(times))
    return 1.0


def _rationals(values: Any) -> tuple[int, ...]:
    parts = (Fraction(float(value)).limit_denominator(10_000_000) for value in values)
    return tuple(number for part in parts for number in (part.numerator, part.denominator))
