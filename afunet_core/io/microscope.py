"""Exposure times and pixel sizes as microscopes write them into TIFF: OME-XML and Micro-Manager."""

from __future__ import annotations

import contextlib
import json
import math
import re
from pathlib import Path
from typing import Any

from afunet_core.io.exposure import Exposure

__all__ = ["read_plane_exposure", "read_plane_exposures"]

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "ns": 1e-9, "min": 60.0}
_MICRO_MANAGER = 51123
"""Tag in which Micro-Manager writes JSON about each plane."""


def read_plane_exposure(path: str | Path) -> Exposure | None:
    """Read the exposure of the first plane of a microscope's TIFF; ``None`` where it states none."""
    found = read_plane_exposures(path)
    return found[0] if found else None


def read_plane_exposures(path: str | Path) -> list[Exposure]:
    """Read the exposures that a microscope's TIFF states, plane by plane; empty where it states none."""
    import tifffile

    with contextlib.suppress(Exception), tifffile.TiffFile(path) as file:  # damage is told by whoever reads pixels
        seconds = _from_ome(file.ome_metadata) if file.is_ome else []
        if not seconds:
            seconds = [_from_micro_manager(page.tags.get(_MICRO_MANAGER)) for page in file.pages]
        known = [value for value in seconds if value is not None and math.isfinite(value) and value > 0]
        if known and len(known) == len(seconds):
            return [Exposure(value) for value in known]
    return []


def _from_ome(xml: str | None) -> list[float | None]:
    found: list[float | None] = []
    for plane in re.findall(r"<(?:\w+:)?Plane\b[^>]*>", xml or ""):
        value = re.search(r'\bExposureTime="([^"]+)"', plane)
        unit = re.search(r'\bExposureTimeUnit="([^"]+)"', plane)
        seconds = _SECONDS.get(unit[1] if unit else "s")
        found.append(float(value[1]) * seconds if value and seconds else None)
    return found


def _from_micro_manager(tag: Any) -> float | None:
    if tag is None:
        return None
    notes = tag.value if isinstance(tag.value, dict) else json.loads(str(tag.value))
    value = notes.get("Exposure-ms")
    return None if value is None else float(value) / 1000.0
