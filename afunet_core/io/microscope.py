"""Exposure times and pixel sizes as microscopes write them into TIFF: OME-XML, Micro-Manager, ImageJ."""

from __future__ import annotations

import contextlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afunet_core.io.exposure import Exposure

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "ns": 1e-9, "min": 60.0}
_IN_CENTIMETRES = {"um": 1e-4, "µm": 1e-4, "μm": 1e-4, "micron": 1e-4, "micrometer": 1e-4, "nm": 1e-7, "mm": 0.1}
_IN_CENTIMETRES |= {"cm": 1.0, "m": 100.0, "in": 2.54, "inch": 2.54, "nanometer": 1e-7, "millimeter": 0.1}
_IN_CENTIMETRES |= {"centimeter": 1.0, "meter": 100.0, "micrometre": 1e-4}
_SMALLEST = 1e-9  # centimetres; the fractions of a TIFF hold no more than its inverse
_MICRO_MANAGER = 51123  # tag in which Micro-Manager writes JSON about each plane
_FINEST_PRINT = 25.4 / 1200.1  # millimetres: what a scanner or printer calls a pixel is larger


@dataclass(frozen=True)
class PixelSize:
    """The size of a pixel, as microscopes state it."""

    height: float
    width: float
    unit: str = "um"

    @property
    def per_centimetre(self) -> tuple[float, float] | None:
        """Pixels a centimetre along width and height, as TIFF states resolution; ``None`` for other units."""
        size = _IN_CENTIMETRES.get(self.unit.lower())
        if size is None or not all(_SMALLEST < size * side < 1 / _SMALLEST for side in (self.height, self.width)):
            return None
        return 1 / (size * self.width), 1 / (size * self.height)


def read_plane_exposures(path: str | Path) -> list[Exposure]:
    """Read the exposures that a microscope's TIFF states, plane by plane; empty where it states none."""
    import tifffile

    with contextlib.suppress(Exception), tifffile.TiffFile(path) as file:  # damage is told by whoever reads pixels
        seconds = _from_ome(file.ome_metadata) if file.is_ome else []
        if not seconds:
            pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
            seconds = [_from_micro_manager(page.tags.get(_MICRO_MANAGER)) for page in pages]
        known = [value for value in seconds if value is not None and math.isfinite(value) and value > 0]
        if known and len(known) == len(seconds):
            return [Exposure(value) for value in known]
    return []


def read_pixel_size(path: str | Path) -> PixelSize | None:
    """Read the size of a pixel that a TIFF states: in OME-XML, in ImageJ's words, or as a resolution no printer has."""
    import tifffile

    with contextlib.suppress(Exception), tifffile.TiffFile(path) as file:
        if file.is_ome:
            pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", file.ome_metadata or "")
            stated = dict(re.findall(r'\bPhysicalSize([XY](?:Unit)?)="([^"]+)"', pixels[0] if pixels else ""))
            if "X" in stated:
                width = float(stated["X"])
                return PixelSize(float(stated.get("Y", width)), width, stated.get("XUnit", "µm"))
        tags = file.pages.first.tags
        across, down = (tags[name].value for name in ("XResolution", "YResolution"))
        width, height = across[1] / across[0], down[1] / down[0]
        unit = (file.imagej_metadata or {}).get("unit", "") if file.is_imagej else ""
        if unit in ("micron", "um", "µm", "\\u00B5m", "nm", "mm"):
            return PixelSize(height, width, unit.replace("\\u00B5", "µ"))
        metric = {2: 25.4, 3: 10.0}.get(int(tags["ResolutionUnit"].value))
        if metric is not None and width * metric < _FINEST_PRINT:
            return PixelSize(height * metric, width * metric, "mm")
    return None


def _from_ome(xml: str | None) -> list[float | None]:
    found: list[float | None] = []
    for plane in re.findall(r"<(?:\w+:)?Plane\b[^>]*>", xml or ""):
        stated = dict(re.findall(r'\b(ExposureTime(?:Unit)?)="([^"]+)"', plane))
        unit = _SECONDS.get(stated.get("ExposureTimeUnit", "s"))
        found.append(float(stated["ExposureTime"]) * unit if unit and "ExposureTime" in stated else None)
    return found


def _from_micro_manager(tag: Any) -> float | None:
    if tag is None:
        return None
    notes = tag.value if isinstance(tag.value, dict) else json.loads(str(tag.value))
    names = ["Exposure-ms", "Exposure", *(name for name in notes if str(name).endswith("-Exposure"))]
    value = next((notes[name] for name in names if notes.get(name) is not None), None)
    if isinstance(value, dict):  # of version 2
        value = value.get("PropVal", value.get("scalar"))
    return None if value is None else float(value) / 1000.0
